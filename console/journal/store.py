"""A run's journal on disk and the state that it folds to, kept equal.

Journal first, apply second: what is not in the journal did not happen, and what a replay sees is what the screen saw.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from console.fold.apply import apply, lose
from console.journal.writer import RunJournal
from console.state.events import Damaged, Record, Unknown, parse_host_line, unread_line
from console.state.run import Run
from remote.wire.codec import Event

Observer = Callable[[Run, Run, Record | None], None]
"""Called after a change with the run before, the run after, and the record (None where a line could not be read)."""


class RunStore:
    """The journal, open for appending, and the run as it stands."""

    def __init__(self, journal: Path, run: Run | None = None) -> None:
        """`run`: what the journal tells so far. Raises OSError where it cannot be opened."""
        self.run = run or Run()
        self._journal = RunJournal(journal)
        self._observers: list[Observer] = []

    def observe(self, observer: Observer) -> None:
        """Has every change told to the observer."""
        self._observers.append(observer)

    def witness(self, event: Event, node: int | None = None) -> None:
        """Records what this laptop saw. Raises OSError where the journal cannot grow."""
        now = round(time.time(), 4)
        self._take(Record(now, now, event, node))

    def take_lines(self, node: int, lines: list[bytes], offset: int) -> None:
        """Records whole lines of a host's journal, the first at byte `offset`; those already known are skipped."""
        received = round(time.time(), 4)
        batch: list[Record] = []
        known = self.run.nodes[node].last_offset
        for line in lines:
            if known is None or offset > known:
                try:
                    batch.append(parse_host_line(line, received_t=received, node=node, offset=offset))
                except (Damaged, Unknown) as error:
                    self._take(*batch)
                    batch = []
                    self._journal.append_text(unread_line(line, received_t=received, node=node, offset=offset) + "\n")
                    before = self.run
                    self.run = lose(before, damaged=isinstance(error, Damaged), unknown=isinstance(error, Unknown))
                    self._tell(before, None)
            offset += len(line) + 1
        self._take(*batch)

    def close(self) -> None:
        """Closes the journal."""
        self._journal.close()

    def _take(self, *records: Record) -> None:
        self._journal.append(*records)
        for record in records:
            before = self.run
            self.run = apply(before, record)
            self._tell(before, record)

    def _tell(self, before: Run, record: Record | None) -> None:
        for observer in self._observers:
            observer(before, self.run, record)
