"""Text with tones: what a pane draws, independent of terminal and colours.

A `Line` is a tuple of (text, tone); a tone is a plain word that the stylesheet gives a colour (``tone--good``). Nothing
here is ever parsed as markup, and what a host printed goes through `clean` first, so that no output of a run can move
the cursor, colour the screen or reverse its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, overload

from rich.cells import cell_len, set_cell_size

from console.views.metrics import HEATS

Ink = tuple[str, str]
"""A text and its tone."""
Line = tuple[Ink, ...]

TONES: Final = (
    *("plain", "dim", "faint", "stale", "strong", "good", "warn", "bad", "accent"),
    *("loss", "top5", "top1", "goal", "cursor"),
    *("eval-loss", "rate", "lr", "share", "ghost", "past-0", "past-1", "past-2", "past-3", "past-4"),
    *("chip-good", "chip-warn", "chip-bad", "chip-accent", "chip-dim"),
    *(f"heat-{step}" for step in range(HEATS)),
    *(f"spark-{step}" for step in range(HEATS)),
    *("heat-warn", "heat-bad"),
)
"""Tones ``heat-0`` to ``heat-9`` are a ramp of backgrounds, ``spark-0`` to ``spark-9`` the same of foregrounds."""

# A longer line costs time to measure, and no terminal shows it.
_LONGEST: Final = 2000
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
# Controls, and the characters that join, hide or reverse the text around them.
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_COMBINING: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
# Hundreds of accents on one letter are drawn over the lines above and below it.
_PILED: Final = re.compile(f"([{_COMBINING}]{{2}})[{_COMBINING}]+")


def clean(text: str) -> str:
    """The text fit for one line of a terminal: no control or bidirectional characters, tabs as spaces, bounded."""
    cut = len(text) > _LONGEST
    text = text[:_LONGEST]
    if not (text.isascii() and text.isprintable()):
        text = _PILED.sub(r"\1", _UNSEEN.sub("", _ESCAPES.sub("", text.replace("\t", "    ").replace("\n", " "))))
    return text + "…" if cut else text


def cells(text: str) -> int:
    """Columns that the text takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int) -> str:
    """The text in exactly `width` columns: filled up, or cut with an ellipsis."""
    have = cells(text)
    if have <= width:
        return text + " " * (width - have)
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def right(text: str, width: int) -> str:
    """The text at the right end of `width` columns."""
    have = cells(text)
    return " " * (width - have) + text if have <= width else fit(text, width)


def width_of(line: Line) -> int:
    """Columns that the line takes."""
    return sum(cells(text) for text, _ in line)


def spread(left: Line, right_hand: Line, width: int) -> Line:
    """Both lines on one, the second at the right end; left out where both do not fit."""
    gap = width - width_of(left) - width_of(right_hand)
    return (*left, (" " * gap, "plain"), *right_hand) if gap >= 1 else left


def flow(parts: Iterable[Line], width: int, between: str = " · ") -> list[Line]:
    """Parts set one after another, on as many lines as they need."""
    lines: list[Line] = []
    line: Line = ()
    for part in parts:
        longer = (*line, (between, "faint"), *part) if line else part
        if line and width_of(longer) > width:
            lines.append(line)
            longer = part
        line = longer
    return [*lines, line] if line else lines


def first_that_fits(lines: Sequence[Line], width: int) -> Line:
    """The first of several wordings, longest first, that fits; the last one if none does."""
    return next((line for line in lines if width_of(line) <= width), lines[-1])


def wrap(text: str, width: int) -> list[str]:
    """The text's words on lines of at most `width` columns."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def bar(fraction: float | None, width: int, tone: str = "accent") -> Line:
    """A bar that is readable without colour: heavy where done, light where not."""
    if width <= 0:
        return ()
    done = 0 if fraction is None else round(max(0.0, min(1.0, fraction)) * width)
    return (("━" * done, tone), ("─" * (width - done), "faint"))


def heat(pct: float | None) -> int | None:
    """The step of the ramp for a percentage."""
    return None if pct is None else max(0, min(HEATS - 1, int(pct * HEATS / 100)))


_EIGHTHS: Final = "▁▂▃▄▅▆▇█"


def eighth(share: float) -> str:
    """A column as high as the share, which is 0 to 1; never empty."""
    return _EIGHTHS[max(0, min(7, int(share * 8)))]


def trend(shares: Sequence[float | None], width: int) -> str:
    """The last `width` shares as small columns, the newest at the right; dots where unknown."""
    shown = shares[-width:] if width > 0 else ()
    return "".join("·" if share is None else eighth(share) for share in shown).rjust(max(0, width), "·")


class Lines(Sequence[Line]):
    """Lines that are made on access: of a thousand rows only those in sight."""

    def __init__(self, length: int, make: Callable[[int], Line]) -> None:
        self._length, self._make = length, make
        self._made: dict[int, Line] = {}

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | Sequence[Line]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._length))]
        index = range(self._length)[index]
        line = self._made.get(index)
        if line is None:
            line = self._made[index] = self._make(index)
        return line


def spark(values: Sequence[float | None], width: int) -> Line:
    """The last `width` percentages as small columns, coloured by the ramp; dots where unknown."""
    shown = values[-width:]
    inks: list[Ink] = [("·" * (width - len(shown)), "faint")] if len(shown) < width else []
    for value in shown:
        step = heat(value)
        if value is None or step is None:
            inks.append(("·", "faint"))
        else:
            inks.append((_EIGHTHS[max(0, min(7, int(value * 8 / 100)))], f"spark-{step}"))
    return tuple(inks)
