"""A plausible run as a list of records: what the tests fold, write to journals and cut to pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import count

from console.fold.apply import apply
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run
from console.state.series import Series
from remote.wire import codec
from remote.wire import events as re

START_T = 1_790_000_000.0
PROFILE = """\
[fleet]
provider = "local"
[[phase]]
epochs = [0, 1]
[[phase]]
epochs = [1, 3]
"""


def created(**changes: object) -> ce.RunCreated:
    """The first record's event; `changes` replace fields."""
    values: dict[str, object] = {
        "schema": ce.SCHEMA,
        "run_id": "20260901-local-abcd",
        "version": "0.1.0",
        "profile": "local",
        "profile_text": PROFILE,
        "provider": "local",
        "nnodes": 2,
        "nproc_per_node": 2,
        "target_metric": "top5",
        "target_value": 0.6,
        "usd_per_h": 7.2,
        "usd_per_h_on_demand": 24.0,
        "price_note": "simulated",
        "budget_usd": 5.0,
    }
    return ce.RunCreated(**{**values, **changes})  # type: ignore[arg-type]


class Story:
    """Writes records down with a clock that it moves itself."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.t = START_T
        self._offsets = count(0, 100)

    def says(self, event: codec.Event, node: int | None = None, *, after_s: float = 0.0) -> Story:
        """The laptop witnesses `event`, `after_s` seconds after the one before."""
        self.t = round(self.t + after_s, 4)
        self.records.append(Record(self.t, self.t, event, node))
        return self

    def hears(self, node: int, event: codec.Event, *, after_s: float = 0.0) -> Story:
        """`event` comes from the journal of `node`."""
        self.t = round(self.t + after_s, 4)
        self.records.append(Record(self.t, round(self.t - 0.01, 4), event, node, next(self._offsets)))
        return self

    @property
    def run(self) -> Run:
        """All of it folded."""
        return folded(self.records)


def folded(records: list[Record]) -> Run:
    """The run after the records."""
    run = Run()
    for record in records:
        run = apply(run, record)
    return run


def launched(nnodes: int = 2, nproc_per_node: int = 2) -> Story:
    """Up to where the first step could be taken."""
    story = Story().says(created(nnodes=nnodes, nproc_per_node=nproc_per_node))
    for node in range(nnodes):
        began = ce.InstanceStarted(instance_id=f"i-{node}", started_t=story.t, usd_per_h=7.2, usd_per_h_on_demand=24.0)
        story.says(began, node)
        story.says(ce.HostFound(address="127.0.0.1", port=40_000 + node, fingerprint="SHA256:x"), node)
        story.says(re.StageProgressed(stage="connect", done=0, total=1), node)
        story.says(ce.HostConnected(from_offset=0), node, after_s=0.1)
        story.says(re.StageProgressed(stage="connect", done=1, total=1), node)
        story.hears(
            node,
            re.AgentStarted(
                run_id="20260901-local-abcd",
                pid=100 + node,
                hostname=f"host-{node}",
                boot_id="b",
                python="3.11.7",
                torch="2.15.0",
                cpus=2,
                mem_total_mib=16_000.0,
                disk_free_mib=50_000.0,
                free_port=50_000 + node,
            ),
            after_s=0.2,
        )
        story.hears(node, re.StageProgressed(stage="data", done=3, total=3, detail="shapes"), after_s=0.5)
        story.hears(node, re.LeaseMoved(deadline_t=story.t + 60))
        story.hears(node, re.TrainerStarted(attempt=1, pid=200 + node))
        for local_rank in range(nproc_per_node):
            rank = node * nproc_per_node + local_rank
            story.hears(
                node,
                re.RankStarted(
                    rank=rank, local_rank=local_rank, world_size=nnodes * nproc_per_node, pid=300 + rank, device="cpu"
                ),
            )
    return story


def trained(epochs: int = 3, steps_per_epoch: int = 4, *, nnodes: int = 2, top5: float = 0.3) -> Story:
    """A run that trains `epochs` epochs, `top5` better in each, one step a second; not ended."""
    story = launched(nnodes)
    story.hears(
        0,
        re.TrainingStarted(
            world_size=2 * nnodes,
            model="resnet-small",
            parameters=1000,
            classes=100,
            train_images=400,
            val_images=100,
            total_epochs=epochs,
            total_steps=epochs * steps_per_epoch,
            start_step=0,
            start_epoch=0,
        ),
    )
    step = 0
    reached = False
    began = story.t
    for epoch in range(epochs):
        if epoch < 2:
            story.hears(
                0,
                re.PhaseStarted(
                    phase=epoch,
                    epoch=epoch,
                    image_size=32,
                    batch_size_per_gpu=25,
                    global_batch_size=100,
                    steps_per_epoch=steps_per_epoch,
                    min_scale=0.25,
                    rectangular=False,
                ),
            )
        for epoch_step in range(1, steps_per_epoch + 1):
            step += 1
            story.hears(
                0,
                re.StepEnded(
                    step=step,
                    epoch=epoch,
                    epoch_step=epoch_step,
                    steps_per_epoch=steps_per_epoch,
                    loss=5.0 / step,
                    lr=0.1,
                    step_s=1.0,
                    data_s=0.1,
                    img_per_s=100.0,
                ),
                after_s=1.0,
            )
            for node in range(nnodes):
                story.hears(node, re.HostSampled(cpu_util_pct=40.0 + node, mem_used_mib=500.0, mem_total_mib=16_000.0))
                for rank in (2 * node, 2 * node + 1):
                    story.hears(node, re.RankProgressed(rank=rank, step=step, img_per_s=25.0, step_s=1.0, data_s=0.1))
        story.hears(0, re.EvaluationProgressed(epoch=epoch, done=50, total=100), after_s=0.5)
        value = round(min(1.0, top5 * (epoch + 1)), 4)
        story.hears(
            0,
            re.EpochEnded(
                epoch=epoch,
                step=step,
                elapsed_s=round(story.t - began + 0.5, 3),
                top1=round(value / 2, 4),
                top5=value,
                train_loss=5.0 / step,
                val_loss=None,
                val_images=100,
                img_per_s=100.0,
                image_size=32,
                train_s=float(steps_per_epoch),
                eval_s=1.0,
            ),
            after_s=0.5,
        )
        if value >= 0.6 and not reached:
            reached = True
            story.hears(
                0,
                re.TargetReached(
                    metric="top5",
                    value=value,
                    target=0.6,
                    epoch=epoch,
                    step=step,
                    elapsed_s=round(story.t - began, 3),
                ),
            )
        story.hears(
            0,
            re.CheckpointSaved(
                step=step,
                epoch=epoch,
                path=f"checkpoints/{step}.pt",
                size_bytes=4000,
                sha256="0" * 64,
                save_s=0.1,
                reason="epoch",
            ),
        )
    return story


def told() -> Story:
    """A whole run: launched, trained, paused and resumed, an alert, the target reached, ended."""
    story = trained()
    step = story.run.step
    assert step is not None
    story.says(ce.OperatorCommanded(id="c1", command="pause"))
    for node in (0, 1):
        story.hears(node, re.CommandDone(id="c1", command="pause"))
        story.hears(node, re.Paused(rank=2 * node, step=step.step))
    for node in (0, 1):
        story.hears(node, re.Resumed(rank=2 * node, step=step.step, paused_s=3.0), after_s=1.5)
    story.says(ce.AlertRaised(kind="budget", text="half of the budget is spent"))
    story.hears(1, re.LogPrinted(text="\x1b[31mred\x1b[0m and plain", rank=2, stream="stderr"))
    story.says(ce.CheckpointFetched(step=step.step, path="checkpoints/last.pt", size_bytes=4000))
    story.hears(0, re.TrainingEnded(step=step.step, epoch=2, reason="target", elapsed_s=15.0))
    for node in (0, 1):
        story.hears(node, re.TrainerEnded(attempt=1, outcome="succeeded"))
        story.hears(node, re.AgentEnded(reason="released"))
        story.says(ce.InstanceStopped(instance_id=f"i-{node}", stopped_t=story.t, reason="the run ended"), node)
    return story.says(ce.RunEnded(status="reached", exit_code=0, reason="top-5 60.0 %"), after_s=0.1)


def differences(one: object, other: object, where: str = "run") -> Iterator[str]:
    """The fields in which two states differ, by path: states compare by identity, on purpose."""
    if is_dataclass(one) and not isinstance(one, type) and type(one) is type(other):
        for field in fields(one):
            yield from differences(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, (tuple, list, Series)) and type(one) is type(other):
        if len(one) != len(other):  # type: ignore[arg-type]
            yield f"{where}: {len(one)} items and {len(other)}"  # type: ignore[arg-type]
        for place, (a, b) in enumerate(zip(one, other, strict=False)):  # type: ignore[call-overload]
            yield from differences(a, b, f"{where}[{place}]")
    elif one != other:
        yield f"{where}: {one!r} and {other!r}"
