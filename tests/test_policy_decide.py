"""What the console decides by itself: records folded, then the question, at a moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_story import START_T, Story, created, launched, trained

from console.policy import decisions, endings
from console.policy.decide import decide
from console.policy.decisions import EndRun, StartGang, StopGang, Warn
from console.state import events as ce
from console.state import status
from console.state.outcome import Exit
from console.state.run import Run
from remote.wire import events as re


def story(*, nnodes: int = 2, **changes: object) -> Story:
    """Nothing but the run's first record."""
    return Story().says(created(nnodes=nnodes, **changes))


def connected(written: Story, *nodes: int) -> Story:
    """The agents of `nodes` are up."""
    for node in nodes:
        written.says(ce.HostConnected(from_offset=0), node)
        written.hears(
            node,
            re.AgentStarted(
                run_id="20260901-local-abcd",
                pid=100,
                hostname="h",
                boot_id="b",
                python="3.11.7",
                torch="2.15.0",
                cpus=2,
                mem_total_mib=None,
                disk_free_mib=None,
                free_port=50_000,
            ),
        )
    return written


def commanded(written: Story, command: str, by: str = "operator") -> Story:
    """The console wrote a command down."""
    return written.says(ce.OperatorCommanded(id=f"{command}-{len(written.records)}", command=command, by=by))


def training(top5: float = 0.1) -> Story:
    """Two nodes that have trained all three epochs, `top5` better in each, and have not said that it is over."""
    written = trained(top5=top5)
    # The fold takes the order to start whenever it comes; the story has none.
    return commanded(written, "start", by="console")


def ended(written: Story, reason: str, *nodes: int) -> Story:
    """Rank 0 says that training is over, and the trainers of `nodes` end."""
    step = written.run.step
    assert step is not None
    written.hears(0, re.TrainingEnded(step=step.step, epoch=2, reason=reason, elapsed_s=15.0))
    for node in nodes:
        written.hears(node, re.TrainerEnded(attempt=1, outcome="succeeded"))
    return written


def asked(written: Story, after_s: float = 0.0) -> list[decisions.Decision]:
    """What is decided `after_s` seconds after the last record."""
    return decide(written.run, written.t + after_s)


def end_of(written: Story, after_s: float = 0.0) -> EndRun:
    """The one decision, which is to end the run."""
    (decision,) = asked(written, after_s)
    assert isinstance(decision, EndRun)
    return decision


# --- the launch ------------------------------------------------------------------------------------------------------


def test_nothing_follows_from_nothing() -> None:
    assert decide(Run(), START_T) == []
    assert asked(story()) == []


def test_the_gang_starts_when_every_node_is_there_and_only_once() -> None:
    written = story(nnodes=3)
    assert asked(connected(written, 0, 1)) == []
    assert asked(connected(written, 2)) == [StartGang()]
    assert asked(commanded(written, "start", by="console")) == []


def test_the_gang_does_not_start_while_a_node_is_away() -> None:
    written = connected(story(), 0, 1)
    written.says(ce.HostUnreachable(reason="the connection was lost"), 1)
    assert asked(written) == []
    assert asked(written.says(ce.HostConnected(from_offset=200), 1)) == [StartGang()]


def test_a_host_that_refuses_ends_the_launch_at_once() -> None:
    written = connected(story(), 0).says(ce.HostRefused(reason="h1 presented another host key"), 1)
    end = end_of(written)
    assert end == EndRun(status.UNREACHABLE, Exit.UNREACHABLE, "node 1: h1 presented another host key")


def test_a_host_that_refuses_later_ends_the_run_too() -> None:
    end = end_of(training().says(ce.HostRefused(reason="another host key"), 1))
    assert (end.status, end.exit_code) == (status.UNREACHABLE, Exit.UNREACHABLE)


def test_a_host_that_does_not_answer_has_a_minute() -> None:
    written = connected(story(), 0).says(ce.HostUnreachable(reason="h1 did not answer"), 1)
    assert asked(written, 60) == []
    # It is still the same absence when it is said again.
    written.says(ce.HostUnreachable(reason="h1 did not answer"), 1, after_s=60)
    assert end_of(written, 0.1) == EndRun(status.UNREACHABLE, Exit.UNREACHABLE, "node 1: h1 did not answer")


def test_a_host_that_is_lost_ends_the_launch_at_once() -> None:
    written = connected(story(), 0).says(ce.HostLost(reason="its embedded host (process 7) ended"), 1)
    assert end_of(written).exit_code == Exit.UNREACHABLE
    assert end_of(written).reason == "node 1: its embedded host (process 7) ended"


def test_an_agent_that_dies_before_the_start_ends_the_launch() -> None:
    end = end_of(connected(story(), 0, 1).hears(1, re.AgentDied(pid=7)))
    assert end == EndRun(status.FAILED, Exit.FAILED, "node 1: the agent (pid 7) died")


def staged(written: Story, node: int, *, ok: bool = True, reason: str = "") -> Story:
    """The copy of the data set to the node's host has ended."""
    return written.hears(node, re.StagingEnded(source="s3://bucket/imagenet", ok=ok, reason=reason))


def test_the_gang_does_not_start_before_every_host_has_the_data_set() -> None:
    written = connected(story(stage_from="s3://bucket/imagenet"), 0, 1)
    assert asked(written) == []
    copied = re.StagingProgressed(source="s3://bucket/imagenet", activity="copy", done_bytes=9, total_bytes=9)
    assert asked(written.hears(0, copied)) == []
    assert asked(staged(written, 0)) == []
    assert asked(staged(written, 1)) == [StartGang()]


def test_a_data_set_that_cannot_be_copied_ends_the_launch() -> None:
    written = staged(connected(story(stage_from="s3://bucket/imagenet"), 0, 1), 0)
    end = end_of(staged(written, 1, ok=False, reason="the disk is full"))
    assert end == EndRun(status.FAILED, Exit.FAILED, "node 1: the disk is full")


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [story(), connected(story(), 0, 1), launched()])
def test_a_stop_before_the_first_step_ends_the_run_at_once(written: Story) -> None:
    end = end_of(commanded(written, "stop"))
    assert end == EndRun(status.STOPPED, Exit.INTERRUPTED, "stopped before the first step")


def test_a_stop_waits_for_the_gang() -> None:
    written = commanded(training(), "stop")
    assert asked(written, 60) == []
    ended(written, "stopped", 0)
    assert asked(written) == []
    end = end_of(ended(written, "stopped", 1))
    assert end == EndRun(status.STOPPED, Exit.INTERRUPTED, "stopped after step 12; it can be resumed from there")


def test_a_stop_that_takes_too_long_is_ended() -> None:
    end = end_of(commanded(training(), "stop"), 60.1)
    assert (end.status, end.exit_code) == (status.STOPPED, Exit.INTERRUPTED)
    assert end.reason == "the gang did not stop within 60 s and was ended"


def test_a_second_stop_does_not_begin_the_patience_anew() -> None:
    written = commanded(training(), "stop")
    written.t += 60
    assert end_of(commanded(written, "stop"), 0.1).reason.startswith("the gang did not stop within")


def test_a_gang_that_has_stopped_did_stop_however_long_its_hosts_take() -> None:
    written = ended(commanded(training(top5=0.3), "stop"), "target", 0)
    written.says(ce.HostUnreachable(reason="the connection was lost"), 1, after_s=30)
    assert asked(written, 31) == []
    assert end_of(written, 61).status == status.REACHED


def test_a_trainer_that_has_ended_has_ended_though_its_host_is_away_for_a_moment() -> None:
    written = ended(training(top5=0.3), "target", 1)
    written.says(ce.HostUnreachable(reason="the connection was lost"), 1)
    written.says(ce.HostConnected(from_offset=10_000), 1)
    assert asked(written) == []
    written.hears(0, re.TrainerEnded(attempt=1, outcome="succeeded"))
    assert end_of(written).status == status.REACHED


def test_a_trainer_that_has_failed_has_failed_though_its_host_is_away() -> None:
    written = failed(training(), 1, 3, "SIGKILL").says(ce.HostUnreachable(reason="the connection was lost"), 1)
    assert end_of(written, 3).reason == "node 1: rank 3 failed: SIGKILL"


def test_termination_waits_for_nothing() -> None:
    end = end_of(commanded(commanded(training(), "stop"), "terminate"))
    assert (end.status, end.exit_code) == (status.STOPPED, Exit.INTERRUPTED)
    assert end.reason == "terminated at once; what is not in a checkpoint is lost"


# --- the end ---------------------------------------------------------------------------------------------------------


def test_a_target_reached() -> None:
    end = end_of(ended(training(top5=0.3), "target", 0, 1))
    assert (end.status, end.exit_code) == (status.REACHED, Exit.DONE)
    assert "top5 60.0 %" in end.reason
    assert "(target 60.0 %)" in end.reason


def test_a_target_reached_whose_own_record_was_dropped() -> None:
    written = training(top5=0.3)
    written.records = [record for record in written.records if not isinstance(record.event, re.TargetReached)]
    end = end_of(ended(written, "target", 0, 1))
    assert (end.status, end.exit_code) == (status.REACHED, Exit.DONE)


def test_all_epochs_without_the_target() -> None:
    end = end_of(ended(training(top5=0.1), "finished", 0, 1))
    assert (end.status, end.exit_code) == (status.MISSED, Exit.MISSED)
    assert end.reason == "all epochs done; best top5 30.0 %, target 60.0 %"


def test_all_epochs_where_there_is_no_target() -> None:
    written = trained(top5=0.1)
    written.records[0] = story(target_metric=None, target_value=None).records[0]
    end = end_of(ended(commanded(written, "start"), "finished", 0, 1))
    assert (end.status, end.exit_code) == (status.FINISHED, Exit.DONE)


def test_the_end_waits_for_every_trainer() -> None:
    written = ended(training(top5=0.3), "target", 0)
    assert asked(written, 600) == []


def test_the_end_waits_a_minute_for_a_host_that_is_away_and_not_for_one_that_is_lost() -> None:
    written = ended(training(top5=0.3), "target", 0)
    written.says(ce.HostUnreachable(reason="no route"), 1)
    assert asked(written, 60) == []
    assert end_of(written, 60.1).status == status.REACHED
    assert end_of(written.says(ce.HostLost(reason="gone"), 1)).status == status.REACHED


def test_nothing_follows_once_the_run_has_ended() -> None:
    written = ended(training(top5=0.3), "target", 0, 1)
    assert asked(written.says(ce.RunEnded(status=status.REACHED, exit_code=0, reason="done")), 1000) == []


# --- failures --------------------------------------------------------------------------------------------------------


def failed(
    written: Story, node: int, rank: int, message: str, t_failed: float | None = None, *, echo: bool = False
) -> Story:
    """A rank fails and its trainer ends."""
    written.hears(node, re.RankFailed(rank=rank, exit_code=1, message=message, t_failed=t_failed, echo=echo))
    return written.hears(node, re.TrainerEnded(attempt=1, outcome="failed", reason="a rank failed"))


def test_a_failure_settles_before_the_run_ends() -> None:
    written = failed(training(), 1, 3, "OutOfMemoryError: CUDA out of memory")
    assert asked(written, 2.9) == []
    end = end_of(written, 3)
    assert (end.status, end.exit_code) == (status.FAILED, Exit.FAILED)
    assert end.reason == "node 1: rank 3 failed: OutOfMemoryError: CUDA out of memory"


def test_the_first_failure_is_blamed_whatever_came_in_first() -> None:
    written = failed(training(), 0, 0, "connection closed by peer", t_failed=START_T + 60)
    failed(written, 1, 3, "SIGKILL", t_failed=START_T + 59)
    assert end_of(written, 3).reason == "node 1: rank 3 failed: SIGKILL"


def test_a_lost_host_is_to_blame_before_what_its_loss_did_to_others() -> None:
    written = failed(training(), 0, 0, "connection closed by peer", echo=True)
    written.says(ce.HostLost(reason="its embedded host ended"), 1, after_s=1)
    end = end_of(written, 3)
    assert end == EndRun(status.FAILED, Exit.FAILED, "node 1: lost: its embedded host ended")


def test_a_trainer_that_fails_without_a_word_of_a_rank() -> None:
    written = training().hears(0, re.TrainerEnded(attempt=1, outcome="failed", reason="the rendezvous timed out"))
    assert end_of(written, 3).reason == "node 0: the rendezvous timed out"


def test_a_host_that_is_only_away_fails_nothing() -> None:
    assert asked(training().says(ce.HostUnreachable(reason="no route"), 1), 300) == []


# --- the budget: two instances at 7.20 dollars an hour, a dollar in 250 s --------------------------------------------


def spent(written: Story, dollars: float) -> float:
    """The moment at which so much is spent."""
    started = min(node.billing[0].started_t for node in written.run.nodes)
    return started + dollars / (2 * 7.2) * 3600


def budgeted(**changes: object) -> Story:
    """A run with hours to train under a budget of 20 dollars, warned of at 16."""
    written = training()
    written.records[0] = story(**{"budget_usd": 20.0, "budget_warn_at": 0.8, **changes}).records[0]
    return scheduled(written, total_steps=20_000)


def scheduled(written: Story, *, total_steps: int) -> Story:
    """The same run with so many steps in its schedule."""
    for index, record in enumerate(written.records):
        if isinstance(record.event, re.TrainingStarted):
            written.records[index] = replace(record, event=replace(record.event, total_steps=total_steps))
    return written


def test_the_budget_warns_once_at_its_share() -> None:
    written = budgeted()
    assert decide(written.run, spent(written, 15.99)) == []
    (warning,) = decide(written.run, spent(written, 16.01))
    assert warning == Warn("budget", "80.0 % of the budget of $20.00 is spent")
    written.says(ce.AlertRaised(kind=warning.kind, text=warning.text))
    assert decide(written.run, spent(written, 18.0)) == []


def test_the_budget_warns_once_more_when_there_is_time_to_set_another() -> None:
    written = budgeted(budget_warn_at=None)
    # The end takes up to 70 s, 28 cents, and the warning comes five minutes before it has to begin.
    stop_usd, warn_usd = 19.72, 18.52
    assert decide(written.run, spent(written, warn_usd - 0.02)) == []
    (warning,) = decide(written.run, spent(written, warn_usd + 0.02))
    assert warning == Warn("budget", "the budget of $20.00 stops the run in 5 minutes or less")
    written.says(ce.AlertRaised(kind=warning.kind, text=warning.text))
    assert decide(written.run, spent(written, stop_usd - 0.02)) == []


def test_a_budget_that_outlasts_the_schedule_needs_no_last_warning() -> None:
    written = budgeted(budget_warn_at=None)
    at = spent(written, 20 - (70 + 100) / 250)
    # It stops the run in 100 s; the 12th step of a second each is done.
    assert decide(scheduled(written, total_steps=100).run, at) == []
    assert decide(scheduled(written, total_steps=130).run, at) != []


def test_the_budget_stops_early_enough_for_the_end_to_fit() -> None:
    written = budgeted(budget_warn_at=None)
    written.says(ce.AlertRaised(kind="budget", text="the budget of $20.00 stops the run in 5 minutes or less"))
    # 60 s for the gang's checkpoint, next to nothing for a fetch of 4 kB, 10 s for the hosts' end.
    stop_usd = 20 - 70 / 250
    assert decide(written.run, spent(written, stop_usd - 0.01)) == []
    (stop,) = decide(written.run, spent(written, stop_usd + 0.01))
    assert stop == StopGang("the budget of $20.00 would be passed")
    assert asked(commanded(written, "stop", by="budget")) == []
    end = end_of(ended(written, "stopped", 0, 1))
    assert (end.status, end.exit_code) == (status.OVER_BUDGET, Exit.OVER_BUDGET)
    assert end.reason == "stopped after step 12; it can be resumed from there"


def test_the_budget_stops_a_run_that_has_not_started_yet() -> None:
    written = story(budget_warn_at=None, budget_usd=5.0)
    for node in (0, 1):
        began = ce.InstanceStarted(
            instance_id=f"i-{node}", started_t=written.t, usd_per_h=7.2, usd_per_h_on_demand=24.0
        )
        written.says(began, node)
    connected(written, 0, 1)
    assert decide(written.run, spent(written, 1.0)) == [StartGang()]
    assert decide(written.run, spent(written, 4.9)) == [StopGang("the budget of $5.00 would be passed")]


def test_a_raised_budget_counts_at_once_and_warns_anew() -> None:
    written = budgeted()
    at = spent(written, 19.9)
    assert StopGang("the budget of $20.00 would be passed") in decide(written.run, at)
    assert decide(written.says(ce.BudgetMoved(max_usd=60.0)).run, at) == []
    assert Warn("budget", "80.0 % of the budget of $60.00 is spent") in decide(written.run, spent(written, 48.1))
    assert StopGang("the budget of $60.00 would be passed") in decide(written.run, spent(written, 59.9))


def test_a_lowered_budget_counts_at_once() -> None:
    written = budgeted()
    at = spent(written, 9.0)
    assert decide(written.run, at) == []
    assert StopGang("the budget of $9.10 would be passed") in decide(written.says(ce.BudgetMoved(max_usd=9.1)).run, at)


def test_a_budget_that_cannot_be_held_is_said_once() -> None:
    written = budgeted(budget_warn_at=None)
    written.says(
        ce.InstanceStarted(instance_id="i-x", started_t=written.t, usd_per_h=None, usd_per_h_on_demand=24.0), 0
    )
    (warning,) = asked(written)
    assert warning == Warn("budget", "the budget of $20.00 cannot be held: no price is known for these hosts")
    assert asked(written.says(ce.AlertRaised(kind=warning.kind, text=warning.text)), 1e6) == []


def test_the_budget_ends_a_launch_that_never_gets_anywhere() -> None:
    written = launched()
    written.records[0] = story(budget_warn_at=None).records[0]
    commanded(written, "start", by="console")
    (stop,) = decide(written.run, spent(written, 5.0))
    assert isinstance(stop, StopGang)
    end = end_of(commanded(written, "stop", by="budget"))
    assert (end.status, end.exit_code) == (status.OVER_BUDGET, Exit.OVER_BUDGET)


def test_a_gang_that_does_not_stop_for_the_budget() -> None:
    end = end_of(commanded(budgeted(), "stop", by="budget"), 60.1)
    assert (end.status, end.exit_code) == (status.OVER_BUDGET, Exit.OVER_BUDGET)


def test_a_target_reached_while_the_budget_stops_the_gang_is_reached() -> None:
    written = trained(top5=0.3)
    commanded(commanded(written, "start", by="console"), "stop", by="budget")
    assert end_of(ended(written, "target", 0, 1)).status == status.REACHED


def test_without_a_budget_or_a_price_nothing_is_said_of_money() -> None:
    written = budgeted(budget_usd=None)
    assert decide(written.run, written.t + 1e6) == []


# --- a run whose console and hosts are gone --------------------------------------------------------------------------


def test_what_is_left_of_a_run_that_nobody_ended() -> None:
    end = endings.salvaged(training().run)
    assert (end.status, end.exit_code) == (status.FAILED, Exit.FAILED)
    assert end.reason.endswith("after step 12; no checkpoint was saved")
    written = training().says(ce.CheckpointFetched(step=8, path="checkpoints/8.pt", size_bytes=4000))
    assert endings.salvaged(written.run).reason.endswith("the checkpoint of step 8 is saved")
    assert "before its first step" in endings.salvaged(launched().run).reason


def test_a_run_that_reached_its_target_unattended() -> None:
    assert endings.salvaged(ended(training(top5=0.3), "target", 0, 1).run).status == status.REACHED
