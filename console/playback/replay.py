"""A log as a source of records: told apart by its content, folded, and played back.

Three forms of log, all read into the same records: a run's journal of ours, the ``debug.log`` of the fast.ai run of
2018, and a DAWNBench table. Each may be plain, gzip or Zstandard.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from console.journal import reader
from console.journal.fold_log import fold_items
from console.journal.open_log import open_log
from console.journal.reader import Line
from console.journal.whole_log import whole_log
from console.playback.history import History
from console.playback.markers import Marker
from console.state.events import Damaged, RunEnded, Unknown, parse_run_line
from console.state.run import LogLine, Run
from remote.wire.events import TargetReached, TrainingEnded

if TYPE_CHECKING:
    from console.playback.source import Source


# --- playing ---------------------------------------------------------------------------------------------------------

TICK_S: Final = 0.05
LAST_LINES: Final = 100
SLICE_ITEMS: Final = 2000
"""Items that are read at once; in a thread, the screen's turn comes in between."""


class Replay:
    """A log that plays (`console.playback.source.Player`): its history and a clock."""

    def __init__(self, path: Path | str, *, speed: float = 1.0, at_once_s: float = inf) -> None:
        """Reads the log for `at_once_s` seconds; what is left of it then is read while `work` runs. Raises LogError."""
        log = open_log(path)
        self._path = log.path
        self._title = log.path.name
        self._log = log
        self._items = log.items()
        self._history = History()
        self.reading: int | None = 0
        """Items read so far; None once all are."""
        self.playing = True
        self.speed = speed
        self.loop = False
        """Begin again at the end."""
        self.present: Source | None = None
        """Nothing runs behind a log."""
        self.behind_s: float | None = None
        until = time.monotonic() + at_once_s
        while self._read_on() and time.monotonic() < until:
            pass
        self._clock = self.start
        self._index = self._history.index_at(self._clock)
        self._run = self._history.run(self._index)

    def _read_on(self) -> bool:
        """Reads a slice; False once there is nothing more."""
        items = list(islice(self._items, SLICE_ITEMS))
        self._history.extend(items)
        self.reading = len(self._history) if len(items) == SLICE_ITEMS else None
        return self.reading is not None

    @property
    def run(self) -> Run:
        """The state at the clock."""
        return self._run

    @property
    def whole(self) -> Run:
        """The state at the log's end, or as far as it was read."""
        return self._history.latest

    @property
    def markers(self) -> Sequence[Marker]:
        """The log's markers, in order."""
        return self._history.markers

    @property
    def title(self) -> str:
        """The log's file name."""
        return self._title

    @property
    def controls(self) -> frozenset[str]:
        """Nothing can be commanded of the past."""
        return frozenset()

    @property
    def start(self) -> float:
        """The clock at the first record, epoch seconds."""
        return self._history.start

    @property
    def end(self) -> float:
        """The clock at the last record."""
        return self._history.end

    @property
    def slow(self) -> bool:
        """True where a seek may fold more than the screen can wait for."""
        return self._history.slow

    def now(self) -> float:
        """The position in the log, epoch seconds."""
        return self._clock

    def whole_log(self) -> Iterator[LogLine]:
        """Every line of the log up to the clock (console.playback.source.Chronicle)."""
        return whole_log(self._log.items(), self._clock)

    def seek(self, t: float) -> None:
        """Moves the clock, within `start` and `end`; the state follows."""
        self._clock = min(max(t, self.start), self.end)
        self._move(self._history.index_at(self._clock))

    def step(self, records: int) -> None:
        """Moves by so many records that change the picture, backwards if negative; pauses."""
        self.playing = False
        index = self._history.step(self._index, records)
        if index != self._index:
            self._clock = self._history.time(index)
            self._move(index)

    async def work(self) -> None:
        """Reads what is left and lets the clock run, until cancelled: at the end of the log one may still go back."""
        reading = asyncio.create_task(self._read_all())
        before = time.monotonic()
        try:
            while True:
                await asyncio.sleep(TICK_S)
                now = time.monotonic()
                if self.playing and not self._history.busy:
                    self.advance(now - before)
                before = now
                if reading.done():
                    reading.result()
        finally:
            reading.cancel()

    async def _read_all(self) -> None:
        while self.reading is not None:
            await asyncio.to_thread(self._read_on)

    def advance(self, seconds: float) -> None:
        """Lets the clock run for `seconds` of real time; stops, or begins again, at the end."""
        t = self._clock + seconds * self.speed
        if t >= self.end and self.reading is None:
            if self.loop and self.end > self.start:
                t = self.start
            else:
                self.playing = False
        self.seek(t)

    def exit_run(self) -> Run:
        """A run that ends as the log's: the whole one, or where not all was read only its last record."""
        if self.reading is None:
            return self.whole
        last = deque((line for line in reader.lines(self._path) if isinstance(line, Line)), maxlen=LAST_LINES)
        run = self.whole
        for line in last:
            try:
                record = parse_run_line(line.text)
            except (Damaged, Unknown):
                continue
            if isinstance(record.event, (RunEnded, TrainingEnded, TargetReached)):
                run = fold_items([record], run)
        return run

    async def command(self, command: str, **arguments: object) -> None:
        """A log takes no commands."""

    def _move(self, index: int) -> None:
        """Makes the state that of the first `index` items."""
        if index != self._index:
            self._run = self._history.run(index)
            self._index = index
