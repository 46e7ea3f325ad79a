"""What the console does by itself: from the run and the time to decisions, pure.

The live loop asks after every change and carries the decisions out; what was decided is in the journal as commands and
as the run's end, so that the same question about the same state has the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from console import state, views
from console.exits import Exit
from console.state import Node, Run

UNREACHABLE_AT_LAUNCH_S = 60.0
"""How long the launch waits for a host that cannot be reached."""
UNREACHABLE_AT_END_S = 60.0
"""How long the end waits for the last words of a host that cannot be reached."""
FAILURE_SETTLES_S = 3.0
"""After a first failure, so that the one that caused the others has come in too."""
STOP_PATIENCE_S = 60.0
"""From the wish to stop to the gang's end, checkpoint included."""


@dataclass(frozen=True, slots=True)
class StartGang:
    """Every node is ready: the trainers may start."""


@dataclass(frozen=True, slots=True)
class StopGang:
    """Checkpoint at the next step boundary and leave the loop."""

    reason: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Something that the operator should see; once for each text."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """It is over: what still runs on the hosts is ended, results are fetched, the hosts are given back."""

    status: str
    exit_code: Exit
    reason: str


Decision = StartGang | StopGang | Warn | EndRun


def decide(run: Run, now: float) -> list[Decision]:
    """What follows from the run as it stands."""
    if not run.live or run.created is None:
        return []
    end = _launch_failed(run, now) or _stopped(run, now) or _gang_ended(run, now) or _gang_failed(run, now)
    if end:
        return [end]
    if not run.gang_started and all(node.agent is not None and node.status == "connected" for node in run.nodes):
        return [StartGang()]
    return _budget(run, now)


def _launch_failed(run: Run, now: float) -> EndRun | None:
    for node in run.nodes:
        if node.status == "refused":
            return EndRun(state.UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
    if run.gang_started:
        return None
    for node in run.nodes:
        if node.status == "lost":
            return EndRun(state.UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
        if node.status == "failed":
            return EndRun(state.FAILED, Exit.FAILED, f"node {node.node}: {node.reason}")
        if node.status == "unreachable" and now - node.since > UNREACHABLE_AT_LAUNCH_S:
            return EndRun(state.UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
    return None


def _stopped(run: Run, now: float) -> EndRun | None:
    """A stop before there is anything to checkpoint, or one that takes too long, or a termination."""
    stops = [command for command in run.commands if command.command in ("stop", "terminate")]
    if not stops:
        return None
    first, by_budget = stops[0], any(command.by == "budget" for command in stops)
    status, code = (state.OVER_BUDGET, Exit.OVER_BUDGET) if by_budget else (state.STOPPED, Exit.INTERRUPTED)
    if any(command.command == "terminate" for command in stops):
        return EndRun(status, code, "terminated at once; what is not in a checkpoint is lost")
    if run.training is None:
        return EndRun(status, code, "stopped before the first step")
    if run.finished is None and now - first.received > STOP_PATIENCE_S:
        return EndRun(status, code, f"the gang did not stop within {STOP_PATIENCE_S:.0f} s and was ended")
    return None


def _gang_ended(run: Run, now: float) -> EndRun | None:
    ended = run.finished
    if ended is None:
        return None
    for node in run.nodes:
        away = node.status == "lost" or (node.status == "unreachable" and now - node.since > UNREACHABLE_AT_END_S)
        if node.status != "done" and not away:
            return None
    created = run.created
    assert created is not None
    if ended.reason == "target":
        if run.target is None:
            # Its record was dropped (a full disk); the trainer's word stands.
            return EndRun(state.REACHED, Exit.DONE, f"the target was reached after {views.clock(ended.elapsed_s)}")
        value, target = views.percent(run.target.value), views.percent(run.target.target)
        reason = f"{run.target.metric} {value} after {views.clock(run.target.elapsed_s)} (target {target})"
        return EndRun(state.REACHED, Exit.DONE, reason)
    if ended.reason == "stopped":
        return _stop_end(run, f"stopped after step {ended.step}; it can go on from there")
    if created.target_value is None:
        return EndRun(state.FINISHED, Exit.DONE, f"all epochs done after {views.clock(ended.elapsed_s)}")
    best = views.percent(views.best(run, created.target_metric or "top5"))
    target = views.percent(created.target_value)
    return EndRun(state.MISSED, Exit.MISSED, f"all epochs done; best {created.target_metric} {best}, target {target}")


def _stop_end(run: Run, reason: str) -> EndRun:
    if any(command.by == "budget" for command in run.commands):
        return EndRun(state.OVER_BUDGET, Exit.OVER_BUDGET, reason)
    return EndRun(state.STOPPED, Exit.INTERRUPTED, reason)


def _gang_failed(run: Run, now: float) -> EndRun | None:
    failed = [node for node in run.nodes if node.status in ("failed", "lost")]
    if not failed or not run.gang_started:
        return None
    if now - min(node.since for node in failed) < FAILURE_SETTLES_S:
        return None
    return EndRun(state.FAILED, Exit.FAILED, _blame(run, failed))


def _blame(run: Run, failed: list[Node]) -> str:
    first = run.first_error
    if first is not None:
        return first.text if first.node is None else f"node {first.node}: {first.text}"
    return f"node {failed[0].node}: {failed[0].reason}"


def _budget(run: Run, now: float) -> list[Decision]:
    created = run.created
    assert created is not None
    budget, spent = run.budget_usd, views.cost(run, now).billed_usd
    if budget is None or spent is None:
        return []
    decisions: list[Decision] = []
    share = created.budget_warn_at
    if share is not None and spent >= budget * share:
        text = f"{views.percent(share)} of the budget of {views.money(budget)} is spent"
        if not any(alert.text == text for alert in run.alerts):
            decisions.append(Warn("budget", text))
    rate = views.cost(run, now).usd_per_h or 0.0
    # Early enough that checkpoint, fetch and the hosts' end still fit.
    if spent + rate * STOP_PATIENCE_S / 3600 >= budget and run.status != state.STOPPING:
        decisions.append(StopGang(f"the budget of {views.money(budget)} would be passed"))
    return decisions


def salvaged(run: Run) -> EndRun:
    """How a run ended whose console and hosts are both gone, by what its journals tell."""
    ended = _gang_ended(run, float("inf"))
    if ended is not None and ended.status != state.STOPPED:
        return ended
    where = "before its first step" if run.step is None else f"after step {run.step.step}"
    newest = max((one.step for one in run.checkpoints if one.fetched), default=None)
    kept = "no checkpoint was saved" if newest is None else f"the checkpoint of step {newest} is saved"
    return EndRun(
        ended.status if ended else state.FAILED,
        ended.exit_code if ended else Exit.FAILED,
        f"its console was gone and its hosts ended with their lease {where}; {kept}",
    )
