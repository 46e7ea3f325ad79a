"""Reads batches: each picture is opened, cropped, and in training perhaps mirrored.

Pictures go to the device as uint8 [n, height, width, 3] and become normalised floats there; permuted to
[n, 3, height, width] that is torch's channels_last layout, without a copy.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from remote.data.batch_plan import Request, mixed
from remote.data.crop import aligned, crop_into, middle_box, random_box
from remote.data.datasets import Source
from remote.data.decode import Unusable

Batch = tuple[Tensor, Tensor]
"""uint8 pictures [n, height, width, 3] and int64 labels [n]."""
MISSING = -1
"""The label of a row that no picture could be read for."""
GIVE_UP = 100
"""Pictures in a row that cannot be read, after which the reader fails."""

Complain = Callable[[int, str], None]
"""Called for a picture that is left out or repaired, with its index and a sentence."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one source, in the rank or in the loader's processes."""

    source: Source
    seed: int

    def batch(self, request: Request, complain: Complain) -> Batch:
        """The batch; pictures that cannot be read are replaced in training and left out in validation.

        Raises OSError where a hundred in a row cannot be read.
        """
        pixels = torch.empty((len(request), request.height, request.width, 3), dtype=torch.uint8)
        labels = torch.empty(len(request), dtype=torch.int64)
        self.fill(request, 0, pixels, labels, complain)
        return without_missing(pixels, labels)

    def fill(self, request: Request, first: int, pixels: Tensor, labels: Tensor, complain: Complain) -> None:
        """The request's pictures from index `first` on, as many as `pixels` has rows; `labels` has `MISSING` where
        a picture cannot be read. Raises as `batch` does."""
        for row in range(len(pixels)):
            labels[row] = self._picture(request, int(request.pictures[first + row]), pixels[row], complain)

    def _picture(self, request: Request, index: int, out: Tensor, complain: Complain) -> int:
        if request.epoch < 0:
            return int(self.source.labels[index]) if self._read(request, index, out, complain) else MISSING
        for offset in range(min(len(self.source), GIVE_UP)):
            other = (index + offset) % len(self.source)
            if self._read(request, other, out, complain):
                return int(self.source.labels[other])
        raise OSError(f"no picture from {self.source.name(index)} on can be read, {offset + 1} in a row")

    def _read(self, request: Request, index: int, out: Tensor, complain: Complain) -> bool:
        height, width = request.height, request.width
        try:
            opened = self.source.open(index, min(height, width))
            if request.epoch >= 0:
                rng = random.Random(mixed(self.seed, request.epoch, index))
                box = random_box(opened.width, opened.height, request.min_scale, rng)
                mirrored = rng.random() < 0.5
            else:
                box, mirrored = middle_box(opened.width, opened.height, width, height), False
            box = aligned(box, opened.width, opened.height, width, height)
            repaired = crop_into(out, opened, box, mirrored)
        except (OSError, Unusable) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            complain(index, f"{self.source.name(index)} cannot be read and is left out: {why}")
            return False
        if repaired:
            complain(index, f"{self.source.name(index)} is repaired whenever it is read: {repaired}")
        return True


def without_missing(pixels: Tensor, labels: Tensor) -> Batch:
    """The batch without the rows that no picture could be read for."""
    there = labels != MISSING
    return (pixels, labels) if bool(there.all()) else (pixels[there], labels[there])
