"""Garbage collection at times of our own choosing, so that it does not block the event loop.

A full collection visits every object that is not frozen. A console of 128 nodes with their history has a million of
them: 80 to 160 ms each time, possibly in the middle of a key press (``bench/screen.py``). A run's state is immutable
and has no cycles, so reference counting frees it, and the collector finds nothing in it.

So automatic collection is off. `GcPacer` collects between two turns of the loop, while there are few new objects, and
freezes the survivors (`gc.freeze`) once a collection takes long.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

MANY: Final = 10_000
"""New objects, less those freed, from which a collection is due: about 7 ms of work."""
OFTEN_S: Final = 0.05
"""How often that is checked: a key press may make 50,000 objects."""
SELDOM_S: Final = 2.0
AIM_S: Final = 0.006
"""Processor time that a collection should take. Where old objects are freed while new ones are made, as in a replay,
their number says nothing; so the interval, from `OFTEN_S` to `SELDOM_S`, is adjusted to this time."""
LONG_S: Final = 0.006
"""A collection that takes more processor time freezes all objects."""
TOO_LONG_S: Final = 0.015
"""The same while a dialog or a node's screen is open, whose objects will be freed soon."""


class GcPacer:
    """Collects, and freezes objects once there are so many that a collection takes long.

    Frozen objects are never visited again: garbage cycles among them stay in memory. So it freezes seldom, right after
    a collection, and preferably while no temporary screen is open.
    """

    def __init__(
        self, *, many: int = MANY, wait_s: float = OFTEN_S, long_s: float = LONG_S, too_long_s: float = TOO_LONG_S
    ) -> None:
        self._many, self._long_s, self._too_long_s = many, long_s, too_long_s
        self._works = False
        self._made = False
        self._wait_s, self._looked = wait_s, 0.0

    async def run(self, passing: Callable[[], bool]) -> None:
        """Starts, and works until cancelled. `passing`: is a temporary screen open?"""
        self.start()
        try:
            while True:
                await asyncio.sleep(OFTEN_S)
                self.tidy(passing=passing())
        finally:
            self.stop()

    def start(self) -> None:
        """Freezes all present objects and turns automatic collection off."""
        gc.freeze()
        self._looked = time.monotonic()
        self._works = gc.isenabled()
        gc.disable()

    def stop(self) -> None:
        """Turns automatic collection on again, if it was on."""
        if self._works:
            gc.enable()
            self._works = False

    def made(self) -> None:
        """Many long-lived objects were made: a source with the run's past."""
        self._made = True

    def tidy(self, *, passing: bool = False) -> None:
        """Collects and freezes what is due. `passing`: a temporary screen is open."""
        if not self._works:
            return
        if self._made and not passing:
            gc.freeze()
            self._made = False
        elif gc.get_count()[0] > self._many or time.monotonic() - self._looked > self._wait_s:
            began = time.thread_time()
            gc.collect()
            took_s = time.thread_time() - began
            if took_s > (self._too_long_s if passing else self._long_s):
                gc.freeze()
            self._wait_s = min(max(self._wait_s * AIM_S / max(took_s, AIM_S / 2), OFTEN_S), SELDOM_S)
            self._looked = time.monotonic()
