"""Questions about a run's gang that the decisions share. Pure."""

from __future__ import annotations

from typing import Final

from console.state.run import Node, Run
from console.state.status import NODE_ENDED, NODE_GONE, NODE_UNREACHABLE

UNREACHABLE_AT_END_S: Final = 60.0
"""How long the end of a gang waits for the last records of a host that cannot be reached."""


def recovers(run: Run) -> bool:
    """True if the loss of a host does not end the run: another can be had, or enough are left."""
    if run.created is None or run.created.on_loss == "end":
        return False
    return run.created.on_loss != "shrink" or sum(node.status not in NODE_GONE for node in run.nodes) > 0


def doomed(node: Node) -> bool:
    """True if EC2 has announced that it takes the node's instance back, and has not done so yet."""
    return node.interruption is not None and node.status not in NODE_GONE


def ordered(run: Run, *commands: str) -> bool:
    """True if one of these commands was given to this attempt of the gang."""
    return any(command.command in commands for command in run.commands)


def silent_at_end(node: Node, now: float) -> bool:
    """True if the node's host has been unreachable for so long that the end no longer waits for it."""
    return node.status == NODE_UNREACHABLE and now - node.since_t > UNREACHABLE_AT_END_S


def down(run: Run, now: float) -> bool:
    """True if no trainer of the gang is running any more, as far as its hosts can tell."""
    return all(node.status in NODE_ENDED or silent_at_end(node, now) for node in run.nodes)
