"""A file that is written in pieces, in any order, and can be continued after its process was killed.

The bytes go to their offsets in ``NAME.part``, and ``NAME.map`` beside it notes the pieces that are whole: a first line
with the version of the file, then one byte per piece. A piece is noted after its bytes are written, so a process that
is killed leaves no note without them. (A host that loses power may; the file's checksum finds that.)

Standard library only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PIECE_BYTES = 8 << 20
"""What one request asks for: a tenth of a second of one of S3's connections, so that a broken read loses little."""
_THERE = b"\1"


class PartialFile:
    """A file that is being written. Several threads may write different pieces of it at once."""

    def __init__(self, path: Path, size: int, version: str) -> None:
        """Continues with the pieces of this version that are on the disk, or begins anew. Raises OSError."""
        self.path = path
        self.size = size
        self.pieces = -(-size // PIECE_BYTES)
        self._part = path.with_name(f"{path.name}.part")
        self._map = path.with_name(f"{path.name}.map")
        head = f"{size} {PIECE_BYTES} {version}\n".encode()
        self._head = len(head)
        notes = b""
        with suppress(OSError):
            if self._part.stat().st_size <= size:
                notes = self._map.read_bytes()
        if not notes.startswith(head):
            self._part.unlink(missing_ok=True)
            self._map.unlink(missing_ok=True)
            notes = head
            # A file of one piece needs no notes: a folder of pictures has a million of them.
            if self.pieces > 1:
                self._map.write_bytes(head)
        noted = notes[len(head) :]
        self.there = {number for number in range(self.pieces) if noted[number : number + 1] == _THERE}
        """Numbers of the pieces that are whole."""
        self._fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._noted = os.open(self._map, os.O_WRONLY | os.O_CLOEXEC) if self.pieces > 1 else -1

    def span(self, number: int) -> tuple[int, int]:
        """Offsets of a piece's first byte and of the byte after its last."""
        return number * PIECE_BYTES, min((number + 1) * PIECE_BYTES, self.size)

    def write(self, at: int, data: memoryview) -> None:
        """Writes bytes at an offset. Raises OSError."""
        while data:
            written = os.pwrite(self._fd, data, at)
            at, data = at + written, data[written:]

    def note(self, number: int) -> None:
        """Notes that a piece is whole. Raises OSError."""
        if self._noted >= 0:
            os.pwrite(self._noted, _THERE, self._head + number)
        self.there.add(number)

    @property
    def whole(self) -> bool:
        """True if all pieces are there."""
        return len(self.there) == self.pieces

    @property
    def part(self) -> Path:
        """Where the bytes are until the file gets its name."""
        return self._part

    def install(self, mtime_ns: int | None = None) -> None:
        """Gives the file its name, and its source's time; one of several pieces is flushed first. Raises OSError."""
        if self.pieces > 1:
            os.fsync(self._fd)
        if mtime_ns is not None:
            os.utime(self._part, ns=(mtime_ns, mtime_ns))
        self.close()
        self._part.replace(self.path)
        self._map.unlink(missing_ok=True)

    def forget(self) -> None:
        """Deletes what was written."""
        self.close()
        self._part.unlink(missing_ok=True)
        self._map.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the descriptors; what was written stays."""
        for fd in (self._fd, self._noted):
            if fd >= 0:
                os.close(fd)
        self._fd = self._noted = -1
