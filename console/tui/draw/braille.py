"""Curves in braille: two dots across and four down in each cell of the terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from console.tui.draw.ink import Ink, Line

# Dot bits of a braille cell by row and column (Unicode block U+2800).
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over x, ascending in x; drawn in `tone`."""

    xs: Sequence[float]
    ys: Sequence[float]
    tone: str
    dotted: bool = False
    """Every other dot, so that it differs from the others without colour."""


class Canvas:
    """Cells for curves, the later drawn over the earlier."""

    def __init__(self, columns: int, rows: int, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self._columns, self._rows = columns, rows
        self._x0, self._y0 = x_range[0], y_range[0]
        self._x_scale = (columns * 2 - 1) / ((x_range[1] - x_range[0]) or 1)
        self._y_scale = (rows * 4 - 1) / ((y_range[1] - y_range[0]) or 1)
        self._bits = [[0] * columns for _ in range(rows)]
        self._tones = [[""] * columns for _ in range(rows)]
        self._cross: int | None = None

    def row_of(self, y: float) -> int:
        """The row of cells in which `y` lies, 0 at the top."""
        return self._rows - 1 - max(0, min(self._rows * 4 - 1, round((y - self._y0) * self._y_scale))) // 4

    def column_of(self, x: float) -> int:
        """The column of cells in which `x` lies; may lie beyond the edges."""
        return round((x - self._x0) * self._x_scale) // 2

    def cross(self, x: float) -> None:
        """A vertical line at `x`, behind the curves."""
        column = self.column_of(x)
        self._cross = column if 0 <= column < self._columns else None

    def level(self, y: float, tone: str) -> None:
        """A dotted horizontal line."""
        at = round((y - self._y0) * self._y_scale)
        for x in range(0, self._columns * 2, 4):
            self._dot(x, at, tone)

    def draw(self, curve: Curve) -> None:
        """The curve, its points joined by straight lines, clipped to the canvas."""
        right, top = self._columns * 2 - 1, self._rows * 4 - 1
        before: tuple[float, float] | None = None
        for x, y in zip(curve.xs, curve.ys, strict=True):
            here = (x - self._x0) * self._x_scale, (y - self._y0) * self._y_scale
            if before is None:
                if 0 <= here[0] <= right:
                    self._dot(round(here[0]), max(0, min(top, round(here[1]))), curve.tone)
            elif here[0] >= 0 and before[0] <= right:
                self._join(before, here, curve, right, top)
            before = here

    def _join(self, before: tuple[float, float], here: tuple[float, float], curve: Curve, right: int, top: int) -> None:
        """A straight line: clipped at the sides; above and below the canvas it follows the edge."""
        (x0, y0), (x1, y1) = before, here
        if x0 < 0 and x1 > x0:
            x0, y0 = 0.0, y0 + (y1 - y0) * -x0 / (x1 - x0)
        if x1 > right and x1 > x0:
            x1, y1 = float(right), y0 + (y1 - y0) * (right - x0) / (x1 - x0)
        ax, ay = round(x0), max(0, min(top, round(y0)))
        bx, by = round(x1), max(0, min(top, round(y1)))
        reach = max(abs(bx - ax), abs(by - ay), 1)
        for part in range(reach + 1):
            x = ax + round((bx - ax) * part / reach)
            if not curve.dotted or x % 4 == 0:
                self._dot(x, ay + round((by - ay) * part / reach), curve.tone)

    def _dot(self, x: int, y: int, tone: str) -> None:
        if 0 <= x < self._columns * 2 and 0 <= y < self._rows * 4:
            row = self._rows - 1 - y // 4
            self._bits[row][x // 2] |= _DOTS[3 - y % 4][x % 2]
            self._tones[row][x // 2] = tone

    def row(self, row: int) -> Line:
        """One line, neighbours of one tone joined."""
        inks: list[Ink] = []
        text, tone = "", ""
        for column, (bits, own) in enumerate(zip(self._bits[row], self._tones[row], strict=True)):
            if not bits and column == self._cross:
                glyph, own = "│", "dim"
            else:
                glyph = chr(0x2800 + bits) if bits else " "
            if glyph != " " and own != tone:
                if text:
                    inks.append((text, tone or "plain"))
                text, tone = "", own
            text += glyph
        inks.append((text, tone or "plain"))
        return tuple(inks)
