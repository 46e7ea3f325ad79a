"""Python's garbage collector, kept from holding up the event loop.

A full collection looks at every object that was not set aside, and a console of 128 nodes with their history has a
million: 80 to 160 ms of the loop each time (``bench/screen.py``). What a run's state is made of is immutable and in no
cycle, so counting references frees it, and there is nothing for the collector to find in it.
"""

from __future__ import annotations

import gc
import time
from typing import Final

LONGEST_S: Final = 0.01
"""A full collection that took more processor time makes everything that there is be set aside."""


class Collector:
    """Sets objects aside once there are so many that a full collection takes long.

    Those that are set aside are never looked at again: one that dies in a cycle later stays. So it is done seldom,
    right after a full collection, and while no screen is open that will go.
    """

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._began = 0.0
        self._due = False

    def start(self) -> None:
        """Sets aside what is there by now, and watches from here on."""
        gc.freeze()
        gc.callbacks.append(self._heard)

    def stop(self) -> None:
        """Watches no more."""
        if self._heard in gc.callbacks:
            gc.callbacks.remove(self._heard)

    def made(self) -> None:
        """Much was made at once that will stay: a source with the run's past."""
        self._due = True

    def tidy(self) -> bool:
        """Sets everything aside if that is due; True if it did."""
        due, self._due = self._due and self._heard in gc.callbacks, False
        if due:
            gc.freeze()
        return due

    def _heard(self, phase: str, told: dict[str, int]) -> None:
        # Called in whichever thread collects; it holds the interpreter's lock all the while.
        if phase == "start":
            self._began = time.thread_time()
        elif told["generation"] == 2 and time.thread_time() - self._began > self._longest_s:
            self._due = True
