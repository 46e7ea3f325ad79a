"""Files of the laptop that are either there and whole, or as they were before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that only its owner may read. It takes its name when it is whole and on the disk.

    Raises OSError where it cannot be written; then nothing of it is left.
    """
    # Two consoles may write one at the same time: the last one is it.
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_private(path: Path, content: bytes) -> None:
    """Writes a `private_file` in one piece."""
    with private_file(path) as file:
        file.write(content)
