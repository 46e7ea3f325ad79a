"""TODO docstring: console/policy/endings.py."""

from __future__ import annotations

from console.billing.budget import STOP_PATIENCE_S as STOP_PATIENCE_S
from console.format import clock, percent
from console.policy.decisions import EndRun
from console.policy.recovery import UNREACHABLE_AT_END_S, _doomed, _down, _ordered, recovers
from console.state.outcome import Exit
from console.state.run import FAILED, FINISHED, MISSED, OVER_BUDGET, REACHED, STOPPED, STOPPING, UNREACHABLE, Node, Run
from console.views import progress

UNREACHABLE_AT_LAUNCH_S = 60.0
"""How long the launch waits for a host that cannot be reached."""


FAILURE_SETTLES_S = 3.0
"""After a first failure, so that the one that caused the others has come in too."""


LOSS_SETTLES_S = 120.0
"""How long a fallen gang with an unreachable host waits for the provider's word on it, where a loss can be got over."""


# --- ends ------------------------------------------------------------------------------------------------------------


def _launch_failed(run: Run, now: float) -> EndRun | None:
    for node in run.nodes:
        if node.status == "refused":
            return EndRun(UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
    if run.gang_started:
        return None
    for node in run.nodes:
        if node.status == "lost" and not recovers(run):
            return EndRun(UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
        if node.status == "failed":
            return EndRun(FAILED, Exit.FAILED, f"node {node.node}: {node.reason}")
        if node.status == "unreachable" and now - node.since > UNREACHABLE_AT_LAUNCH_S:
            return EndRun(UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
    return None


def _stopped(run: Run, now: float) -> EndRun | None:
    """A stop before there is anything to checkpoint, or one that takes too long, or a termination."""
    stops = [command for command in run.commands if command.command in ("stop", "terminate")]
    if not stops:
        return None
    first, by_budget = stops[0], any(command.by == "budget" for command in stops)
    status, code = (OVER_BUDGET, Exit.OVER_BUDGET) if by_budget else (STOPPED, Exit.INTERRUPTED)
    if any(command.command == "terminate" for command in stops):
        return EndRun(status, code, "terminated at once; what is not in a checkpoint is lost")
    if run.training is None or (_ordered(run, "drain", "kill") and run.finished is None and _down(run, now)):
        if run.step is None:
            return EndRun(status, code, "stopped before the first step")
        return EndRun(status, code, f"stopped before the gang was back; step {run.step.step} was the last")
    if run.finished is None and now - first.received > STOP_PATIENCE_S:
        return EndRun(status, code, f"the gang did not stop within {STOP_PATIENCE_S:.0f} s and was ended")
    return None


def _gang_ended(run: Run, now: float) -> EndRun | None:
    ended = run.finished
    if ended is None or (ended.reason == "stopped" and run.status != STOPPING and _ordered(run, "drain")):
        return None
    for node in run.nodes:
        away = node.status == "unreachable" and now - node.since > UNREACHABLE_AT_END_S
        if node.status not in ("done", "lost", "dropped") and not away:
            return None
    created = run.created
    assert created is not None
    if ended.reason == "target":
        if run.target is None:
            # Its record was dropped (a full disk); the trainer's word stands.
            return EndRun(REACHED, Exit.DONE, f"the target was reached after {clock(ended.elapsed_s)}")
        value, target = percent(run.target.value), percent(run.target.target)
        reason = f"{run.target.metric} {value} after {clock(run.target.elapsed_s)} (target {target})"
        return EndRun(REACHED, Exit.DONE, reason)
    if ended.reason == "stopped":
        return _stop_end(run, f"stopped after step {ended.step}; it can go on from there")
    if created.target_value is None:
        return EndRun(FINISHED, Exit.DONE, f"all epochs done after {clock(ended.elapsed_s)}")
    best = percent(progress.best(run, created.target_metric or "top5"))
    target = percent(created.target_value)
    return EndRun(MISSED, Exit.MISSED, f"all epochs done; best {created.target_metric} {best}, target {target}")


def _stop_end(run: Run, reason: str) -> EndRun:
    if any(command.by == "budget" for command in run.commands):
        return EndRun(OVER_BUDGET, Exit.OVER_BUDGET, reason)
    return EndRun(STOPPED, Exit.INTERRUPTED, reason)


def _gang_failed(run: Run, now: float) -> EndRun | None:
    failed = [node for node in run.nodes if node.status in ("failed", "lost")]
    if not failed or not run.gang_started:
        return None
    waited_s = now - min(node.since for node in failed)
    if waited_s < FAILURE_SETTLES_S:
        return None
    if recovers(run):
        if _ordered(run, "drain", "kill") or any(node.status == "lost" or _doomed(node) for node in run.nodes):
            return None
        # A gang falls at once with its host, and whether that is gone the provider may not know for a minute.
        if any(node.status == "unreachable" for node in run.nodes) and waited_s < LOSS_SETTLES_S:
            return None
    return EndRun(FAILED, Exit.FAILED, _blame(run, failed))


def _blame(run: Run, failed: list[Node]) -> str:
    first = run.first_error
    if first is not None:
        return first.text if first.node is None else f"node {first.node}: {first.text}"
    return f"node {failed[0].node}: {failed[0].reason}"


def salvaged(run: Run) -> EndRun:
    """How a run ended whose console and hosts are both gone, by what its journals tell."""
    ended = _gang_ended(run, float("inf"))
    if ended is not None and ended.status != STOPPED:
        return ended
    where = "before its first step" if run.step is None else f"after step {run.step.step}"
    newest = max((one.step for one in run.checkpoints if one.fetched), default=None)
    kept = "no checkpoint was saved" if newest is None else f"the checkpoint of step {newest} is saved"
    return EndRun(
        ended.status if ended else FAILED,
        ended.exit_code if ended else Exit.FAILED,
        f"its console was gone and its hosts ended with their lease {where}; {kept}",
    )
