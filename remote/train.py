"""The trainer: one for the demo on a laptop's CPU and for ImageNet on 128 GPUs.

A rank calls `main(job, folder)`; torchrun has set its RANK, LOCAL_RANK and WORLD_SIZE. By hand:
``torchrun --nproc-per-node 2 -m remote.train JOB.json FOLDER``. The file reads in the order of a run: take a place in
the gang, open the data, build the model, load a checkpoint, take steps, evaluate, stop at the target.

At every step boundary the ranks agree on pause, stop and checkpoint (see `remote.agreement`), one step late, so all of
them act at the same step. What they do is said in the journal (see `remote.events`).
"""

from __future__ import annotations

import atexit
import gc
import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import nn
from torch.nn import functional

from remote import checkpoint, data
from remote.agreement import Agreed, Exchange
from remote.control import Wish, WishReader
from remote.events import (
    CheckpointFailed,
    CheckpointLoaded,
    CheckpointSaved,
    EpochEnded,
    EvaluationProgressed,
    LogPrinted,
    Paused,
    PhaseStarted,
    RankFailed,
    RankProgressed,
    RankStarted,
    Resumed,
    StageProgressed,
    StepEnded,
    TargetReached,
    TrainingEnded,
    TrainingStarted,
)
from remote.job import Job, Recipe
from remote.journal import JOURNAL, Journal
from remote.learner import Learner
from remote.lineage import end_with_parent
from remote.place import Place
from remote.schedule import Phase, lr_at, phase_index, steps_per_epoch, total_epochs, total_steps

TIMEOUT_S = 120
"""A collective that takes longer has lost a rank; torch's own default of 10 to 30 minutes costs more than the run."""
PAUSE_POLL_S = 0.1
SAY_S = 1.0
"""Seconds between a rank's progress records."""


# --- the entry -------------------------------------------------------------------------------------------------------


def preload() -> None:
    """Imports everything on the way to the first step, so that a launcher which forks its ranks pays for it once."""
    collecting = gc.isenabled()
    gc.disable()  # it finds nothing to collect among modules and takes a quarter of an import's time
    Image.preinit()
    # The first optimiser imports torch._dynamo, 1 s of CPU, whether or not anything is compiled.
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    if collecting:
        gc.enable()
    gc.collect()
    gc.freeze()  # the collector of a forked rank leaves these objects alone, and so the pages stay shared
    atexit.register(gc.unfreeze)  # extension modules complain of leaks where the launcher ends with frozen objects


def main(job: Job, folder: Path) -> int:
    """Trains as one rank of the gang; 0 when the target is reached, the schedule is through, or it was told to stop.

    A user's mistake, a full disk or a lost peer ends the process with exit code 1 and one sentence on stderr, which is
    in the journal as well. `folder` is the run's folder on this host.
    """
    end_with_parent(os.getppid())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked rank inherits its launcher's handler, which would linger
    place = Place.from_env()
    if job.embedded:
        torch.set_num_threads(1)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    journal = Journal(folder / JOURNAL)

    try:
        Trainer(job, folder, place, journal).run()
    except Exception as error:
        sentence = _sentence(error)
        journal.emit(
            RankFailed(
                rank=place.rank,
                exit_code=1,
                message=sentence or f"{type(error).__name__}: {error}"[:500],
                t_failed=time.time(),
                echo=_lost_peers(error),
            )
        )
        if sentence is None:
            raise
        sys.stderr.write(f"rank {place.rank}: {sentence}\n")
        sys.stderr.flush()
        # No way back through the process group: its destructor may wait for ranks that are gone.
        os._exit(1)
    dist.destroy_process_group()
    journal.close()
    return 0


def _sentence(error: Exception) -> str | None:
    """What to say about an error that is not a bug; None for a bug."""
    text = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of GPU memory: {text[:300]}"
    if _lost_peers(error):
        # gloo and NCCL begin with a place in their source and end with advice.
        return f"lost the other ranks: {re.sub(r'^[^ ]*[.]cc:[0-9]+[]]? *', '', text.lstrip('['))[:120]}"
    if isinstance(error, ValueError | OSError):
        return text[:1000]
    return None


def _lost_peers(error: Exception) -> bool:
    """True where a rank failed because another one did."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


@dataclass(slots=True)
class Position:
    """Where the run is; saved with a checkpoint, but for the world it is in."""

    step: int = 0
    """Optimiser steps taken."""
    epoch: int = 0
    epoch_step: int = 0
    """Steps taken in the epoch."""
    elapsed_s: float = 0.0
    loss_sum: float = 0.0
    """Over the epoch's steps so far."""
    loss_steps: int = 0
    epoch_train_s: float = 0.0


# --- the run ---------------------------------------------------------------------------------------------------------


class Trainer:
    """One rank's run, from its place in the gang to the end."""

    def __init__(self, job: Job, folder: Path, place: Place, journal: Journal) -> None:
        self.recipe: Recipe = job.recipe
        self.folder = folder
        self.place = place
        self.journal = journal
        self.wishes = WishReader(folder)
        self.at = Position()
        self.checkpoints_done = 0
        self.saved_step = -1
        self.clock = Clock()
        self.meter = Meter(place, journal)

    def run(self) -> None:
        """Prepares, trains, and says how it ended."""
        self.say_place()
        self.open_data()
        self.join_gang()
        self.build_model()
        self.load_checkpoint()
        self.announce()
        self.clock.start(self.at.elapsed_s)
        reason = self.train()
        if self.place.rank == 0:
            at = self.at
            epoch = at.epoch if at.epoch_step else max(at.epoch - 1, 0)  # the one that the last step belongs to
            ended = TrainingEnded(step=at.step, epoch=epoch, reason=reason, elapsed_s=self.clock.read())
            self.journal.emit(ended)
        dist.barrier()  # nobody takes the store away while another rank still needs it

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
        self.training, self.validation = data.open_sources(recipe, progress)
        images = len(self.training)
        for phase in recipe.phases:
            batch, group = phase.batch_size_per_gpu, recipe.batch_norm_group
            if batch * place.world_size > images:
                raise ValueError(
                    f"the global batch of {batch * place.world_size:,} images ({batch:,} on each of "
                    f"{place.world_size:,} ranks) is bigger than the data set {recipe.dataset} "
                    f"with its {images:,} training images"
                )
            if group is not None and batch % group:
                raise ValueError(f"batch_norm_group {group} does not divide batch_size_per_gpu {batch}")
        self.stage("data", images, images, f"{images:,} training images, {len(self.validation):,} held out")

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
        self.ratios = self.validation_ratios()
        self.stage("process group", place.world_size, place.world_size)

    def check_same_data(self) -> None:
        """Every host must have the same pictures in the same order, or the ranks would train on a wild mixture."""
        training, validation = self.training, self.validation
        names = hashlib.sha256("\n".join(training.classes).encode()).hexdigest()
        mine = (len(training), len(validation), len(training.classes), names)
        everybodys: list[Any] = [None] * self.place.world_size
        dist.all_gather_object(everybodys, mine)
        for rank, theirs in enumerate(everybodys):
            if theirs != everybodys[0]:
                raise ValueError(
                    f"rank {rank} has {theirs[0]:,} training and {theirs[1]:,} validation images in {theirs[2]:,} "
                    f"classes, rank 0 has {everybodys[0][0]:,} and {everybodys[0][1]:,} in {everybodys[0][2]:,}"
                )

    def validation_ratios(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Width over height of every validation picture where a phase needs it; each rank looks at its share."""
        if not any(phase.rectangular for phase in self.recipe.phases):
            return None
        place, total = self.place, len(self.validation)
        ratios = torch.zeros(total, dtype=torch.float64, device=place.device)
        mine = range(place.rank, total, place.world_size)
        ratios[list(mine)] = torch.tensor(
            [data.ratio_of(self.validation, index) for index in mine], dtype=torch.float64, device=place.device
        )
        dist.all_reduce(ratios)
        return ratios.cpu().numpy()

    def build_model(self) -> None:
        recipe, place = self.recipe, self.place
        self.stage("model", 0, 1, recipe.model)
        self.learner = Learner(recipe, place, len(self.training.classes))

        def unreadable(text: str) -> None:
            self.journal.emit(LogPrinted(text=text, rank=place.rank, stream="stderr"))

        cuda = place.device.type == "cuda"
        self.loader = data.Loader(
            data.Reader(self.training, recipe.seed, unreadable), recipe.loader_workers, pin_memory=cuda
        )
        self.val_loader = data.Loader(
            data.Reader(self.validation, recipe.seed, unreadable), recipe.loader_workers, pin_memory=cuda
        )
        self.learner.warm_up()
        self.stage("model", 1, 1, recipe.model)

    def announce(self) -> None:
        recipe, place, at = self.recipe, self.place, self.at
        if place.rank != 0:
            return
        steps = total_steps(recipe.phases, len(self.training), place.world_size)
        self.journal.emit(
            TrainingStarted(
                world_size=place.world_size,
                model=recipe.model,
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
            )
        )

    # --- steps ---

    def train(self) -> str:
        """Epoch after epoch from where the run is; returns why it ended."""
        recipe, place, at = self.recipe, self.place, self.at
        plan = data.training_plan(recipe, len(self.training), place.rank, place.world_size, at.epoch, at.epoch_step)
        batches = self.loader.batches(plan)
        phase_said = -1
        while at.epoch < total_epochs(recipe.phases):
            index = phase_index(recipe.phases, at.epoch)
            phase = recipe.phases[index]
            global_batch = phase.batch_size_per_gpu * place.world_size
            steps = steps_per_epoch(len(self.training), global_batch)
            if index != phase_said and place.rank == 0:
                self.journal.emit(
                    PhaseStarted(
                        phase=index,
                        epoch=at.epoch,
                        image_size=phase.image_size,
                        batch_size_per_gpu=phase.batch_size_per_gpu,
                        global_batch_size=global_batch,
                        steps_per_epoch=steps,
                        min_scale=phase.min_scale,
                        rectangular=phase.rectangular,
                    )
                )
            phase_said = index

            pending: Pending | None = None
            while at.epoch_step < steps:
                if recipe.max_steps is not None and at.step >= recipe.max_steps:
                    self.settle(pending)
                    self.save("stop")
                    return "finished"
                began = time.perf_counter()
                pictures, labels = next(batches)
                have_batch = time.perf_counter()
                lr = lr_at(recipe.phases, at.epoch, at.epoch_step + 1, steps)
                computed = self.meter.computing()
                loss = self.learner.backward(pictures, labels)
                computed()
                self.learner.step(lr)
                at.step += 1
                at.epoch_step += 1

                exchange = Exchange(self.wishes.read(), loss, place.world_size)
                agreed = self.settle(pending)
                ended = time.perf_counter()
                step_s, data_s = ended - began, have_batch - began
                at.epoch_train_s += step_s
                pending = Pending(exchange, at.step, at.epoch, at.epoch_step, steps, lr, step_s, data_s, global_batch)
                self.meter.stepped(at.step, len(labels), step_s, data_s)
                if agreed is not None and self.calls_for_action(agreed.wish):
                    self.settle(pending)
                    pending = None
                    if self.act(agreed.wish):
                        return "stopped"

            agreed = self.settle(pending)
            if self.end_epoch(phase, global_batch):
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

    def calls_for_action(self, wish: Wish) -> bool:
        return wish.paused or wish.stop or wish.checkpoint > self.checkpoints_done

    def act(self, wish: Wish) -> bool:
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

    def end_epoch(self, phase: Phase, global_batch: int) -> bool:
        """Evaluates, says the epoch, saves; True where the target is reached. The position is then the next epoch's."""
        recipe, at = self.recipe, self.at
        began = time.perf_counter()
        top1, top5, val_loss, counted = self.evaluate(phase)
        elapsed_s = self.clock.read()
        metrics = {"top1": top1, "top5": top5}
        if self.place.rank == 0:
            self.journal.emit(
                EpochEnded(
                    epoch=at.epoch,
                    step=at.step,
                    elapsed_s=elapsed_s,
                    top1=top1,
                    top5=top5,
                    train_loss=at.loss_sum / at.loss_steps if at.loss_steps else None,
                    val_loss=val_loss,
                    val_images=counted,
                    img_per_s=at.epoch_step * global_batch / at.epoch_train_s if at.epoch_train_s else None,
                    image_size=phase.image_size,
                    train_s=at.epoch_train_s,
                    eval_s=time.perf_counter() - began,
                )
            )
        reached = False
        if recipe.target_metric is not None and recipe.target_value is not None:
            value = metrics[recipe.target_metric]
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
        self.at = at = Position(step=at.step, epoch=at.epoch + 1, elapsed_s=elapsed_s)
        if reached or at.epoch % recipe.checkpoint_epochs == 0 or at.epoch == total_epochs(recipe.phases):
            self.save("epoch")
        self.meter.forget()
        return reached

    @torch.inference_mode()
    def evaluate(self, phase: Phase) -> tuple[float | None, float | None, float | None, int]:
        """Top-1, top-5, mean loss and number over every held-out picture, each counted once by exactly one rank."""
        place = self.place
        self.learner.average_statistics()
        plan = data.validation_plan(phase, len(self.validation), self.ratios, place.rank, place.world_size)
        total, done, said = sum(map(len, plan)), 0, 0.0
        sums = torch.zeros(4, dtype=torch.float64, device=place.device)
        net = self.learner.judged.eval()
        for pictures, labels in self.val_loader.batches(plan):
            if len(labels) == 0:
                continue
            labels = labels.to(place.device, non_blocking=True)
            scores = self.learner.scores(pictures)
            hits = scores.topk(min(5, scores.shape[1])).indices == labels[:, None]
            loss = functional.cross_entropy(scores, labels, reduction="sum")
            sums += torch.stack([torch.tensor(len(labels), device=place.device), hits[:, 0].sum(), hits.sum(), loss])
            done += len(labels)
            if place.rank == 0 and time.monotonic() - said > SAY_S / 2:
                said = time.monotonic()
                self.journal.emit(EvaluationProgressed(epoch=self.at.epoch, done=done, total=total))
        net.train()
        dist.all_reduce(sums)
        count, top1, top5, loss_sum = sums.tolist()
        if not count:
            return None, None, None, 0
        return top1 / count, top5 / count, loss_sum / count, int(count)

    # --- checkpoints ---

    def about(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the recipe to be continued by it."""
        recipe = self.recipe
        return {"model": recipe.model, "dataset": recipe.dataset, "classes": len(self.training.classes)}

    def save(self, reason: str) -> None:
        """Saves on rank 0; a failure is said, and training goes on. All ranks call it at the same boundary."""
        at = self.at
        if reason == "stop" and self.saved_step == at.step:
            return
        self.saved_step = at.step
        self.learner.average_statistics()
        if self.place.rank != 0:
            return
        began = time.perf_counter()
        at.elapsed_s = self.clock.read()
        phases = self.recipe.phases
        seen = 0
        if at.epoch_step:
            seen = at.epoch_step * phases[phase_index(phases, at.epoch)].batch_size_per_gpu * self.place.world_size
        state = {
            "about": self.about(),
            "position": asdict(at) | {"epoch_images": seen},
            **self.learner.state(),
        }
        try:
            saved = checkpoint.save(self.folder, at.step, state)
        except OSError as error:
            path = f"{checkpoint.FOLDER}/{checkpoint.name_of(at.step)}"
            self.journal.emit(CheckpointFailed(path=path, reason=error.strerror or str(error)))
            return
        self.journal.emit(
            CheckpointSaved(
                step=at.step,
                epoch=at.epoch,
                path=saved.path,
                size_bytes=saved.size_bytes,
                sha256=saved.sha256,
                save_s=time.perf_counter() - began,
                reason=reason,
            )
        )

    def load_checkpoint(self) -> None:
        """Continues from the newest whole checkpoint on any node, if there is one.

        After a restart torchrun may give rank 0 to another node than the one that saved, so every node looks and the
        one that has the newest sends it to all.
        """
        place = self.place

        def damaged(path: str, reason: str) -> None:
            self.journal.emit(CheckpointFailed(path=path, reason=reason))

        found = checkpoint.load_newest(self.folder, damaged) if place.local_rank == 0 else None
        step, content = found or (-1, b"")
        mine = torch.tensor([step, len(content)], device=place.device)
        everybodys = torch.empty(place.world_size * 2, dtype=mine.dtype, device=place.device)
        dist.all_gather_into_tensor(everybodys, mine)
        steps, sizes = everybodys.view(-1, 2).T.tolist()
        newest = max(steps)
        if newest < 0:
            return
        holder = steps.index(newest)
        if place.rank == holder:
            packed = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(place.device)
        else:
            packed = torch.empty(sizes[holder], dtype=torch.uint8, device=place.device)
        dist.broadcast(packed, holder)
        state = checkpoint.unpack(packed.cpu().numpy().tobytes())

        path = f"{checkpoint.FOLDER}/{checkpoint.name_of(newest)}"
        if state["about"] != self.about():
            theirs, ours = (
                f"{about['model']} on {about['dataset']} with {about['classes']} classes"
                for about in (state["about"], self.about())
            )
            raise ValueError(f"the checkpoint {path} is of {theirs}, and the run is of {ours}")
        self.learner.load(state)
        position = dict(state["position"])
        images = position.pop("epoch_images")
        self.at = at = Position(**position)
        if at.epoch_step:
            # The same number of steps in the same gang; in one of another size, as many as show the same pictures.
            phases = self.recipe.phases
            global_batch = phases[phase_index(phases, at.epoch)].batch_size_per_gpu * place.world_size
            at.epoch_step = min(images // global_batch, steps_per_epoch(len(self.training), global_batch))
        if place.rank == holder:
            self.journal.emit(CheckpointLoaded(step=at.step, epoch=at.epoch, path=path))


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


class Clock:
    """Training seconds over all attempts, pauses left out."""

    def __init__(self) -> None:
        self._base_s = 0.0
        self._since: float | None = None

    def start(self, elapsed_s: float) -> None:
        """Goes on from `elapsed_s`."""
        self._base_s = elapsed_s
        self._since = time.monotonic()

    def pause(self) -> None:
        """Stops."""
        self._base_s = self.read()
        self._since = None

    def resume(self) -> None:
        """Goes on."""
        self._since = time.monotonic()

    def read(self) -> float:
        """Seconds so far."""
        return self._base_s + (time.monotonic() - self._since if self._since is not None else 0.0)


class Meter:
    """Where a rank's time goes, said once a second. On a GPU it reads only what is long past, and waits for nothing."""

    def __init__(self, place: Place, journal: Journal) -> None:
        self._place = place
        self._journal = journal
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.forget()

    def forget(self) -> None:
        """Begins anew after a pause or an evaluation."""
        self._began = time.perf_counter()
        self._steps = 0
        self._images = 0
        self._step_s = self._data_s = self._compute_s = 0.0
        self._computes = 0
        self._events.clear()

    def computing(self) -> Callable[[], None]:
        """Call what it returns when the gradients are there."""
        if self._place.device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()

            def computed() -> None:
                end.record()
                self._events.append((begin, end))

            return computed
        began = time.perf_counter()

        def computed_here() -> None:
            self._compute_s += time.perf_counter() - began
            self._computes += 1

        return computed_here

    def stepped(self, step: int, images: int, step_s: float, data_s: float) -> None:
        """One step of this rank is through."""
        self._steps += 1
        self._images += images
        self._step_s += step_s
        self._data_s += data_s
        now = time.perf_counter()
        if now - self._began < SAY_S:
            return
        while self._events and self._events[0][1].query():
            begin, end = self._events.pop(0)
            self._compute_s += begin.elapsed_time(end) / 1000
            self._computes += 1
        self._journal.emit(
            RankProgressed(
                rank=self._place.rank,
                step=step,
                img_per_s=self._images / (now - self._began),
                step_s=self._step_s / self._steps,
                data_s=self._data_s / self._steps,
                compute_s=self._compute_s / self._computes if self._computes else None,
            )
        )
        events = self._events[:]
        self.forget()
        self._events = events


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: torchrun ... -m remote.train JOB.json FOLDER")
    sys.exit(main(Job.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
