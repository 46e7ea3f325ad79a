"""ImageNet in the layouts that it is distributed in: class folders, tars of them, or a tar of class tars.

A picture in a tar is read at its offset; nothing is unpacked. Accepted below the source folder:

- training: ``train/`` with a folder or a tar a class, or ``train.tar`` / ``ILSVRC2012_img_train.tar`` with a tar or a
  folder a class in it;
- validation: the same under ``val``, ``validation`` or ``ILSVRC2012_img_val.tar``; where the pictures are not in class
  folders, a file has the class of each (`class_map`).

No torch here.
"""

from __future__ import annotations

import io
import os
import tarfile
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from remote.atomic_file import whole_file

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
TRAIN = ("train", "train.tar", "ILSVRC2012_img_train.tar", "ILSVRC/Data/CLS-LOC/train")
VAL = ("val", "validation", "val.tar", "ILSVRC2012_img_val.tar", "ILSVRC/Data/CLS-LOC/val")
VAL_MAPS = ("LOC_val_solution.csv", "val_map.txt", "val.txt")

_NO_CLASSES = frozenset({"", "train", "val", "validation", "ILSVRC2012_img_train", "ILSVRC2012_img_val"})
"""Folders in a tar that are not class folders."""

Progress = Callable[[int, int], None]
"""Called with the number of classes, or bytes of a tar, that were read, and their total."""


@dataclass
class Listing:
    """The pictures of a split, in the order of their classes and names."""

    classes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """The tars that hold the pictures; the empty name stands for pictures in files of their own."""
    names: list[str] = field(default_factory=list)
    """Path of the file, or of the member in its tar."""
    labels: array[int] = field(default_factory=lambda: array("L"))
    containers: array[int] = field(default_factory=lambda: array("L"))
    """Index in `files`, by picture."""
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    """Of pictures in tars."""
    ignored: int = 0
    """Number of files that do not have a picture's extension."""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class _Found:
    """A picture, before the classes are numbered."""

    label: str
    name: str
    container: str = ""
    offset: int = 0
    size: int = 0


def list_split(source: Path, split: str, class_file: Path | None, progress: Progress) -> Listing:
    """The pictures of ``train`` or ``val`` under `source`.

    Raises:
        ValueError: there are none, or their layout is unknown; the message is one sentence.
        OSError: something cannot be read.
    """
    candidates = TRAIN if split == "train" else VAL
    root = next((source / name for name in candidates if (source / name).exists()), None)
    if root is None:
        raise ValueError(f"{source} holds none of {', '.join(candidates)}")
    finder = _Finder(_classes_of(source, class_file), progress)
    found = sorted(finder.look(root), key=lambda picture: (picture.label, picture.name))
    if not found and not finder.empty:
        raise ValueError(f"{root} holds no class folders with pictures in them")
    labels = {picture.label for picture in found}
    if empty := sorted(finder.empty - labels):
        more = f" and {len(empty) - 3} others" if len(empty) > 3 else ""
        raise ValueError(
            f"{root}: no picture is in the class folder {', '.join(empty[:3])}{more}; fill it or remove it"
        )
    return _numbered(found, sorted(labels), finder.ignored)


def _numbered(found: list[_Found], classes: list[str], ignored: int) -> Listing:
    listing = Listing(classes=classes, ignored=ignored)
    number = {name: index for index, name in enumerate(classes)}
    containers: dict[str, int] = {}
    for picture in found:
        listing.names.append(picture.name)
        listing.labels.append(number[picture.label])
        listing.containers.append(containers.setdefault(picture.container, len(containers)))
        listing.offsets.append(picture.offset)
        listing.sizes.append(picture.size)
    listing.files = list(containers)
    return listing


def same_classes(training: Listing, validation: Listing) -> Listing:
    """The validation pictures with the training set's labels, where their class map has numbers instead of names.

    Raises ValueError where the two do not have the same classes.
    """
    names = validation.classes
    numbered = sorted(range(len(training.classes)), key=str)
    if names != training.classes and names == [str(number) for number in numbered]:
        validation.labels = array("L", (numbered[label] for label in validation.labels))
        validation.classes = training.classes
    if training.classes != validation.classes:
        odd = sorted(set(training.classes) ^ set(validation.classes))
        only = "training" if odd[0] in training.classes else "validation"
        raise ValueError(
            f"the two sets have different classes: {odd[0]} is only in the {only} set"
            + (f", and {len(odd) - 1} more differ" if len(odd) > 1 else "")
            + f" ({len(training.classes):,} classes against {len(validation.classes):,})"
        )
    return validation


def class_map(path: Path) -> dict[str, str]:
    """Class by picture from a file of lines ``NAME CLASS`` or ``NAME,CLASS ...`` (Kaggle's LOC_val_solution.csv).

    NAME is with or without its extension; CLASS a name, or a number from 0 in the order of the sorted names.
    Raises ValueError where a line is neither.
    """
    classes: dict[str, str] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0] == "ImageId":
            continue
        if len(words) < 2:
            raise ValueError(f"{path}, line {number}: {line[:60]!r} is not a picture's name and its class")
        classes[PurePosixPath(words[0]).stem] = words[1]
    if not classes:
        raise ValueError(f"{path} names no picture")
    return classes


def _classes_of(source: Path, class_file: Path | None) -> Callable[[], Mapping[str, str]]:
    """The class map, read when first needed."""
    read: dict[str, str] = {}

    def classes() -> Mapping[str, str]:
        if not read:
            path = class_file or next((source / name for name in VAL_MAPS if (source / name).exists()), None)
            if path is None:
                raise ValueError(
                    f"the pictures are not in class folders, and {source} holds none of {', '.join(VAL_MAPS)} "
                    "that would have the class of each; name such a file with --val-classes"
                )
            read.update(class_map(path))
        return read

    return classes


class _Finder:
    """Walks folders and tars."""

    def __init__(self, classes: Callable[[], Mapping[str, str]], progress: Progress) -> None:
        self.empty: set[str] = set()
        """Class folders and tars that were found; those with pictures are removed later."""
        self.ignored = 0
        self._classes = classes
        self._progress = progress

    def look(self, root: Path) -> Iterator[_Found]:
        """All pictures under `root`, a folder or a tar."""
        if root.is_file():
            yield from self._tar(root)
            return
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        total = len(entries)
        for done, entry in enumerate(entries):
            if total <= 10_000 or done % 1000 == 0:
                self._progress(done, total)
            if entry.is_dir():
                if not entry.name.startswith("."):
                    self.empty.add(entry.name)
                    yield from self._folder(Path(entry.path), entry.name)
            elif entry.name.lower().endswith(".tar"):
                label = entry.name[:-4]
                self.empty.add(label)
                yield from self._tar(Path(entry.path), label)
            elif self._is_picture(entry.name):
                yield _Found(self._mapped(entry.name), entry.path)
        self._progress(total, total)

    def _folder(self, folder: Path, label: str) -> Iterator[_Found]:
        for entry in os.scandir(folder):
            if entry.is_file() and self._is_picture(entry.name):
                yield _Found(label, entry.path)

    def _tar(self, path: Path, label: str = "") -> Iterator[_Found]:
        size = path.stat().st_size
        with path.open("rb") as file:
            yield from self._members(file, 0, size, path, label, lambda at: self._progress(at, size))

    def _members(
        self, file: BinaryIO, start: int, size: int, path: Path, label: str, progress: Callable[[int], None]
    ) -> Iterator[_Found]:
        """The pictures of the tar that is `size` bytes from `start` in `file`."""
        try:
            with tarfile.open(fileobj=_FileRange(file, start, size), mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # it keeps all of them, a million here
                    progress(start + member.offset)
                    member_path = PurePosixPath(member.name)
                    if member.isdir():
                        if not label and member_path.name not in _NO_CLASSES:
                            self.empty.discard(member_path.parent.name)
                            self.empty.add(member_path.name)
                    elif not member.isfile():
                        continue
                    elif member_path.suffix.lower() == ".tar" and not label:
                        self.empty.add(member_path.stem)
                        inner = start + member.offset_data
                        yield from self._members(file, inner, member.size, path, member_path.stem, progress)
                    elif self._is_picture(member_path.name):
                        flat = member_path.parent.name in _NO_CLASSES
                        of = label or (self._mapped(member_path.name) if flat else member_path.parent.name)
                        yield _Found(of, member.name, str(path), start + member.offset_data, member.size)
        except tarfile.TarError as error:
            raise ValueError(
                f"{path} cannot be read as a tar without compression ({error}); unpack it, or download it again"
            ) from None

    def _mapped(self, name: str) -> str:
        label = self._classes().get(PurePosixPath(name).stem)
        if label is None:
            raise ValueError(f"the file of classes does not name the picture {name}")
        return label

    def _is_picture(self, name: str) -> bool:
        if name.startswith("."):
            return False
        if name.lower().endswith(EXTENSIONS):
            return True
        self.ignored += 1
        return False


class _FileRange(io.RawIOBase):
    """A range of a file as a file of its own: a tar within a tar."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data


class Reader:
    """Reads the pictures of a listing."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._open: dict[str, int] = {}

    def name(self, index: int) -> str:
        """The picture's path, with the tar that holds it."""
        container = self._listing.files[self._listing.containers[index]]
        return f"{container}: {self._listing.names[index]}" if container else self._listing.names[index]

    def read(self, index: int) -> bytes:
        """A picture's bytes. Raises OSError."""
        listing = self._listing
        container = listing.files[listing.containers[index]]
        if not container:
            return Path(listing.names[index]).read_bytes()
        descriptor = self._open.get(container)
        if descriptor is None:
            descriptor = self._open[container] = os.open(container, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(descriptor, listing.sizes[index], listing.offsets[index])


def write_listing(path: Path, listing: Listing) -> None:
    """Writes a listing to a file."""

    def text(lines: list[str]) -> Any:
        return np.frombuffer("\0".join(lines).encode("utf-8", "surrogateescape"), np.uint8)

    with whole_file(path) as file:
        np.savez(
            file,
            classes=text(listing.classes),
            files=text(listing.files),
            names=text(listing.names),
            ignored=np.array(listing.ignored),
            labels=np.array(listing.labels),
            containers=np.array(listing.containers),
            offsets=np.array(listing.offsets),
            sizes=np.array(listing.sizes),
        )


def read_listing(path: Path) -> Listing:
    """The listing that `write_listing` wrote."""
    listing = Listing()
    with np.load(path) as arrays:
        for name in ("classes", "files", "names"):
            setattr(listing, name, arrays[name].tobytes().decode("utf-8", "surrogateescape").split("\0"))
        for name in ("labels", "containers", "offsets", "sizes"):
            getattr(listing, name).extend(arrays[name].tolist())
        listing.ignored = int(arrays["ignored"])
    return listing
