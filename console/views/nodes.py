"""Nodes: which are quiet, how busy they are, how far each is in the launch, which commands wait for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from console.format import count, plain
from console.state.run import Command, Node, Run
from console.state.status import NODE_DONE, NODE_GONE, NODE_LIVE, NODE_UNREACHABLE
from console.views import staging

PENDING_S = 60.0
"""A command older than this is either done or the subject of an alert."""


# --- the fleet -------------------------------------------------------------------------------------------------------


def stale_s(node: Node, now: float) -> float | None:
    """Seconds since the node's last record; None before the first."""
    return None if node.last_received_t is None else max(0.0, now - node.last_received_t)


def interruptions(run: Run, now: float) -> dict[int, float]:
    """Nodes whose spot instance EC2 takes back, with the seconds that are left; 0 where the time is up."""
    return {
        node.node: max(0.0, node.interruption.deadline_t - now)
        for node in run.nodes
        if run.live and node.interruption is not None and node.status not in NODE_GONE
    }


def quiet(run: Run, now: float, after_s: float = 5.0) -> tuple[int, ...]:
    """Nodes that should speak and have not for `after_s` seconds."""
    if not run.live:
        return ()
    return tuple(node.node for node in run.nodes if node.status in NODE_LIVE and (stale_s(node, now) or 0.0) > after_s)


def util_pct(run: Run) -> float | None:
    """Utilisation, mean over the nodes that say."""
    return _mean(node.util_pct for node in run.nodes)


def util_pct_mean(node: Node) -> float | None:
    """The node's utilisation, mean over all its samples."""
    return _mean(node.util_history)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the launch over all nodes."""

    name: str
    nodes_done: int
    nodes: int
    detail: str
    """What the node that is furthest behind in this stage says; empty where none is in it."""


def stages(run: Run) -> tuple[Stage, ...]:
    """The launch stages in the order in which they were first seen."""
    order = {name: index for index, name in enumerate(run.stages)}
    done = [0] * len(order)
    behind: dict[int, tuple[float, str]] = {}
    for node in run.nodes:
        index = order.get(node.stage, -1)
        ended = node.stage_total is not None and node.stage_done >= node.stage_total
        # A node that trains has left the whole launch behind it.
        past = len(order) if node.ranks or node.status == NODE_DONE else index + ended
        for earlier in range(past):
            done[earlier] += 1
        if index >= past:
            share = node.stage_done / node.stage_total if node.stage_total else 0.0
            if index not in behind or share < behind[index][0]:
                behind[index] = share, _stage_detail(node)
    return tuple(
        Stage(plain(name, 40), done[index], len(run.nodes), behind.get(index, (0.0, ""))[1])
        for name, index in order.items()
    )


def stage_words(node: Node) -> str:
    """How far the node is in its stage, in words: ``3/12 files``; empty where there is nothing to say."""
    if node.stage == "stage" and node.staging is not None:
        return staging.words(node.staging)
    so_far = f"{count(node.stage_done)}/{count(node.stage_total)}" if (node.stage_total or 0) > 1 else ""
    return " ".join(part for part in (so_far, plain(node.stage_detail, 60)) if part)


def _stage_detail(node: Node) -> str:
    said = stage_words(node)
    return f"node {node.node}: {said}" if said else f"node {node.node}"


def pending(run: Run, now: float) -> tuple[Command, ...]:
    """Commands of the last minute which not every live node has acknowledged."""
    live = {node.node for node in run.nodes if node.status in (*NODE_LIVE, NODE_UNREACHABLE)}
    return tuple(
        command
        for command in run.commands
        if now - command.received_t <= PENDING_S and not live.issubset((*command.done, *command.refused))
    )


def _mean(values: Iterable[float | None]) -> float | None:
    said = [value for value in values if value is not None]
    return sum(said) / len(said) if said else None
