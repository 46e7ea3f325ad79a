"""What is decided when a host is lost or soon will be: records folded, then the question, at a moment."""

from __future__ import annotations

import pytest
from run_story import Story, created, trained
from test_policy_decide import asked, commanded, connected, end_of, ended, story

from console.policy.decisions import (
    DrainGang,
    DropNode,
    KillGang,
    OrderReplacement,
    RestartGang,
    SaveCheckpoint,
    StartGang,
    SwapNode,
)
from console.state import events as ce
from console.state import status
from remote.wire import events as re

LOST = "EC2 terminated i-1"
DOOM = "EC2 takes its spot instance back"


def training(on_loss: str = "replace") -> Story:
    """Two nodes in training, under a profile that says what becomes of a loss."""
    written = trained()
    written.says(created(on_loss=on_loss))
    return commanded(written, "start", by="console")


def down(written: Story, *nodes: int) -> Story:
    """The trainers of these nodes were killed."""
    for node in nodes:
        written.hears(node, re.TrainerEnded(attempt=1, outcome="killed", reason="ended by command"))
    return written


def saved(written: Story, node: int, step: int = 50) -> Story:
    """A checkpoint on the node's disk."""
    name = f"checkpoints/step-{step:08d}.pt"
    said = re.CheckpointSaved(step=step, epoch=2, path=name, size_bytes=9, sha256="ab", save_s=0.1, reason="operator")
    return written.hears(node, said)


def fetched(written: Story, step: int = 50) -> Story:
    return written.says(ce.CheckpointFetched(step=step, path=f"checkpoints/step-{step:08d}.pt", size_bytes=9))


def noticed(written: Story, node: int, in_s: float = 120.0) -> Story:
    return written.hears(node, re.SpotNoticed(action="terminate", deadline_t=written.t + in_s))


# --- lost ------------------------------------------------------------------------------------------------------------


def test_a_lost_host_is_replaced_and_the_gang_starts_again() -> None:
    written = training().says(ce.HostLost(reason=LOST), 1)
    assert asked(written) == [OrderReplacement(1, LOST), KillGang()]
    written.says(ce.ReplacementOrdered(reason=LOST), 1)
    commanded(written, "kill", by="console")
    assert asked(written) == []
    assert asked(down(written, 0)) == [RestartGang(f"node 1: {LOST}")]
    written.says(ce.GangRestarting(reason=LOST))
    assert (written.run.status, written.run.attempt) == (status.LAUNCHING, 2)
    assert asked(written) == []
    written.says(ce.ReplacementReady(address="10.0.0.9"), 1)
    assert asked(written) == [SwapNode(1, LOST)]
    written.says(ce.NodeReplaced(reason=LOST), 1)
    assert asked(written) == []
    assert asked(connected(written, 1)) == [StartGang()]


def test_without_the_profile_s_leave_a_lost_host_ends_the_run() -> None:
    written = training("end").says(ce.HostLost(reason=LOST), 1)
    assert end_of(written, 3).status == status.FAILED


def test_the_gang_goes_on_with_fewer() -> None:
    written = training("shrink").says(ce.HostLost(reason=LOST), 1)
    assert asked(written) == [KillGang()]
    down(commanded(written, "kill", by="console"), 0).says(ce.GangRestarting(reason=LOST))
    assert asked(written) == [DropNode(1, LOST)]
    written.says(ce.NodeDropped(reason=LOST), 1)
    assert asked(written) == [StartGang()]
    commanded(written, "start", by="console")
    # Who was dropped is waited for no more, also at the end.
    assert end_of(ended(written, "finished", 0)).status == status.MISSED


def test_the_last_node_is_no_gang_to_go_on_with() -> None:
    written = training("shrink").says(ce.HostLost(reason=LOST), 1).says(ce.HostLost(reason=LOST), 0)
    assert end_of(written, 3).status == status.FAILED


def test_a_gang_that_fell_waits_for_the_provider_s_word_on_the_host_that_does_not_answer() -> None:
    written = training().says(ce.HostUnreachable(reason="the connection was lost"), 1)
    written.hears(0, re.TrainerEnded(attempt=1, outcome="failed", reason="lost the other ranks"))
    assert asked(written, 4) == []
    assert asked(written, 119.9) == []
    assert end_of(written, 120.1).status == status.FAILED
    written.says(ce.HostLost(reason=LOST), 1)
    assert asked(written) == [OrderReplacement(1, LOST), KillGang()]


def test_a_lost_disk_takes_its_checkpoints_along() -> None:
    written = fetched(saved(training(), 1), step=50)
    saved(written, 1, step=60)
    written.says(ce.HostLost(reason=LOST), 1).says(ce.NodeReplaced(reason=LOST), 1)
    assert [(checkpoint.step, checkpoint.node) for checkpoint in written.run.checkpoints][-1:] == [(50, None)]


# --- doomed ----------------------------------------------------------------------------------------------------------


def test_a_notice_has_a_checkpoint_saved_and_another_host_asked_for_while_the_gang_trains_on() -> None:
    written = noticed(training(), 1)
    assert asked(written) == [OrderReplacement(1, DOOM), SaveCheckpoint()]
    written.says(ce.ReplacementOrdered(reason=DOOM), 1)
    commanded(written, "checkpoint", by="console")
    assert asked(written) == []
    assert written.run.status == status.TRAINING


@pytest.mark.parametrize("early", [True, False])
def test_it_is_drained_when_the_other_host_is_there_or_the_time_is_up(early: bool) -> None:
    written = noticed(training(), 1).says(ce.ReplacementOrdered(reason=DOOM), 1)
    commanded(written, "checkpoint", by="console")
    if early:
        written.says(ce.ReplacementReady(address="10.0.0.9"), 1)
    assert asked(written) == ([DrainGang()] if early else [])
    # EC2 gives two minutes; the last 40 s are for the drain.
    assert asked(written, 79.9) == ([DrainGang()] if early else [])
    assert asked(written, 80) == [DrainGang()]
    commanded(written, "drain", by="console")
    assert asked(written) == []
    # The gang left the loop as it was told: that is no end of the run.
    ended(written, "stopped", 0, 1)
    assert asked(written) == [RestartGang(f"node 1: {DOOM}")]


def test_a_doomed_host_keeps_its_place_until_its_checkpoint_is_fetched() -> None:
    written = noticed(training(), 1).says(ce.ReplacementReady(address="10.0.0.9"), 1)
    ended(saved(commanded(written, "drain", by="console"), 1), "stopped", 0, 1)
    written.says(ce.GangRestarting(reason=DOOM))
    assert asked(written) == []
    assert asked(fetched(written)) == [SwapNode(1, DOOM)]


def test_a_drained_gang_that_reached_its_target_is_done() -> None:
    written = commanded(noticed(training(), 1), "drain", by="console")
    assert end_of(ended(written, "finished", 0, 1)).status == status.MISSED


def test_where_a_loss_ends_the_run_a_notice_has_nothing_done() -> None:
    """No host is rented that nobody asked for, and the gang trains until its host is gone."""
    written = noticed(training("end"), 1)
    for after_s in (0, 79, 81, 119):
        assert asked(written, after_s) == []
    launching = noticed(connected(story(on_loss="end"), 0, 1), 1)
    assert asked(launching) == [StartGang()], "nor does it hold the start back"


def test_a_stop_of_the_operator_comes_before_any_recovery() -> None:
    written = commanded(noticed(training(), 1), "stop")
    assert asked(written) == []
    assert end_of(ended(written, "stopped", 0, 1)).status == status.STOPPED


@pytest.mark.parametrize("command", ["kill", "drain"])
def test_a_stop_while_the_gang_is_down_for_its_recovery_ends_the_run(command: str) -> None:
    written = training().says(ce.HostLost(reason=LOST), 1) if command == "kill" else noticed(training(), 1)
    commanded(commanded(written, command, by="console"), "stop")
    assert asked(written) == [], "its trainers are still there"
    down(written, 0, *([] if command == "kill" else [1]))
    end = end_of(written)
    assert (end.status, end.reason) == (status.STOPPED, "stopped before the gang restarted; step 12 was the last")


def test_a_console_that_comes_back_asks_anew_for_what_the_one_before_had_asked_for() -> None:
    written = training().says(ce.HostLost(reason=LOST), 1).says(ce.ReplacementOrdered(reason=LOST), 1)
    commanded(written, "kill", by="console")
    assert asked(written) == []
    assert asked(written.says(ce.ConsoleAttached(pid=7))) == [OrderReplacement(1, LOST)]


def test_nothing_is_recovered_before_the_first_start() -> None:
    written = connected(story(on_loss="replace"), 0).says(ce.HostLost(reason=LOST), 1)
    assert asked(written) == [OrderReplacement(1, LOST)]


def test_a_drained_gang_whose_hosts_are_all_there_starts_again() -> None:
    written = commanded(training(), "drain", by="console")
    assert asked(written) == []
    assert asked(ended(written, "stopped", 0, 1)) == [RestartGang("its hosts are back")]
