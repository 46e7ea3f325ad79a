"""The schedule of a training run: phases, and from them the learning rate and image size at any step.

Pure, standard library only. A *phase* is a number of whole epochs with one image size and one batch size, over which
the learning rate changes from `lr_start` to `lr_end`, in a straight line or along half a cosine. It is set before every
optimiser step.

The rate at a step is that of the step's *end*: step i (from 1) of an n-step epoch e lies at epoch e + i/n. That is how
the ImageNet run of 2018 did it (cybertronai/imagenet18_old, ``training/train_imagenet_nv.py``; its log says
1.9220382... for the first of 157 steps of a rise from 1.92 to 3.84 over 6 epochs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SHAPES = ("linear", "cosine")
"""How the learning rate changes over a phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the schedule: epochs `start_epoch` up to but not including `end_epoch`."""

    start_epoch: int
    end_epoch: int
    image_size: int
    """Side of the training crop, pixels."""
    batch_size_per_gpu: int
    lr_start: float
    lr_end: float
    min_scale: float = 0.08
    """Smallest share of an image's area that a random crop takes."""
    rectangular: bool = False
    """Evaluate each image at its own aspect ratio instead of a square centre crop."""
    shape: str = "linear"
    """How the learning rate changes from `lr_start` to `lr_end`: one of SHAPES."""
    momentum_start: float | None = None
    """Momentum at the beginning of the phase; None: the recipe's."""
    momentum_end: float | None = None
    """Momentum at the end of the phase; it changes in a straight line."""


def phase_index(phases: Sequence[Phase], epoch: int) -> int:
    """The index of the phase that holds `epoch`.

    Raises:
        IndexError: no phase holds it.
    """
    for index, phase in enumerate(phases):
        if phase.start_epoch <= epoch < phase.end_epoch:
            return index
    raise IndexError(f"no phase holds epoch {epoch}")


def lr_at(phases: Sequence[Phase], epoch: int, epoch_step: int, steps_per_epoch: int) -> float:
    """Learning rate of step `epoch_step` (from 1) of `epoch` (from 0)."""
    phase = phases[phase_index(phases, epoch)]
    done = _done(phase, epoch, epoch_step, steps_per_epoch)
    if phase.shape == "cosine":
        # Half a period, flat at both ends (Loshchilov and Hutter 2017, equation 5, without restarts).
        return phase.lr_end + (phase.lr_start - phase.lr_end) * (1 + math.cos(math.pi * done)) / 2
    return phase.lr_start + (phase.lr_end - phase.lr_start) * done


def momentum_at(phases: Sequence[Phase], epoch: int, epoch_step: int, steps_per_epoch: int, default: float) -> float:
    """Momentum of step `epoch_step` (from 1) of `epoch` (from 0); `default` where the phase does not set one."""
    phase = phases[phase_index(phases, epoch)]
    if phase.momentum_start is None or phase.momentum_end is None:
        return default
    done = _done(phase, epoch, epoch_step, steps_per_epoch)
    return phase.momentum_start + (phase.momentum_end - phase.momentum_start) * done


def _done(phase: Phase, epoch: int, epoch_step: int, steps_per_epoch: int) -> float:
    """The share of the phase that is done at the end of a step."""
    return (epoch - phase.start_epoch + epoch_step / steps_per_epoch) / (phase.end_epoch - phase.start_epoch)


def image_size_at(phases: Sequence[Phase], epoch: int) -> int:
    """Side of the training crop in `epoch`, pixels."""
    return phases[phase_index(phases, epoch)].image_size


def steps_per_epoch(images: int, global_batch_size: int) -> int:
    """Steps that show every one of `images` at least once in full global batches (the last one is filled up)."""
    return -(-images // global_batch_size)


def total_steps(phases: Sequence[Phase], images: int, world_size: int) -> int:
    """Optimiser steps of the whole schedule."""
    return sum(
        (phase.end_epoch - phase.start_epoch) * steps_per_epoch(images, phase.batch_size_per_gpu * world_size)
        for phase in phases
    )


def total_epochs(phases: Sequence[Phase]) -> int:
    """Epochs of the whole schedule."""
    return phases[-1].end_epoch
