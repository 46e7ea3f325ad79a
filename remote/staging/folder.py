"""A data set in a folder that the host sees: a mount of a network file system, or a disk of its own.

Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from remote.staging.destination import MARK
from remote.staging.origin import BLOCK_BYTES, Broken, Item, Refused


class Folder:
    """The files of one folder."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._root = path

    def items(self) -> list[Item]:
        """All files below the folder, links followed."""
        if not self._root.is_dir():
            what = "is not a folder" if self._root.exists() else "is not there"
            raise Refused(f"{self._root} {what} on this host; is it mounted? (data.stage_from)")
        found = []
        try:
            for folder, _, names in os.walk(self._root, onerror=_raise, followlinks=True):
                for name in names:
                    path = Path(folder, name)
                    if name == MARK or name.endswith((".part", ".map", ".lock")):
                        continue
                    stat = path.stat()
                    inside = path.relative_to(self._root).as_posix()
                    found.append(Item(inside, stat.st_size, f"{stat.st_mtime_ns}", mtime_ns=stat.st_mtime_ns))
        except OSError as error:
            raise Refused(f"{error.filename or self._root} cannot be read: {error.strerror}") from None
        return sorted(found, key=lambda item: item.name)

    def read(self, item: Item, start: int, end: int) -> Iterator[memoryview]:
        """See `Source`."""
        path = self._root / item.name
        block = memoryview(bytearray(min(BLOCK_BYTES, max(1, end - start))))
        try:
            with path.open("rb", buffering=0) as file:
                stat = os.fstat(file.fileno())
                if (stat.st_size, stat.st_mtime_ns) != (item.size, item.mtime_ns):
                    raise Refused(f"{path} was changed while it was copied; start again when nobody writes to it")
                file.seek(start)
                while start < end:
                    got = file.readinto(block[: end - start]) or 0
                    if not got:
                        raise Broken(f"{path} ends too early")
                    yield block[:got]
                    start += got
        except FileNotFoundError:
            raise Refused(f"{path} is not there any more; start again when nobody writes to its folder") from None
        except OSError as error:
            # A network file system may recover.
            raise Broken(f"{path}: {error.strerror}") from None

    def digest(self, item: Item) -> tuple[str, str]:
        """See `Source`."""
        return ("sha256", item.sha256) if item.sha256 else ("", "")


def _raise(error: OSError) -> None:
    raise error
