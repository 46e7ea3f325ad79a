"""The folder that a data set is copied to: whose it is, who fills it, and what of it was checked.

`MARK` in it is a line that names the source, and one for each file that was checked. A folder with other things in it
is somebody's, and is left alone.

Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from remote.atomic_file import write_whole
from remote.staging.origin import Item, Refused
from remote.staging.s3 import MARK
from remote.wire.layout import CONTENTS

LOCK = ".staging.lock"


class Landing:
    """One such folder."""

    def __init__(self, target: Path) -> None:
        self._target = target

    @contextlib.contextmanager
    def alone(self, waits: Callable[[bool], None]) -> Iterator[None]:
        """Holds the folder's lock; nodes that share it take turns. `waits` is told whether this one has to.

        Raises:
            Refused: the folder cannot be made or written.
            OSError: the disk is full.
        """
        try:
            self._target.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._target / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise Refused(f"{self._target} cannot be made or written (data.dir): {error.strerror}") from None
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waits(True)
                    time.sleep(0.2)
            waits(False)
            yield
        finally:
            os.close(lock)

    def take_up(self, source: str, items: list[Item], table: bytes) -> dict[str, list[object]]:
        """What was checked before, by name: size, time, version. Raises Refused where the folder is another's."""
        mark = self._target / MARK
        try:
            lines = list(_lines(mark.read_text()))
        except FileNotFoundError:
            others = [path.name for path in self._target.iterdir() if path.name not in (LOCK, "lost+found")]
            if others and not self._is_it(items, table):
                raise Refused(
                    f"{self._target} holds other files ({others[0]}, for one); name an empty folder in data.dir, or "
                    "empty this one"
                ) from None
            write_whole(mark, json.dumps({"source": source}).encode() + b"\n")
            return {}
        of = lines[0].get("source") if lines else None
        if of != source:
            raise Refused(f"{self._target} holds what was copied from {of}; name another folder in data.dir")
        return {
            str(line["name"]): [line.get("size"), line.get("mtime_ns"), line.get("version")]
            for line in lines
            if "name" in line
        }

    def _is_it(self, items: list[Item], table: bytes) -> bool:
        """True if the folder, which nobody marked, seems to hold this very data set."""
        try:
            if table:
                return content(self._target / CONTENTS) == table
            return all((self._target / item.name).stat().st_size == item.size for item in items)
        except OSError:
            return False

    def note(self, item: Item) -> None:
        """Notes that a file was checked. A line that is cut off by a break is none."""
        stat = (self._target / item.name).stat()
        said = {
            "name": item.name,
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "version": item.sha256 or item.version,
        }
        with (self._target / MARK).open("ab") as file:
            file.write(json.dumps(said).encode() + b"\n")


def _lines(text: str) -> Iterator[dict[str, object]]:
    """The notes in the mark; a line that a break cut off is none, and costs its file another look."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict):
                yield said


def content(path: Path) -> bytes | None:
    """What is in a small file; None where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None
