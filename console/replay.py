"""A log as a source of records: told apart by its content, folded, and played back.

Three forms of log, all read into the same records: a run's journal of ours, the ``debug.log`` of the fast.ai run of
2018, and a DAWNBench table. Each may be plain, gzip or Zstandard.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from console import dawnbench, fastai2018, journal, state
from console.events import Damaged, Record, Unknown, parse_run_line
from console.journal import DAMAGED, UNKNOWN, Line, Lost
from console.state import Run
from remote import events as re

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


def fold_items(items: Iterable[Record | Lost], run: Run | None = None) -> Run:
    """The run after the items; a fresh one before where none is given."""
    run = Run() if run is None else run
    apply = state.apply
    for item in items:
        run = apply(run, item) if item.__class__ is Record else lost(run, item)  # type: ignore[arg-type]
    return run


def lost(run: Run, item: Lost) -> Run:
    """The run with a lost line counted."""
    return state.lose(run, damaged=item.kind == DAMAGED, unknown=item.kind == UNKNOWN)


# --- playing ---------------------------------------------------------------------------------------------------------

TICK_S: Final = 0.05
SNAPSHOT_RECORDS: Final = 500
"""A seek folds at most so many records, about 5 ms; a snapshot shares all but its own few hundred bytes."""

QUIET: Final = (
    re.HostSampled,
    re.RankProgressed,
    re.EvaluationProgressed,
    re.LeaseMoved,
    re.LogPrinted,
)
"""Events that `Replay.step` passes over: they come by the second and change no more than a gauge."""


class Replay:
    """A log that plays (`console.source.Player`): the records in memory, a clock, and snapshots to go back to."""

    def __init__(self, path: Path | str, *, speed: float = 1.0) -> None:
        """Reads the whole log. Raises LogError."""
        log = open_log(path)
        self._title = log.path.name
        self._items = list(log.items())
        self._times = _times(self._items)
        self._marks = [
            place + 1
            for place, item in enumerate(self._items)
            if isinstance(item, Record) and not isinstance(item.event, QUIET)
        ]
        self._snapshots = [Run()]
        self._run = self._snapshots[0]
        for begin in range(0, len(self._items), SNAPSHOT_RECORDS):
            self._run = fold_items(islice(self._items, begin, begin + SNAPSHOT_RECORDS), self._run)
            self._snapshots.append(self._run)
        self._place = len(self._items)
        """How many items the state has."""
        self.playing = True
        self.speed = speed
        self.loop = False
        """Begin again at the end."""
        self._clock = self.start
        self._move(bisect_right(self._times, self._clock))

    @property
    def run(self) -> Run:
        """The state at the clock."""
        return self._run

    @property
    def whole(self) -> Run:
        """The state at the log's end."""
        return self._snapshots[-1]

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
        return self._times[0] if self._times else 0.0

    @property
    def end(self) -> float:
        """The clock at the last record."""
        return self._times[-1] if self._times else 0.0

    def now(self) -> float:
        """The position in the log, epoch seconds."""
        return self._clock

    def seek(self, t: float) -> None:
        """Moves the clock, within `start` and `end`; the state follows."""
        self._clock = min(max(t, self.start), self.end)
        self._move(bisect_right(self._times, self._clock))

    def step(self, records: int) -> None:
        """Moves by so many records that change the picture, backwards if negative; pauses."""
        self.playing = False
        if not records or not self._marks:
            return
        # The mark that the state stands at, or the last one before it.
        at = bisect_right(self._marks, self._place) - 1
        if records < 0 and at >= 0 and self._marks[at] < self._place:
            at += 1
        place = self._marks[min(max(at + records, 0), len(self._marks) - 1)]
        self._clock = self._times[place - 1]
        self._move(place)

    async def work(self) -> None:
        """Lets the clock run, until cancelled: at the end of the log one may still go back."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if self.playing:
                self.advance(now - before)
            before = now

    def advance(self, seconds: float) -> None:
        """Lets the clock run for `seconds` of real time; stops, or begins again, at the end."""
        t = self._clock + seconds * self.speed
        if t >= self.end:
            if self.loop and self.end > self.start:
                t = self.start
            else:
                self.playing = False
        self.seek(t)

    async def command(self, command: str, **arguments: object) -> None:
        """A log takes no commands."""

    def _move(self, place: int) -> None:
        """Makes the state that of the first `place` items."""
        if place == self._place:
            return
        nearest = place // SNAPSHOT_RECORDS
        at, run = nearest * SNAPSHOT_RECORDS, self._snapshots[nearest]
        if at <= self._place < place:
            at, run = self._place, self._run
        self._run = fold_items(islice(self._items, at, place), run)
        self._place = place


def _times(items: list[Record | Lost]) -> list[float]:
    """When each item came, never falling; a lost line has the time of the one before.

    A clock that was set back, or a damaged stamp far ahead, must not tear the order: a stamp counts only where the next
    one does not lie before it.
    """
    times: list[float] = []
    latest = next((item.received for item in items if isinstance(item, Record)), 0.0)
    following = latest
    later: list[float] = [0.0] * len(items)
    ahead = float("inf")
    for place in range(len(items) - 1, -1, -1):
        item = items[place]
        later[place] = ahead
        if isinstance(item, Record):
            ahead = item.received
    for place, item in enumerate(items):
        if isinstance(item, Record):
            following = item.received
            if latest <= following <= later[place] + 1.0:
                latest = following
        times.append(latest)
    return times


__all__ = ["DAWNBENCH", "FASTAI_2018", "JOURNAL", "Log", "LogError", "Replay", "fold", "fold_items", "open_log"]
