"""Mark and tone of each status, the same in every pane. Marks differ in shape, so that colour is not needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from console.format import clock
from console.state.run import Node, Run
from console.state.status import (
    FAILED,
    FINISHED,
    LAUNCHING,
    MISSED,
    NODE_CONNECTED,
    NODE_DONE,
    NODE_DROPPED,
    NODE_FAILED,
    NODE_LAUNCHING,
    NODE_LOST,
    NODE_PAUSED,
    NODE_REFUSED,
    NODE_TRAINING,
    NODE_UNREACHABLE,
    NODE_WAITING,
    OVER_BUDGET,
    PAUSED,
    REACHED,
    STOPPED,
    STOPPING,
    TRAINING,
    UNREACHABLE,
)
from console.views import nodes, stragglers

NODE: Final[dict[str, tuple[str, str]]] = {
    NODE_WAITING: ("·", "faint"),
    NODE_LAUNCHING: ("◌", "accent"),
    NODE_CONNECTED: ("○", "accent"),
    NODE_TRAINING: ("●", "good"),
    NODE_PAUSED: ("‖", "warn"),
    NODE_DONE: ("✓", "good"),
    NODE_UNREACHABLE: ("?", "warn"),
    NODE_FAILED: ("✗", "bad"),
    NODE_REFUSED: ("⊘", "bad"),
    NODE_LOST: ("✗", "bad"),
    NODE_DROPPED: ("–", "faint"),
}
"""Mark and tone of a node's status."""

BROKEN: Final = (NODE_UNREACHABLE, NODE_FAILED, NODE_REFUSED, NODE_LOST, NODE_DROPPED)
"""A node's statuses that have a reason."""

RUN: Final[dict[str, str]] = {
    LAUNCHING: "accent",
    TRAINING: "good",
    PAUSED: "warn",
    STOPPING: "warn",
    REACHED: "good",
    FINISHED: "good",
    MISSED: "warn",
    STOPPED: "warn",
    FAILED: "bad",
    OVER_BUDGET: "bad",
    UNREACHABLE: "bad",
}
"""Tone of a run's status."""

WORDS: Final[dict[str, str]] = {
    REACHED: "TARGET REACHED",
    MISSED: "TARGET MISSED",
}
"""Statuses whose own word would not be clear to a newcomer."""


def status_word(status: str) -> str:
    """The run's status as the header shows it."""
    return WORDS.get(status, status.upper())


def node_mark(status: str) -> tuple[str, str]:
    """Mark and tone; a question mark for a status that this version does not know."""
    return NODE.get(status, ("?", "dim"))


QUIET_S: Final = 5.0
"""A node that should report and has not for so long is marked."""


@dataclass(frozen=True, slots=True)
class Troubles:
    """What is wrong with nodes, beside their status."""

    now: float = 0.0
    slow: dict[int, stragglers.Straggler] = field(default_factory=dict)
    quiet: frozenset[int] = frozenset()
    doomed: dict[int, float] = field(default_factory=dict)
    """Nodes that EC2 will reclaim, with the seconds that are left."""

    def stale(self, node: Node) -> bool:
        """True where the node's last figures are out of date."""
        return node.node in self.quiet or node.status in BROKEN

    def mark(self, node: Node) -> tuple[str, str]:
        """One character and its tone: the node's worst trouble, else its status."""
        if node.status not in BROKEN:
            if node.node in self.doomed:
                return "!", "bad"
            if node.node in self.quiet:
                return "?", "warn"
            if node.node in self.slow:
                return "◂", "warn"
        return node_mark(node.status)

    def note(self, node: Node) -> tuple[str, str]:
        """The same in words; empty where there is no trouble."""
        if node.node in self.doomed:
            return f"! reclaim in {clock(self.doomed[node.node])}{replacement(node)}", "bad"
        if node.node in self.quiet:
            return f"! quiet {clock(nodes.stale_s(node, self.now))}", "warn"
        if node.node in self.slow and node.status == NODE_TRAINING:
            straggler = self.slow[node.node]
            who = f"rank {straggler.rank}, " if len(node.ranks) > 1 else ""
            return f"◂ {who}{straggler.ratio:.1f}× slower: {straggler.reason}", "warn"
        return "", "plain"


def troubles(run: Run, now: float, *, clock_runs: bool = True) -> Troubles:
    """The nodes' troubles at the moment. While playback is paused no node reports, so none counts as quiet."""
    slow: dict[int, stragglers.Straggler] = {}
    for straggler in stragglers.of(run) if run.live else ():
        slow.setdefault(straggler.node, straggler)
    quiet = frozenset(nodes.quiet(run, now, QUIET_S)) if clock_runs else frozenset[int]()
    return Troubles(now, slow, quiet, nodes.interruptions(run, now))


def replacement(node: Node) -> str:
    """The replacement of a host that is lost or soon will be."""
    return {"ordered": ", replacing", "ready": ", replacement ready"}.get(node.replacement, "")
