"""How the gang recovers from a host that is lost or soon will be, where the profile allows it (`fleet.on_loss`). Pure.

A replacement is ordered at once. While the old host is only doomed the gang trains on, and is drained when the
replacement is ready or the notice has nearly run out. Where a host is lost already the gang is killed. It starts again
from its last checkpoint when every node has a host.
"""

from __future__ import annotations

from typing import Final

from console.policy.decisions import (
    Decision,
    DrainGang,
    DropNode,
    KillGang,
    OrderReplacement,
    RestartGang,
    SaveCheckpoint,
    SwapNode,
)
from console.policy.gang import doomed, down, ordered, recovers
from console.state.run import Node, Run
from console.state.status import NODE_LOST, STOPPING

DRAIN_S: Final = 40.0
"""The gang is drained so long before EC2 takes an instance back: time for a step, a checkpoint and its fetch."""


def recover(run: Run, now: float) -> list[Decision]:
    """The next steps of the recovery; none where no host is lost or doomed and no gang is down for one that was."""
    if not recovers(run) or run.status == STOPPING:
        return []
    leaving = [node for node in run.nodes if node.status == NODE_LOST or doomed(node)]
    if not leaving:
        if run.gang_started and ordered(run, "drain", "kill") and down(run, now):
            return [RestartGang("its hosts are back")]
        return []
    decisions: list[Decision] = []
    shrinks = run.created is not None and run.created.on_loss == "shrink"
    lost = [node for node in leaving if node.status == NODE_LOST]
    if not shrinks:
        decisions += [OrderReplacement(node.node, _why(node)) for node in leaving if not node.replacement]
    if run.gang_started:
        if lost and not ordered(run, "kill"):
            decisions.append(KillGang())
        elif not lost and run.training is not None and not ordered(run, "drain", "kill"):
            if not ordered(run, "checkpoint"):
                decisions.append(SaveCheckpoint())
            soonest_t = min(node.interruption.deadline_t for node in leaving if node.interruption)
            if all(node.replacement == "ready" for node in leaving) or soonest_t - now <= DRAIN_S:
                decisions.append(DrainGang())
        elif ordered(run, "drain", "kill") and down(run, now):
            decisions.append(RestartGang("; ".join(f"node {node.node}: {_why(node)}" for node in leaving)))
        return decisions
    for node in leaving:
        if shrinks:
            decisions.append(DropNode(node.node, _why(node)))
        elif node.replacement == "ready" and _saved(run, node):
            decisions.append(SwapNode(node.node, _why(node)))
    return decisions


def _why(node: Node) -> str:
    return node.reason if node.status == NODE_LOST else "EC2 takes its spot instance back"


def _saved(run: Run, node: Node) -> bool:
    """True unless the node's disk holds the only copy of the newest checkpoint and can still be read."""
    newest = max(run.checkpoints, key=lambda checkpoint: checkpoint.step, default=None)
    return node.status == NODE_LOST or newest is None or newest.fetched is not None or newest.node != node.node
