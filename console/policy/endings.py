"""How a run ends: failed launch, stop, end of training, failure, or a console and hosts that are both gone. Pure."""

from __future__ import annotations

from typing import Final

from console.billing.budget import STOP_PATIENCE_S
from console.format import clock, percent
from console.policy.decisions import EndRun
from console.policy.gang import doomed, down, ordered, recovers, silent_at_end
from console.state.outcome import Exit
from console.state.run import Node, Run
from console.state.status import (
    FAILED,
    FINISHED,
    MISSED,
    NODE_DONE,
    NODE_FAILED,
    NODE_GONE,
    NODE_LOST,
    NODE_REFUSED,
    NODE_UNREACHABLE,
    OVER_BUDGET,
    REACHED,
    STOPPED,
    STOPPING,
    UNREACHABLE,
)
from console.views import progress

UNREACHABLE_AT_LAUNCH_S: Final = 60.0
"""How long the launch waits for a host that cannot be reached."""
FAILURE_SETTLES_S: Final = 3.0
"""After a first failure, so that the one that caused the others has come in too."""
LOSS_SETTLES_S: Final = 120.0
"""How long a failed gang with an unreachable host waits for the provider to say whether that host is lost, where the
run can recover from a loss."""


def launch_failed(run: Run, now: float) -> EndRun | None:
    """The end by a host that refuses, at any time, or by one that does not come up before the gang is started."""
    for node in run.nodes:
        if node.status == NODE_REFUSED:
            return EndRun(UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
    if run.gang_started:
        return None
    for node in run.nodes:
        if node.status == NODE_LOST and not recovers(run):
            return EndRun(UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
        if node.status == NODE_FAILED:
            return EndRun(FAILED, Exit.FAILED, f"node {node.node}: {node.reason}")
        if node.status == NODE_UNREACHABLE and now - node.since_t > UNREACHABLE_AT_LAUNCH_S:
            return EndRun(UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
    return None


def stopped(run: Run, now: float) -> EndRun | None:
    """The end by a stop before there is anything to save, by one that takes too long, or by a termination."""
    stops = [command for command in run.commands if command.command in ("stop", "terminate")]
    if not stops:
        return None
    first, by_budget = stops[0], any(command.by == "budget" for command in stops)
    status, code = (OVER_BUDGET, Exit.OVER_BUDGET) if by_budget else (STOPPED, Exit.INTERRUPTED)
    if any(command.command == "terminate" for command in stops):
        return EndRun(status, code, "terminated at once; what is not in a checkpoint is lost")
    if run.training is None or (ordered(run, "drain", "kill") and run.finished is None and down(run, now)):
        if run.step is None:
            return EndRun(status, code, "stopped before the first step")
        return EndRun(status, code, f"stopped before the gang restarted; step {run.step.step} was the last")
    if run.finished is None and now - first.received_t > STOP_PATIENCE_S:
        return EndRun(status, code, f"the gang did not stop within {STOP_PATIENCE_S:.0f} s and was ended")
    return None


def gang_ended(run: Run, now: float) -> EndRun | None:
    """The end by the training's own: target, last epoch or stop, once every trainer has ended."""
    ended = run.finished
    if ended is None or (ended.reason == "stopped" and run.status != STOPPING and ordered(run, "drain")):
        return None
    for node in run.nodes:
        if node.status not in (NODE_DONE, *NODE_GONE) and not silent_at_end(node, now):
            return None
    created = run.created
    assert created is not None
    if ended.reason == "target":
        if run.target is None:
            # Its record was dropped (a full disk); the trainer's reason counts.
            return EndRun(REACHED, Exit.DONE, f"the target was reached after {clock(ended.elapsed_s)}")
        value, target = percent(run.target.value), percent(run.target.target)
        reason = f"{run.target.metric} {value} after {clock(run.target.elapsed_s)} (target {target})"
        return EndRun(REACHED, Exit.DONE, reason)
    if ended.reason == "stopped":
        return _stop_end(run, f"stopped after step {ended.step}; it can be resumed from there")
    if created.target_value is None:
        return EndRun(FINISHED, Exit.DONE, f"all epochs done after {clock(ended.elapsed_s)}")
    best = percent(progress.best(run, created.target_metric or "top5"))
    target = percent(created.target_value)
    return EndRun(MISSED, Exit.MISSED, f"all epochs done; best {created.target_metric} {best}, target {target}")


def _stop_end(run: Run, reason: str) -> EndRun:
    if any(command.by == "budget" for command in run.commands):
        return EndRun(OVER_BUDGET, Exit.OVER_BUDGET, reason)
    return EndRun(STOPPED, Exit.INTERRUPTED, reason)


def gang_failed(run: Run, now: float) -> EndRun | None:
    """The end by a trainer or a host that failed, where the run does not recover from it."""
    failed = [node for node in run.nodes if node.status in (NODE_FAILED, NODE_LOST)]
    if not failed or not run.gang_started:
        return None
    waited_s = now - min(node.since_t for node in failed)
    if waited_s < FAILURE_SETTLES_S:
        return None
    if recovers(run):
        if ordered(run, "drain", "kill") or any(node.status == NODE_LOST or doomed(node) for node in run.nodes):
            return None
        # A gang fails at once with its host; the provider may not know for a minute that the host is gone.
        if any(node.status == NODE_UNREACHABLE for node in run.nodes) and waited_s < LOSS_SETTLES_S:
            return None
    return EndRun(FAILED, Exit.FAILED, _blame(run, failed))


def _blame(run: Run, failed: list[Node]) -> str:
    first = run.first_error
    if first is not None:
        return first.text if first.node is None else f"node {first.node}: {first.text}"
    return f"node {failed[0].node}: {failed[0].reason}"


def salvaged(run: Run) -> EndRun:
    """How a run ended whose console and hosts are both gone, according to its journals."""
    ended = gang_ended(run, float("inf"))
    if ended is not None and ended.status != STOPPED:
        return ended
    where = "before its first step" if run.step is None else f"after step {run.step.step}"
    newest = max((checkpoint.step for checkpoint in run.checkpoints if checkpoint.fetched), default=None)
    kept = "no checkpoint was saved" if newest is None else f"the checkpoint of step {newest} is saved"
    return EndRun(
        ended.status if ended else FAILED,
        ended.exit_code if ended else Exit.FAILED,
        f"its console was gone and its hosts ended with their lease {where}; {kept}",
    )
