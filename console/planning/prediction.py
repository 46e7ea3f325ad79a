"""What a prediction says: seconds for every phase, for the whole run, and what they depend on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePrediction:
    """One phase of the schedule."""

    number: int
    """From 1."""
    start_epoch: int
    epochs: int
    """Epochs of the phase that the run begins."""
    image_size: int
    batch: int
    """Global batch size."""
    batch_per_gpu: int
    steps_per_epoch: int
    steps: int
    """Steps of the whole phase."""
    img_per_s_per_gpu: float
    """Training rate of one GPU, without evaluations and pauses."""
    img_per_s: float
    """Training rate of all GPUs."""
    step_s: float
    """A step: `compute_s`, `allreduce_s` and `loader_s` together."""
    compute_s: float
    allreduce_s: float
    """The part of the all-reduce that the backward pass does not hide."""
    loader_s: float
    """How long a step waits for data."""
    bound: str
    """What limits a step: ``compute``, ``network`` or ``loader``."""
    train_s: float
    """All steps of the phase, and the start of the loader in each epoch."""
    eval_s: float
    """All evaluations of the phase."""
    checkpoint_s: float
    """All pauses for checkpoints."""
    switch_s: float
    """The search for kernels at the beginning of the phase, for new shapes of batch."""

    @property
    def total_s(self) -> float:
        """The whole phase."""
        return self.train_s + self.eval_s + self.checkpoint_s + self.switch_s

    @property
    def epoch_s(self) -> float:
        """One of its epochs, without the switch."""
        return (self.total_s - self.switch_s) / self.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How much the result depends on one input of the model."""

    what: str
    less_s: float
    """Change of the time to the target (without a target, of the whole schedule) if the input is a fifth lower."""
    more_s: float
    """Change of the same if the input is a fifth higher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction for a whole run."""

    gpu: str
    nodes: int
    world_size: int
    phases: tuple[PhasePrediction, ...]
    startup_s: float
    to_target_epoch: int | None
    """Epochs that the target takes; None where it is not known."""
    assumptions: tuple[str, ...]
    sensitivity: tuple[Sensitivity, ...]
    """The inputs that matter most, the most important first."""
    boot_s: float
    """From the launch to the trainer's start: billed, and not in `total_s`; 0 for hosts that are not rented."""

    @property
    def total_s(self) -> float:
        """The whole schedule on the trainer's clock, which begins when the trainer starts."""
        return self.startup_s + sum(phase.total_s for phase in self.phases)

    @property
    def to_target_s(self) -> float | None:
        """The evaluation that reaches the target, on the trainer's clock; None without a target."""
        return None if self.to_target_epoch is None else self.until_s(self.to_target_epoch)

    def until_s(self, epochs: int) -> float:
        """The trainer's clock after so many epochs with their evaluations."""
        return until_s(self.startup_s, self.phases, epochs)


def until_s(startup_s: float, phases: Iterable[PhasePrediction], epochs: int) -> float:
    """The trainer's clock, in seconds, after so many epochs of these phases, evaluations included."""
    clock_s = startup_s
    for phase in phases:
        done = min(max(epochs - phase.start_epoch, 0), phase.epochs)
        clock_s += done * phase.epoch_s + (phase.switch_s if done else 0.0)
    return clock_s
