"""What the operator can ask of a run in each of its statuses."""

from __future__ import annotations

import pytest
from run_story import Story
from test_policy_decide import commanded, connected, ended, story, training

from console.policy.controls import COMMANDS, controls, refusal
from console.state import events as ce
from console.state import status
from remote.wire import events as re

ALLOWED = {
    "launching": "stop terminate budget detach",
    "training": "pause checkpoint stop terminate budget detach",
    "paused": "resume checkpoint stop terminate budget detach",
    "stopping": "terminate budget detach",
    "stopped": "start restart budget",
    "failed": "start restart budget",
    "over budget": "start restart budget",
    "unreachable": "start restart budget",
    "reached": "",
    "finished": "",
    "missed": "",
}
REFUSED = {
    "launching": "The run is still launching.",
    "training": "The run is already training.",
    "paused": "The run is paused.",
    "stopping": "The run is already stopping.",
    "stopped": "The run has already stopped.",
    "failed": "The run has already failed.",
    "over budget": "The run has already stopped: its budget is used up.",
    "unreachable": "The run has already ended: its hosts could not be reached.",
    "reached": "The run has already finished.",
    "finished": "The run has already finished.",
    "missed": "The run has already finished.",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("now", [*status.LIVE, *status.ENDED])
def test_each_command_in_each_status(now: str, command: str) -> None:
    allowed = command in ALLOWED[now].split()
    assert (command in controls(now)) == allowed
    assert refusal(command, now) == ("" if allowed else REFUSED[now])


def test_what_is_no_command_or_no_status_is_refused() -> None:
    assert refusal("dance", "training") == "'dance' is not a command."
    assert (controls("dancing"), refusal("stop", "dancing")) == (frozenset(), "The run's status is 'dancing'.")


def test_a_run_takes_its_commands_in_turn() -> None:
    """The statuses that the table goes by are those that the fold gives."""
    written = connected(story(), 0, 1)
    assert asked_of(written) == set(ALLOWED["launching"].split())
    written = training()
    assert asked_of(written) == set(ALLOWED["training"].split())
    paused(written)
    assert [node.status for node in written.run.nodes] == ["paused", "paused"]
    assert asked_of(written) == set(ALLOWED["paused"].split())
    resumed(written)
    assert [node.status for node in written.run.nodes] == ["training", "training"]
    assert asked_of(written) == set(ALLOWED["training"].split())
    ended(commanded(written, "stop"), "stopped", 0, 1)
    assert asked_of(written) == set(ALLOWED["stopping"].split())
    written.says(ce.RunEnded(status=status.STOPPED, exit_code=130, reason="stopped after step 12"))
    assert asked_of(written) == set(ALLOWED["stopped"].split())
    written.says(ce.RunContinued(attempt=2, step=12))
    assert asked_of(written) == set(ALLOWED["launching"].split())


def asked_of(written: Story) -> frozenset[str]:
    return controls(written.run.status)


def paused(written: Story) -> None:
    for node in (0, 1):
        written.hears(node, re.Paused(rank=2 * node, step=12))


def resumed(written: Story) -> None:
    for node in (0, 1):
        written.hears(node, re.Resumed(rank=2 * node, step=12, paused_s=3.0))
