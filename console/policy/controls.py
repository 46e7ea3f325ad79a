"""What the operator can ask of a run, as one table: by the run's status, the commands that it takes. Pure."""

from __future__ import annotations

from typing import Final

from console.state.status import (
    FAILED,
    FINISHED,
    LAUNCHING,
    MISSED,
    OVER_BUDGET,
    PAUSED,
    REACHED,
    STOPPED,
    STOPPING,
    TRAINING,
    UNREACHABLE,
)

COMMANDS: Final = ("start", "pause", "resume", "checkpoint", "stop", "terminate", "restart", "budget", "detach")
"""Everything that can be asked of a run at some time."""

_AGAIN: Final = frozenset({"start", "restart", "budget"})
"""For a run that ended before its schedule did: it can be resumed, maybe with another budget."""

CONTROLS: Final[dict[str, frozenset[str]]] = {
    LAUNCHING: frozenset({"stop", "terminate", "budget", "detach"}),
    TRAINING: frozenset({"pause", "checkpoint", "stop", "terminate", "budget", "detach"}),
    PAUSED: frozenset({"resume", "checkpoint", "stop", "terminate", "budget", "detach"}),
    STOPPING: frozenset({"terminate", "budget", "detach"}),
    STOPPED: _AGAIN,
    FAILED: _AGAIN,
    OVER_BUDGET: _AGAIN,
    UNREACHABLE: _AGAIN,
    REACHED: frozenset(),
    FINISHED: frozenset(),
    MISSED: frozenset(),
}
"""By run status, what can be asked."""

_STANDS: Final = {
    LAUNCHING: "The run is still launching.",
    TRAINING: "The run is already training.",
    PAUSED: "The run is paused.",
    STOPPING: "The run is already stopping.",
    STOPPED: "The run has already stopped.",
    FAILED: "The run has already failed.",
    OVER_BUDGET: "The run has already stopped: its budget is used up.",
    UNREACHABLE: "The run has already ended: its hosts could not be reached.",
    REACHED: "The run has already finished.",
    FINISHED: "The run has already finished.",
    MISSED: "The run has already finished.",
}
"""By run status, why everything else cannot be asked."""


def controls(status: str) -> frozenset[str]:
    """What can be asked of a run with this status; nothing where the status is not known."""
    return CONTROLS.get(status, frozenset())


def refusal(command: str, status: str) -> str:
    """Why this cannot be asked of a run with this status, in one sentence; empty where it can."""
    if command in controls(status):
        return ""
    if command not in COMMANDS:
        return f"{command!r:.40} is not a command."
    return _STANDS.get(status, f"The run's status is {status!r:.40}.")
