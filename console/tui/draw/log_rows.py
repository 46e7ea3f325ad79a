"""The log's rows as lines of a pane: only those in sight are ever drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, overload

from console.format import long_clock
from console.tui.draw.ink import Ink, Line, cells, clean, fit, right, width_of
from console.views.log import Entry, Row

_LONGEST_OPEN: Final = 40
"""Rows that an opened line may take."""
Spans = Callable[[str], list[tuple[int, int]]]
"""Where the searched pattern is in a text."""


@dataclass(frozen=True, slots=True, eq=False)
class LogRow:
    """A line of the pane: of a row its head, one of its entries, or a further part of a long text."""

    row: Row
    entry: Entry
    key: tuple[int, int]
    """The row's number and which of its lines this is; `log_rows` gives them in this order."""
    member: bool = False
    """An entry of an opened row."""
    begin: int = 0
    """Where in the text this part begins; 0 for the first."""
    part: bool = False
    """A part of a long text that is opened."""


def log_rows(rows: Sequence[Row], opened: set[int], room: int) -> list[LogRow]:
    """The lines of the pane; a row whose number is `opened` with all that is in it. `room`: columns of a text."""
    found: list[LogRow] = []
    for row in rows:
        first, number = row.first, row.first.number
        if number not in opened:
            found.append(LogRow(row, first, (number, 0)))
        elif len(row.entries) > 1:
            found.append(LogRow(row, first, (number, 0)))
            found += [LogRow(row, entry, (number, at), member=True) for at, entry in enumerate(row.entries, start=1)]
        else:
            text = clean(first.line.text)
            begin, at = 0, 0
            while at == 0 or (begin < len(text) and at < _LONGEST_OPEN):
                found.append(LogRow(row, first, (number, at), begin=begin, part=True))
                begin += max(1, _cut(text[begin:], room))
                at += 1
    return found


def _cut(text: str, width: int) -> int:
    """How many of the text's characters fill `width` columns."""
    if text.isascii():
        return width
    taken, count = 0, 0
    for letter in text:
        taken += cells(letter)
        if taken > width:
            break
        count += 1
    return count


class Rows(Sequence[Line]):
    """The rows as lines, drawn when asked for."""

    def __init__(
        self, rows: Sequence[LogRow], width: int, started: float, tag: int, spans: Spans, several: bool
    ) -> None:
        """`tag`: columns for the node and rank that printed it; `several`: nodes have more than one rank."""
        self._rows, self._width, self._started, self._spans = rows, width, started, spans
        self._tag, self._several = tag, several

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | Sequence[Line]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        row = self._rows[index]
        line = row.entry.line
        tone = "accent" if line.stream == "console" else "warn" if line.stream == "stderr" else "plain"
        room = room_for(self._width, self._tag)
        text = clean(line.text)
        if row.begin:
            blank: Line = ((" " * (self._width - room), "plain"),)
            return (*blank, *self._text(text[row.begin :], room, tone, row.begin, text))
        clock = long_clock(line.received_t - self._started)
        who = self._who(row)
        head: Line = (
            (f" {clock:>7} ", "faint"),
            (right(who, self._tag) + " ", f"spark-{_colour(line.node)}" if who else "faint"),
        )
        badge = "" if row.member else row.row.badge
        badge = f" {badge}" if badge else ""
        if len(badge) > room // 2:
            badge = fit(badge, room // 2)
        inks = self._text(text, max(1, room - len(badge)), tone, 0, text, whole=not row.part)
        return (*head, *inks, (badge, "accent")) if badge else (*head, *inks)

    def _who(self, row: LogRow) -> str:
        node, rank = row.entry.line.node, row.entry.rank
        if node is None:
            return ""
        if len(row.row.entries) > 1 and not row.member:
            return "≡"
        return f"{node}.{rank}" if self._several and rank is not None else str(node)

    def _text(self, text: str, room: int, tone: str, begin: int, searched: str, *, whole: bool = False) -> Line:
        """The text in `room` columns, with what was searched for marked."""
        cut = fit(text, room) if whole else fit(text[: _cut(text, room)], room)
        inks: list[Ink] = []
        at = 0
        for first, last in self._spans(searched):
            first, last = max(at, first - begin), min(len(cut), last - begin)
            if first >= last:
                continue
            inks += [(cut[at:first], tone), (cut[first:last], "chip-warn")]
            at = last
        return (*inks, (cut[at:], tone))


def room_for(width: int, tag: int) -> int:
    """Columns for a line's text."""
    return max(1, width - 9 - tag - 1)


def tag_width(nodes: int, world_size: int, several: bool) -> int:
    """Columns for the node and rank that printed a line."""
    node = len(str(max(0, nodes - 1)))
    return node + 1 + len(str(max(0, world_size - 1))) if several else max(2, node)


def failure_head(title: str, lines: Sequence[Entry], width: int, height: int) -> list[Line]:
    """The first failure over its own lines: all of them, or the last ones that fit."""
    head: list[Line] = [(("▌ first failure: ", "bad"), (fit(clean(title), max(1, width - 17)), "strong"))]
    shown = lines[-max(0, height - 1) :] if height > 1 else []
    head += [(("▌ ", "bad"), (fit(clean(entry.line.text), max(1, width - 2)), "plain")) for entry in shown]
    return head


def _colour(node: int | None) -> int:
    """Neighbours differ; the darkest steps of the ramp are left out."""
    return 0 if node is None else 4 + node * 3 % 6


__all__ = ["LogRow", "Rows", "failure_head", "log_rows", "room_for", "tag_width", "width_of"]
