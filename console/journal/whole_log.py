"""Every line of a run's log, from its records: the state keeps the last thousand, the journal all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from console.fold import apply
from console.journal.reader import Lost
from console.state.events import Record
from console.state.run import LogLine, Run, lines_since


def whole_log(items: Iterable[Record | Lost], until: float | None = None) -> Iterator[LogLine]:
    """The lines in order, of the records up to `until` (epoch seconds) where that is given.

    Folded with the code that the screen's state is folded with, so that both have the same lines.
    """
    run = Run()
    for item in items:
        if not isinstance(item, Record):
            continue
        if until is not None and item.received_t > until:
            return
        before, run = run, apply.apply(run, item)
        yield from lines_since(before, run)
