"""The trainer: one for the demo on a laptop's CPU and for ImageNet on 128 GPUs.

A rank calls `main(job, folder)`; torchrun has set its RANK, LOCAL_RANK and WORLD_SIZE. By hand:
``torchrun --nproc-per-node 2 -m remote.train JOB.json FOLDER``. The file reads in the order of a run: take a place in
the gang, open the data, build the model, load a checkpoint, take steps, evaluate, stop at the target.

At every step boundary the ranks agree on pause, stop and checkpoint (see `remote.train.agreement`), one step late, so
all of them act at the same step. What they do is said in the journal (see `remote.wire.events`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from remote.data import datasets
from remote.data.batch_plan import training_plan, validation_plan
from remote.data.batch_reader import Batch, Reader
from remote.data.loader import TRAINING, VALIDATION, Loader, Room
from remote.model import flops
from remote.model.learner import Learner
from remote.rank_env import RankEnv
from remote.train import evaluation, global_batch
from remote.train.agreement import Agreed, Exchange
from remote.train.restore import About, Learnt, Position, Restorer
from remote.train.step_timer import Clock, Meter
from remote.wire.control import ControlReader, ControlRequest
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
from remote.wire.job import Job, Recipe
from remote.wire.journal import Journal
from remote.wire.schedule import Phase, lr_at, momentum_at, phase_index, steps_per_epoch, total_epochs, total_steps

TIMEOUT_S = 120
"""A collective that takes longer has lost a rank; torch's own default of 10 to 30 minutes costs more than the run."""
PAUSE_POLL_S = 0.1
GIVE_UP_S = 15.0
"""What a rank whose peers are gone waits for its checkpoint; its launcher would wait for it for 30 s."""
EVALUATION_AHEAD = 4
"""Steps before an epoch's end at which the first pictures of its evaluation are asked for."""


# --- the run ---------------------------------------------------------------------------------------------------------


class Trainer:
    """One rank's run, from its place in the gang to the end."""

    def __init__(self, job: Job, folder: Path, place: RankEnv, journal: Journal) -> None:
        self.recipe: Recipe = job.recipe
        """From `share_batches` on with what each rank of this gang gets as `batch_size_per_gpu`."""
        self.meant: Recipe = job.recipe
        """As it was written."""
        self.folder = folder
        self.place = place
        self.journal = journal
        self.wishes = ControlReader(folder)
        self.at = Position()
        self.checkpoints_done = 0
        self.saved_step = -1
        self.clock = Clock()
        self.meter = Meter(place, journal)
        self.restorer = Restorer(folder, place, journal)

    def run(self) -> None:
        """Prepares, trains, and says how it ended."""
        self.say_place()
        self.open_data()
        self.join_gang()
        learnt = self.find_checkpoint()
        self.share_batches()
        self.build_model()
        if learnt is not None:
            self.restore(learnt)
        self.announce()
        self.clock.start(self.at.elapsed_s)
        reason = self.train()
        self.restorer.finish()
        self.loader.close()
        if self.place.rank == 0:
            at = self.at
            epoch = at.epoch if at.epoch_step else max(at.epoch - 1, 0)  # the one that the last step belongs to
            ended = TrainingEnded(step=at.step, epoch=epoch, reason=reason, elapsed_s=self.clock.read())
            self.journal.emit(ended)
        dist.barrier()  # nobody takes the store away while another rank still needs it

    def give_up(self) -> None:
        """Leaves the checkpoint whole that is being written: the next attempt begins with it."""
        self.restorer.finish(GIVE_UP_S)

    # --- before the first step ---

    def say_place(self) -> None:
        place = self.place
        self.journal.emit(
            RankStarted(
                rank=place.rank,
                local_rank=place.local_rank,
                world_size=place.world_size,
                pid=os.getpid(),
                device=str(place.device),
            )
        )

    def stage(self, name: str, done: int, total: int | None, detail: str = "") -> None:
        if self.place.local_rank == 0:
            self.journal.emit(StageProgressed(stage=name, done=done, total=total, detail=detail))

    def open_data(self) -> None:
        recipe, place = self.recipe, self.place
        said = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said > 0.5:
                said = time.monotonic()
                self.stage("data", min(done, total - 1), total, recipe.dataset)

        self.stage("data", 0, None, recipe.dataset)
        self.training, self.validation = datasets.open_sources(recipe, progress)
        images = len(self.training)
        counted = f"{images:,} training images, {len(self.validation):,} held out"
        decoder = datasets.read_by(recipe)
        self.stage("data", images, images, f"{counted}, decoded by {decoder}" if decoder else counted)

        def complain(text: str) -> None:
            self.journal.emit(LogPrinted(text=text, rank=place.rank, stream="stderr"))

        # Before the gang: its processes are forked, and so have neither the gang's threads nor a GPU's.
        readers = [Reader(source, recipe.seed) for source in (self.training, self.validation)]
        self.loader = Loader(readers, recipe.loader_workers, place.device, complain)
        self.coming: Iterator[Batch] | None = None

    def join_gang(self) -> None:
        place = self.place
        self.stage("process group", 0, place.world_size)
        cuda = place.device.type == "cuda"
        if cuda:
            torch.cuda.set_device(place.device)
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            timeout=timedelta(seconds=TIMEOUT_S),
            device_id=place.device if cuda else None,
        )
        self.check_same_data()
        rectangular = any(phase.rectangular for phase in self.recipe.phases)
        self.ratios = evaluation.ratios_of(self.validation, place) if rectangular else None
        self.stage("process group", place.world_size, place.world_size)

    def check_same_data(self) -> None:
        """Every host must have the same pictures in the same order, or the ranks would train on a wild mixture."""
        everybodys: list[Any] = [None] * self.place.world_size
        dist.all_gather_object(everybodys, datasets.fingerprint(self.training, self.validation))
        different = datasets.difference(everybodys)
        if different is not None:
            raise ValueError(different)

    def share_batches(self) -> None:
        """Gives each rank its part of the global batch, which is the same in a gang of another size."""
        meant, place, at = self.meant, self.place, self.at
        images, group = len(self.training), meant.batch_norm_group
        for phase in meant.phases:
            if group is not None and phase.batch_size_per_gpu % group:
                raise ValueError(
                    f"batch_norm_group {group} does not divide batch_size_per_gpu {phase.batch_size_per_gpu}"
                )
        at.meant_for = meant.world_size or at.meant_for or place.world_size
        phases, change = global_batch.fitted(meant.phases, at.meant_for, place.world_size, group or 1)
        self.recipe = replace(meant, phases=phases)
        for phase in phases:
            batch = phase.batch_size_per_gpu
            if batch * place.world_size > images:
                raise ValueError(
                    f"the global batch of {batch * place.world_size:,} images ({batch:,} on each of "
                    f"{place.world_size:,} ranks) is bigger than the data set {meant.dataset} "
                    f"with its {images:,} training images"
                )
        if change is not None and place.rank == 0:
            self.journal.emit(LogPrinted(text=change, rank=0))
        if at.epoch_step:
            # As many steps as show the pictures that were shown: the same number where the global batch is the same.
            batch = phases[phase_index(phases, at.epoch)].batch_size_per_gpu * place.world_size
            at.epoch_step = min(at.epoch_images // batch, steps_per_epoch(images, batch))
            at.epoch_images = at.epoch_step * batch
        held_out = len(self.validation)
        self.evaluations = {
            phase: validation_plan(phase, held_out, self.ratios, place.rank, place.world_size) for phase in phases
        }

    def build_model(self) -> None:
        recipe, place = self.recipe, self.place
        self.stage("model", 0, 1, recipe.model)
        self.learner = Learner(self.meant, place, len(self.training.classes))
        self.flops: dict[int, float | None] = {}
        if place.rank == 0:
            for side in {phase.image_size for phase in recipe.phases}:
                self.flops[side] = flops.flops_per_image(self.learner.model, side, recipe.batch_norm_group or 2)
        self.learner.warm_up()
        self.stage("model", 1, 1, recipe.model)

    def announce(self) -> None:
        recipe, place, at = self.recipe, self.place, self.at
        if place.rank != 0:
            return
        steps = total_steps(recipe.phases, len(self.training), place.world_size)
        self.journal.emit(LogPrinted(text=f"the net learns by {self.learner.described()}", rank=0))
        if recipe.eval_flip:
            self.journal.emit(
                LogPrinted(text="evaluates with the mean of each picture's scores and its mirror image's", rank=0)
            )
        device = torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else ""
        self.journal.emit(
            TrainingStarted(
                world_size=place.world_size,
                model=recipe.net,
                parameters=self.learner.parameters,
                classes=len(self.training.classes),
                train_images=len(self.training),
                val_images=len(self.validation),
                total_epochs=total_epochs(recipe.phases),
                total_steps=min(steps, recipe.max_steps or steps),
                start_step=at.step,
                start_epoch=at.epoch,
                elapsed_s=at.elapsed_s,
                precision=str(self.learner.precision).removeprefix("torch."),
                device_name=device,
                peak_flops=flops.peak_flops(device, self.learner.precision),
            )
        )

    # --- steps ---

    def train(self) -> str:
        """Epoch after epoch from where the run is; returns why it ended."""
        recipe, place, at = self.recipe, self.place, self.at
        plan = training_plan(recipe, len(self.training), place.rank, place.world_size, at.epoch, at.epoch_step)
        room = Room.of((phase.batch_size_per_gpu, phase.image_size, phase.image_size) for phase in recipe.phases)
        batches = self.loader.batches(TRAINING, plan, room)
        phase_said = -1
        while at.epoch < total_epochs(recipe.phases):
            index = phase_index(recipe.phases, at.epoch)
            phase = recipe.phases[index]
            batch = phase.batch_size_per_gpu * place.world_size
            steps = steps_per_epoch(len(self.training), batch)
            sizes = global_batch.pieces(
                phase.batch_size_per_gpu, self.meant.phases[index].batch_size_per_gpu, recipe.batch_norm_group or 1
            )
            if index != phase_said and place.rank == 0:
                self.journal.emit(
                    PhaseStarted(
                        phase=index,
                        epoch=at.epoch,
                        image_size=phase.image_size,
                        batch_size_per_gpu=phase.batch_size_per_gpu,
                        global_batch_size=batch,
                        steps_per_epoch=steps,
                        min_scale=phase.min_scale,
                        rectangular=phase.rectangular,
                        flops_per_image=self.flops[phase.image_size],
                    )
                )
            phase_said = index

            pending: Pending | None = None
            while at.epoch_step < steps:
                if recipe.max_steps is not None and at.step >= recipe.max_steps:
                    self.settle(pending)
                    self.save("stop")
                    return "finished"
                if steps - at.epoch_step <= EVALUATION_AHEAD and self.is_evaluated(at.epoch):
                    self.prepare_evaluation(phase)
                began = time.perf_counter()
                pictures, labels = next(batches)
                have_batch = time.perf_counter()
                lr = lr_at(recipe.phases, at.epoch, at.epoch_step + 1, steps)
                marks = self.meter.marks()
                marks.mark(0)
                loss = self.learner.backward(pictures, labels, sizes, marks.computed)
                marks.mark(2)
                self.learner.step(lr, momentum_at(recipe.phases, at.epoch, at.epoch_step + 1, steps, recipe.momentum))
                marks.mark(3)
                at.step += 1
                at.epoch_step += 1
                at.epoch_images += batch

                exchange = Exchange(self.wishes.read(), loss, place.world_size)
                agreed = self.settle(pending)
                ended = time.perf_counter()
                step_s, data_s = ended - began, have_batch - began
                at.epoch_train_s += step_s
                pending = Pending(exchange, at.step, at.epoch, at.epoch_step, steps, lr, step_s, data_s, batch)
                self.meter.stepped(marks, at.step, len(labels), step_s, data_s)
                if agreed is not None and self.calls_for_action(agreed.wish):
                    self.settle(pending)
                    pending = None
                    if self.act(agreed.wish):
                        return "stopped"

            agreed = self.settle(pending)
            if self.end_epoch(phase, batch):
                return "target"
            at = self.at
            if agreed is not None and self.calls_for_action(agreed.wish) and self.act(agreed.wish):
                return "stopped"
        return "finished"

    def settle(self, pending: Pending | None) -> Agreed | None:
        """Waits for a step's exchange, says the step, and returns what the ranks agreed on."""
        if pending is None:
            return None
        agreed = pending.exchange.wait()
        self.at.loss_sum += agreed.loss
        self.at.loss_steps += 1
        if self.place.rank == 0:
            self.journal.emit(pending.said(agreed.loss))
        return agreed

    # --- at a boundary ---

    def calls_for_action(self, wish: ControlRequest) -> bool:
        return wish.paused or wish.stop or wish.checkpoint > self.checkpoints_done

    def act(self, wish: ControlRequest) -> bool:
        """Checkpoints, stops or pauses, as all ranks do at this boundary; True where the run is to stop.

        In a pause the ranks compare their wishes ten times a second; in between no collective is outstanding, so that
        neither a watchdog nor a timeout cares how long it takes, and a rank that dies is noticed at once.
        """
        place, at = self.place, self.at
        paused_at: float | None = None
        while True:
            if wish.checkpoint > self.checkpoints_done:
                self.checkpoints_done = wish.checkpoint
                self.save("operator")
            if wish.stop:
                self.save("stop")
                return True
            if wish.paused and paused_at is None:
                paused_at = time.monotonic()
                self.clock.pause()
                self.journal.emit(Paused(rank=place.rank, step=at.step))
            if not wish.paused:
                break
            time.sleep(PAUSE_POLL_S)
            wish = Exchange(self.wishes.read(), torch.zeros((), device=place.device), place.world_size).wait().wish
        if paused_at is not None:
            self.clock.resume()
            self.meter.forget()
            self.journal.emit(Resumed(rank=place.rank, step=at.step, paused_s=time.monotonic() - paused_at))
        return False

    # --- the end of an epoch ---

    def end_epoch(self, phase: Phase, batch: int) -> bool:
        """Evaluates, says the epoch, saves; True where the target is reached. The position is then the next epoch's."""
        recipe, at = self.recipe, self.at
        began = time.perf_counter()
        found = self.evaluate(phase) if self.is_evaluated(at.epoch) else None
        eval_s = time.perf_counter() - began
        elapsed_s = self.clock.read()
        metrics = {"top1": found.top1, "top5": found.top5} if found else {}
        if self.place.rank == 0:
            self.journal.emit(
                EpochEnded(
                    epoch=at.epoch,
                    step=at.step,
                    elapsed_s=elapsed_s,
                    top1=found.top1 if found else None,
                    top5=found.top5 if found else None,
                    train_loss=at.loss_sum / at.loss_steps if at.loss_steps else None,
                    val_loss=found.loss if found else None,
                    val_images=found.images if found else None,
                    img_per_s=at.epoch_step * batch / at.epoch_train_s if at.epoch_train_s else None,
                    image_size=phase.image_size,
                    train_s=at.epoch_train_s,
                    eval_s=eval_s if found else None,
                )
            )
        reached = False
        if recipe.target_metric is not None and recipe.target_value is not None:
            value = metrics.get(recipe.target_metric)
            reached = value is not None and value >= recipe.target_value
            if reached and self.place.rank == 0:
                assert value is not None
                self.journal.emit(
                    TargetReached(
                        metric=recipe.target_metric,
                        value=value,
                        target=recipe.target_value,
                        epoch=at.epoch,
                        step=at.step,
                        elapsed_s=elapsed_s,
                    )
                )
        self.at = at = Position(step=at.step, epoch=at.epoch + 1, elapsed_s=elapsed_s, meant_for=at.meant_for)
        if reached or at.epoch % recipe.checkpoint_epochs == 0 or at.epoch == total_epochs(recipe.phases):
            self.save("epoch")
        self.meter.forget()
        return reached

    def is_evaluated(self, epoch: int) -> bool:
        """True but for the epochs before `eval_from`."""
        return epoch >= self.recipe.eval_from or epoch + 1 == total_epochs(self.recipe.phases)

    def prepare_evaluation(self, phase: Phase) -> None:
        """Has the loader begin with its pictures, if it has not yet."""
        if self.coming is None:
            every = chain(*self.evaluations.values())
            room = Room.of((len(request), request.height, request.width) for request in every)
            self.coming = self.loader.batches(VALIDATION, self.evaluations[phase], room)

    def evaluate(self, phase: Phase) -> evaluation.Metrics:
        place, epoch = self.place, self.at.epoch
        self.learner.average_statistics()
        self.prepare_evaluation(phase)
        total = sum(map(len, self.evaluations[phase]))

        def progress(done: int) -> None:
            self.journal.emit(EvaluationProgressed(epoch=epoch, done=done, total=total))

        assert self.coming is not None
        found = evaluation.evaluate(self.learner, self.coming, place, progress, flip=self.recipe.eval_flip)
        self.coming = None
        return found

    # --- checkpoints ---

    def about(self) -> About:
        recipe = self.recipe
        return {"model": recipe.net, "dataset": recipe.dataset, "classes": len(self.training.classes)}

    def save(self, reason: str) -> None:
        """A checkpoint, unless a stop finds that one just made. All ranks call it at the same boundary."""
        at = self.at
        if reason == "stop" and self.saved_step == at.step:
            return
        self.saved_step = at.step
        self.learner.average_statistics()
        if self.place.rank == 0:
            at.elapsed_s = self.clock.read()
            self.restorer.save(at, self.about(), self.learner.state(), reason)

    def find_checkpoint(self) -> Learnt | None:
        """Goes to where the newest whole checkpoint is; returns what was learnt up to there."""
        found = self.restorer.load(self.about())
        if found is None:
            return None
        self.at, learnt = found
        return learnt

    def restore(self, learnt: Learnt) -> None:
        """Knows again what was learnt."""
        try:
            self.learner.load(learnt)
        except (KeyError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).split())[:300]
            raise ValueError(
                f"the checkpoint of step {self.at.step} does not fit this run's model and optimiser: {why}"
            ) from error


# --- small parts -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pending:
    """A step that was taken, its exchange still under way."""

    exchange: Exchange
    step: int
    epoch: int
    epoch_step: int
    steps_per_epoch: int
    lr: float
    step_s: float
    data_s: float
    images: int

    def said(self, loss: float) -> StepEnded:
        """The step as an event."""
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
