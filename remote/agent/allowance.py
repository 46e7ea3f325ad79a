"""How much of what a process prints goes into the journal: a number of lines and of bytes a second, and the last lines.

Pure: the caller says what time it is.

Standard library only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

LINE_BYTES = 4096
LINES_PER_S = 50
BURST_BYTES = 1 << 16
BYTES_PER_S = 1 << 12
"""After a burst: a line of 80 letters each 20 ms."""
LAST_LINES = 20
"""The last lines of a flood are journalled after all once it is over: a traceback comes last."""


class Allowance:
    """What one process may still print into the journal, and what was held back."""

    def __init__(self, now: float) -> None:
        self.held_back = 0
        """Lines that were not journalled and not reported yet."""
        self.tail: deque[tuple[str, bytes]] = deque(maxlen=LAST_LINES)
        """The last of them, each with its stream."""
        self._second = 0
        self._lines = 0
        """Lines journalled within this second."""
        self._bytes = float(BURST_BYTES)
        self._at = now
        self._quiet = now

    def take(self, size: int, now: float) -> bool:
        """True if a line of `size` bytes may be journalled now; it is counted then."""
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        self._bytes = min(BURST_BYTES, self._bytes + (now - self._at) * BYTES_PER_S)
        self._at = now
        if self._lines >= LINES_PER_S or self._bytes < size:
            return False
        self._lines += 1
        self._bytes -= size
        return True

    def overdraw(self, size: int) -> None:
        """Counts bytes that are journalled beyond the allowance."""
        self._bytes -= size

    def hold_back(self, stream: str, lines: Sequence[bytes], now: float) -> None:
        """Counts lines that are not journalled, and keeps the last of them."""
        self._quiet = now + 1.0
        self.held_back += len(lines)
        self.tail.extend((stream, line[:LINE_BYTES]) for line in lines[-LAST_LINES:])

    def is_over(self, now: float) -> bool:
        """True if lines were held back, and none within the last second."""
        return self.held_back > 0 and now > self._quiet

    def is_due(self, now: float) -> bool:
        """True if lines were held back in an earlier second, whose number is to be reported now."""
        return self.held_back > 0 and int(now) != self._second
