"""The journal on a host: one append-only file a run, written by the agent and by every rank.

Each record is one ``write`` of a whole line to a descriptor opened with O_APPEND, so that lines of several processes
never mix (POSIX: each write to an O_APPEND file lands at the end, whole). Nothing here blocks training: a write that
fails drops the record and counts it; a ``RecordsDropped`` says so as soon as writing works again.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from remote.wire.codec import Event, encode
from remote.wire.events import RecordsDropped


class Journal:
    """A writer of events. Several processes and threads may each have one for the same file."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file. Raises OSError where that fails (the disk is full, the folder is missing)."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._dropped = 0
        self._reason = ""
        self._cut_off = False
        """True while the file may end in the middle of a line that this writer began."""

    def emit(self, event: Event) -> bool:
        """Appends the event with the present time. True if it is in the file."""
        with self._lock:
            if self._dropped and self._write(RecordsDropped(count=self._dropped, reason=self._reason)):
                self._dropped = 0
            if self._write(event):
                return True
            self._dropped += 1
            return False

    def _write(self, event: Event) -> bool:
        line = (encode(event, time.time()) + "\n").encode("utf-8", "replace")
        if self._cut_off:
            line = b"\n" + line
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            self._reason = error.strerror or str(error)
            return False
        if written < len(line):
            # The disk filled within the line: end the line, so that only this record is lost and not the next one too.
            self._reason = "the disk filled within a record"
            self._cut_off = True
            try:
                self._cut_off = os.write(self._fd, b"\n") == 0
            except OSError:
                pass
            return False
        self._cut_off = False
        return True

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)


class NullJournal:
    """A journal that keeps nothing, for a caller without a file."""

    def emit(self, event: Event) -> bool:
        """True; the event is forgotten."""
        return True

    def close(self) -> None:
        """There is nothing to close."""
