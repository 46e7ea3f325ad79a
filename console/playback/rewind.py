"""A live run together with its past: one looks back while it continues, and nothing of it waits.

The past is the run's own journal, read behind the one that writes it; the present is the live source, untouched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from console.journal.reader import Growing
from console.playback.history import History
from console.playback.markers import Marker
from console.playback.source import Source
from console.state.run import Run

TICK_S: Final = 0.05
NOW_S: Final = 0.25
"""So little ago is the present."""
READ_EVERY_S: Final = 1.0
"""How often the journal's new lines are read, in a thread: 20 records a second take a hundredth of that."""


class Rewind:
    """A `console.playback.source.Player` over a live source and the journal that it writes."""

    def __init__(self, live: Source, journal: Path) -> None:
        """`journal` need not be there yet."""
        self.present: Source | None = live
        self._live = live
        self._journal = Growing(journal)
        self._history = History()
        self._held: tuple[float, int, Run] | None = None
        """The clock, the index and the state where one looks back; None at the present."""
        self._playing = False
        self.speed = 1.0
        self.loop = False
        self.reading: int | None = 0

    @property
    def run(self) -> Run:
        """The state at the clock."""
        held = self._held
        return self._live.run if held is None else held[2]

    @property
    def title(self) -> str:
        """What the live source is called."""
        return self._live.title

    @property
    def controls(self) -> frozenset[str]:
        """Those of the live run, whatever moment is shown."""
        return self._live.controls

    @property
    def start(self) -> float:
        """The clock at the first record, epoch seconds."""
        return self._history.start or self._live.run.started_t or self.end

    @property
    def end(self) -> float:
        """The present, or when the run ended."""
        run = self._live.run
        return self._live.now() if run.live or run.last_received_t is None else run.last_received_t

    @property
    def whole(self) -> Run:
        """The run as it stands now."""
        return self._live.run

    @property
    def markers(self) -> Sequence[Marker]:
        """Those of the journal so far."""
        return self._history.markers

    @property
    def slow(self) -> bool:
        """True where a seek may fold more than the screen can wait for."""
        return self._history.slow

    @property
    def behind_s(self) -> float | None:
        """How far the clock is behind the present; None at the present."""
        held = self._held
        return None if held is None else max(0.0, self.end - held[0])

    @property
    def playing(self) -> bool:
        """True at the present, and where the past runs on."""
        return self._held is None or self._playing

    @playing.setter
    def playing(self, playing: bool) -> None:
        self._playing = playing

    def now(self) -> float:
        """The clock that is shown."""
        held = self._held
        return self._live.now() if held is None else held[0]

    def seek(self, t: float) -> None:
        """Looks at the run as it was at `t`; at the end and after it, at the present."""
        # The end moves on while one asks for it.
        if t >= self.end - NOW_S or not len(self._history):
            self._return()
            return
        clock = max(t, self.start)
        self._hold(clock, self._history.index_at(clock))

    def step(self, records: int) -> None:
        """Back, or forward until the present, by so many records that change the picture; holds the clock there."""
        held = self._held
        self._playing = False
        if held is None and records >= 0:
            return
        at = len(self._history) if held is None else held[1]
        index = self._history.step(at, records)
        if records > 0 and (index <= at or index >= len(self._history)):
            self._return()
        elif index != at:
            self._hold(self._history.time(index), index)

    async def work(self) -> None:
        """Drives the live source, reads its journal behind it and lets a past that plays run on, until cancelled."""
        beside = [asyncio.create_task(self._read()), asyncio.create_task(self._play())]
        try:
            await self._live.work()
            # The run has ended; one may still look back at it.
            await asyncio.gather(*beside)
        finally:
            for task in beside:
                task.cancel()

    async def command(self, command: str, **arguments: Any) -> None:
        """Goes to the live run, whatever moment is shown."""
        await self._live.command(command, **arguments)

    async def _read(self) -> None:
        while True:
            try:
                while await asyncio.to_thread(self._read_on):
                    pass
            except OSError:
                # No journal yet, or it cannot be read: then there is no past to look at, and the run continues.
                pass
            self.reading = None
            if not self._live.run.live and len(self._history) >= self._live.run.records:
                return
            await asyncio.sleep(READ_EVERY_S)

    def _read_on(self) -> bool:
        items = self._journal.read()
        if items:
            self._history.extend(items)
            if self.reading is not None:
                self.reading = len(self._history)
        return items is not None

    async def _play(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            held = self._held
            if held is not None and self._playing and not self._history.busy:
                self.seek(held[0] + (now - before) * self.speed)
            before = now

    def _hold(self, clock: float, index: int) -> None:
        held = self._held
        run = held[2] if held is not None and held[1] == index else self._history.run(index)
        self._held = clock, index, run

    def _return(self) -> None:
        self._held = None
        self._playing = False
