"""From image files to batches: which pictures a rank reads at which step, and how each is cropped.

Two rules make a run the same whatever the number of ranks, and a resumed run the same as one that never stopped:
the order of an epoch depends on (seed, epoch) alone, and a picture's random crop on (seed, epoch, the picture's index)
alone. Nothing depends on a generator that others have drawn from before.

Pictures travel as uint8 [n, height, width, 3] and become normalised floats on the device; permuted to
[n, 3, height, width] that is torch's channels_last layout with no copy.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from remote import fashion_mnist, shapes
from remote.job import Recipe
from remote.schedule import Phase, phase_index, steps_per_epoch, total_epochs
from remote.shapes import Progress

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
RESIZE = 1.14
"""Validation pictures are resized to this times the crop's side (256/224), then cropped in the middle."""


class Request(NamedTuple):
    """One picture as a batch wants it."""

    picture: int
    """Its index."""
    height: int
    width: int
    epoch: int = -1
    """Which epoch's random crop; -1 for the middle crop of a validation."""
    min_scale: float = 1.0


Batch = tuple[torch.Tensor, torch.Tensor]
"""uint8 pictures [n, height, width, 3] and int64 labels [n]."""


# --- where pictures come from ----------------------------------------------------------------------------------------


class Source(Protocol):
    """One split of a data set."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def labels(self) -> npt.NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What to call the picture in a message."""

    def open(self, index: int) -> Image.Image:
        """The picture, perhaps not decoded yet. Raises OSError or SyntaxError (Pillow) where it cannot be read."""


class Folder:
    """One directory a class, pictures in it: the layout of ImageNet and of torchvision's ImageFolder."""

    def __init__(self, root: Path, progress: Progress) -> None:
        """Lists the files. Raises ValueError where `root` holds no class or no picture."""
        self.root = root
        self.classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        self._names: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            files = sorted(e.name for e in os.scandir(root / name) if e.name.lower().endswith(EXTENSIONS))
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

    def open(self, index: int) -> Image.Image:
        """The picture, not decoded yet."""
        return Image.open(self.root / self._names[index])


class Array:
    """Grey pictures that lie in memory, [n, height, width]."""

    def __init__(self, classes: Sequence[str], pictures: fashion_mnist.Bytes, labels: fashion_mnist.Bytes) -> None:
        self.classes = classes
        self.labels = labels.astype(np.int64)
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, index: int) -> str:
        """The picture's number."""
        return f"picture {index}"

    def open(self, index: int) -> Image.Image:
        """The picture as Pillow has it."""
        return Image.fromarray(self._pictures[index])


def open_sources(recipe: Recipe, progress: Progress) -> tuple[Source, Source]:
    """Training and validation split of the recipe's data set, made or unpacked first where need be.

    Raises:
        ValueError: the data set is unknown or not laid out as it should be.
        OSError: it is not there, or cannot be written.
    """
    root = Path(recipe.data_dir).expanduser()
    match recipe.dataset:
        case "shapes":
            root = shapes.make(root, progress)
        case "fashion-mnist":
            train, val = (fashion_mnist.load(root, split, progress) for split in ("train", "val"))
            return Array(fashion_mnist.CLASSES, *train), Array(fashion_mnist.CLASSES, *val)
        case "imagefolder":
            pass
        case other:
            raise ValueError(f"unknown data set {other!r}: it is one of shapes, fashion-mnist, imagefolder")
    held_out = next((root / name for name in ("val", "validation") if (root / name).is_dir()), None)
    if held_out is None or not (root / "train").is_dir():
        raise ValueError(f"{root} does not hold the folders train and val (or validation)")
    training, validation = Folder(root / "train", progress), Folder(held_out, progress)
    if training.classes != validation.classes:
        odd = sorted(set(training.classes) ^ set(validation.classes))[0]
        raise ValueError(f"{root}: the class {odd} is in only one of train and {held_out.name}")
    return training, validation


# --- which pictures, when --------------------------------------------------------------------------------------------


def epoch_order(images: int, seed: int, epoch: int) -> list[int]:
    """The shuffled indices of an epoch, a function of the arguments alone."""
    generator = torch.Generator().manual_seed(_mixed(seed, epoch))
    return torch.randperm(images, generator=generator).tolist()


def training_plan(
    recipe: Recipe, images: int, rank: int, world_size: int, epoch: int, epoch_step: int
) -> Iterator[list[Request]]:
    """This rank's batches from the step after `epoch_step` of `epoch` to the end of the run.

    One plan for all epochs and phases, so that a loader that works ahead never stalls at a switch. The global batch of
    a step is a stretch of the epoch's order, cut into one piece a rank; an epoch's last is filled up from its start.
    """
    phases = recipe.phases
    for now in range(epoch, total_epochs(phases)):
        phase = phases[phase_index(phases, now)]
        order = epoch_order(images, recipe.seed, now)
        size, batch = phase.image_size, phase.batch_size_per_gpu
        for step in range(epoch_step if now == epoch else 0, steps_per_epoch(images, batch * world_size)):
            first = (step * world_size + rank) * batch
            yield [
                Request(order[place % images], size, size, now, phase.min_scale)
                for place in range(first, first + batch)
            ]


def validation_plan(
    phase: Phase, images: int, ratios: npt.NDArray[np.float64] | None, rank: int, world_size: int
) -> list[list[Request]]:
    """This rank's share of an evaluation: over all ranks, every picture exactly once.

    `ratios` are the pictures' widths over heights, needed where `phase.rectangular`: the pictures are sorted by them,
    each batch is cropped to its own mean ratio, the short side to `phase.image_size` and the long one to a multiple of
    8. The batches are dealt out to the ranks one by one; they differ in length by at most one picture.
    """
    size = phase.image_size
    order = np.arange(images)
    if phase.rectangular and ratios is not None:
        order = np.argsort(ratios, kind="stable")
    count = world_size * math.ceil(images / (world_size * phase.batch_size_per_gpu))
    plan = []
    for number in range(rank, count, world_size):
        indices = order[number * images // count : (number + 1) * images // count]
        if len(indices) == 0:
            continue
        height = width = size
        if phase.rectangular and ratios is not None:
            ratio = float(ratios[indices].mean())
            long = max(size, int(size * max(ratio, 1 / ratio)) // 8 * 8)
            height, width = (size, long) if ratio > 1 else (long, size)
        plan.append([Request(int(index), height, width) for index in indices])
    return plan


def ratio_of(source: Source, index: int) -> float:
    """Width over height, from the file's head alone; 1 where it cannot be read."""
    try:
        with source.open(index) as image:
            return image.width / image.height
    except (OSError, SyntaxError):
        return 1.0


# --- how a picture is cropped ----------------------------------------------------------------------------------------

Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels of the whole picture."""


def random_box(width: int, height: int, min_scale: float, rng: random.Random) -> Box:
    """A crop of `min_scale` to all of the area with a ratio of 3:4 to 4:3 (Szegedy et al. 2014, "Inception" crops)."""
    for _ in range(10):
        area = width * height * rng.uniform(min_scale, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, upper = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return left, upper, left + w, upper + h
    side_w, side_h = min(width, height * 4 / 3), min(height, width * 4 / 3)
    return _middle(width, height, side_w, side_h)


def middle_box(width: int, height: int, target_width: int, target_height: int) -> Box:
    """The middle crop that is `target` in size once the picture is resized to cover 1.14 times the target."""
    scale = RESIZE * max(target_width / width, target_height / height)
    return _middle(width, height, target_width / scale, target_height / scale)


def _middle(width: int, height: int, w: float, h: float) -> Box:
    left, upper = (width - w) / 2, (height - h) / 2
    return left, upper, left + w, upper + h


def _mixed(*numbers: int) -> int:
    # A fixed mixing of small numbers to 63 bits (FNV-1a on their decimal digits); hash() would do, but not say so.
    value = 0xCBF29CE484222325
    for byte in ",".join(map(str, numbers)).encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value >> 1


@dataclass
class Reader:
    """Reads a batch of requests. Runs in the rank, or as the data set of a DataLoader in its workers."""

    source: Source
    seed: int
    complain: Callable[[str], None]
    """Told once about each picture that cannot be read."""
    unreadable: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, requests: Sequence[Request]) -> Batch:
        """The batch; pictures that cannot be read are replaced in training and left out in validation."""
        pixels = np.empty((len(requests), requests[0].height, requests[0].width, 3), np.uint8)
        labels: list[int] = []
        for request in requests:
            read = self._replaced(request) if request.epoch >= 0 else self._read(request)
            if read is not None:
                pixels[len(labels)], label = read
                labels.append(label)
        return torch.from_numpy(pixels[: len(labels)]), torch.tensor(labels, dtype=torch.int64)

    def _replaced(self, request: Request) -> tuple[npt.NDArray[np.uint8], int]:
        for offset in range(len(self.source)):
            read = self._read(request._replace(picture=(request.picture + offset) % len(self.source)))
            if read is not None:
                return read
            if offset == 99:
                break
        raise OSError(f"a hundred pictures in a row from {self.source.name(request.picture)} on cannot be read")

    def _read(self, request: Request) -> tuple[npt.NDArray[np.uint8], int] | None:
        index, height, width, epoch, min_scale = request
        try:
            with self.source.open(index) as image:
                if epoch >= 0:
                    rng = random.Random(_mixed(self.seed, epoch, index))
                    box = random_box(image.width, image.height, min_scale, rng)
                    mirrored = rng.random() < 0.5
                else:
                    box, mirrored = middle_box(image.width, image.height, width, height), False
                picture = np.asarray(_resized(image, box, width, height))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            if index not in self.unreadable:
                self.unreadable.add(index)
                self.complain(f"{self.source.name(index)} cannot be read and is left out: {error}")
            return None
        return picture[:, ::-1] if mirrored else picture, int(self.source.labels[index])


def _resized(image: Image.Image, box: Box, width: int, height: int) -> Image.Image:
    full = image.size
    # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for a fraction of the time, where the crop stays big enough.
    shrink = max(width / (box[2] - box[0]), height / (box[3] - box[1]))
    if shrink <= 0.5:
        image.draft("RGB", (math.ceil(full[0] * shrink), math.ceil(full[1] * shrink)))
    if image.mode != "RGB":
        image = image.convert("RGB")
    sx, sy = image.width / full[0], image.height / full[1]
    box = (box[0] * sx, box[1] * sy, min(box[2] * sx, image.width), min(box[3] * sy, image.height))
    return image.resize((width, height), Image.Resampling.BILINEAR, box)


# --- the loader ------------------------------------------------------------------------------------------------------


class Loader:
    """Batches of a plan, read here (`workers` 0) or ahead of time by that many processes, which live as long as it."""

    def __init__(self, reader: Reader, workers: int, pin_memory: bool) -> None:
        self._reader = reader
        self._plan: Iterable[list[Request]] = []
        self._loader: Iterable[Batch] | None = None
        if workers:
            data: Any = reader
            self._loader = torch.utils.data.DataLoader(
                data,
                batch_sampler=_Planned(self),
                num_workers=workers,
                collate_fn=_as_it_is,
                pin_memory=pin_memory,
                persistent_workers=True,
                prefetch_factor=3,
            )

    def batches(self, plan: Iterable[list[Request]]) -> Iterator[Batch]:
        """The plan's batches in order."""
        self._plan = plan
        if self._loader is None:
            return map(self._reader.__getitems__, plan)
        return iter(self._loader)


class _Planned(torch.utils.data.Sampler[list[Any]]):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self._loader._plan)


def _as_it_is(batch: Any) -> Any:
    return batch
