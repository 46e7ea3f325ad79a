"""What a rank reports in its node's journal while it trains: events for the console (`remote.wire.events`).

What is the same on every rank is reported by rank 0, and what is the same on every rank of a node by local rank 0; the
trainer calls these methods on all ranks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from remote.model import flops
from remote.model.learner import Learner
from remote.rank_env import RankEnv
from remote.train.evaluation import Metrics
from remote.train.restore import Position
from remote.wire.events import (
    EpochEnded,
    EvaluationProgressed,
    LogPrinted,
    Paused,
    PhaseStarted,
    RankStarted,
    Resumed,
    StageProgressed,
    StepEnded,
    TargetReached,
    TrainingEnded,
    TrainingStarted,
)
from remote.wire.job import Recipe
from remote.wire.journal import Journal
from remote.wire.schedule import Phase, total_epochs, total_steps

_STAGE_S = 0.5
"""Seconds between two reports of how far a stage is."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken; its loss is known once the ranks have exchanged theirs."""

    step: int
    epoch: int
    epoch_step: int
    steps_per_epoch: int
    lr: float
    step_s: float
    data_s: float
    images: int
    """Of all ranks."""

    def to_event(self, loss: float) -> StepEnded:
        """The step as an event, with the mean loss of all ranks."""
        return StepEnded(
            step=self.step,
            epoch=self.epoch,
            epoch_step=self.epoch_step,
            steps_per_epoch=self.steps_per_epoch,
            loss=loss,
            lr=self.lr,
            step_s=self.step_s,
            data_s=self.data_s,
            img_per_s=self.images / self.step_s,
        )


class Announcer:
    """Writes a rank's events into the journal."""

    def __init__(self, env: RankEnv, journal: Journal) -> None:
        self._env = env
        self._journal = journal

    def log(self, text: str) -> None:
        """A line of the run's log, from rank 0."""
        if self._env.rank == 0:
            self._journal.emit(LogPrinted(text=text, rank=0))

    def complain(self, text: str) -> None:
        """A warning of this rank's."""
        self._journal.emit(LogPrinted(text=text, rank=self._env.rank, stream="stderr"))

    # --- before the first step ---

    def rank_started(self) -> None:
        """This rank's process, and its device."""
        env = self._env
        self._journal.emit(
            RankStarted(
                rank=env.rank,
                local_rank=env.local_rank,
                world_size=env.world_size,
                pid=os.getpid(),
                device=str(env.device),
            )
        )

    def stage(self, name: str, done: int, total: int | None, detail: str = "") -> None:
        """How far the node is with a stage of its preparation."""
        if self._env.local_rank == 0:
            self._journal.emit(StageProgressed(stage=name, done=done, total=total, detail=detail))

    def stage_progress(self, name: str, detail: str) -> Callable[[int, int], None]:
        """A function to call with (done, total), as often as one likes: it reports twice a second.

        It reports no end: that is for `stage`, once the stage has ended.
        """
        reported = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal reported
            if time.monotonic() - reported > _STAGE_S:
                reported = time.monotonic()
                self.stage(name, min(done, total - 1), total, detail)

        return progress

    def training_started(
        self, recipe: Recipe, learner: Learner, position: Position, train_images: int, val_images: int, classes: int
    ) -> None:
        """What is trained, and from where on."""
        self.log(learner.described())
        if recipe.eval_flip:
            self.log("evaluation: mean of the scores of each picture and its mirror image")
        if self._env.rank != 0:
            return
        steps = total_steps(recipe.phases, train_images, self._env.world_size)
        cuda = self._env.device.type == "cuda"
        device = torch.cuda.get_device_name(self._env.device) if cuda else ""
        self._journal.emit(
            TrainingStarted(
                world_size=self._env.world_size,
                model=recipe.net,
                parameters=learner.parameters,
                classes=classes,
                train_images=train_images,
                val_images=val_images,
                total_epochs=total_epochs(recipe.phases),
                total_steps=min(steps, recipe.max_steps or steps),
                start_step=position.step,
                start_epoch=position.epoch,
                elapsed_s=position.elapsed_s,
                precision=str(learner.precision).removeprefix("torch."),
                device_name=device,
                peak_flops=flops.peak_flops(device, learner.precision),
            )
        )

    # --- while it trains ---

    def phase_started(
        self, index: int, phase: Phase, epoch: int, global_batch: int, steps_per_epoch: int, flops_: float | None
    ) -> None:
        """A phase of the schedule begins, or the run continues within it. `flops_`: for one picture."""
        if self._env.rank == 0:
            self._journal.emit(
                PhaseStarted(
                    phase=index,
                    epoch=epoch,
                    image_size=phase.image_size,
                    batch_size_per_gpu=phase.batch_size_per_gpu,
                    global_batch_size=global_batch,
                    steps_per_epoch=steps_per_epoch,
                    min_scale=phase.min_scale,
                    rectangular=phase.rectangular,
                    flops_per_image=flops_,
                )
            )

    def step_ended(self, step: Step, loss: float) -> None:
        """A step, with the mean loss of all ranks."""
        if self._env.rank == 0:
            self._journal.emit(step.to_event(loss))

    def paused(self, step: int) -> None:
        """This rank waits."""
        self._journal.emit(Paused(rank=self._env.rank, step=step))

    def resumed(self, step: int, paused_s: float) -> None:
        """This rank continues."""
        self._journal.emit(Resumed(rank=self._env.rank, step=step, paused_s=paused_s))

    def evaluation_progressed(self, epoch: int, done: int, total: int) -> None:
        """How many of its pictures this rank has evaluated."""
        self._journal.emit(EvaluationProgressed(epoch=epoch, done=done, total=total))

    def epoch_ended(
        self, position: Position, phase: Phase, global_batch: int, found: Metrics | None, eval_s: float
    ) -> None:
        """The epoch that `position` is at the end of; `found` where it was evaluated."""
        if self._env.rank != 0:
            return
        self._journal.emit(
            EpochEnded(
                epoch=position.epoch,
                step=position.step,
                elapsed_s=position.elapsed_s,
                top1=found.top1 if found else None,
                top5=found.top5 if found else None,
                train_loss=position.loss_sum / position.loss_steps if position.loss_steps else None,
                val_loss=found.loss if found else None,
                val_images=found.images if found else None,
                img_per_s=position.epoch_step * global_batch / position.epoch_train_s
                if position.epoch_train_s
                else None,
                image_size=phase.image_size,
                train_s=position.epoch_train_s,
                eval_s=eval_s if found else None,
            )
        )

    def target_reached(self, metric: str, value: float, target: float, position: Position) -> None:
        """The epoch that `position` is at the end of reached the target."""
        if self._env.rank == 0:
            self._journal.emit(
                TargetReached(
                    metric=metric,
                    value=value,
                    target=target,
                    epoch=position.epoch,
                    step=position.step,
                    elapsed_s=position.elapsed_s,
                )
            )

    def training_ended(self, position: Position, reason: str, elapsed_s: float) -> None:
        """Why the training ended, and in which epoch its last step was."""
        if self._env.rank == 0:
            epoch = position.epoch if position.epoch_step else max(position.epoch - 1, 0)
            self._journal.emit(TrainingEnded(step=position.step, epoch=epoch, reason=reason, elapsed_s=elapsed_s))
