"""The log as one reads it: filtered, equal lines of many ranks folded into one, a failure with its own lines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from console.state.run import Alert, LogLine, Run
from console.views.filter import Fields

FOLD_S: Final = 3.0
"""Lines that are equal and come within so long are one; a gang says what all its ranks say within a step or two."""
_BEFORE_S: Final = 30.0
_AFTER_S: Final = 10.0
"""A failure's own lines come so long before and after it: a traceback is printed when the failure is told already."""
TRACEBACK: Final = "Traceback (most recent call last)"
_FATAL: Final = "Fatal Python error"
"""How faulthandler begins, which torch's ranks have for a signal that ends them."""
_HELD_BACK: Final = "more lines within a second)"
_MOST: Final = 200
"""Lines of a traceback; a recursion's is a thousand, and the last ones tell."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A line with its number, from 1, in the run's whole log."""

    number: int
    line: LogLine
    rank: int | None
    """Who printed it, also where only one rank of its node can have."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A line, or equal lines as one: the first of them stands for all."""

    entries: tuple[Entry, ...]

    @property
    def first(self) -> Entry:
        """The one that stands for all."""
        return self.entries[0]

    @property
    def badge(self) -> str:
        """How many there are and of whom; empty for a single line."""
        if len(self.entries) == 1:
            return ""
        ranks = {entry.rank for entry in self.entries if entry.rank is not None}
        nodes = {entry.line.node for entry in self.entries if entry.line.node is not None}
        whose = f"ranks {spans(ranks)}" if len(ranks) > 1 else f"nodes {spans(nodes)}" if len(nodes) > 1 else ""
        return f"×{len(self.entries)} {whose}".rstrip()


FIELDS: Final[Fields[Entry]] = Fields(
    text=lambda entry: entry.line.text,
    numbers={
        "node": lambda entry: entry.line.node,
        "rank": lambda entry: entry.rank,
    },
    words={"stream": lambda entry: entry.line.stream, "text": lambda entry: entry.line.text},
    flags={
        "stderr": lambda entry: entry.line.stream == "stderr",
        "stdout": lambda entry: entry.line.stream == "stdout",
        "console": lambda entry: entry.line.stream == "console",
    },
)
"""What there is to ask of a line."""


def entries(run: Run, node: int | None = None) -> list[Entry]:
    """The lines that the state keeps, of a node or of all, the oldest first."""
    alone = {known.node: known.ranks[0].rank for known in run.nodes if len(known.ranks) == 1}
    begin = run.log_lines - len(run.log) + 1
    return [
        Entry(
            number,
            line,
            alone.get(line.node)
            if line.rank is None and line.node is not None and line.stream != "console"
            else line.rank,
        )
        for number, line in enumerate(run.log, start=begin)
        if node is None or line.node == node
    ]


def rows(found: Iterable[Entry], test: Callable[[Entry], bool]) -> list[Row]:
    """The lines that pass, equal ones folded. What the console says is never folded: each of it is news."""
    groups: list[list[Entry]] = []
    latest: dict[tuple[str, str], list[Entry]] = {}
    for entry in found:
        if not test(entry):
            continue
        line = entry.line
        if line.stream == "console" or line.node is None:
            groups.append([entry])
            continue
        key = (line.stream, line.text)
        group = latest.get(key)
        if group is not None and line.received_t - group[0].line.received_t <= FOLD_S:
            group.append(entry)
        else:
            latest[key] = group = [entry]
            groups.append(group)
    return [Row(tuple(group)) for group in groups]


def failure_lines(run: Run) -> list[Entry]:
    """What the rank that failed first printed about it: its traceback, or else its last words on stderr."""
    first = run.first_error
    if first is None or first.node is None:
        return []
    near = [
        entry
        for entry in entries(run, first.node)
        if entry.line.stream == "stderr"
        and -_BEFORE_S <= entry.line.received_t - first.received_t <= _AFTER_S
        and not entry.line.text.endswith(_HELD_BACK)
    ]
    # Its own words, where it had a pipe of its own; the launcher speaks beside it.
    near = [entry for entry in near if first.rank is not None and entry.rank == first.rank] or near
    begins = [index for index, entry in enumerate(near) if entry.line.text.startswith((TRACEBACK, _FATAL))]
    if not begins:
        return near[-3:]
    # From the first one on: an exception that came of another one has both. The last begins what failed in the end.
    end = begins[-1] + 1
    while end < len(near) and near[end].line.text.startswith((" ", "\t", "Current thread", "Thread 0x")):
        end += 1
    if not near[begins[-1]].line.text.startswith(_FATAL):
        # After the indented lines comes the exception.
        end += 1
    return near[begins[0] : end][-_MOST:]


def told_backwards(lines: Sequence[Entry]) -> bool:
    """True for a stack whose innermost call comes first, as faulthandler writes it: of it the first lines tell."""
    return bool(lines) and lines[0].line.text.startswith(_FATAL)


def who(alert: Alert) -> str:
    """Whom an alert is about, as one says it."""
    if alert.rank is not None:
        return f"rank {alert.rank}" if alert.node is None else f"rank {alert.rank} on node {alert.node}"
    return "" if alert.node is None else f"node {alert.node}"


def spans(numbers: Iterable[int]) -> str:
    """Numbers as people write them: ``0-3, 7``."""
    parts: list[str] = []
    ordered: Sequence[int] = sorted(set(numbers))
    begin = 0
    for index in range(1, len(ordered) + 1):
        if index == len(ordered) or ordered[index] != ordered[index - 1] + 1:
            first, last = ordered[begin], ordered[index - 1]
            parts.append(str(first) if first == last else f"{first}-{last}" if last > first + 1 else f"{first}, {last}")
            begin = index
    return ", ".join(parts)
