"""Curves in braille: two dots across and four down in each cell of the terminal. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from console.tui.ink import Line, right

# Dot bits of a braille cell by row and column (Unicode block U+2800).
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def outward(low: float, high: float) -> tuple[float, float]:
    """The bounds moved out to round values, so that a growing curve is drawn to another scale only now and then.

    Every dot of a plot moves when its scale does: calmer to look at, and most lines need no painting in between.
    """
    grain = 10.0 ** math.floor(math.log10(max(high - low, 1e-9))) / 10
    low, high = math.floor(low / grain) * grain, math.ceil(high / grain) * grain
    return low, high if high > low else low + grain


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over x, both ascending in x; drawn in `tone`."""

    xs: Sequence[float]
    ys: Sequence[float]
    tone: str


def plot(
    curves: Sequence[Curve],
    *,
    width: int,
    height: int,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    labels: tuple[str, str],
    goal: float | None = None,
) -> list[Line]:
    """`height` lines with the curves, the first one labelled with the upper bound of y and the last with the lower."""
    gutter = max(len(labels[0]), len(labels[1])) + 1
    columns = width - gutter
    if columns < 4 or height < 1:
        return []
    canvas = _Canvas(columns, height, x_range, y_range)
    if goal is not None:
        canvas.level(goal, "goal")
    for curve in curves:
        canvas.draw(curve)
    lines = []
    for row in range(height):
        label = labels[0] if row == 0 else labels[1] if row == height - 1 else ""
        lines.append(((right(label, gutter - 1) + "┤", "faint"), *canvas.row(row)))
    return lines


class _Canvas:
    def __init__(self, columns: int, rows: int, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self._columns, self._rows = columns, rows
        self._x0, self._y0 = x_range[0], y_range[0]
        self._x_scale = (columns * 2 - 1) / ((x_range[1] - x_range[0]) or 1)
        self._y_scale = (rows * 4 - 1) / ((y_range[1] - y_range[0]) or 1)
        self._bits = [[0] * columns for _ in range(rows)]
        self._tones = [[""] * columns for _ in range(rows)]

    def _dot(self, x: int, y: int, tone: str) -> None:
        if 0 <= x < self._columns * 2 and 0 <= y < self._rows * 4:
            row = self._rows - 1 - y // 4
            self._bits[row][x // 2] |= _DOTS[3 - y % 4][x % 2]
            self._tones[row][x // 2] = tone

    def _place(self, x: float, y: float) -> tuple[int, int]:
        top = self._rows * 4 - 1
        return round((x - self._x0) * self._x_scale), max(0, min(top, round((y - self._y0) * self._y_scale)))

    def level(self, y: float, tone: str) -> None:
        """A dotted line across."""
        _, at = self._place(self._x0, y)
        for x in range(0, self._columns * 2, 4):
            self._dot(x, at, tone)

    def draw(self, curve: Curve) -> None:
        """The curve, its points joined by straight lines."""
        before: tuple[int, int] | None = None
        for x, y in zip(curve.xs, curve.ys, strict=True):
            here = self._place(x, y)
            if before is None:
                self._dot(*here, curve.tone)
            else:
                reach = max(abs(here[0] - before[0]), abs(here[1] - before[1]), 1)
                for part in range(1, reach + 1):
                    self._dot(
                        before[0] + round((here[0] - before[0]) * part / reach),
                        before[1] + round((here[1] - before[1]) * part / reach),
                        curve.tone,
                    )
            before = here

    def row(self, row: int) -> Line:
        """One line, neighbours of one tone joined."""
        inks: list[tuple[str, str]] = []
        text, tone = "", ""
        for bits, own in zip(self._bits[row], self._tones[row], strict=True):
            glyph = chr(0x2800 + bits) if bits else " "
            if bits and own != tone and text:
                inks.append((text, tone or "plain"))
                text = ""
            tone = own if bits else tone
            text += glyph
        inks.append((text, tone or "plain"))
        return tuple(inks)
