"""The mark and the tone that a status has, the same in every pane. Marks differ in shape too: colour is not needed."""

from __future__ import annotations

from typing import Final

from console import state

NODE: Final[dict[str, tuple[str, str]]] = {
    "waiting": ("·", "faint"),
    "launching": ("◌", "accent"),
    "connected": ("○", "accent"),
    "training": ("●", "good"),
    "paused": ("‖", "warn"),
    "done": ("✓", "good"),
    "unreachable": ("?", "warn"),
    "failed": ("✗", "bad"),
    "refused": ("⊘", "bad"),
    "lost": ("✗", "bad"),
    "dropped": ("–", "faint"),
}
"""Mark and tone of a node's status."""

BROKEN: Final = ("unreachable", "failed", "refused", "lost", "dropped")
"""Statuses of a node that come with a reason."""

RUN: Final[dict[str, str]] = {
    state.LAUNCHING: "accent",
    state.TRAINING: "good",
    state.PAUSED: "warn",
    state.STOPPING: "warn",
    state.REACHED: "good",
    state.FINISHED: "good",
    state.MISSED: "warn",
    state.STOPPED: "warn",
    state.FAILED: "bad",
    state.OVER_BUDGET: "bad",
    state.UNREACHABLE: "bad",
}
"""Tone of a run's status."""

WORDS: Final[dict[str, str]] = {
    state.REACHED: "TARGET REACHED",
    state.MISSED: "TARGET MISSED",
}
"""Where the status alone would not say it to a newcomer."""


def status_word(status: str) -> str:
    """The run's status as the header shows it."""
    return WORDS.get(status, status.upper())


def node_mark(status: str) -> tuple[str, str]:
    """Mark and tone; a question mark for a status that this version does not know."""
    return NODE.get(status, ("?", "dim"))
