"""Reads of a source, repeated where the connection broke, and with new addresses where the old ones expired.

Standard library only.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import TypeVar

from remote.staging.origin import Broken, Expired, Refused, Source
from remote.staging.progress import Progress
from remote.staging.s3 import Bucket

_TRIES = 8
"""Broken reads in a row before the copy is given up: a minute or more."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0
"""Between two tries; each wait is twice the one before."""
_FRESH_REFUSED = 3
"""New addresses in a row that S3 calls expired before the copy is given up: the laptop's own login has expired."""
_RENEW_POLL_S = 0.2

T = TypeVar("T")


class Retry:
    """Repeats what reads one source, for all threads of a copy."""

    def __init__(self, source: Source, progress: Progress, stop: threading.Event) -> None:
        self._source = source
        self._progress = progress
        self._stop = stop

    def call(self, act: Callable[[], T], position: Callable[[], int] = lambda: 0) -> T:
        """What `act` returns. `position`: how far it is; tries in a row are those without an advance.

        Raises:
            Refused: it broke too often in a row, or the source refused it.
            InterruptedError: the copy was stopped.
        """
        broken = expired = 0
        before = position()
        while True:
            serial = getattr(self._source, "serial", 0)
            try:
                return act()
            except Broken as error:
                broken = 1 if position() > before else broken + 1
                before = position()
                self._progress.trouble = str(error)
                if broken >= _TRIES:
                    raise Refused(f"{self._source.name} cannot be read: {error}, {_TRIES} times in a row") from None
                self._stop.wait(min(_FIRST_WAIT_S * 2 ** (broken - 1), _LONGEST_WAIT_S))
            except Expired as error:
                expired = 1 if position() > before else expired + 1
                before = position()
                if expired > _FRESH_REFUSED:
                    raise Refused(
                        f"{error}: new addresses are refused too; has the laptop's AWS login expired (aws sso login)?"
                    ) from None
                self._renew(serial)
            if self._stop.is_set():
                raise InterruptedError(errno.EINTR, "stopped", self._source.name)

    def _renew(self, serial: int) -> None:
        """Waits until the laptop has sent newer addresses; the host's lease limits that."""
        assert isinstance(self._source, Bucket)
        while not self._source.renew(serial):
            self._progress.activity = "renew"
            if self._stop.wait(_RENEW_POLL_S):
                return
        self._progress.activity = "copy"
