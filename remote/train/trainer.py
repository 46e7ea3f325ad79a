"""The trainer: the same for the demo on a laptop's CPU and for ImageNet on 128 GPUs.

A rank runs it (`remote.train.run_rank`); torchrun has set its RANK, LOCAL_RANK and WORLD_SIZE. The file reads in the
order of a run: `Trainer` opens the data, joins the gang, finds a checkpoint and builds the model; `Loop` takes steps,
evaluates, saves checkpoints, and stops at the target.

At every step boundary the ranks agree on pause, stop and checkpoint (see `remote.train.agreement`), one step late, so
all of them act at the same step. `remote.train.announcer` reports all of it in the journal.
"""

from __future__ import annotations

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
from remote.data.batch_plan import Request, training_plan, validation_plan
from remote.data.batch_reader import Batch, Reader
from remote.data.datasets import Source
from remote.data.loader import TRAINING, VALIDATION, Loader, Room
from remote.model import flops
from remote.model.learner import Learner
from remote.rank_env import RankEnv
from remote.train import evaluation, global_batch
from remote.train.agreement import Agreed, Exchange
from remote.train.announcer import Announcer, Step
from remote.train.restore import About, Learnt, Position, Restorer
from remote.train.step_timer import Clock, Meter
from remote.wire.control import ControlReader, ControlRequest
from remote.wire.job import Job, Recipe
from remote.wire.journal import Journal
from remote.wire.schedule import Phase, lr_at, momentum_at, phase_index, steps_per_epoch, total_epochs

TIMEOUT_S = 120
"""A collective that takes longer has lost a rank; torch's own default of 10 to 30 minutes costs more than the run."""
PAUSE_POLL_S = 0.1
GIVE_UP_S = 15.0
"""How long a rank whose peers are gone waits for its checkpoint; its launcher would wait for it for 30 s."""
EVALUATION_AHEAD = 4
"""Steps before an epoch's end at which the loader begins with the pictures of its evaluation."""


@dataclass(frozen=True, slots=True)
class Data:
    """The data set, and what reads it."""

    training: Source
    validation: Source
    loader: Loader

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.training.classes)


# --- before the first step -------------------------------------------------------------------------------------------


class Trainer:
    """One rank's run, from the data to the end."""

    def __init__(self, job: Job, folder: Path, env: RankEnv, journal: Journal) -> None:
        self.recipe = job.recipe
        self.folder = folder
        self.env = env
        self.journal = journal
        self.announcer = Announcer(env, journal)
        self.restorer = Restorer(folder, env, journal)

    def run(self) -> None:
        """Prepares, trains, and reports how it ended."""
        self.announcer.rank_started()
        data = self.open_data()
        ratios = self.join_gang(data)
        position, learnt = self.find_checkpoint(data)
        fitted = self.share_batches(data, position)
        learner, flops_per_image = self.build_model(fitted, data)
        if learnt is not None:
            self.restore(learner, learnt, position)
        counts = len(data.training), len(data.validation), data.classes
        self.announcer.training_started(fitted, learner, position, *counts)
        clock = Clock()
        clock.start(position.elapsed_s)
        evaluations = {
            phase: validation_plan(phase, len(data.validation), ratios, self.env.rank, self.env.world_size)
            for phase in fitted.phases
        }
        loop = Loop(self, fitted, data, learner, position, clock, evaluations, flops_per_image)
        reason = loop.train()
        self.restorer.finish()
        data.loader.close()
        self.announcer.training_ended(loop.position, reason, clock.read())
        dist.barrier()  # the rank that holds the store must not end while another one needs it

    def give_up(self) -> None:
        """Waits for the checkpoint that is being written: the next attempt begins with it."""
        self.restorer.finish(GIVE_UP_S)

    def open_data(self) -> Data:
        """Opens the data set, which is made or unpacked first where need be, and starts the loader."""
        recipe, stage = self.recipe, self.announcer.stage
        stage("data", 0, None, recipe.dataset)
        progress = self.announcer.stage_progress("data", recipe.dataset)
        training, validation = datasets.open_sources(recipe, progress)
        images = len(training)
        counted = f"{images:,} training images, {len(validation):,} held out"
        decoder = datasets.read_by(recipe)
        stage("data", images, images, f"{counted}, decoded by {decoder}" if decoder else counted)
        # Before the gang: the loader's processes are forked, and must have neither the gang's threads nor a GPU's.
        readers = [Reader(source, recipe.seed) for source in (training, validation)]
        loader = Loader(readers, recipe.loader_workers, self.env.device, self.announcer.complain)
        return Data(training, validation, loader)

    def join_gang(self, data: Data) -> evaluation.Ratios | None:
        """Makes the process group, and checks that all of it has the same data.

        Returns width over height of every validation picture, where a phase needs them.
        """
        env = self.env
        self.announcer.stage("process group", 0, env.world_size)
        cuda = env.device.type == "cuda"
        if cuda:
            torch.cuda.set_device(env.device)
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            timeout=timedelta(seconds=TIMEOUT_S),
            device_id=env.device if cuda else None,
        )
        fingerprints: list[Any] = [None] * env.world_size
        dist.all_gather_object(fingerprints, datasets.fingerprint(data.training, data.validation))
        different = datasets.difference(fingerprints)
        if different is not None:
            raise ValueError(different)
        rectangular = any(phase.rectangular for phase in self.recipe.phases)
        ratios = evaluation.ratios_of(data.validation, env) if rectangular else None
        self.announcer.stage("process group", env.world_size, env.world_size)
        return ratios

    def about(self, data: Data) -> About:
        """What a checkpoint must have in common with this run."""
        return {"model": self.recipe.net, "dataset": self.recipe.dataset, "classes": data.classes}

    def find_checkpoint(self, data: Data) -> tuple[Position, Learnt | None]:
        """The position of the newest whole checkpoint and what was learnt up to there; else the start."""
        return self.restorer.load(self.about(data)) or (Position(), None)

    def share_batches(self, data: Data, position: Position) -> Recipe:
        """The recipe with each rank's share of the global batch, which is the same in a gang of another size.

        The step within the epoch that `position` says is moved to where as many pictures have been shown.
        """
        recipe, env = self.recipe, self.env
        images, group = len(data.training), recipe.batch_norm_group
        for phase in recipe.phases:
            if group is not None and phase.batch_size_per_gpu % group:
                raise ValueError(
                    f"batch_norm_group {group} does not divide batch_size_per_gpu {phase.batch_size_per_gpu}"
                )
        position.meant_for = recipe.world_size or position.meant_for or env.world_size
        phases, change = global_batch.fitted(recipe.phases, position.meant_for, env.world_size, group or 1)
        for phase in phases:
            batch = phase.batch_size_per_gpu
            if batch * env.world_size > images:
                raise ValueError(
                    f"the global batch of {batch * env.world_size:,} images ({batch:,} on each of "
                    f"{env.world_size:,} ranks) is bigger than the data set {recipe.dataset} "
                    f"with its {images:,} training images"
                )
        if change is not None:
            self.announcer.log(change)
        if position.epoch_step:
            # The same number of steps where the global batch is the same.
            batch = phases[phase_index(phases, position.epoch)].batch_size_per_gpu * env.world_size
            position.epoch_step = min(position.epoch_images // batch, steps_per_epoch(images, batch))
            position.epoch_images = position.epoch_step * batch
        return replace(recipe, phases=phases)

    def build_model(self, fitted: Recipe, data: Data) -> tuple[Learner, dict[int, float | None]]:
        """The learner, made ready for its first step; and on rank 0 the operations for a picture, by its side."""
        self.announcer.stage("model", 0, 1, fitted.model)
        learner = Learner(self.recipe, self.env, data.classes)
        flops_per_image: dict[int, float | None] = {}
        if self.env.rank == 0:
            for side in {phase.image_size for phase in fitted.phases}:
                flops_per_image[side] = flops.flops_per_image(learner.model, side, fitted.batch_norm_group or 2)
        learner.warm_up()
        self.announcer.stage("model", 1, 1, fitted.model)
        return learner, flops_per_image

    def restore(self, learner: Learner, learnt: Learnt, position: Position) -> None:
        """Loads what was learnt up to the position into the learner."""
        try:
            learner.load(learnt)
        except (KeyError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).split())[:300]
            raise ValueError(
                f"the checkpoint of step {position.step} does not fit this run's model and optimiser: {why}"
            ) from error


# --- steps and epochs ------------------------------------------------------------------------------------------------


class Loop:
    """The steps and epochs of a run that is prepared."""

    def __init__(
        self,
        trainer: Trainer,
        fitted: Recipe,
        data: Data,
        learner: Learner,
        position: Position,
        clock: Clock,
        evaluations: dict[Phase, list[Request]],
        flops_per_image: dict[int, float | None],
    ) -> None:
        """`fitted`: the recipe with what each rank of this gang gets as `batch_size_per_gpu`."""
        self.written = trainer.recipe
        self.recipe = fitted
        self.env = trainer.env
        self.announcer = trainer.announcer
        self.restorer = trainer.restorer
        self.about = trainer.about(data)
        self.data = data
        self.learner = learner
        self.position = position
        self.clock = clock
        self.evaluations = evaluations
        self.flops_per_image = flops_per_image
        self.meter = Meter(trainer.env, trainer.journal)
        self.control = ControlReader(trainer.folder)
        self.checkpoints_done = 0
        """Of those that the operator asked for in this attempt."""
        self.saved_step = -1
        self.evaluation_batches: Iterator[Batch] | None = None
        """Of the evaluation that the loader has begun with."""

    def train(self) -> str:
        """Epoch after epoch from the position on; returns why it ended."""
        recipe, env, position = self.recipe, self.env, self.position
        images = len(self.data.training)
        plan = training_plan(recipe, images, env.rank, env.world_size, position.epoch, position.epoch_step)
        room = Room.of((phase.batch_size_per_gpu, phase.image_size, phase.image_size) for phase in recipe.phases)
        batches = self.data.loader.batches(TRAINING, plan, room)
        announced = -1
        while position.epoch < total_epochs(recipe.phases):
            index = phase_index(recipe.phases, position.epoch)
            phase = recipe.phases[index]
            batch = phase.batch_size_per_gpu * env.world_size
            steps = steps_per_epoch(images, batch)
            sizes = global_batch.pieces(
                phase.batch_size_per_gpu, self.written.phases[index].batch_size_per_gpu, recipe.batch_norm_group or 1
            )
            if index != announced:
                announced = index
                flops_ = self.flops_per_image.get(phase.image_size)
                self.announcer.phase_started(index, phase, position.epoch, batch, steps, flops_)

            pending: Pending | None = None
            while position.epoch_step < steps:
                if recipe.max_steps is not None and position.step >= recipe.max_steps:
                    self.settle(pending)
                    self.save("stop")
                    return "finished"
                if steps - position.epoch_step <= EVALUATION_AHEAD and self.is_evaluated(position.epoch):
                    self.prepare_evaluation(phase)
                began = time.perf_counter()
                pictures, labels = next(batches)
                have_batch = time.perf_counter()
                lr = lr_at(recipe.phases, position.epoch, position.epoch_step + 1, steps)
                momentum = momentum_at(recipe.phases, position.epoch, position.epoch_step + 1, steps, recipe.momentum)
                marks = self.meter.marks()
                marks.mark(0)
                loss = self.learner.backward(pictures, labels, sizes, marks.computed)
                marks.mark(2)
                self.learner.step(lr, momentum)
                marks.mark(3)
                position.step += 1
                position.epoch_step += 1
                position.epoch_images += batch

                exchange = Exchange(self.control.read(), loss, env.world_size)
                agreed = self.settle(pending)
                ended = time.perf_counter()
                step_s, data_s = ended - began, have_batch - began
                position.epoch_train_s += step_s
                step = Step(position.step, position.epoch, position.epoch_step, steps, lr, step_s, data_s, batch)
                pending = Pending(exchange, step)
                self.meter.stepped(marks, position.step, len(labels), step_s, data_s)
                if agreed is not None and self.calls_for_action(agreed.request):
                    self.settle(pending)
                    pending = None
                    if self.act(agreed.request):
                        return "stopped"

            agreed = self.settle(pending)
            if self.end_epoch(phase, batch):
                return "target"
            position = self.position
            if agreed is not None and self.calls_for_action(agreed.request) and self.act(agreed.request):
                return "stopped"
        return "finished"

    def settle(self, pending: Pending | None) -> Agreed | None:
        """Waits for a step's exchange, reports the step, and returns what the ranks agreed on."""
        if pending is None:
            return None
        agreed = pending.exchange.wait()
        self.position.loss_sum += agreed.loss
        self.position.loss_steps += 1
        self.announcer.step_ended(pending.step, agreed.loss)
        return agreed

    # --- at a step boundary ---

    def calls_for_action(self, request: ControlRequest) -> bool:
        """True for a request that does more than let the run continue."""
        return request.paused or request.stop or request.checkpoint > self.checkpoints_done

    def act(self, request: ControlRequest) -> bool:
        """Checkpoints, stops or pauses, as all ranks do at this boundary; True where the run is to stop.

        In a pause the ranks compare their requests ten times a second; in between no collective is outstanding, so that
        neither a watchdog nor a timeout limits it, and a rank that dies is noticed at once.
        """
        env, position = self.env, self.position
        paused_at: float | None = None
        while True:
            if request.checkpoint > self.checkpoints_done:
                self.checkpoints_done = request.checkpoint
                self.save("operator")
            if request.stop:
                self.save("stop")
                return True
            if request.paused and paused_at is None:
                paused_at = time.monotonic()
                self.clock.pause()
                self.announcer.paused(position.step)
            if not request.paused:
                break
            time.sleep(PAUSE_POLL_S)
            no_loss = torch.zeros((), device=env.device)
            request = Exchange(self.control.read(), no_loss, env.world_size).wait().request
        if paused_at is not None:
            self.clock.resume()
            self.meter.forget()
            self.announcer.resumed(position.step, time.monotonic() - paused_at)
        return False

    # --- at the end of an epoch ---

    def end_epoch(self, phase: Phase, batch: int) -> bool:
        """Evaluates, reports the epoch, saves; True where the target is reached. The position is the next epoch's
        then."""
        recipe, position = self.recipe, self.position
        began = time.perf_counter()
        found = self.evaluate(phase) if self.is_evaluated(position.epoch) else None
        eval_s = time.perf_counter() - began
        position.elapsed_s = self.clock.read()
        self.announcer.epoch_ended(position, phase, batch, found, eval_s)
        reached = False
        if found is not None and recipe.target_metric is not None and recipe.target_value is not None:
            value = {"top1": found.top1, "top5": found.top5}.get(recipe.target_metric)
            if value is not None and value >= recipe.target_value:
                reached = True
                self.announcer.target_reached(recipe.target_metric, value, recipe.target_value, position)
        self.position = position = Position(
            step=position.step,
            epoch=position.epoch + 1,
            elapsed_s=position.elapsed_s,
            meant_for=position.meant_for,
        )
        epoch = position.epoch
        if reached or epoch % recipe.checkpoint_epochs == 0 or epoch == total_epochs(recipe.phases):
            self.save("epoch")
        self.meter.forget()
        return reached

    def is_evaluated(self, epoch: int) -> bool:
        """True but for the epochs before `eval_from`."""
        return epoch >= self.recipe.eval_from or epoch + 1 == total_epochs(self.recipe.phases)

    def prepare_evaluation(self, phase: Phase) -> None:
        """Has the loader begin with the pictures of the evaluation, unless it has."""
        if self.evaluation_batches is None:
            every = chain(*self.evaluations.values())
            room = Room.of((len(request), request.height, request.width) for request in every)
            self.evaluation_batches = self.data.loader.batches(VALIDATION, self.evaluations[phase], room)

    def evaluate(self, phase: Phase) -> evaluation.Metrics:
        """The metrics of the model as it is now, over the validation pictures."""
        epoch = self.position.epoch
        self.learner.average_statistics()
        self.prepare_evaluation(phase)
        total = sum(map(len, self.evaluations[phase]))

        def progress(done: int) -> None:
            self.announcer.evaluation_progressed(epoch, done, total)

        batches, self.evaluation_batches = self.evaluation_batches, None
        assert batches is not None
        return evaluation.evaluate(self.learner, batches, self.env, progress, flip=self.recipe.eval_flip)

    # --- checkpoints ---

    def save(self, reason: str) -> None:
        """Begins a checkpoint, unless a stop finds that one was just made. All ranks call it at the same boundary."""
        position = self.position
        if reason == "stop" and self.saved_step == position.step:
            return
        self.saved_step = position.step
        self.learner.average_statistics()
        if self.env.rank == 0:
            position.elapsed_s = self.clock.read()
            self.restorer.save(position, self.about, self.learner.state(), reason)


@dataclass(frozen=True, slots=True)
class Pending:
    """A step that was taken, and its exchange, which is still under way."""

    exchange: Exchange
    step: Step
