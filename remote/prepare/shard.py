"""A stretch of a listing, worked on by one process: its pictures at every size, and the record that it is done.

No torch here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from remote.atomic_file import whole_file, write_whole
from remote.data import packed
from remote.data.decode import Unusable
from remote.data.packed import RECORD
from remote.prepare import originals
from remote.prepare.encode import recode
from remote.prepare.originals import Listing

WORK = ".prepare"
"""The folder in the destination with what is needed to go on; taken away at the end."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A picture that was left out or repaired."""

    index: int
    name: str
    what: str
    """``left out`` or ``repaired``."""
    why: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A stretch of a split's list."""

    split: str
    number: int
    start: int
    stop: int

    @property
    def record(self) -> str:
        """The name of its record, in `WORK`."""
        return f"{self.split}-{self.number:05d}.json"

    def rows(self, side: int) -> str:
        """The name of its piece of a set's index, in `WORK`."""
        return f"{packed.set_name(self.split, side)}-{self.number:05d}.npy"


def is_done(stretch: Shard, destination: Path, sides: Sequence[int]) -> bool:
    """True if all of the stretch is there, by its record and the sizes of its files."""
    record = record_of(stretch, destination)
    if record is None or (record["start"], record["stop"]) != (stretch.start, stretch.stop):
        return False
    try:
        return all(
            data_of(destination, stretch, side).stat().st_size == record["files"][str(side)]["size"]
            and (destination / WORK / stretch.rows(side)).exists()
            for side in sides
        )
    except (OSError, KeyError):
        return False


def record_of(stretch: Shard, destination: Path) -> dict[str, Any] | None:
    """What was written of it when it was done; None where it is not done."""
    try:
        record: dict[str, Any] = json.loads((destination / WORK / stretch.record).read_text())
    except (OSError, ValueError):
        return None
    return record


def data_of(destination: Path, stretch: Shard, side: int) -> Path:
    """Where its pictures of one size lie."""
    return packed.data_path(destination / packed.set_name(stretch.split, side), stretch.number)


def do(
    stretch: Shard,
    listing: Listing,
    reader: originals.Reader,
    destination: Path,
    sides: Sequence[int],
    quality: int,
    count: Callable[[], None],
) -> None:
    """Does the stretch, and calls `count` after each picture. Raises OSError where it cannot be read or written."""
    rows: dict[int, list[tuple[int, ...]]] = {side: [] for side in sides}
    odd: list[Odd] = []
    digests = {side: hashlib.sha256() for side in sides}
    offsets = dict.fromkeys(sides, 0)
    with contextlib.ExitStack() as stack:
        files = {side: stack.enter_context(whole_file(data_of(destination, stretch, side))) for side in sides}
        for index in range(stretch.start, stretch.stop):
            try:
                recoded = recode(_original(reader, index), sides, quality)
            except Unusable as error:
                odd.append(Odd(index, reader.name(index), "left out", str(error)))
                count()
                continue
            if recoded.repaired:
                odd.append(Odd(index, reader.name(index), "repaired", recoded.repaired))
            for side, one in zip(sides, recoded.stored, strict=True):
                files[side].write(one.data)
                digests[side].update(one.data)
                crc32, size = zlib.crc32(one.data), len(one.data)
                label = listing.labels[index]
                rows[side].append((stretch.number, size, offsets[side], crc32, label, one.width, one.height))
                offsets[side] += size
            count()
    for side in sides:
        with whole_file(destination / WORK / stretch.rows(side)) as file:
            np.save(file, np.array(rows[side], RECORD))
    record = {
        "start": stretch.start,
        "stop": stretch.stop,
        "files": {str(side): {"size": offsets[side], "sha256": digests[side].hexdigest()} for side in sides},
        "odd": [asdict(one) for one in odd],
    }
    write_whole(destination / WORK / stretch.record, json.dumps(record).encode())


def _original(reader: originals.Reader, index: int) -> bytes:
    try:
        return reader.read(index)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EISDIR):
            raise Unusable(error.strerror or str(error)) from None
        raise
