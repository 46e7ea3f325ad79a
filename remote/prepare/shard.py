"""A shard: consecutive pictures of a split, which one process stores at every size, and the record that it is done.

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
"""The folder in the destination with what is needed to continue; deleted at the end."""


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
    """Pictures `start` to `stop` of a split's listing."""

    split: str
    number: int
    start: int
    stop: int

    @property
    def record(self) -> str:
        """The name of its record, in `WORK`."""
        return f"{self.split}-{self.number:05d}.json"

    def rows(self, side: int) -> str:
        """The name of its part of a set's index, in `WORK`."""
        return f"{packed.set_name(self.split, side)}-{self.number:05d}.npy"


def is_done(shard: Shard, destination: Path, sides: Sequence[int]) -> bool:
    """True if the shard is there, by its record and the sizes of its files."""
    record = record_of(shard, destination)
    if record is None or (record["start"], record["stop"]) != (shard.start, shard.stop):
        return False
    try:
        return all(
            data_of(destination, shard, side).stat().st_size == record["files"][str(side)]["size"]
            and (destination / WORK / shard.rows(side)).exists()
            for side in sides
        )
    except (OSError, KeyError):
        return False


def record_of(shard: Shard, destination: Path) -> dict[str, Any] | None:
    """The record that was written when it was done; None where it is not done."""
    try:
        record: dict[str, Any] = json.loads((destination / WORK / shard.record).read_text())
    except (OSError, ValueError):
        return None
    return record


def data_of(destination: Path, shard: Shard, side: int) -> Path:
    """The file with its pictures of one size."""
    return packed.data_path(destination / packed.set_name(shard.split, side), shard.number)


def make(
    shard: Shard,
    listing: Listing,
    reader: originals.Reader,
    destination: Path,
    sides: Sequence[int],
    quality: int,
    count: Callable[[], None],
) -> None:
    """Makes the shard, and calls `count` after each picture. Raises OSError where it cannot be read or written."""
    rows: dict[int, list[tuple[int, ...]]] = {side: [] for side in sides}
    odd: list[Odd] = []
    digests = {side: hashlib.sha256() for side in sides}
    offsets = dict.fromkeys(sides, 0)
    with contextlib.ExitStack() as stack:
        files = {side: stack.enter_context(whole_file(data_of(destination, shard, side))) for side in sides}
        for index in range(shard.start, shard.stop):
            try:
                recoded = recode(_original(reader, index), sides, quality)
            except Unusable as error:
                odd.append(Odd(index, reader.name(index), "left out", str(error)))
                count()
                continue
            if recoded.repaired:
                odd.append(Odd(index, reader.name(index), "repaired", recoded.repaired))
            for side, stored in zip(sides, recoded.stored, strict=True):
                files[side].write(stored.data)
                digests[side].update(stored.data)
                crc32, size = zlib.crc32(stored.data), len(stored.data)
                label = listing.labels[index]
                rows[side].append((shard.number, size, offsets[side], crc32, label, stored.width, stored.height))
                offsets[side] += size
            count()
    for side in sides:
        with whole_file(destination / WORK / shard.rows(side)) as file:
            np.save(file, np.array(rows[side], RECORD))
    record = {
        "start": shard.start,
        "stop": shard.stop,
        "files": {str(side): {"size": offsets[side], "sha256": digests[side].hexdigest()} for side in sides},
        "odd": [asdict(picture) for picture in odd],
    }
    write_whole(destination / WORK / shard.record, json.dumps(record).encode())


def _original(reader: originals.Reader, index: int) -> bytes:
    try:
        return reader.read(index)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EISDIR):
            raise Unusable(error.strerror or str(error)) from None
        raise
