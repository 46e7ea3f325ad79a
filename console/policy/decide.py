"""What the console does by itself: from the run and the time to decisions. Pure.

The live loop asks after every change and carries the decisions out. What was decided is in the journal, as commands and
as the run's end, so that the same question about the same state has the same answer.
"""

from __future__ import annotations

from console.policy.decisions import Decision, StartGang, StopGang
from console.policy.endings import gang_ended, gang_failed, launch_failed, stopped
from console.policy.gang import doomed, recovers
from console.policy.recovery import recover
from console.policy.spending import watch_budget
from console.state.run import Node, Run
from console.state.status import NODE_CONNECTED, NODE_DROPPED


def decide(run: Run, now: float) -> list[Decision]:
    """What follows from the run as it stands at `now`, in epoch seconds."""
    if not run.live or run.created is None:
        return []
    end = launch_failed(run, now) or stopped(run, now) or gang_ended(run, now) or gang_failed(run, now)
    if end:
        return [end]
    spending = watch_budget(run, now)
    if any(isinstance(decision, StopGang) for decision in spending):
        # Nothing is started or rented that the budget would end at once.
        return spending
    recovery = recover(run, now)
    if recovery:
        return [*recovery, *spending]
    present = [node for node in run.nodes if node.status != NODE_DROPPED]
    waits = recovers(run) and any(doomed(node) for node in present)
    if not run.gang_started and not waits and all(_ready(run, node) for node in present):
        return [StartGang(), *spending]
    return spending


def _ready(run: Run, node: Node) -> bool:
    """True if the node can join the gang: its agent is up, and its host has the data set."""
    staged = run.created is None or run.created.stage_from is None or (node.staged is not None and node.staged.ok)
    return node.agent is not None and node.status == NODE_CONNECTED and staged
