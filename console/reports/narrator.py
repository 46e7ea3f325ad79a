"""What happens in a run, line by line, for a terminal without the screen and for a pipe."""

from __future__ import annotations

from collections.abc import Iterator

from console.billing import cost
from console.format import clock, count, decimals, metric_name, money, percent, plain, whole
from console.reports import headline
from console.reports.story import COLUMNS, wrapped
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run, alerts_since, lines_since
from console.views import nodes
from remote.wire import events as re


class Narrator:
    """Says what each record changed. It keeps no state: that is in the run before the record and the one after it."""

    def narrate(self, before: Run, after: Run, record: Record) -> list[str]:
        """Lines about what the record changed, each with the run's clock; most records say nothing."""
        at = clock(record.received_t - (after.started_t if after.started_t is not None else record.received_t))
        return [
            line for text in self._texts(before, after, record) for line in wrapped(f"{at:>7}  {text}", indent=" " * 9)
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
            case re.StageProgressed() | re.StagingProgressed() | re.StagingEnded():
                yield from self._stage(before, after)
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
                rate = f" · {whole(event.img_per_s)} img/s" if event.img_per_s is not None else ""
                loss = f" · loss {decimals(event.train_loss)}" if event.train_loss is not None else ""
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
        # What the fold has to say stands in the run's log: it is repeated here word for word.
        raised = {alert.text for alert in alerts_since(before, after)}
        for line in lines_since(before, after):
            where = "" if line.node is None else f"node {line.node}: "
            yield f"{'! ' if line.text in raised else ''}{where}{plain(line.text, 400)}"

    def _stage(self, before: Run, after: Run) -> Iterator[str]:
        done = {stage.name: stage.nodes_done for stage in nodes.stages(before)}
        for stage in nodes.stages(after):
            if stage.nodes_done == stage.nodes and done.get(stage.name, -1) < stage.nodes:
                yield f"{stage.name}: all {stage.nodes} nodes done" if stage.nodes > 1 else f"{stage.name}: done"
