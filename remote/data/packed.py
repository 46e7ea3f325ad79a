"""The packed format: a data set in few big files of thousands of JPEGs each, with an index of their offsets.

A picture is read by one ``pread``; nothing is listed, opened or parsed to find it. `remote.prepare` writes it::

    packed.json            the table of contents; written last, so a folder without it is unfinished
    train.names            the pictures' names at their source, one a line, for messages
    train-160.npy          the index of the training pictures with a shorter side of 160 px: `RECORD` each
    train-160/00000.data   their bytes, some thousand pictures a file

All sets of a split hold the same pictures in the same order, so an epoch's order and the labels are those of each set.
No torch here.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 1
CONTENTS = "packed.json"
FULL = 0
"""Among the sides, stands for the pictures' full size."""
ENOUGH = 1.14
"""A set's side over that of its crops, at least: validation pictures are resized to this before they are cropped."""

RECORD = np.dtype(
    [
        ("file", "<u4"),
        ("size", "<u4"),
        ("offset", "<u8"),
        ("crc32", "<u4"),
        ("label", "<u4"),
        ("width", "<u2"),
        ("height", "<u2"),
    ]
)
"""A picture. Width and height are without the padding that the JPEG may have on the right (`remote.data.tiles`)."""
Index = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Contents:
    """The table of contents, in `CONTENTS`."""

    classes: tuple[str, ...]
    images: dict[str, int]
    """Pictures by split, ``train`` and ``val``."""
    sides: tuple[int, ...]
    """The sets of each split by their shorter side, `FULL` last."""
    files: dict[str, dict[str, Any]]
    """``{"size": bytes, "sha256": hex}`` by path, of every file but this."""

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(
            {
                "format": FORMAT,
                "classes": self.classes,
                "images": self.images,
                "sides": self.sides,
                "files": self.files,
            },
            indent=1,
        )

    @classmethod
    def read(cls, root: Path) -> Contents:
        """The table of contents of the data set in `root`.

        Raises:
            ValueError: there is none, it is unfinished, or its format is another; the message is one sentence.
        """
        path = root / CONTENTS
        try:
            values = json.loads(path.read_text())
            if values["format"] != FORMAT:
                raise ValueError(
                    f"{path} is of format {values['format']!r} and this reads {FORMAT}: prepare the data set anew"
                )
            return cls(tuple(values["classes"]), values["images"], tuple(values["sides"]), values["files"])
        except FileNotFoundError:
            raise ValueError(
                f"{root} holds no packed data set (there is no {CONTENTS}); make one with "
                f"python -m remote.prepare SOURCE {root}, and run that again if it was interrupted"
            ) from None
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}: {error}): prepare the data set anew"
            ) from None


def set_name(split: str, side: int) -> str:
    """A set's name: ``train-160``, ``val-full``."""
    return f"{split}-{side or 'full'}"


def side_for(sides: Sequence[int], image_size: int) -> int:
    """The side of the smallest set that is big enough for crops of `image_size`; the biggest side where none is."""
    for side in sorted(side for side in sides if side != FULL):
        if side >= ENOUGH * image_size - 1:
            return side
    return FULL if FULL in sides else max(sides)


class PackedSet:
    """One split at one size."""

    def __init__(self, root: Path, contents: Contents, split: str, side: int) -> None:
        """Maps the index. Raises ValueError where it does not fit `contents`, OSError where it cannot be read."""
        self._folder = root / set_name(split, side)
        path = root / f"{set_name(split, side)}.npy"
        self._index: Index = np.load(path, mmap_mode="r")
        if self._index.dtype != RECORD or len(self._index) != contents.images[split]:
            raise ValueError(f"{path} is not the index of {contents.images[split]:,} pictures that {CONTENTS} names")
        self._names_path = root / f"{split}.names"
        self._names: list[str] | None = None
        self._files: dict[int, int] = {}
        self.classes = contents.classes
        self.labels: npt.NDArray[np.int64] = self._index["label"].astype(np.int64)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def index(self) -> Index:
        """The records."""
        return self._index

    def size(self, index: int) -> tuple[int, int]:
        """A picture's width and height."""
        record = self._index[index]
        return int(record["width"]), int(record["height"])

    def name(self, index: int) -> str:
        """The picture's path at its source, after that of the set."""
        if self._names is None:
            try:
                self._names = self._names_path.read_text(errors="replace").splitlines()
            except OSError:
                self._names = []
        name = self._names[index] if index < len(self._names) else f"picture {index}"
        return f"{self._folder}: {name}"

    def read(self, index: int) -> bytes:
        """A picture's JPEG. Raises OSError where the file is missing or truncated."""
        record = self._index[index]
        file, size = int(record["file"]), int(record["size"])
        descriptor = self._files.get(file)
        if descriptor is None:
            descriptor = self._files[file] = os.open(data_path(self._folder, file), os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(descriptor, size, int(record["offset"]))
        if len(data) != size:
            raise OSError(f"{data_path(self._folder, file)} ends in the middle of the picture")
        return data

    def verified(self) -> Iterator[bool]:
        """For each picture, whether its checksum is right."""
        for index in range(len(self)):
            try:
                yield zlib.crc32(self.read(index)) == int(self._index[index]["crc32"])
            except OSError:
                yield False

    def close(self) -> None:
        """Closes the descriptors."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


def data_path(folder: Path, number: int) -> Path:
    """The file with the bytes of shard `number`."""
    return folder / f"{number:05d}.data"


def allow_open_files() -> None:
    """Raises this process's limit of open files to the host's: a set of ImageNet has some hundred."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sha256_of(path: Path) -> str:
    """The hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
