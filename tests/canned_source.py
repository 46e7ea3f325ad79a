"""A `Source` made of a list of records and a clock that stands still: the screen's twin of a fleet.

`scene` gives the records of a run up to one of the moments that the screen must be good at. Numbers are made by small
formulas, so that a picture is the same each time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from functools import reduce

from console.fold.apply import apply
from console.playback import markers
from console.playback.markers import Marker
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run
from remote.wire import codec
from remote.wire import events as re

T0 = 1_790_000_000.0
"""When every canned run begins."""
CONTROLS = frozenset({"pause", "resume", "checkpoint", "stop", "terminate", "restart", "budget", "start", "detach"})
MOMENTS = ("empty", "launching", "training", "failed", "paused", "finished")
EPOCHS, STEPS = 20, 40


class CannedSource:
    """Holds the records that it was fed; keeps the commands that it was sent."""

    def __init__(
        self, records: Sequence[Record] = (), *, controls: frozenset[str] = CONTROLS, now: float | None = None
    ) -> None:
        self.run = Run()
        self.title = "local"
        self.controls = controls
        self.sent: list[str] = []
        self.arguments: dict[str, object] = {}
        """What the last command came with."""
        self.fails: Exception | None = None
        """What `work` raises."""
        self.refuses: Exception | None = None
        """What `command` raises."""
        self.ended_in_order = False
        self._now = now
        self.feed(records)

    def feed(self, records: Sequence[Record]) -> None:
        """More records."""
        self.run = reduce(apply, records, self.run)

    def now(self) -> float:
        """The given moment, else that of the last record."""
        return self._now if self._now is not None else self.run.last_received_t or T0

    async def work(self) -> None:
        """Waits for the end of the screen."""
        if self.fails is not None:
            raise self.fails
        try:
            await asyncio.Event().wait()
        finally:
            self.ended_in_order = True

    async def command(self, command: str, **arguments: object) -> None:
        """Notes the command."""
        if self.refuses is not None:
            raise self.refuses
        self.sent.append(command)
        self.arguments = arguments


class CannedPlayer(CannedSource):
    """A log: the records up to a clock that only keys move."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(records, controls=frozenset())
        self.title = "run.jsonl"
        self.playing = False
        self.speed = 1.0
        self.loop = False
        self.present = None
        self.behind_s = None
        self.reading = None
        self.slow = False
        self.whole = reduce(apply, records, Run())
        self.markers = _markers(records)
        self._records = records
        self._clock = self.end
        self.seek(self.end)

    @property
    def start(self) -> float:
        return self._records[0].received_t

    @property
    def end(self) -> float:
        return self._records[-1].received_t

    def now(self) -> float:
        return self._clock

    def seek(self, t: float) -> None:
        self._clock = t
        self.run = reduce(apply, (record for record in self._records if record.received_t <= t), Run())

    def step(self, records: int) -> None:
        self.playing = False
        marks = [record.received_t for record in self._records if isinstance(record.event, re.EpochEnded)]
        marks = [self.start, *marks, self.end]
        place = sum(mark <= self._clock for mark in marks) - 1
        self.seek(marks[max(0, min(len(marks) - 1, place + records))])


def _markers(records: Sequence[Record]) -> list[Marker]:
    found: list[Marker] = []
    run = Run()
    for record in records:
        before, run = run, apply(run, record)
        found += markers.between(before, run, record)
    return found


def created(nodes: int, gpus: int, *, budget: float | None = 5.0) -> Record:
    """The first record of a run."""
    return Record(
        T0,
        T0,
        ce.RunCreated(
            schema=ce.SCHEMA,
            run_id="20260901-120000-a1b2",
            version="0.1.0",
            profile="local",
            profile_text="[[phase]]\n[[phase]]\n[[phase]]\n",
            provider="aws" if gpus else "local",
            nnodes=nodes,
            nproc_per_node=gpus or 1,
            accelerator="NVIDIA V100" if gpus else "cpu",
            target_metric="top5",
            target_value=0.93,
            instance_type="p3.16xlarge" if gpus else None,
            usd_per_h=7.34 if gpus else 0.153,
            usd_per_h_on_demand=24.48 if gpus else 0.51,
            price_note="" if gpus else "simulated",
            budget_usd=50.0 if gpus else budget,
            budget_warn_at=0.8,
        ),
    )


def scene(moment: str, *, nodes: int = 16, gpus: int = 0) -> list[Record]:
    """The records of a run up to one of `MOMENTS`; with no GPUs the hosts show their CPU."""
    if moment == "empty":
        return []
    records = [created(nodes, gpus), *_hosts(nodes)]
    if moment == "launching":
        return records + list(_launching(nodes))
    records += _launched(nodes, gpus)
    epochs = {"training": 7, "failed": 9, "paused": 4, "finished": 17}[moment]
    records += _training(nodes, gpus, epochs, part=0 if moment == "finished" else 22)
    at = records[-1].received_t
    if moment == "paused":
        records.append(_at(at + 1, ce.OperatorCommanded(id="c1", command="pause")))
        records += [_at(at + 1.5, re.CommandDone(id="c1", command="pause"), node) for node in range(nodes - 4)]
        records += [_at(at + 2, re.Paused(rank=node, step=182), node) for node in range(nodes)]
    if moment == "failed":
        message = "RuntimeError: CUDA error: an illegal memory access was encountered" if gpus else "MemoryError"
        records.append(_at(at + 1, re.RankFailed(rank=3, exit_code=1, message=message, t_failed=at + 0.5), 3 % nodes))
        records.append(
            _at(at + 1.2, re.TrainerEnded(attempt=1, outcome="failed", reason=f"rank 3: {message}"), 3 % nodes)
        )
        if nodes > 7:
            records.append(_at(at + 1.4, ce.HostUnreachable(reason="connection reset by peer", retry_s=2.0), 7))
            echo = "the connection to rank 3 was closed by its peer"
            records.append(_at(at + 1.6, re.RankFailed(rank=5, exit_code=1, message=echo, t_failed=at + 1), 5))
        records.append(_at(at + 3, ce.RunEnded(status="failed", exit_code=3, reason=f"rank 3 failed: {message}")))
    if moment == "finished":
        last = [record.event for record in records if isinstance(record.event, re.EpochEnded)][-1]
        reached = re.TargetReached(
            metric="top5",
            value=last.top5 or 0.0,
            target=0.93,
            epoch=last.epoch,
            step=last.step,
            elapsed_s=last.elapsed_s,
        )
        records.append(_at(at + 0.1, reached, 0))
        records += [_at(at + 2, re.TrainerEnded(attempt=1, outcome="succeeded"), node) for node in range(nodes)]
        stopped = (
            ce.InstanceStopped(instance_id=f"i-{node:04}", stopped_t=at + 3, reason="done") for node in range(nodes)
        )
        records += [_at(at + 3, event, node) for node, event in enumerate(stopped)]
        records.append(_at(at + 3.5, ce.RunEnded(status="reached", exit_code=0, reason="the target was reached")))
    return records


def lost(*, nodes: int = 16, gpus: int = 0) -> list[Record]:
    """The records of a run in which a rank fails and a host is lost, for which another is asked for."""
    records = scene("training", nodes=nodes, gpus=gpus)
    at = records[-1].received_t
    message = "CUDA error: an illegal memory access was encountered" if gpus else "MemoryError"
    reason = "i-0007 is terminated: Server.SpotInstanceTermination"
    rank = 3 * (gpus or 1) + 1
    story: list[tuple[float, codec.Event, int]] = [
        (0.2, re.LogPrinted(text=f"RuntimeError: {message}", rank=rank, stream="stderr"), 3),
        (0.5, re.RankFailed(rank=rank, exit_code=1, message=f"RuntimeError: {message}", t_failed=at + 0.4), 3),
        (1.0, ce.HostUnreachable(reason="connection reset by peer", retry_s=2.0), 7),
        (2.0, ce.HostLost(reason=reason), 7),
        (2.2, ce.ReplacementOrdered(reason=reason), 7),
    ]
    return records + [_at(at + s, event, node) for s, event, node in story]


def tick(nodes: int, gpus: int, t: float, step: int) -> list[Record]:
    """A second of a run that trains: a sample a host, a word from every rank, a step."""
    records = []
    for node in range(nodes):
        records.append(_at(t, _sample(node, gpus, step), node))
        for rank in range(node * (gpus or 1), (node + 1) * (gpus or 1)):
            slow = 3.0 if rank == 11 else 1.0
            word = re.RankProgressed(
                rank=rank,
                step=step,
                img_per_s=71.0 / slow,
                step_s=0.9,
                data_s=0.08 * slow**2,
                compute_s=0.6,
                allreduce_s=0.24 / slow**2,
            )
            records.append(_at(t, word, node))
    records.append(_at(t, _step(step, nodes, gpus), 0))
    return records


def _at(t: float, event: codec.Event, node: int | None = None) -> Record:
    return Record(t, t, event, node, 0 if type(event).__module__ == re.__name__ and node is not None else None)


def _hosts(nodes: int) -> Iterator[Record]:
    for node in range(nodes):
        price = ce.InstanceStarted(
            instance_id=f"i-{node:04}", started_t=T0 + 1, usd_per_h=0.153, usd_per_h_on_demand=0.51
        )
        yield _at(T0 + 1, price, node)
        found = ce.HostFound(address="127.0.0.1", port=40022 + node, fingerprint="SHA256:" + "q1W2e3R4" * 5)
        yield _at(T0 + 2, found, node)


def _agent(gpus: int) -> re.AgentStarted:
    return re.AgentStarted(
        run_id="20260901-120000-a1b2",
        pid=4711,
        hostname="host",
        boot_id="b",
        python="3.11.7",
        torch="2.15.0",
        cpus=2,
        mem_total_mib=15_700.0,
        disk_free_mib=60_000.0,
        gpu_names=("NVIDIA V100-SXM2-16GB",) * gpus,
        free_port=29500,
    )


def _launching(nodes: int) -> Iterator[Record]:
    for node in range(nodes):
        yield _at(T0 + 3, re.StageProgressed(stage="connect", done=1, total=1), node)
    for node in range(nodes * 7 // 8):
        yield _at(T0 + 4, ce.HostConnected(from_offset=0), node)
        done = 212 if node < nodes * 3 // 4 else 37 * (node % 4)
        yield _at(T0 + 5, re.StageProgressed(stage="ship", done=done, total=212, detail="KiB"), node)
    for node in range(nodes // 2):
        detail = "joins the gang" if node % 3 else "imports torch"
        yield _at(T0 + 6, re.StageProgressed(stage="rendezvous", done=0, total=1, detail=detail), node)


def _launched(nodes: int, gpus: int) -> list[Record]:
    records = []
    for node in range(nodes):
        records.append(_at(T0 + 4, ce.HostConnected(from_offset=0), node))
        records.append(_at(T0 + 5, _agent(gpus), node))
        records.append(_at(T0 + 8, re.StageProgressed(stage="rendezvous", done=1, total=1), node))
        records.append(_at(T0 + 8, re.TrainerStarted(attempt=1, pid=5000 + node), node))
        for local in range(gpus or 1):
            started = re.RankStarted(
                rank=node * (gpus or 1) + local,
                local_rank=local,
                world_size=nodes * (gpus or 1),
                pid=6000 + node * 10 + local,
                device=f"cuda:{local}" if gpus else "cpu",
            )
            records.append(_at(T0 + 9, started, node))
        records.append(_at(T0 + 9, re.LeaseMoved(deadline_t=T0 + 3600), node))
        records.append(_at(T0 + 9 + node / 10, re.LogPrinted(text=f"joined the gang as node {node}", rank=0), node))
    return records


def _training(nodes: int, gpus: int, epochs: int, part: int) -> list[Record]:
    start = re.TrainingStarted(
        world_size=nodes * (gpus or 1),
        model="resnet50" if gpus else "small",
        parameters=25_557_032 if gpus else 700_000,
        classes=100,
        train_images=20_000,
        val_images=2_000,
        total_epochs=EPOCHS,
        total_steps=EPOCHS * STEPS,
        start_step=0,
        start_epoch=0,
    )
    records = [_at(T0 + 10, start, 0)]
    t = T0 + 10
    for epoch in range(epochs + 1):
        if epoch in (0, 5, 12):
            place = (0, 5, 12).index(epoch)
            phase = re.PhaseStarted(
                phase=place,
                epoch=epoch,
                image_size=(32, 48, 64)[place],
                batch_size_per_gpu=32,
                global_batch_size=32 * nodes,
                steps_per_epoch=STEPS,
                min_scale=0.25,
                rectangular=False,
            )
            records.append(_at(t, phase, 0))
        for step in range(1, STEPS + 1 if epoch < epochs else part + 1):
            t += 0.25
            records.append(_at(t, _step(epoch * STEPS + step, nodes, gpus), 0))
            if step % 4 == 0:
                records += tick(nodes, gpus, t, epoch * STEPS + step)[:-1]
        if epoch < epochs:
            t += 1
            records.append(_at(t, _epoch(epoch, t), 0))
            saved = re.CheckpointSaved(
                step=(epoch + 1) * STEPS, epoch=epoch, path="c.pt", size_bytes=9, sha256="0", save_s=0.1, reason="epoch"
            )
            records.append(_at(t, saved, 0))
            said = f"epoch {epoch} took {STEPS * 0.25 + 1:.1f} s"
            records.append(_at(t, re.LogPrinted(text=said, rank=0), 0))
            records.append(_at(t, re.LogPrinted(text="loader: 2 workers, 0 errors", rank=3), 3 % nodes))
    return records


def _step(step: int, nodes: int, gpus: int) -> re.StepEnded:
    loss = 0.9 + 3.7 * math.exp(-step / 220) + 0.12 * math.sin(step * 1.7) * math.exp(-step / 500)
    epoch, place = divmod(step - 1, STEPS)
    return re.StepEnded(
        step=step,
        epoch=epoch,
        epoch_step=place + 1,
        steps_per_epoch=STEPS,
        loss=loss,
        lr=0.4 * min(1.0, step / 200),
        step_s=0.25,
        data_s=0.02,
        img_per_s=(750.0 if gpus else 71.0) * nodes * (gpus or 1) * (1 + 0.02 * math.sin(step)),
    )


def _epoch(epoch: int, t: float) -> re.EpochEnded:
    top5 = 0.945 * (1 - math.exp(-(epoch + 1) / 4.0)) if epoch < 16 else 0.9312
    return re.EpochEnded(
        epoch=epoch,
        step=(epoch + 1) * STEPS,
        elapsed_s=t - T0 - 10,
        top1=top5 * 0.74,
        top5=top5,
        train_loss=1.0,
        img_per_s=1136.0,
        image_size=48,
        train_s=10.0,
        eval_s=1.0,
    )


def _sample(node: int, gpus: int, step: int) -> re.HostSampled:
    base = 62.0 if node == 11 else 95.0
    util = tuple(min(100.0, base + 7 * math.sin(step * 0.9 + node * 3 + gpu)) for gpu in range(gpus))
    return re.HostSampled(
        cpu_util_pct=max(0.0, base - 8 + 12 * math.sin(step * 0.7 + node)),
        mem_used_mib=620.0 + 11 * node,
        mem_total_mib=15_700.0,
        gpu_util_pct=util,
        gpu_mem_used_mib=(14_100.0,) * gpus,
        gpu_mem_total_mib=(16_160.0,) * gpus,
        gpu_power_w=tuple(240.0 + gpu for gpu in range(gpus)),
        gpu_temp_c=tuple(61.0 + gpu for gpu in range(gpus)),
        gpu_sm_clock_mhz=(1530.0,) * gpus,
        gpu_sm_util_pct=tuple(0.7 * one for one in util),
        gpu_tensor_util_pct=tuple(0.3 * one for one in util),
        gpu_mem_bw_util_pct=tuple(0.5 * one for one in util),
        gpu_mem_clock_mhz=(877.0,) * gpus,
        gpu_power_limit_w=(300.0,) * gpus,
        gpu_throttle=tuple("hw_thermal_slowdown" if (node, gpu) == (6, 3) else "" for gpu in range(gpus)),
        gpu_ecc_uncorrected=(0.0,) * gpus,
        gpu_remapped_rows=(0.0,) * gpus,
        gpu_row_remap=("",) * gpus,
    )
