"""A regular expression that a person typed, over text that a stranger printed: bounded in time.

Python's `re` can take for ever over a line that was made for it, and over many that were not. It looks for signals
while it matches, so that Ctrl-C can end it; here it is a timer's signal that does.
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
"""For all lines of one look; a pattern that takes longer over a single line is given up."""
_LONGEST: Final = 1000
"""Characters of a line that are searched; no screen shows more."""


class Slow(Exception):
    """The time was up."""


class Pattern:
    """Finds, and remembers what it found while the lines are the same objects."""

    def __init__(self, typed: str) -> None:
        """Raises ValueError with a sentence where it is no regular expression. Lower case finds upper case too."""
        try:
            self._pattern = re.compile(typed, 0 if any(map(str.isupper, typed)) else re.IGNORECASE)
        except (re.error, OverflowError, RecursionError) as error:
            place = getattr(error, "pos", None)
            where = "" if place is None else f" at character {place + 1}"
            reason = getattr(error, "msg", "") or "too large"
            raise ValueError(f"No regular expression: {reason}{where}.") from None
        self.typed = typed
        self._spans: dict[str, list[tuple[int, int]]] = {}
        self.wrong = ""
        """Why it was given up."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where it is found in a line, in characters; nothing once it was given up. Takes `LIMIT_S` at most."""
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
        """Fills `known` for the texts that are not in it, as far as the time goes; True once all are."""
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
        self.wrong = f"The pattern took more than {LIMIT_S * 1000:.0f} ms over one line and was given up."
        self._spans.clear()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Slow in the block when the time is up. Without a limit outside of the main thread, where none can be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    armed, began = True, time.monotonic()

    def ring(number: int, frame: FrameType | None) -> None:
        if armed:
            raise Slow

    handler, (left_s, every_s) = signal.signal(signal.SIGALRM, ring), signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        armed = False
        # Whoever else had the timer set has it again.
        signal.setitimer(signal.ITIMER_REAL, max(0.001, left_s - time.monotonic() + began) if left_s else 0, every_s)
        signal.signal(signal.SIGALRM, handler)
