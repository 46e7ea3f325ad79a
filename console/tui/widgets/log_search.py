"""A regular expression from the operator over untrusted text of hosts, bounded in time.

Python's `re` can backtrack for ever, over a line that was made for it and over many that were not. It checks for
signals while it matches, so that Ctrl-C can end it; here a timer's signal does. The timer counts the processor time of
this process, so that a busy machine does not make a good pattern look slow.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

LIMIT_S: Final = 0.03
"""Processor time for all lines of one redraw; a pattern that takes longer over a single line is given up."""
_LONGEST: Final = 1000
"""Characters of a line that are searched; no screen shows more."""


class Slow(Exception):
    """The time limit passed."""


class Pattern:
    """A compiled pattern; given up once it is too slow."""

    def __init__(self, typed: str) -> None:
        """Raises ValueError with a sentence where it is not a regular expression. Lower case matches upper case too."""
        try:
            self._pattern = re.compile(typed, 0 if any(map(str.isupper, typed)) else re.IGNORECASE)
        except (re.error, OverflowError, RecursionError) as error:
            position = getattr(error, "pos", None)
            where = "" if position is None else f" at character {position + 1}"
            reason = getattr(error, "msg", "") or "too large"
            raise ValueError(f"Invalid regex: {reason}{where}.") from None
        self.typed = typed
        self._spans: dict[str, list[tuple[int, int]]] = {}
        self.wrong = ""
        """Why it was given up."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The matches in a line, in characters; none once it was given up. Takes `LIMIT_S` at most."""
        if self.wrong:
            return []
        try:
            with limited(LIMIT_S):
                return [
                    found.span() for found in self._pattern.finditer(text[:_LONGEST]) if found.end() > found.start()
                ]
        except Slow:
            self._give_up()
            return []

    def found(self, texts: list[str], known: dict[str, bool]) -> bool:
        """Fills `known` for the texts that are not in it, within the time limit; True once all are in it."""
        new = [text for text in texts if text not in known]
        search = self._pattern.search
        text = ""
        try:
            with limited(LIMIT_S):
                for text in new:
                    known[text] = not self.wrong and search(text, 0, _LONGEST) is not None
        except Slow:
            if text == new[0]:
                self._give_up()
                known.clear()
                return True
            return False
        return True

    def _give_up(self) -> None:
        self.wrong = f"The regex took more than {LIMIT_S * 1000:.0f} ms on one line and was given up."
        self._spans.clear()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Slow in the block when the time is up. Only in the main thread: signals reach no other."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    armed, began = True, time.process_time()

    def ring(number: int, frame: FrameType | None) -> None:
        if armed:
            raise Slow

    handler, (left_s, every_s) = signal.signal(signal.SIGPROF, ring), signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        armed = False
        # Restores a timer that somebody else had set.
        left_s = max(0.001, left_s - time.process_time() + began) if left_s else 0
        signal.setitimer(signal.ITIMER_PROF, left_s, every_s)
        signal.signal(signal.SIGPROF, handler)
