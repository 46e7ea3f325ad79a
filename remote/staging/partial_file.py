"""A file that comes in pieces, in any order, and can be gone on with after any kind of break.

The bytes go to ``NAME.part`` where they belong, and ``NAME.map`` beside it notes each piece that is whole: a first line
that says of which version of the file they are, then one byte a piece. A piece is noted after its bytes are written, so
a process that is killed leaves no note without them. (A host that loses its power may; the file's checksum finds that.)

Standard library only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PIECE_BYTES = 8 << 20
"""What one request asks for: a tenth of a second of one of S3's connections, so that little is lost with a break."""
_THERE = b"\1"


class Partial:
    """A file on its way. Several threads may write different pieces of it at once."""

    def __init__(self, path: Path, size: int, version: str) -> None:
        """Takes up what is on the disk of this version of the file, or begins anew. Raises OSError."""
        self.path = path
        self.size = size
        self.pieces = -(-size // PIECE_BYTES)
        self._part = path.with_name(f"{path.name}.part")
        self._map = path.with_name(f"{path.name}.map")
        head = f"{size} {PIECE_BYTES} {version}\n".encode()
        self._head = len(head)
        said = b""
        with suppress(OSError):
            if self._part.stat().st_size <= size:
                said = self._map.read_bytes()
        if not said.startswith(head):
            self._part.unlink(missing_ok=True)
            self._map.unlink(missing_ok=True)
            said = head
            # A file of one piece is there or not: a folder of a million pictures needs no notes.
            if self.pieces > 1:
                self._map.write_bytes(head)
        noted = said[len(head) :]
        self.there = {number for number in range(self.pieces) if noted[number : number + 1] == _THERE}
        """Numbers of the pieces that are whole."""
        self._fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._noted = os.open(self._map, os.O_WRONLY | os.O_CLOEXEC) if self.pieces > 1 else -1

    def span(self, number: int) -> tuple[int, int]:
        """A piece's first byte and the one after its last."""
        return number * PIECE_BYTES, min((number + 1) * PIECE_BYTES, self.size)

    def write(self, at: int, data: memoryview) -> None:
        """Puts bytes where they belong. Raises OSError."""
        while data:
            written = os.pwrite(self._fd, data, at)
            at, data = at + written, data[written:]

    def note(self, number: int) -> None:
        """Says that a piece is whole. Raises OSError."""
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
        """Gives the file its name, with the time of its source; a big one is on the disk then. Raises OSError."""
        if self.pieces > 1:
            os.fsync(self._fd)
        if mtime_ns is not None:
            os.utime(self._part, ns=(mtime_ns, mtime_ns))
        self.close()
        self._part.replace(self.path)
        self._map.unlink(missing_ok=True)

    def forget(self) -> None:
        """Throws away what came so far."""
        self.close()
        self._part.unlink(missing_ok=True)
        self._map.unlink(missing_ok=True)

    def close(self) -> None:
        """Gives the descriptors back; what came stays for another time."""
        for fd in (self._fd, self._noted):
            if fd >= 0:
                os.close(fd)
        self._fd = self._noted = -1
