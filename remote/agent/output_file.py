"""A stream of a trainer's output as it came, byte for byte, in a file of bounded size.

Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

FILE_BYTES = 16 << 20
"""Size at which a file is renamed to ``NAME.1``, which replaces the one before, and a new one begins."""
FREE_BYTES = 512 << 20
"""Checkpoints come first on the disk: with less free space than this nothing is written here."""
_CHECK_DISK_BYTES = 1 << 20


class OutputFile:
    """The newest output of one stream: a file and the one before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._size = 0
        self._check_disk_in = 0
        """Bytes until the free space is looked at again."""

    def write(self, chunk: bytes) -> None:
        """Appends.

        Raises:
            OSError: it cannot be written, or the disk is nearly full.
        """
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._open()
        assert self._file is not None
        self._check_disk_in -= len(chunk)
        if self._check_disk_in < 0:
            self._check_disk_in = _CHECK_DISK_BYTES
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < FREE_BYTES:
                raise OSError(f"less than {FREE_BYTES >> 20} MiB are left on the disk")
        self._file.write(chunk)
        self._size += len(chunk)
        if self._size >= FILE_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._open()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.tell()

    def close(self) -> None:
        """Closes the file, if it was opened."""
        if self._file is not None:
            self._file.close()
