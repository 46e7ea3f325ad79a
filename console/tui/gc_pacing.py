"""Python's garbage collector, kept from holding up the event loop.

By itself it looks at every object that was not set aside, and a console of 128 nodes with their history has a million:
80 to 160 ms of the loop each time, whenever it likes, such as in the middle of a key's work (``bench/screen.py``). What
a run's state is made of is immutable and in no cycle, so counting references frees it, and there is nothing for the
collector to find in it.

So it works here, and nowhere else: between two turns of the loop, while there is still little to look at; and what it
left is set aside when it has become much.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

MANY: Final = 10_000
"""New objects, less those that went, that make it worth while to look: some 7 ms of work."""
OFTEN_S: Final = 0.05
"""How often that is asked: a key may make 50,000 objects."""
SELDOM_S: Final = 2.0
AIM_S: Final = 0.006
"""
Where old objects go while new ones come, as in a replay, their number says nothing. So it is looked between `OFTEN_S`
and `SELDOM_S` after the last time, so soon that looking takes about so much processor time.
"""
LONG_S: Final = 0.006
"""Looking took more processor time: everything that there is is set aside."""
TOO_LONG_S: Final = 0.015
"""… also while a screen is open that will go."""


class GcPacer:
    """Collects, and sets objects aside once there are so many that it takes long.

    Those that are set aside are never looked at again: one that dies in a cycle later stays. So it is done seldom,
    right after a collection, and best while no screen is open that will go.
    """

    def __init__(
        self, *, many: int = MANY, wait_s: float = OFTEN_S, long_s: float = LONG_S, too_long_s: float = TOO_LONG_S
    ) -> None:
        self._many, self._long_s, self._too_long_s = many, long_s, too_long_s
        self._works = False
        self._made = False
        self._wait_s, self._looked = wait_s, 0.0

    async def run(self, passing: Callable[[], bool]) -> None:
        """Starts, and tidies until cancelled. `passing`: is a screen open that will go?"""
        self.start()
        try:
            while True:
                await asyncio.sleep(OFTEN_S)
                self.tidy(passing=passing())
        finally:
            self.stop()

    def start(self) -> None:
        """Sets aside what is there by now; from here on the interpreter collects nothing by itself."""
        gc.freeze()
        self._looked = time.monotonic()
        self._works = gc.isenabled()
        gc.disable()

    def stop(self) -> None:
        """The interpreter's own ways again."""
        if self._works:
            gc.enable()
            self._works = False

    def made(self) -> None:
        """Much was made at once that will stay: a source with the run's past."""
        self._made = True

    def tidy(self, *, passing: bool = False) -> None:
        """Collects and sets aside what is due. `passing`: a screen is open that will go."""
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
