"""A run in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_story import START_T, Story, created, folded, launched, told, trained
from test_wire_events import RECORDS

from console.fold.apply import apply
from console.reports.narrator import Narrator
from console.reports.story import COLUMNS, story
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run
from remote.wire import events as re


def spoken(records: list[Record]) -> list[str]:
    """All that a headless run would print about the records."""
    narrator, run, lines = Narrator(), Run(), list[str]()
    for record in records:
        after = apply(run, record)
        lines += narrator.narrate(run, after, record)
        run = after
    return lines


def test_the_story_of_a_whole_run() -> None:
    text = story(told().run)
    for part in (
        "local · 20260901-local-abcd",
        "2 × local, 4 ranks on cpu",
        "began 2026-09-21 14:13:20 UTC",
        "ended          reached: top-5 60.0 %; 00:19 in all",
        "target         top-5 60.0 % after 0.17 minutes (00:10) of training",
        "cost to target $0.24 billed, $0.80 on demand",
        "cost           $0.24 billed, $0.80 on demand (simulated)",
        # Two hosts at 0.002 a second: one of them 2.6 s and one 1.8 s until the first step, both 1.5 s in a pause.
        "no step ran    $0.01: launch $0.0088, pause $0.0060",
        "budget         $5.00",
        "checkpoint     of step 12, 0.0 MB, checkpoints/last.pt",
        "    1     00:10    32  30.000 %  60.000 %    0.625         100      $0.24      $0.80",
        "budget  half of the budget is spent",
    ):
        assert part in text
    assert "damaged" not in text


def test_another_budget_is_told_as_it_comes_and_in_the_end() -> None:
    moved = trained().says(ce.BudgetMoved(max_usd=60.0)).says(ce.BudgetMoved(max_usd=80.5, by="another terminal"))
    said = "\n".join(spoken(moved.records))
    assert "operator: the budget is now $60.00" in said
    assert "another terminal: the budget is now $80.50" in said
    assert "budget         $5.00, then $60.00, then $80.50" in story(moved.run)


def test_the_same_log_tells_the_same_story() -> None:
    assert story(told().run) == story(told().run)


def test_the_story_of_a_log_that_stops() -> None:
    text = story(trained(top5=0.1).run)
    assert "the log stops while the run goes on" in text
    assert "not reached; best 30.000 %" in text


def test_the_story_of_nothing() -> None:
    text = story(Run())
    assert "first record is lost" in text
    assert "0 records" in text


def test_neighbours_with_nothing_of_their_own_share_a_line() -> None:
    text = story(Story().says(created(nnodes=128)).run)
    assert "0–127  waiting" in text
    assert text.count("waiting") == 1


def test_counts_of_what_was_lost() -> None:
    text = story(replace(told().run, damaged=1234, unknown=2, dropped=3))
    assert "1,234 damaged lines, 2 of an unknown event, 3 that hosts could not write" in text


def test_a_failure_names_its_first_error() -> None:
    run = trained(epochs=1)
    run.hears(1, re.RankFailed(rank=3, exit_code=-9, message="SIGKILL: the host is out of memory", t_failed=1.0))
    run.says(ce.RunEnded(status="failed", exit_code=3, reason="a rank failed"))
    text = story(run.run)
    assert "failed: a rank failed" in text
    assert "first error    node 1: rank 3 failed: SIGKILL: the host is out of memory" in text


def test_what_a_headless_run_says() -> None:
    lines = spoken(told().records)
    assert lines[0] == "  00:00  run 20260901-local-abcd: local, 2 hosts"
    for part in (
        "connect: all 2 nodes done",
        "data: all 2 nodes done",
        "training resnet-small on 4 ranks: 3 epochs, 12 steps",
        "phase 2: 32 px, 25 images a rank, 100 in all, 4 steps an epoch",
        "first step done",
        "epoch 1 ended · top-1 30.0 % · top-5 60.0 % · loss 0.625 · 100 img/s · 00:10 · $0.24",
        "target reached: top-5 60.000 % after 0.17 minutes of training",
        "operator: pause",
        "paused after step 12",
        "resumed after 3.0 s",
        "! half of the budget is spent",
        "checkpoint of step 12 fetched",
        "reached: top-5 60.0 %",
    ):
        assert sum(part in line for line in lines) == 1, part


def test_what_the_fold_has_logged_is_printed_as_it_is() -> None:
    begun = trained(epochs=1).says(ce.RunContinued(attempt=2, step=4)).says(ce.ConsoleDetached(pid=1))
    begun.says(ce.AlertRaised(kind="gpu", text="GPU 3 is hot", id="hot"), 1)
    begun.says(ce.AlertCleared(id="hot"), 1, after_s=7.0).hears(1, re.LogPrinted(text="printed by a rank", rank=2))
    said = [line[9:] for line in spoken(begun.records)]
    logged = [line for line in begun.run.log if line.stream == "console"]
    assert [line.text for line in logged][-2:] == ["GPU 3 is hot", "over after 7 s: GPU 3 is hot"]
    for line in logged:
        where = "" if line.node is None else f"node {line.node}: "
        assert [text.removeprefix("! ") for text in said].count(f"{where}{line.text}") == 1, line.text
    assert [text for text in said if text.startswith("! ")] == ["! node 1: GPU 3 is hot"]
    assert not [text for text in said if "printed by a rank" in text]


def test_a_lost_host_is_said_once() -> None:
    begun = trained(epochs=1)
    told_before = len(spoken(begun.records))
    begun.says(ce.HostUnreachable(reason="timed out"), 1).says(ce.HostUnreachable(reason="timed out"), 1)
    begun.says(ce.HostConnected(from_offset=0), 1).says(ce.HostLost(reason="spot\x1b[2Jreclaimed"), 1)
    said = [line[9:] for line in spoken(begun.records)[told_before:]]
    assert said == ["! node 1: unreachable: timed out", "node 1: reachable again", "! node 1: lost: spotreclaimed"]


def test_the_heartbeat_is_one_line() -> None:
    begun = launched()
    assert Narrator().heartbeat(begun.run, begun.t + 5).startswith("launching · 2/2 hosts connected")


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(RECORDS, max_size=6))
def test_whatever_hosts_say_fits_a_terminal(records: list[Record]) -> None:
    end = Record(START_T, START_T, ce.RunEnded(status="x", exit_code=0, reason=""))
    all_of_it = [*trained(epochs=1).records, *records, end]
    text = "\n".join([story(folded(all_of_it)), *spoken(all_of_it)])
    for line in text.split("\n"):
        assert len(line) <= COLUMNS
        assert all(ord(character) >= 32 and not 0x7F <= ord(character) < 0xA0 for character in line)
    text.encode()
