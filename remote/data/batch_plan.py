"""Which pictures a rank reads in which step.

The order of an epoch depends only on (seed, epoch), and a picture's random crop only on (seed, epoch, picture). So a
run shows the same pictures whatever the number of ranks, and a resumed run the same as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from remote.wire.job import Recipe
from remote.wire.schedule import Phase, phase_index, steps_per_epoch, total_epochs

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One batch of a rank."""

    pictures: Indices
    height: int
    width: int
    epoch: int = -1
    """Its random crops are this epoch's; -1 for the centre crops of a validation."""
    min_scale: float = 1.0

    def __len__(self) -> int:
        return len(self.pictures)


def epoch_order(images: int, seed: int, epoch: int) -> Indices:
    """The shuffled indices of an epoch, a function of the arguments alone."""
    generator = torch.Generator().manual_seed(mixed(seed, epoch))
    return torch.randperm(images, generator=generator).numpy()


def training_plan(
    recipe: Recipe, images: int, rank: int, world_size: int, epoch: int, epoch_step: int
) -> Iterator[Request]:
    """This rank's batches from the step after `epoch_step` of `epoch` to the end of the run.

    One plan for all epochs and phases, so that a loader that reads ahead does not stall at a switch. A step's global
    batch is a slice of the epoch's order, cut into one part per rank; the last of an epoch is filled up from the
    epoch's start.
    """
    phases, end = recipe.phases, total_epochs(recipe.phases)
    # Shuffling 1.28 million takes longer than a step, so the next epoch's order is made during this epoch's steps.
    with ThreadPoolExecutor(1, "epoch-order") as thread:
        coming = thread.submit(epoch_order, images, recipe.seed, epoch)
        for current in range(epoch, end):
            order = coming.result()
            if current + 1 < end:
                coming = thread.submit(epoch_order, images, recipe.seed, current + 1)
            phase = phases[phase_index(phases, current)]
            size, batch = phase.image_size, phase.batch_size_per_gpu
            for step in range(epoch_step if current == epoch else 0, steps_per_epoch(images, batch * world_size)):
                first = (step * world_size + rank) * batch
                indices = np.arange(first, first + batch) % images
                yield Request(order[indices], size, size, current, phase.min_scale)


def validation_plan(
    phase: Phase, images: int, ratios: npt.NDArray[np.float64] | None, rank: int, world_size: int
) -> list[Request]:
    """This rank's share of an evaluation: over all ranks, every picture exactly once.

    `ratios` are the pictures' widths over heights, needed where `phase.rectangular`: the pictures are sorted by them,
    each batch is cropped to its own mean ratio, the short side to `phase.image_size` and the long one to a multiple of
    8. The ranks take turns; the batches differ in length by at most one picture.
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
        plan.append(Request(indices, height, width))
    return plan


def mixed(*numbers: int) -> int:
    """A seed of 63 bits from small numbers: FNV-1a on their decimal digits. Python does not guarantee hash()."""
    value = 0xCBF29CE484222325
    for byte in ",".join(map(str, numbers)).encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value >> 1
