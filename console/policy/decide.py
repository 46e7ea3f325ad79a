"""What the console does by itself: from the run and the time to decisions, pure.

The live loop asks after every change and carries the decisions out; what was decided is in the journal as commands and
as the run's end, so that the same question about the same state has the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from console import budget, ledger, state, views
from console.budget import STOP_PATIENCE_S as STOP_PATIENCE_S
from console.exits import Exit
from console.state import Node, Run

UNREACHABLE_AT_LAUNCH_S = 60.0
"""How long the launch waits for a host that cannot be reached."""
UNREACHABLE_AT_END_S = 60.0
"""How long the end waits for the last words of a host that cannot be reached."""
FAILURE_SETTLES_S = 3.0
"""After a first failure, so that the one that caused the others has come in too."""
LOSS_SETTLES_S = 120.0
"""How long a fallen gang with an unreachable host waits for the provider's word on it, where a loss can be got over."""
DRAIN_S = 40.0
"""Before EC2 takes an instance back: for a step, a checkpoint and its way to the laptop."""
BUDGET_WARNING_S = 300.0
"""The last warning comes so long before the budget stops the run: time to read it, and to set another."""


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


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """A checkpoint now: a host will be gone soon."""


@dataclass(frozen=True, slots=True)
class OrderReplacement:
    """Ask the provider for another host for the node."""

    node: int
    reason: str


@dataclass(frozen=True, slots=True)
class DrainGang:
    """Checkpoint at the next step boundary and leave the loop; the run goes on."""


@dataclass(frozen=True, slots=True)
class KillGang:
    """End the trainers that wait for one that is gone; the run goes on."""


@dataclass(frozen=True, slots=True)
class RestartGang:
    """The trainers are down; they may start again once every place has its host."""

    reason: str


@dataclass(frozen=True, slots=True)
class SwapNode:
    """Give the node's place to the host that is ready for it."""

    node: int
    reason: str


@dataclass(frozen=True, slots=True)
class DropNode:
    """Go on without the node."""

    node: int
    reason: str


Decision = (
    StartGang
    | StopGang
    | Warn
    | EndRun
    | SaveCheckpoint
    | OrderReplacement
    | DrainGang
    | KillGang
    | RestartGang
    | SwapNode
    | DropNode
)


def decide(run: Run, now: float) -> list[Decision]:
    """What follows from the run as it stands."""
    if not run.live or run.created is None:
        return []
    end = _launch_failed(run, now) or _stopped(run, now) or _gang_ended(run, now) or _gang_failed(run, now)
    if end:
        return [end]
    money = _budget(run, now)
    if any(isinstance(one, StopGang) for one in money):
        # Before anything is started or asked for that the budget would end at once.
        return money
    recovery = _recovery(run, now)
    if recovery:
        return [*recovery, *money]
    present = [node for node in run.nodes if node.status != "dropped"]
    waits = recovers(run) and any(_doomed(node) for node in present)
    if not run.gang_started and not waits and all(_ready(run, node) for node in present):
        return [StartGang(), *money]
    return money


def _ready(run: Run, node: Node) -> bool:
    """True if the node can take its place in the gang: its agent is there, and the data set."""
    staged = run.created is None or run.created.stage_from is None or (node.staged is not None and node.staged.ok)
    return node.agent is not None and node.status == "connected" and staged


# --- a host that is lost, or soon will be ----------------------------------------------------------------------------


def _recovery(run: Run, now: float) -> list[Decision]:
    """How the gang gets over the loss of hosts, where the profile has it do so (`fleet.on_loss`).

    Another host is asked for at once, while the gang trains on where the old one is only doomed; the gang is drained
    when the other is there or the time of the doomed one is nearly up, killed where a host is gone already, and starts
    again from its last checkpoint when every place has a host.
    """
    if not recovers(run) or run.status == state.STOPPING:
        return []
    leaving = [node for node in run.nodes if node.status == "lost" or _doomed(node)]
    if not leaving:
        if run.gang_started and _ordered(run, "drain", "kill") and _down(run, now):
            return [RestartGang("its hosts are there again")]
        return []
    decisions: list[Decision] = []
    shrinks = run.created is not None and run.created.on_loss == "shrink"
    lost = [node for node in leaving if node.status == "lost"]
    if not shrinks:
        decisions += [OrderReplacement(node.node, _why(node)) for node in leaving if not node.replacement]
    if run.gang_started:
        if lost and not _ordered(run, "kill"):
            decisions.append(KillGang())
        elif not lost and run.training is not None and not _ordered(run, "drain", "kill"):
            if not _ordered(run, "checkpoint"):
                decisions.append(SaveCheckpoint())
            soonest_t = min(node.interruption.deadline_t for node in leaving if node.interruption)
            if all(node.replacement == "ready" for node in leaving) or soonest_t - now <= DRAIN_S:
                decisions.append(DrainGang())
        elif _ordered(run, "drain", "kill") and _down(run, now):
            decisions.append(RestartGang("; ".join(f"node {node.node}: {_why(node)}" for node in leaving)))
        return decisions
    for node in leaving:
        if shrinks:
            decisions.append(DropNode(node.node, _why(node)))
        elif node.replacement == "ready" and _saved(run, node):
            decisions.append(SwapNode(node.node, _why(node)))
    return decisions


def recovers(run: Run) -> bool:
    """True if the loss of a host does not end the run: there is another to be had, or enough are left."""
    if run.created is None or run.created.on_loss == "end":
        return False
    return run.created.on_loss != "shrink" or sum(node.status not in ("lost", "dropped") for node in run.nodes) > 0


def _doomed(node: Node) -> bool:
    return node.interruption is not None and node.status not in ("lost", "dropped")


def _why(node: Node) -> str:
    return node.reason if node.status == "lost" else "EC2 takes its spot instance back"


def _ordered(run: Run, *names: str) -> bool:
    """True if one of these was ordered of this attempt of the gang."""
    return any(command.command in names for command in run.commands)


def _down(run: Run, now: float) -> bool:
    """True if no trainer of the gang runs any more, as far as its hosts can say."""
    return all(
        node.status in ("done", "failed", "lost", "dropped")
        or (node.status == "unreachable" and now - node.since > UNREACHABLE_AT_END_S)
        for node in run.nodes
    )


def _saved(run: Run, node: Node) -> bool:
    """True unless the node's disk holds the only copy of the newest checkpoint and can still be read."""
    newest = max(run.checkpoints, key=lambda one: one.step, default=None)
    return node.status == "lost" or newest is None or newest.fetched is not None or newest.node != node.node


# --- ends ------------------------------------------------------------------------------------------------------------


def _launch_failed(run: Run, now: float) -> EndRun | None:
    for node in run.nodes:
        if node.status == "refused":
            return EndRun(state.UNREACHABLE, Exit.UNREACHABLE, f"node {node.node}: {node.reason}")
    if run.gang_started:
        return None
    for node in run.nodes:
        if node.status == "lost" and not recovers(run):
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
    if run.training is None or (_ordered(run, "drain", "kill") and run.finished is None and _down(run, now)):
        if run.step is None:
            return EndRun(status, code, "stopped before the first step")
        return EndRun(status, code, f"stopped before the gang was back; step {run.step.step} was the last")
    if run.finished is None and now - first.received > STOP_PATIENCE_S:
        return EndRun(status, code, f"the gang did not stop within {STOP_PATIENCE_S:.0f} s and was ended")
    return None


def _gang_ended(run: Run, now: float) -> EndRun | None:
    ended = run.finished
    if ended is None or (ended.reason == "stopped" and run.status != state.STOPPING and _ordered(run, "drain")):
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
    waited_s = now - min(node.since for node in failed)
    if waited_s < FAILURE_SETTLES_S:
        return None
    if recovers(run):
        if _ordered(run, "drain", "kill") or any(node.status == "lost" or _doomed(node) for node in run.nodes):
            return None
        # A gang falls at once with its host, and whether that is gone the provider may not know for a minute.
        if any(node.status == "unreachable" for node in run.nodes) and waited_s < LOSS_SETTLES_S:
            return None
    return EndRun(state.FAILED, Exit.FAILED, _blame(run, failed))


def _blame(run: Run, failed: list[Node]) -> str:
    first = run.first_error
    if first is not None:
        return first.text if first.node is None else f"node {first.node}: {first.text}"
    return f"node {failed[0].node}: {failed[0].reason}"


def _budget(run: Run, now: float) -> list[Decision]:
    created, usd = run.created, run.budget_usd
    assert created is not None
    if usd is None or run.status == state.STOPPING:
        return []
    spent, money = views.cost_to(run, now), views.money(usd)
    if spent is None:
        unknown = f"the budget of {money} cannot be held: no price is known for these hosts"
        return _warn_once(run, unknown) if run.gang_started else []
    decisions: list[Decision] = []
    share = created.budget_warn_at
    if share is not None and spent >= usd * share:
        decisions += _warn_once(run, f"{views.percent(share)} of the budget of {money} is spent")
    # Early enough that checkpoint, fetch and the hosts' end still fit: what they will cost is on the bill to come.
    if (ledger.bill(run).billed(now + budget.closing_s(run))[0] or 0.0) >= usd:
        return [*decisions, StopGang(f"the budget of {money} would be passed")]
    stops_in_s, left_s = budget.stops_in_s(run, now), views.schedule_left_s(run, now)
    if stops_in_s is not None and stops_in_s <= BUDGET_WARNING_S and (left_s is None or left_s > stops_in_s):
        minutes = f"{BUDGET_WARNING_S / 60:.0f} minutes"
        decisions += _warn_once(run, f"the budget of {money} stops the run in {minutes} or less")
    return decisions


def _warn_once(run: Run, text: str) -> list[Decision]:
    return [] if any(alert.text == text for alert in run.alerts) else [Warn("budget", text)]


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
