"""TODO docstring: console/planning/prediction.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePrediction:
    """One phase."""

    number: int
    """From 1."""
    start_epoch: int
    epochs: int
    """That are begun."""
    image_size: int
    batch: int
    """Global."""
    batch_per_gpu: int
    steps_per_epoch: int
    steps: int
    """Of the phase."""
    img_per_s_per_gpu: float
    """While steps are taken."""
    img_per_s: float
    """The same of all GPUs."""
    step_s: float
    """The sum of the three that follow."""
    compute_s: float
    allreduce_s: float
    """The part that the backward pass does not hide."""
    loader_s: float
    """What a step waits for pictures."""
    bound: str
    """What holds the step up: ``compute``, ``network`` or ``loader``."""
    train_s: float
    """All steps, and the start of each epoch's loader."""
    eval_s: float
    """All evaluations."""
    checkpoint_s: float
    switch_s: float
    """Once, at its beginning: kernels are searched for the shapes that are new."""

    @property
    def total_s(self) -> float:
        """Of the whole phase."""
        return self.train_s + self.eval_s + self.checkpoint_s + self.switch_s

    @property
    def epoch_s(self) -> float:
        """An epoch of it but for the switch."""
        return (self.total_s - self.switch_s) / self.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What an input of the model weighs."""

    what: str
    less_s: float
    """The change of the seconds to the target (without one, of the whole schedule) if the input is a fifth lower."""
    more_s: float
    """The same if it is a fifth higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A whole run."""

    gpu: str
    nodes: int
    world_size: int
    phases: tuple[PhasePrediction, ...]
    startup_s: float
    to_target_epoch: int | None
    """How many epochs the target takes; None where nothing says."""
    assumptions: tuple[str, ...]
    sensitivity: tuple[Sensitivity, ...]
    """The inputs that weigh most, the heaviest first."""
    boot_s: float
    """Billed before the trainer starts and not in `total_s`; 0 for hosts that exist."""

    @property
    def total_s(self) -> float:
        """The whole schedule on the trainer's clock."""
        return self.startup_s + sum(phase.total_s for phase in self.phases)

    @property
    def to_target_s(self) -> float | None:
        """Until the evaluation that reaches the target."""
        return None if self.to_target_epoch is None else self.until_s(self.to_target_epoch)

    def until_s(self, epochs: int) -> float:
        """The trainer's clock after so many epochs with their evaluations."""
        return _until_s(self.startup_s, self.phases, epochs)


def _until_s(startup_s: float, phases: Iterable[PhasePrediction], epochs: int) -> float:
    clock_s = startup_s
    for phase in phases:
        done = min(max(epochs - phase.start_epoch, 0), phase.epochs)
        clock_s += done * phase.epoch_s + (phase.switch_s if done else 0.0)
    return clock_s
