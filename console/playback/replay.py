"""A log as a source of records: told apart by its content, folded, and played back.

Three forms of log, all read into the same records: a run's journal of ours, the ``debug.log`` of the fast.ai run of
2018, and a DAWNBench table. Each may be plain, gzip or Zstandard.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from console import dawnbench, fastai2018, journal
from console.events import Damaged, Record, RunEnded, Unknown, parse_run_line
from console.history import History, fold_items
from console.journal import Line, Lost
from console.markers import Marker
from console.state import LogLine, Run
from console.whole_log import whole_log
from remote.events import TargetReached, TrainingEnded

if TYPE_CHECKING:
    from console.source import Source

JOURNAL: Final = "journal"
FASTAI_2018: Final = "fast.ai 2018"
DAWNBENCH: Final = "DAWNBench"

HEAD_LINES: Final = 100
"""So many lines are looked at to tell what a file is: a damaged first line must not hide a journal."""
JOURNAL_BEGINS: Final = b'{"received":'


class LogError(ValueError):
    """A file that is no log; the sentence names the file, and the line where there is one."""


@dataclass(frozen=True, slots=True)
class Log:
    """A file that holds a run."""

    path: Path
    form: str
    """`JOURNAL`, `FASTAI_2018` or `DAWNBENCH`."""

    def items(self) -> Iterator[Record | Lost]:
        """Its records and what was lost, in order, read anew on each call.

        Raises:
            LogError: the file cannot be read any more.
        """
        try:
            if self.form == FASTAI_2018:
                yield from fastai2018.records(journal.lines(self.path), run_id=self.path.name)
            elif self.form == DAWNBENCH:
                beside = dawnbench.entry_beside(self.path)
                yield from dawnbench.records(journal.lines(self.path), run_id=self.path.name, entry=beside)
            else:
                yield from journal.read(self.path)
        except OSError as error:
            raise LogError(f"{self.path}: {error.strerror or error}") from error


def open_log(path: Path | str) -> Log:
    """The log at `path`, its form told by its content.

    Raises:
        LogError: there is no such file, it cannot be read, or it is no log.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise LogError(f"{path} is a directory, not a log")
        if not path.is_file() and path.exists():
            raise LogError(f"{path} is no ordinary file, so it cannot be read twice")
        head = list(islice(journal.lines(path), HEAD_LINES))
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise error if isinstance(error, LogError) else LogError(f"{path} {error}") from error
    texts = [line for line in head if isinstance(line, Line)]
    form = _form(texts)
    if form is not None:
        return Log(path, form)
    if not head:
        raise LogError(f"{path} is empty")
    first = next((line for line in head if not isinstance(line, Line) or line.text.strip()), head[0])
    number = first.number if isinstance(first, Line) else first.line_number
    why = _why_not(first)
    raise LogError(
        f"{path}, line {number}: {why}; this is no journal of a run, no fast.ai debug.log and no DAWNBench table"
    )


def _form(head: list[Line]) -> str | None:
    for line in head:
        if line.text.startswith(JOURNAL_BEGINS):
            return JOURNAL
        if line.text.startswith(b"{"):
            try:
                parse_run_line(line.text)
            except Unknown:
                return JOURNAL
            except Damaged:
                continue
            return JOURNAL
    if len(head) == 1 and head[0].text and JOURNAL_BEGINS.startswith(head[0].text):
        return JOURNAL
    texts = [line.text.decode("utf-8", "replace") for line in head]
    if any(map(fastai2018.is_line, texts)):
        return FASTAI_2018
    return DAWNBENCH if dawnbench.is_table(texts) else None


def _why_not(first: Line | Lost) -> str:
    if isinstance(first, Lost):
        return first.reason
    text = first.text[:200]
    if text.startswith(_PICTURES):
        return "an image"
    if b"\0" in text or any(byte < 9 for byte in text):
        return "binary data"
    return f"{text[:40].decode('utf-8', 'replace')!r}"


_PICTURES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")


def fold(path: Path | str) -> Run:
    """The run in a log, folded to its end. Raises LogError."""
    return fold_items(open_log(path).items())


# --- playing ---------------------------------------------------------------------------------------------------------

TICK_S: Final = 0.05
LAST_LINES: Final = 100
SLICE_ITEMS: Final = 2000
"""Items that are read at once; in a thread, the screen's turn comes in between."""


class Replay:
    """A log that plays (`console.source.Player`): its history and a clock."""

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
        """Nothing goes on behind a log."""
        self.behind_s: float | None = None
        until = time.monotonic() + at_once_s
        while self._read_on() and time.monotonic() < until:
            pass
        self._clock = self.start
        self._place = self._history.place(self._clock)
        self._run = self._history.run(self._place)

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
        """Every line of the log up to the clock (console.source.Chronicle)."""
        return whole_log(self._log.items(), self._clock)

    def seek(self, t: float) -> None:
        """Moves the clock, within `start` and `end`; the state follows."""
        self._clock = min(max(t, self.start), self.end)
        self._move(self._history.place(self._clock))

    def step(self, records: int) -> None:
        """Moves by so many records that change the picture, backwards if negative; pauses."""
        self.playing = False
        place = self._history.step(self._place, records)
        if place != self._place:
            self._clock = self._history.time(place)
            self._move(place)

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
        last = deque((line for line in journal.lines(self._path) if isinstance(line, Line)), maxlen=LAST_LINES)
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

    def _move(self, place: int) -> None:
        """Makes the state that of the first `place` items."""
        if place != self._place:
            self._run = self._history.run(place)
            self._place = place


__all__ = ["DAWNBENCH", "FASTAI_2018", "JOURNAL", "Log", "LogError", "Replay", "fold", "fold_items", "open_log"]
