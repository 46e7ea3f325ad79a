"""TODO docstring: console/policy/recovery.py."""

from __future__ import annotations

from console.billing.budget import STOP_PATIENCE_S as STOP_PATIENCE_S
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
from console.state.run import STOPPING, Node, Run

UNREACHABLE_AT_END_S = 60.0
"""How long the end waits for the last words of a host that cannot be reached."""


DRAIN_S = 40.0
"""Before EC2 takes an instance back: for a step, a checkpoint and its way to the laptop."""


# --- a host that is lost, or soon will be ----------------------------------------------------------------------------


def _recovery(run: Run, now: float) -> list[Decision]:
    """How the gang gets over the loss of hosts, where the profile has it do so (`fleet.on_loss`).

    Another host is asked for at once, while the gang trains on where the old one is only doomed; the gang is drained
    when the other is there or the time of the doomed one is nearly up, killed where a host is gone already, and starts
    again from its last checkpoint when every place has a host.
    """
    if not recovers(run) or run.status == STOPPING:
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
