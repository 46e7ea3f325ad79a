"""The ``debug.log`` of fast.ai's ImageNet run of 2018 as records of a run.

Lines as its logger wrote them (cybertronai/imagenet18_old, ``training/logger.py`` and ``train_imagenet_nv.py``): a
wall-clock stamp without a time zone, taken as UTC; then the arguments (``Namespace(...)`` with the phases), a line
every fifth step and at each epoch's last, lines of the evaluation, and one ``~~epoch hours top1 top5`` an epoch. What
the log does not say and everyone knows (ResNet-50, ImageNet's sizes, eight GPUs a p3.16xlarge) stands in constants.

Pure: lines in, records and losses out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from console.journal.fastai2018_phases import DEFAULT_MIN_SCALE, phases_of, phases_text
from console.journal.reader import DAMAGED, UNKNOWN, Line, Lost
from console.state.events import SCHEMA, HostConnected, InstanceStarted, InstanceStopped, Record, RunCreated, RunEnded
from remote.wire.codec import Event
from remote.wire.events import (
    EpochEnded,
    EvaluationProgressed,
    LogPrinted,
    PhaseStarted,
    StepEnded,
    TargetReached,
    TrainerEnded,
    TrainingEnded,
    TrainingStarted,
)
from remote.wire.schedule import Phase, lr_at, phase_index, total_epochs, total_steps

INSTANCE_TYPE: Final = "p3.16xlarge"
GPUS: Final = 8
USD_PER_H_ON_DEMAND: Final = 24.48
USD_PER_H_SPOT: Final = 7.344
PRICE_NOTE: Final = (
    "estimated: p3.16xlarge in us-east-1 in August 2018, spot $7.344/h, on demand $24.48/h as DAWNBench counts it"
)
TARGET_METRIC: Final = "top5"
TARGET_VALUE: Final = 0.93
"""DAWNBench's target for ImageNet."""
TRAIN_IMAGES: Final = 1_281_167
VAL_IMAGES: Final = 50_000
CLASSES: Final = 1000
PARAMETERS: Final = 25_557_032

_STAMPED: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) - [\w./-]{1,80}:\d{1,6} - (.*)", re.DOTALL)
_NUMBER: Final = r"(\d{1,9}(?:\.\d{1,20})?(?:e-?\d{1,2})?|nan|inf)"
_PAIR: Final = rf"{_NUMBER} \({_NUMBER}\)"
_STEP: Final = re.compile(
    rf"Epoch: \[(\d{{1,5}})\]\[(\d{{1,7}})/(\d{{1,7}})\]\s+Time {_PAIR}\s+Loss {_PAIR}"
    rf"\s+Acc@1 {_PAIR}\s+Acc@5 {_PAIR}\s+Data {_PAIR}(?:\s+BW {_NUMBER} {_NUMBER})?\s*"
)
_TEST: Final = re.compile(
    rf"Test:\s+\[(\d{{1,5}})\]\[(\d{{1,7}})/(\d{{1,7}})\]\s+Time {_PAIR}\s+Loss {_PAIR}"
    rf"\s+Acc@1 {_PAIR}\s+Acc@5 {_PAIR}\s*"
)
_EPOCH: Final = re.compile(rf"~~(\d{{1,5}})\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s*")
_RATE: Final = re.compile(rf"Changing LR from (?:None|{_NUMBER}) to {_NUMBER}\s*")
_SIZE: Final = re.compile(r"(Image size|Batch size|Batch size changed): (\d{1,6})\s*")
_WORLD: Final = re.compile(r"Distributed: success \(\d{1,6}/(\d{1,6})\)\s*")
_HEADER: Final = re.compile(r"~~epoch\s+hours\s+top1\s+top5\s*")
_CHATTER: Final = (
    "Distributed initializing process group",
    "Loading model",
    "Creating data loaders",
    "Syncing machines before training",
    "Dataset changed",
    "Train Directory:",
    "Validation Directory:",
)
_OURS: Final = ("Namespace(", "Distributed", "~~", "Epoch: [", "Test:", "Changing LR", "Dataset changed")


def is_line(text: str) -> bool:
    """Whether `text` is a line that only this log has."""
    stamped = _STAMPED.fullmatch(text.rstrip("\r"))
    return stamped is not None and stamped[3].startswith(_OURS)


def records(lines: Iterable[Line | Lost], *, run_id: str) -> Iterator[Record | Lost]:
    """The log as records: what the run was as of the laptop, all the rest as of node 0, whose rank 0 wrote it.

    `received` and `t` are the log's own stamps. The instances are taken as billed from the first line to the last.
    """
    reader = _Reader(run_id)
    for line in lines:
        if isinstance(line, Lost):
            yield line
            continue
        try:
            yield from reader.read(line)
        except _Lost as error:
            yield Lost(line.number, error.kind, error.reason)
    yield from reader.end()


class _Lost(Exception):
    def __init__(self, kind: str, reason: str) -> None:
        self.kind, self.reason = kind, reason


@dataclass(slots=True)
class _Averages:
    """Running means over an epoch as its last line says them."""

    time_s: float | None = None
    loss: float | None = None
    batches: int = 0


class _Reader:
    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._t: float | None = None
        self._began_t = 0.0
        self._phases: tuple[Phase, ...] = ()
        self._world_size: int | None = None
        self._created = False
        self._training = False
        self._waiting: list[Record] = []
        self._image_size: int | None = None
        self._batch: int | None = None
        self._lr: float | None = None
        self._phase: tuple[int, int | None, int | None] | None = None
        self._epoch = -1
        self._steps_before = 0
        self._steps_per_epoch = 0
        self._train = _Averages()
        self._test = _Averages()
        self._last: EpochEnded | None = None
        self._target: TargetReached | None = None

    def read(self, line: Line) -> Iterator[Record]:
        try:
            text = line.text.decode().rstrip("\r")
        except UnicodeDecodeError:
            raise _Lost(DAMAGED, "not UTF-8") from None
        stamped = _STAMPED.fullmatch(text)
        if stamped is None:
            yield from self._unstamped(text)
            return
        try:
            moment = datetime.strptime(stamped[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            raise _Lost(DAMAGED, f"no time: {stamped[1]}") from None
        t = max(0.0, moment.timestamp() + int(stamped[2]) / 1000)
        if self._t is None:
            self._began_t = t
        self._t = t
        yield from self._message(stamped[3], line.offset)

    def _unstamped(self, text: str) -> Iterator[Record]:
        # The lines that follow "Dataset changed." and the blank ones after the table's header and rows.
        if not text.strip():
            return
        if self._t is None or not (_SIZE.fullmatch(text) or text.startswith(_CHATTER)):
            raise _Lost(DAMAGED, f"neither a stamp nor a known line: {text[:60]!r}")
        yield from self._message(text, None)

    def _message(self, text: str, offset: int | None) -> Iterator[Record]:
        if found := _STEP.fullmatch(text):
            yield from self._step(found, offset)
        elif found := _TEST.fullmatch(text):
            yield from self._evaluation(found, offset)
        elif found := _EPOCH.fullmatch(text):
            yield from self._epoch_ended(found, offset)
        elif found := _RATE.fullmatch(text):
            self._lr = _finite(found[2])
        elif found := _SIZE.fullmatch(text):
            if found[1] == "Image size":
                self._image_size = int(found[2])
            else:
                self._batch = int(found[2])
        elif found := _WORLD.fullmatch(text):
            self._world_size = int(found[1]) or None
            yield from self._create()
        elif text.startswith("Namespace("):
            try:
                self._phases = phases_of(text)
            except ValueError as error:
                raise _Lost(DAMAGED, str(error)) from None
        elif _HEADER.fullmatch(text):
            yield from self._create()
        elif text.startswith(_CHATTER):
            yield from self._say(LogPrinted(text=text[:4096], rank=0), offset)
        elif text.startswith(_OURS):
            raise _Lost(DAMAGED, f"cannot be read: {text[:60]!r}")
        else:
            raise _Lost(UNKNOWN, text[:60])

    def _record(self, event: Event, node: int | None = 0, offset: int | None = None) -> Record:
        t = self._t or 0.0
        return Record(t, t, event, node, offset)

    def _say(self, event: Event, offset: int | None) -> Iterator[Record]:
        """The record, once it is known of what run it is."""
        if self._created:
            yield self._record(event, 0, offset)
        else:
            self._waiting.append(self._record(event, 0, offset))

    def _create(self) -> Iterator[Record]:
        if self._created:
            return
        self._created = True
        world_size = self._world_size
        nnodes = None if world_size is None else -(-world_size // GPUS)
        now, self._t = self._t, self._began_t
        yield self._record(
            RunCreated(
                schema=SCHEMA,
                run_id=self._run_id,
                version="",
                profile=f"fast.ai 2018, {nnodes} machines" if nnodes else "fast.ai 2018",
                profile_text=phases_text(self._phases),
                provider="aws",
                nnodes=nnodes,
                nproc_per_node=None if world_size is None else min(GPUS, world_size),
                accelerator="V100",
                target_metric=TARGET_METRIC,
                target_value=TARGET_VALUE,
                instance_type=INSTANCE_TYPE,
                usd_per_h=USD_PER_H_SPOT,
                usd_per_h_on_demand=USD_PER_H_ON_DEMAND,
                price_note=PRICE_NOTE,
            ),
            None,
        )
        for node in range(min(nnodes or 0, 4096)):
            billed = InstanceStarted(
                instance_id=f"node-{node}",
                started_t=self._began_t,
                usd_per_h=USD_PER_H_SPOT,
                usd_per_h_on_demand=USD_PER_H_ON_DEMAND,
            )
            yield self._record(billed, node)
        self._t = now
        yield from self._waiting
        self._waiting.clear()
        # The process group stands, so every node is in it.
        for node in range(min(nnodes or 0, 4096)):
            yield self._record(HostConnected(from_offset=0), node)

    def _start(self) -> Iterator[Record]:
        yield from self._create()
        if self._training or not self._phases or self._world_size is None:
            return
        self._training = True
        yield self._record(
            TrainingStarted(
                world_size=self._world_size,
                model="resnet50",
                parameters=PARAMETERS,
                classes=CLASSES,
                train_images=TRAIN_IMAGES,
                val_images=VAL_IMAGES,
                total_epochs=total_epochs(self._phases),
                total_steps=total_steps(self._phases, TRAIN_IMAGES, self._world_size),
                start_step=0,
                start_epoch=0,
                precision="float16",
            )
        )

    def _step(self, found: re.Match[str], offset: int | None) -> Iterator[Record]:
        epoch, epoch_step, steps = int(found[1]), int(found[2]), int(found[3])
        step_s, mean_s, loss, mean_loss, data_s = (_finite(found[group]) for group in (4, 5, 6, 7, 12))
        if not 0 < epoch_step <= steps or step_s is None or step_s <= 0 or data_s is None:
            raise _Lost(DAMAGED, f"an impossible step: {found[0][:60]!r}")
        yield from self._start()
        if epoch != self._epoch:
            self._enter(epoch, steps)
        yield from self._enter_phase(epoch, steps)
        batch = self._global_batch()
        images = batch
        if batch is not None and epoch_step == steps and 0 < TRAIN_IMAGES - (steps - 1) * batch < batch:
            # The last batch of an epoch has what is left.
            images = TRAIN_IMAGES - (steps - 1) * batch
        self._train = _Averages(mean_s, mean_loss, epoch_step)
        yield self._record(
            StepEnded(
                step=self._steps_before + epoch_step,
                epoch=epoch,
                epoch_step=epoch_step,
                steps_per_epoch=steps,
                loss=loss,
                lr=self._rate(epoch, epoch_step, steps),
                step_s=step_s,
                data_s=data_s,
                img_per_s=(images or 0) / step_s,
            ),
            0,
            offset,
        )

    def _enter(self, epoch: int, steps: int) -> None:
        """Counts the steps of the epochs behind; those that a damaged log lacks as the schedule has them."""
        if self._epoch < epoch:
            for passed in range(max(self._epoch, 0), min(epoch, 10_000)):
                self._steps_before += self._steps_per_epoch if passed == self._epoch else self._planned(passed, steps)
        self._epoch, self._steps_per_epoch = epoch, steps
        self._train = self._test = _Averages()

    def _planned(self, epoch: int, otherwise: int) -> int:
        try:
            phase = self._phases[phase_index(self._phases, epoch)]
        except IndexError:
            return otherwise
        return -(-TRAIN_IMAGES // (phase.batch_size_per_gpu * (self._world_size or 1)))

    def _enter_phase(self, epoch: int, steps: int) -> Iterator[Record]:
        try:
            index = phase_index(self._phases, epoch)
        except IndexError:
            index = -1
        now = (index, self._image_size, self._batch)
        if now == self._phase or self._image_size is None or self._batch is None:
            return
        self._phase = now
        phase = self._phases[index] if index >= 0 else None
        yield self._record(
            PhaseStarted(
                phase=max(index, 0),
                epoch=epoch,
                image_size=self._image_size,
                batch_size_per_gpu=self._batch,
                global_batch_size=self._global_batch() or 0,
                steps_per_epoch=steps,
                min_scale=phase.min_scale if phase else DEFAULT_MIN_SCALE,
                rectangular=phase.rectangular if phase else False,
            )
        )

    def _rate(self, epoch: int, epoch_step: int, steps: int) -> float:
        """The rate of every step is in the schedule; the log prints it at an epoch's first and last step only."""
        try:
            return lr_at(self._phases, epoch, epoch_step, steps)
        except IndexError:
            return self._lr or 0.0

    def _global_batch(self) -> int | None:
        return None if self._batch is None or self._world_size is None else self._batch * self._world_size

    def _evaluation(self, found: re.Match[str], offset: int | None) -> Iterator[Record]:
        epoch, done, total = int(found[1]), int(found[2]), int(found[3])
        if not 0 < done <= total:
            raise _Lost(DAMAGED, f"an impossible evaluation: {found[0][:60]!r}")
        self._test = _Averages(_finite(found[5]), _finite(found[7]), done)
        # The log counts batches; rank 0 has its share of the images.
        images = -(-VAL_IMAGES // (self._world_size or 1))
        event = EvaluationProgressed(epoch=epoch, done=images * done // total, total=images)
        yield from self._say(event, offset)

    def _epoch_ended(self, found: re.Match[str], offset: int | None) -> Iterator[Record]:
        epoch, hours = int(found[1]), _finite(found[2])
        top1, top5 = _fraction(found[3]), _fraction(found[4])
        if hours is None:
            raise _Lost(DAMAGED, f"an epoch without hours: {found[0][:60]!r}")
        yield from self._start()
        train, test, batch = self._train, self._test, self._global_batch()
        whole = epoch == self._epoch and train.batches == self._steps_per_epoch and train.time_s
        train_s = train.time_s * train.batches if whole and train.time_s else None
        images = min(TRAIN_IMAGES, batch * train.batches) if batch else None
        self._last = EpochEnded(
            epoch=epoch,
            step=self._steps_before + (self._steps_per_epoch if epoch == self._epoch else 0),
            elapsed_s=hours * 3600,
            top1=top1,
            top5=top5,
            train_loss=train.loss if whole else None,
            val_loss=test.loss,
            val_images=VAL_IMAGES,
            img_per_s=images / train_s if images and train_s else None,
            image_size=self._image_size,
            train_s=train_s,
            eval_s=test.time_s * test.batches if test.time_s is not None else None,
        )
        yield self._record(self._last, 0, offset)
        if self._target is None and top5 is not None and top5 >= TARGET_VALUE:
            self._target = TargetReached(
                metric=TARGET_METRIC,
                value=top5,
                target=TARGET_VALUE,
                epoch=epoch,
                step=self._last.step,
                elapsed_s=hours * 3600,
            )
            yield self._record(self._target)

    def end(self) -> Iterator[Record]:
        """What the last line lets one say of the run's end: nothing, where epochs are missing."""
        if self._t is None:
            return
        yield from self._create()
        nnodes = 0 if self._world_size is None else min(-(-self._world_size // GPUS), 4096)
        last = self._last
        whole = last is not None and bool(self._phases) and last.epoch + 1 >= total_epochs(self._phases)
        if last is not None and whole:
            yield self._record(
                TrainingEnded(step=last.step, epoch=last.epoch, reason="finished", elapsed_s=last.elapsed_s)
            )
            for node in range(nnodes):
                yield self._record(TrainerEnded(attempt=1, outcome="succeeded"), node)
        for node in range(nnodes):
            stopped = InstanceStopped(instance_id=f"node-{node}", stopped_t=self._t, reason="the log ends")
            yield self._record(stopped, node)
        if last is not None and whole:
            reached = self._target is not None
            yield self._record(
                RunEnded(
                    status="reached" if reached else "missed",
                    exit_code=0 if reached else 5,
                    reason=f"all {last.epoch + 1} epochs done",
                ),
                None,
            )


def _finite(text: str) -> float | None:
    value = float(text)
    return value if value < 1e12 else None


def _fraction(text: str) -> float | None:
    value = _finite(text)
    # Nine decimals: 93.178 / 100 is 0.9317800000000001 otherwise.
    return round(value / 100, 9) if value is not None and 0 <= value <= 100 else None
