"""How far a copy is, and its report once a second in the journal.

Standard library only.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from remote.wire.events import StagingProgressed
from remote.wire.journal import Journal

_REPORT_S = 1.0
_RATE_WINDOW_S = 10.0


class Progress:
    """Counts of a copy, for all of its threads."""

    def __init__(self, source: str, journal: Journal) -> None:
        self.activity = "list"
        """One of ``StagingProgressed.activity``."""
        self.trouble = ""
        """What went wrong since the last report, though the copy continues."""
        self.total: int | None = None
        """Bytes of the data set; None until it is listed."""
        self._source = source
        self._journal = journal
        self._lock = threading.Lock()
        self._there = self._fetched = 0
        self._rates: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        """Bytes that had been fetched at some times within the window."""

    @property
    def fetched(self) -> int:
        """Bytes that came from the source."""
        return self._fetched

    def found(self, size: int) -> None:
        """Counts bytes that are in the folder, or no longer where `size` is negative."""
        with self._lock:
            self._there += size

    def fetch(self, size: int) -> None:
        """Counts bytes that came from the source."""
        with self._lock:
            self._fetched += size
            self._there += size

    def begin_copy(self) -> None:
        """From now on the rate counts."""
        self.activity = "copy"
        with self._lock:
            self._rates = deque([(time.monotonic(), self._fetched)])

    def report_until(self, stop: threading.Event) -> None:
        """Reports once a second; what a thread runs."""
        while not stop.wait(_REPORT_S):
            self.report()

    def report(self) -> None:
        """Writes the counts into the journal."""
        now = time.monotonic()
        with self._lock:
            there, fetched, total = self._there, self._fetched, self.total
            self._rates.append((now, fetched))
            while len(self._rates) > 2 and now - self._rates[0][0] > _RATE_WINDOW_S:
                self._rates.popleft()
            since, before = self._rates[0]
            trouble, self.trouble = self.trouble, ""
        activity = self.activity
        rate = (fetched - before) / (now - since) if now > since else 0.0
        self._journal.emit(
            StagingProgressed(
                source=self._source,
                activity=activity,
                done_bytes=there,
                total_bytes=total,
                bytes_per_s=rate if activity == "copy" else None,
                left_s=(total - there) / rate if total is not None and rate > 0 and activity == "copy" else None,
                detail=trouble,
            )
        )
