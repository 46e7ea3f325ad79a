"""The folder that a data set is copied to: what it is for, which process fills it, and which files were checked.

`MARK` in it has a line that names the source, and one for each file that was checked. A folder without it that holds
other files is left alone.

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
from remote.wire.layout import CONTENTS

MARK = ".staged.jsonl"
LOCK = ".staging.lock"


class Destination:
    """One such folder."""

    def __init__(self, target: Path) -> None:
        self._target = target

    @contextlib.contextmanager
    def alone(self, waits: Callable[[bool], None]) -> Iterator[None]:
        """Holds the folder's lock; nodes that share it take turns. `waits` is called with whether this one has to wait.

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
        """What was checked before, by name: size, time, version.

        Raises:
            Refused: the folder holds other files, or the copy of another source.
        """
        mark = self._target / MARK
        try:
            lines = list(_lines(mark.read_text()))
        except FileNotFoundError:
            others = [path.name for path in self._target.iterdir() if path.name not in (LOCK, "lost+found")]
            if others and not self._holds(items, table):
                raise Refused(
                    f"{self._target} holds other files ({others[0]}, for example); name an empty folder in data.dir, "
                    "or empty this one"
                ) from None
            write_whole(mark, json.dumps({"source": source}).encode() + b"\n")
            return {}
        copied_from = lines[0].get("source") if lines else None
        if copied_from != source:
            raise Refused(f"{self._target} holds what was copied from {copied_from}; name another folder in data.dir")
        return {
            str(line["name"]): [line.get("size"), line.get("mtime_ns"), line.get("version")]
            for line in lines
            if "name" in line
        }

    def _holds(self, items: list[Item], table: bytes) -> bool:
        """True if the folder, which has no mark, seems to hold this data set."""
        try:
            if table:
                return content(self._target / CONTENTS) == table
            return all((self._target / item.name).stat().st_size == item.size for item in items)
        except OSError:
            return False

    def note(self, item: Item) -> None:
        """Notes in the mark that a file was checked."""
        stat = (self._target / item.name).stat()
        line = {
            "name": item.name,
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "version": item.sha256 or item.version,
        }
        with (self._target / MARK).open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")


def _lines(text: str) -> Iterator[dict[str, object]]:
    """The lines of the mark. One that was cut off is left out, so its file is checked again."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict):
                yield values


def content(path: Path) -> bytes | None:
    """A small file's content; None where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None
