"""Time in the fake AWS: what is to happen later happens in one thread, under one lock."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import traceback
from collections.abc import Callable


class Clock:
    """Makes things happen later, in a thread of its own, under the cloud's lock."""

    def __init__(self, lock: threading.RLock, failed: Callable[[str], None]) -> None:
        """`failed` is told the traceback of what could not happen."""
        self._failed = failed
        self._changed = threading.Condition(lock)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._over = False
        self._thread = threading.Thread(target=self._work, name="fake-cloud-clock", daemon=True)
        self._thread.start()

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """After so many seconds, once."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), what))
            self._changed.notify_all()

    def stop(self) -> None:
        """Nothing more happens."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join(10)

    def _work(self) -> None:
        with self._changed:
            while not self._over:
                now = time.monotonic()
                if self._due and self._due[0][0] <= now:
                    try:
                        heapq.heappop(self._due)[2]()
                    except Exception:
                        self._failed(traceback.format_exc())
                else:
                    self._changed.wait(self._due[0][0] - now if self._due else None)
