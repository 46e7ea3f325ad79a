"""TODO docstring: console/reports/narrator.py."""

from __future__ import annotations

from collections.abc import Iterator

from console.billing import cost
from console.format import clock, count, metric_name, money, percent, plain
from console.reports import headline
from console.reports.story import COLUMNS, _decimals, _whole, _wrapped
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run, alerts_since
from console.state.status import NODE_UNREACHABLE
from console.views import nodes
from remote.wire import events as re

# --- while it runs ---------------------------------------------------------------------------------------------------


class Narrator:
    """Says what happens, for a terminal without the screen and for a pipe.

    It holds nothing: what a record means is in the run before and the run after it.
    """

    def narrate(self, before: Run, after: Run, record: Record) -> list[str]:
        """Lines about what the record changed, each with the run's clock; most records say nothing."""
        at = clock(record.received_t - (after.started_t if after.started_t is not None else record.received_t))
        return [
            line for text in self._texts(before, after, record) for line in _wrapped(f"{at:>7}  {text}", indent=" " * 9)
        ]

    def heartbeat(self, run: Run, now: float) -> str:
        """The progress line; to be printed once a second."""
        return headline.headline(run, now)[:COLUMNS]

    def _texts(self, before: Run, after: Run, record: Record) -> Iterator[str]:
        event = record.event
        if isinstance(event, (re.HostSampled, re.RankProgressed, re.LogPrinted)):
            return
        match event:
            case ce.RunCreated():
                yield f"run {plain(event.run_id, 60)}: {plain(event.profile, 40)}, {count(event.nnodes)} hosts"
            case ce.RunContinued():
                where = "from the beginning" if event.step is None else f"after step {count(event.step)}"
                yield f"the run goes on {where} (attempt {event.attempt})"
            case re.StageProgressed() | re.StagingProgressed() | re.StagingEnded():
                yield from self._stage(before, after)
            case ce.HostConnected():
                if _status(before, record.node) == NODE_UNREACHABLE:
                    yield f"node {record.node}: reachable again"
            case re.TrainingStarted():
                yield (
                    f"training {plain(event.model, 30)} on {count(event.world_size)} ranks: "
                    f"{count(event.total_epochs)} epochs, {count(event.total_steps)} steps"
                    + (f", from step {count(event.start_step + 1)}" if event.start_step else "")
                )
            case re.PhaseStarted():
                yield (
                    f"phase {event.phase + 1}: {event.image_size} px, {count(event.batch_size_per_gpu)} images a rank, "
                    f"{count(event.global_batch_size)} in all, {count(event.steps_per_epoch)} steps an epoch"
                )
            case re.StepEnded() if before.first_step_t is None:
                yield "first step done"
            case re.EpochEnded():
                rate = f" · {_whole(event.img_per_s)} img/s" if event.img_per_s is not None else ""
                loss = f" · loss {_decimals(event.train_loss)}" if event.train_loss is not None else ""
                spent = cost.cost_to(after, record.received_t)
                bill = f" · {money(spent)}" if spent is not None else ""
                yield (
                    f"epoch {event.epoch} ended · top-1 {percent(event.top1)} · top-5 {percent(event.top5)}"
                    f"{loss}{rate} · {clock(event.elapsed_s)}{bill}"
                )
            case re.TargetReached():
                yield (
                    f"target reached: {metric_name(event.metric)} {percent(event.value, 3)} after "
                    f"{event.elapsed_s / 60:.2f} minutes of training"
                )
            case re.CheckpointSaved() if event.reason != "epoch":
                yield f"checkpoint of step {count(event.step)} saved on node {record.node}"
            case re.CheckpointLoaded():
                yield f"goes on from the checkpoint of step {count(event.step)}"
            case ce.CheckpointFetched():
                yield f"checkpoint of step {count(event.step)} fetched: {plain(event.path, 60)}"
            case re.Paused() if event.rank == 0:
                yield f"paused after step {count(event.step)}"
            case re.Resumed() if event.rank == 0:
                yield f"resumed after {event.paused_s:.1f} s"
            case ce.BudgetMoved():
                yield f"{plain(event.by, 20)}: the budget is now {money(event.max_usd)}"
            case ce.OperatorCommanded():
                yield f"{plain(event.by, 20)}: {plain(event.command, 20)}"
            case re.TrainerRestarted():
                yield (
                    f"node {record.node}: restarts from the last checkpoint "
                    f"({event.restart}/{event.max_restarts}): {plain(event.reason, 200)}"
                )
            case ce.ConsoleAttached():
                yield "a console attached"
            case ce.ConsoleDetached():
                yield "the console detached; the run goes on"
            case ce.RunEnded():
                yield f"{plain(event.status, 20)}: {plain(event.reason, 300)}"
        # The fold is what decides what is an alert; here it is only spoken.
        for alert in alerts_since(before, after):
            where = "" if alert.node is None else f"node {alert.node}: "
            yield f"! {where}{plain(alert.text, 400)}"

    def _stage(self, before: Run, after: Run) -> Iterator[str]:
        done = {stage.name: stage.nodes_done for stage in nodes.stages(before)}
        for stage in nodes.stages(after):
            if stage.nodes_done == stage.nodes and done.get(stage.name, -1) < stage.nodes:
                yield f"{stage.name}: all {stage.nodes} nodes done" if stage.nodes > 1 else f"{stage.name}: done"


def _status(run: Run, node: int | None) -> str:
    return run.nodes[node].status if node is not None and node < len(run.nodes) else ""
