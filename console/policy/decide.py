"""What the console does by itself: from the run and the time to decisions, pure.

The live loop asks after every change and carries the decisions out; what was decided is in the journal as commands and
as the run's end, so that the same question about the same state has the same answer.
"""

from __future__ import annotations

from console.billing.budget import STOP_PATIENCE_S as STOP_PATIENCE_S
from console.policy.decisions import Decision, StartGang, StopGang
from console.policy.endings import _gang_ended, _gang_failed, _launch_failed, _stopped
from console.policy.recovery import _doomed, _recovery, recovers
from console.policy.spending import _budget
from console.state.run import Node, Run


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
