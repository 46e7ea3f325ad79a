"""The data sets: class folders, packed sets, and arrays. Each split of a data set is a `Source`."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from remote.data import decode, fashion_mnist, packed, shapes
from remote.data.decode import Box, Decoded, Encoded, Pixels, Unusable
from remote.data.packed import FULL, Contents, PackedSet
from remote.data.shapes import Progress
from remote.wire.job import Recipe

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
DATASETS = ("shapes", "fashion-mnist", "imagefolder", "packed")


class Picture(Protocol):
    """A picture, in one of its sizes, before it is decoded."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def can_shrink(self) -> bool:
        """True where it can be decoded at 1/2, 1/4 and 1/8 of its size."""

    def decode(self, box: Box, shrink: int) -> Decoded:
        """What covers `box`, at 1/`shrink` of the size. Raises Unusable."""


class Opened(NamedTuple):
    """A picture, and the full size that crop boxes refer to, which is the same for all of its copies."""

    picture: Picture
    width: int
    height: int


class Source(Protocol):
    """One split of a data set."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def labels(self) -> npt.NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The picture's name in messages."""

    def size(self, index: int) -> tuple[int, int]:
        """Width and height. Raises as `open` does."""

    def open(self, index: int, need: int) -> Opened:
        """The picture, in its smallest copy that is big enough for crops with a shorter side of `need` px.

        Raises OSError where it cannot be read, Unusable where it is not a picture.
        """

    def digest(self) -> str:
        """A hash that differs where the pictures or their order do."""


class Folder:
    """A directory per class, with pictures: the layout of ImageNet and of torchvision's ImageFolder."""

    def __init__(self, root: Path, progress: Progress) -> None:
        """Lists the files. Raises ValueError where `root` holds no class folder with pictures."""
        self.root = root
        self.classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        self._names: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            files = sorted(file.name for file in os.scandir(root / name) if file.name.lower().endswith(EXTENSIONS))
            self._names += [f"{name}/{file}" for file in files]
            labels += [label] * len(files)
            progress(label + 1, len(self.classes))
        if not labels:
            raise ValueError(f"{root} holds no class folders with pictures in them")
        self.labels = np.array(labels, np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """The picture's path."""
        return str(self.root / self._names[index])

    def size(self, index: int) -> tuple[int, int]:
        """From the file's header."""
        return decode.size_of(self.root / self._names[index])

    def open(self, index: int, need: int) -> Opened:
        """The picture in the file, whatever `need` is."""
        with open(f"{self.root}/{self._names[index]}", "rb", buffering=0) as file:
            picture = Encoded(file.readall())
        return Opened(picture, picture.width, picture.height)

    def digest(self) -> str:
        """Of the files' names."""
        return hashlib.sha256("\n".join(self._names).encode(errors="surrogateescape")).hexdigest()


class Packed:
    """A split that `remote.prepare` packed, in all of its sizes."""

    def __init__(self, root: Path, contents: Contents, split: str) -> None:
        """Maps the indices. Raises ValueError where they do not fit `contents`, OSError where they cannot be read."""
        self._sides = contents.sides
        self._sets = {side: PackedSet(root, contents, split, side) for side in contents.sides}
        # A crop must not depend on which copy it is taken from, so boxes refer to the biggest.
        self._whole = self._sets[FULL if FULL in self._sides else max(self._sides)]
        self.classes = contents.classes
        self.labels = self._whole.labels

    def __len__(self) -> int:
        return len(self._whole)

    def name(self, index: int) -> str:
        """The picture's path at its source."""
        return self._whole.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """From the index."""
        return self._whole.size(index)

    def open(self, index: int, need: int) -> Opened:
        """From the smallest set that is big enough."""
        chosen = self._sets[packed.side_for(self._sides, need)]
        return Opened(Encoded(chosen.read(index), chosen.size(index)), *self._whole.size(index))

    def digest(self) -> str:
        """Of the pictures' sizes in order, which differ from picture to picture."""
        index = self._whole.index
        return hashlib.sha256(index["width"].tobytes() + index["height"].tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Plain:
    """A picture that needs no decoding."""

    pixels: Pixels

    @property
    def width(self) -> int:
        """Pixels."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.pixels.shape[0]

    @property
    def can_shrink(self) -> bool:
        """False."""
        return False

    def decode(self, box: Box, shrink: int) -> Decoded:
        """The whole picture."""
        return Decoded(self.pixels, 0, 0)


class Array:
    """Grey pictures in memory, [n, height, width]."""

    def __init__(self, classes: Sequence[str], pictures: fashion_mnist.Bytes, labels: fashion_mnist.Bytes) -> None:
        self.classes = classes
        self.labels = labels.astype(np.int64)
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, index: int) -> str:
        """The picture's number."""
        return f"picture {index}"

    def size(self, index: int) -> tuple[int, int]:
        """The same for all pictures."""
        _, height, width = self._pictures.shape
        return width, height

    def open(self, index: int, need: int) -> Opened:
        """The picture, its grey as red, green and blue."""
        picture = Plain(np.repeat(self._pictures[index][:, :, None], 3, axis=2))
        return Opened(picture, picture.width, picture.height)

    def digest(self) -> str:
        """Of their number and size."""
        return str(self._pictures.shape)


def open_sources(recipe: Recipe, progress: Progress) -> tuple[Source, Source]:
    """Training and validation split of the recipe's data set, which is made or unpacked first where necessary.

    Raises:
        ValueError: the data set is unknown, or its layout is wrong.
        OSError: it cannot be read, or cannot be made.
    """
    root = Path(recipe.data_dir).expanduser()
    match recipe.dataset:
        case "shapes":
            root = shapes.make(root, progress)
        case "fashion-mnist":
            train, val = (fashion_mnist.load(root, split, progress) for split in ("train", "val"))
            return Array(fashion_mnist.CLASSES, *train), Array(fashion_mnist.CLASSES, *val)
        case "packed":
            contents = Contents.read(root)
            packed.allow_open_files()
            return Packed(root, contents, "train"), Packed(root, contents, "val")
        case "imagefolder":
            if (root / packed.CONTENTS).exists():
                raise ValueError(f'{root} holds a packed data set: set data.dataset = "packed"')
        case other:
            raise ValueError(f"unknown data set {other!r}: it is one of {', '.join(DATASETS)}")
    held_out = next((root / name for name in ("val", "validation") if (root / name).is_dir()), None)
    if held_out is None or not (root / "train").is_dir():
        raise ValueError(f"{root} does not hold the folders train and val (or validation)")
    training, validation = Folder(root / "train", progress), Folder(held_out, progress)
    if training.classes != validation.classes:
        odd = sorted(set(training.classes) ^ set(validation.classes))[0]
        raise ValueError(f"{root}: the class {odd} is in only one of train and {held_out.name}")
    for source in (training, validation):
        empty = np.flatnonzero(np.bincount(source.labels, minlength=len(source.classes)) == 0)
        if len(empty):
            folder = source.root / source.classes[empty[0]]
            raise ValueError(f"{folder} holds no picture ({', '.join(EXTENSIONS)}); fill the class or remove it")
    return training, validation


def ratio_of(source: Source, index: int) -> float:
    """Width over height, from the file's header; 1 where it cannot be read."""
    try:
        width, height = source.size(index)
    except (OSError, Unusable):
        return 1.0
    return width / height


def read_by(recipe: Recipe) -> str:
    """The decoder of the data set's pictures; empty where they are not encoded."""
    return "" if recipe.dataset == "fashion-mnist" else decode.decoder_name()


# --- the same on every host ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What two ranks' copies of a data set must have in common."""

    training: int
    validation: int
    classes: int
    class_names: str
    """A digest."""
    pictures: str
    """A digest."""


# Ranks send it to each other by the name of its class. In a run that an earlier version began, the host of a
# replacement runs this code and the others run that one, in which the module was `remote.sources`.
Fingerprint.__module__ = "remote.sources"
sys.modules.setdefault("remote.sources", sys.modules[__name__])


def fingerprint(training: Source, validation: Source) -> Fingerprint:
    """The fingerprint of the data set on this host."""
    names = hashlib.sha256("\n".join(training.classes).encode(errors="surrogateescape"))
    pictures = hashlib.sha256(f"{training.digest()} {validation.digest()}".encode())
    pictures.update(training.labels.tobytes() + validation.labels.tobytes())
    return Fingerprint(len(training), len(validation), len(training.classes), names.hexdigest(), pictures.hexdigest())


def difference(fingerprints: Sequence[Fingerprint]) -> str | None:
    """A sentence for ranks that do not have the same pictures in the same order; None where all have."""
    first = fingerprints[0]
    for rank, theirs in enumerate(fingerprints):
        counts, firsts = (
            f"{found.training:,} training and {found.validation:,} validation images in {found.classes:,} classes"
            for found in (theirs, first)
        )
        if counts != firsts:
            return f"rank {rank} has {counts}, rank 0 has {firsts}: give every host the same data set"
        if theirs.class_names != first.class_names:
            return f"rank {rank} has other classes than rank 0, of the same number: give every host the same data set"
        if theirs.pictures != first.pictures:
            return (
                f"rank {rank} has other pictures than rank 0, or in another order: "
                "prepare or copy the data set once and give it to every host"
            )
    return None
