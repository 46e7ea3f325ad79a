"""The fold: each event has an arm or a stated reason to have none, and what each arm does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_story import START_T, created, differences, folded, launched, told, trained
from test_wire_events import PATIENT, RECORDS

from console.fold.apply import apply, lose
from console.fold.changes import ARMS
from console.state import events as ce
from console.state.events import KNOWN, Record
from console.state.run import ALERTS, LOG_LINES, NODES, Run
from console.state.series import Series
from console.state.status import LAUNCHING, NODE_PAUSED, NODE_TRAINING, NODE_WAITING, PAUSED, REACHED, TRAINING
from remote.wire import events as re

NO_ARM = {
    "AgentEnded": "the trainer's end and the instance's stop say what matters of it",
}


def test_every_event_has_an_arm_or_a_stated_reason() -> None:
    assert {kind.__name__ for kind in ARMS} | set(NO_ARM) == set(KNOWN)
    assert not {kind.__name__ for kind in ARMS} & set(NO_ARM)


@PATIENT
@given(st.lists(RECORDS, max_size=12))
def test_the_fold_never_fails(records: list[Record]) -> None:
    run = folded([Record(START_T, START_T, created()), *records])
    assert run.records + run.damaged == len(records) + 1


def test_a_whole_run() -> None:
    run = told().run
    assert run.status == REACHED
    assert run.exit_code == 0
    assert not run.live
    assert run.nnodes == 2
    assert run.world_size == 4
    assert [epoch.event.top5 for epoch in run.epochs] == [0.3, 0.6, 0.9]
    assert run.target is not None
    assert run.target.epoch == 1
    assert [point.step for point in run.points] == list(range(1, 13))
    assert [node.status for node in run.nodes] == ["done", "done"]
    assert run.checkpoints[-1].fetched == "checkpoints/last.pt"
    assert run.alerts[-1].kind == "budget"
    assert run.commands[-1].done == (0, 1)
    assert run.damaged == run.unknown == 0


def test_the_fold_leaves_what_it_folded_from() -> None:
    records = told().records
    states = [Run()]
    for record in records:
        states.append(apply(states[-1], record))
    for place in (0, 1, len(records) // 2, len(records)):
        assert list(differences(states[place], folded(records[:place]))) == []


def test_a_launch_goes_through_its_stages() -> None:
    run = launched().run
    assert run.status == LAUNCHING
    assert run.stages == ("connect", "data")
    node = run.nodes[1]
    assert (node.stage, node.stage_done, node.stage_total, node.stage_detail) == ("data", 3, 3, "shapes")
    assert node.address == "127.0.0.1"
    assert node.status == "training"
    assert [rank.rank for rank in node.ranks] == [2, 3]


def test_a_record_of_a_node_that_the_run_does_not_have_is_damaged() -> None:
    story = launched()
    records = story.run.records
    run = story.hears(2, re.AgentEnded(reason="?")).run
    assert (run.damaged, run.records) == (1, records)


def test_without_its_first_line_a_journal_still_has_the_nodes_that_speak() -> None:
    records = told().records
    run = folded(records[1:])
    assert run.nnodes == 2
    assert run.damaged == 0
    assert len(run.epochs) == 3
    assert run.world_size == 4


def test_a_damaged_number_of_nodes_asks_for_no_billion() -> None:
    run = folded([Record(START_T, START_T, created(nnodes=10**17))])
    assert run.nnodes == NODES


def test_pause_and_resume() -> None:
    story = trained(epochs=1)
    story.hears(1, re.Paused(rank=2, step=4))
    assert story.run.status == TRAINING
    run = story.hears(0, re.Paused(rank=0, step=4), after_s=1).run
    assert (run.status, run.paused_since_t) == (PAUSED, story.t)
    assert [node.status for node in run.nodes] == [NODE_PAUSED, NODE_PAUSED]
    run = story.hears(0, re.Resumed(rank=0, step=4, paused_s=2.0), after_s=2).run
    assert (run.status, run.paused_since_t) == (TRAINING, None)
    assert [node.status for node in run.nodes] == [NODE_TRAINING, NODE_PAUSED]


def test_steps_after_an_older_checkpoint_are_taken_again() -> None:
    story = trained(epochs=2)
    before = story.run
    assert before.training is not None
    run = story.hears(0, replace(before.training, start_step=4, start_epoch=1)).run
    assert [point.step for point in run.points] == [1, 2, 3, 4]
    assert [epoch.event.epoch for epoch in run.epochs] == [0]
    assert [point.step for point in before.points] == list(range(1, 9))


def test_a_run_that_goes_on_keeps_its_curves_and_its_bill() -> None:
    story = told()
    run = story.says(ce.RunContinued(attempt=2, step=12), after_s=60).run
    assert run.status == LAUNCHING
    assert run.attempt == 2
    assert run.ended_t is None
    assert len(run.points) == 12
    assert [node.status for node in run.nodes] == [NODE_WAITING, NODE_WAITING]
    assert all(node.billing and node.address is None and not node.ranks for node in run.nodes)


def test_the_first_failure_is_told_from_its_echoes_by_its_own_time() -> None:
    story = trained(epochs=1)
    echo = re.RankFailed(rank=0, exit_code=-6, message="SIGABRT: connection closed by peer", t_failed=START_T + 9)
    cause = re.RankFailed(rank=3, exit_code=1, message="RuntimeError: out of memory", t_failed=START_T + 8)
    run = story.hears(0, echo).hears(1, cause).run
    assert run.first_error is not None
    assert run.first_error.node == 1
    assert "out of memory" in run.first_error.text


def test_an_unreachable_node_raises_one_alert_and_comes_back() -> None:
    story = trained(epochs=1)
    story.says(ce.HostUnreachable(reason="timed out", retry_s=1.0), 1)
    story.says(ce.HostUnreachable(reason="timed out", retry_s=2.0), 1)
    run = story.run
    assert run.nodes[1].status == "unreachable"
    assert len(run.alerts) == 1
    run = story.says(ce.HostConnected(from_offset=5), 1).run
    assert run.nodes[1].status == "training"


def test_a_lost_host_stays_lost() -> None:
    story = trained(epochs=1).says(ce.HostLost(reason="spot reclaimed"), 0)
    run = story.says(ce.HostUnreachable(reason="refused"), 0).run
    assert (run.nodes[0].status, run.nodes[0].reason) == ("lost", "spot reclaimed")


def test_a_loss_that_is_no_number_raises_an_alert_once() -> None:
    story = trained(epochs=1)
    last = story.run.step
    assert last is not None
    for step in (5, 6):
        story.hears(0, replace(last, step=step, loss=None))
    assert [alert.kind for alert in story.run.alerts] == ["loss"]


def test_training_is_seen_even_where_its_beginning_is_lost() -> None:
    records = [record for record in trained().records if not isinstance(record.event, re.TrainingStarted)]
    assert folded(records).status == TRAINING


def test_the_log_and_the_alerts_are_bounded() -> None:
    story = launched()
    for place in range(LOG_LINES + 50):
        story.hears(0, re.LogPrinted(text=str(place)))
    for place in range(ALERTS + 50):
        story.says(ce.AlertRaised(kind="host", text=str(place)))
    run = story.run
    assert len(run.log) == LOG_LINES
    assert len(run.alerts) == ALERTS
    assert run.alerts[-1].text == str(ALERTS + 49)


def test_lost_lines_are_counted() -> None:
    run = lose(lose(Run(), damaged=2), unknown=1)
    assert (run.damaged, run.unknown) == (2, 1)


def test_a_command_is_acknowledged_or_refused_by_node() -> None:
    story = trained(epochs=1).says(ce.OperatorCommanded(id="x", command="checkpoint"))
    story.hears(0, re.CommandDone(id="x", command="checkpoint"))
    run = story.hears(1, re.CommandDone(id="x", command="checkpoint", ok=False, detail="disk full")).run
    assert (run.commands[-1].done, run.commands[-1].refused) == ((0,), (1,))
    assert "disk full" in run.alerts[-1].text


# --- the series ------------------------------------------------------------------------------------------------------


@PATIENT
@given(st.lists(st.integers()), st.lists(st.integers(0, 30), max_size=6), st.integers())
def test_a_series_is_a_tuple_that_shares(items: list[int], cuts: list[int], other: int) -> None:
    grown: list[Series[int]] = [Series()]
    for item in items:
        grown.append(grown[-1].append(item))
    for cut in cuts:
        old = grown[min(cut, len(items))]
        branch = old.append(other)
        assert list(branch) == [*old, other]
    for length, series in enumerate(grown):
        assert list(series) == items[:length]
        assert len(series) == length
        assert series == Series(items[:length])
        assert series[:] == items[:length]
        assert series[-3:] == items[:length][-3:]
        assert series[::2] == items[:length][::2]
        if length:
            assert series[-1] == items[length - 1]


def test_a_series_has_ends() -> None:
    series = Series([1, 2]).append(3)
    for place in (3, -4):
        with pytest.raises(IndexError):
            series[place]
    assert Series([1, 2]) != Series([1, 3])
    assert Series([1, 2]) != Series([1])
    assert hash(Series([1, 2])) == hash(Series([1, 2]))


def test_an_xid_is_kept_on_its_node_and_raised() -> None:
    run = folded(
        [Record(START_T, START_T, created()), Record(START_T + 5, START_T, re.XidReported(gpu=3, xid=79), 1, 0)]
    )
    assert [(fault.gpu, fault.xid, fault.received_t) for fault in run.nodes[1].faults] == [(3, 79, START_T + 5)]
    assert run.alerts[-1].text == "GPU 3: the driver reports Xid 79: the GPU has fallen off the bus: replace the host"
    assert run.alerts[-1].node == 1


def test_a_nodes_busiest_processes_are_the_last_that_were_told() -> None:
    said = [re.ProcessesSampled(pids=(pid,), names=("python",), cpu_pct=(99.0,), mem_mib=(None,)) for pid in (7, 8)]
    run = folded([Record(START_T, START_T, created()), *(Record(START_T, START_T, one, 1, 0) for one in said)])
    assert run.nodes[1].processes == said[1]
    assert run.nodes[0].processes is None
