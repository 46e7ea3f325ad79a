"""The host's end of the way of a record: one append-only file a run, written by the agent and by every rank.

Each record is one ``write`` of a whole line to a descriptor opened with O_APPEND, so that lines of several processes
never mix (POSIX: each write of an O_APPEND file lands at the end, whole). Nothing here blocks training: a write that
fails drops the record, counts it, and says so in a ``RecordsDropped`` as soon as writing works again.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from remote.wire.codec import Event, encode
from remote.wire.events import RecordsDropped


class Journal:
    """A writer. Several processes and threads may each hold one on the same file."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file; raises OSError where that fails (the disk is full, the folder is missing)."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._dropped = 0
        self._reason = ""
        self._stump = False
        """True while the file may end in the middle of a line of ours."""

    def emit(self, event: Event) -> bool:
        """Appends the event, stamped now. True if it is in the file."""
        with self._lock:
            if self._dropped and self._write(RecordsDropped(count=self._dropped, reason=self._reason)):
                self._dropped = 0
            if self._write(event):
                return True
            self._dropped += 1
            return False

    def _write(self, event: Event) -> bool:
        line = (encode(event, time.time()) + "\n").encode("utf-8", "replace")
        if self._stump:
            line = b"\n" + line
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            self._reason = error.strerror or str(error)
            return False
        if written < len(line):
            # A disk that filled within the line: end the stump, so that it costs this record and not the next.
            self._reason = "the disk filled within a record"
            self._stump = True
            try:
                self._stump = os.write(self._fd, b"\n") == 0
            except OSError:
                pass
            return False
        self._stump = False
        return True

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._fd)


class Silent:
    """A journal that keeps nothing, so that a caller without one needs no ``if``."""

    def emit(self, event: Event) -> bool:
        """True, and forgets the event."""
        return True

    def close(self) -> None:
        """Nothing to give back."""
