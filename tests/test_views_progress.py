"""What follows from a run and the moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_story import START_T, Story, created, folded, launched, told, trained
from test_compare_race import epoch
from test_wire_events import PATIENT

from console.billing import cost
from console.fold.apply import apply
from console.format import clock, count, duration, long_clock, money, percent, plain
from console.reports import headline
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run
from console.state.status import FAILED
from console.views import nodes, progress
from remote.wire import events as re


def test_cost_accrues_by_the_second_with_nobody_speaking() -> None:
    run = Story().says(created(nnodes=1)).run
    assert cost.cost(run, START_T).billed_usd == 0
    began = ce.InstanceStarted(instance_id="i", started_t=START_T, usd_per_h=7.2, usd_per_h_on_demand=24.0)
    run = Story().says(created(nnodes=1)).says(began, 0).run
    at = cost.cost(run, START_T + 100)
    assert at.billed_usd == pytest.approx(0.2)
    assert at.on_demand_usd == pytest.approx(100 * 24 / 3600)
    assert (at.usd_per_h, at.usd_per_h_on_demand) == (7.2, 24.0)
    assert at.note == "simulated"
    assert cost.cost(run, START_T + 200).billed_usd == pytest.approx(0.4)


def test_the_first_minute_is_billed_whole_and_each_instance_has_its_own() -> None:
    began = ce.InstanceStarted(instance_id="i", started_t=START_T, usd_per_h=3600.0, usd_per_h_on_demand=None)
    story = Story().says(created(nnodes=2)).says(began, 0)
    assert cost.cost(story.run, START_T + 1).billed_usd == 60
    story.says(ce.InstanceStopped(instance_id="i", stopped_t=START_T + 10, reason="spot"), 0)
    story.says(replace(began, instance_id="j", started_t=START_T + 20), 0)
    at = cost.cost(story.run, START_T + 120)
    assert at.billed_usd == 60 + 100
    assert at.usd_per_h == 3600
    assert at.on_demand_usd is None
    assert cost.cost_to(story.run, START_T + 5) == 60


def test_a_stopped_instance_costs_no_more() -> None:
    run = told().run
    assert run.ended_t is not None
    assert cost.cost(run, run.ended_t).billed_usd == cost.cost(run, run.ended_t + 3600).billed_usd
    assert cost.cost(run, run.ended_t).usd_per_h == 0


def test_without_a_price_there_is_no_cost() -> None:
    run = Story().says(created(usd_per_h=None, usd_per_h_on_demand=None)).run
    spent = cost.cost(run, START_T + 10)
    assert (spent.billed_usd, spent.on_demand_usd, spent.usd_per_h) == (None,) * 3
    assert cost.cost(Run(), 0.0).billed_usd is None


def test_elapsed_stops_with_the_run() -> None:
    assert progress.elapsed_s(Run(), 5.0) is None
    story = trained(epochs=1)
    assert progress.elapsed_s(story.run, START_T + 1000) == 1000
    run = told().run
    assert run.ended_t is not None
    assert progress.elapsed_s(run, START_T + 10_000) == run.ended_t - START_T


def test_progress() -> None:
    at = progress.progress(trained(epochs=2).run)
    assert (at.epoch, at.epochs, at.epoch_step, at.steps_per_epoch) == (2, 2, 4, 4)
    assert (at.step, at.total_steps, at.fraction) == (8, 8, 1.0)
    assert (at.phase, at.phases, at.image_size) == (1, 2, 32)
    empty = progress.progress(Run())
    assert (empty.epoch, empty.step, empty.fraction, empty.phases) == (None,) * 4
    assert progress.progress(Story().says(created(profile_text="= no TOML")).run).phases is None


def test_the_rate_is_all_images_over_all_seconds() -> None:
    story = trained(epochs=1)
    assert progress.img_per_s(Run()) is None
    assert progress.img_per_s(story.run) == pytest.approx(100)
    last = story.run.step
    assert last is not None
    run = story.hears(0, replace(last, step=5, img_per_s=50.0, step_s=2.0), after_s=60).run
    assert progress.img_per_s(run) == pytest.approx(50), "what is a minute old counts no more"


def test_time_left() -> None:
    story = trained(epochs=3)
    cut = [record for record in story.records if record.received_t <= START_T + 7]
    run = folded(cut)
    assert run.training is not None
    assert run.step is not None
    left_s = progress.schedule_left_s(run, run.last_step_t or 0.0)
    steps_left = 12 - run.step.step
    assert left_s == pytest.approx(steps_left + (3 - len(run.epochs)) * (1.0 if run.epochs else 0.0))
    assert progress.schedule_left_s(run, (run.last_step_t or 0) + 0.5) == pytest.approx(left_s - 0.5)
    assert progress.schedule_left_s(story.run, story.run.last_step_t or 0.0) == 0
    assert progress.schedule_left_s(launched().run, START_T) is None
    assert progress.schedule_left_s(told().run, START_T) is None
    for steps in (0, -1):
        unknown = replace(run, training=replace(run.training, total_steps=steps))
        assert progress.schedule_left_s(unknown, START_T) is None
    for changes in ({"img_per_s": 0.0}, {"step_s": 0.0}, {"step_s": -1.0}):
        damaged = replace(run, step=replace(run.step, **changes))
        assert progress.schedule_left_s(damaged, START_T) is None
    assert progress.schedule_left_s(story.hears(0, re.Paused(rank=0, step=12)).run, story.t) is None


def test_what_the_fleet_burns_and_how_long_the_present_rate_needs() -> None:
    run = folded([record for record in trained().records if record.received_t <= START_T + 7])
    now = run.last_step_t or 0.0
    assert cost.cost(run, now).usd_per_h == pytest.approx(14.4)
    # A minute is billed at least.
    assert cost.cost(run, now).billed_usd == pytest.approx(2 * 7.2 / 60)
    step = run.step
    assert step is not None
    slow = apply(run, Record(now, now, replace(step, img_per_s=1.0, step_s=100.0), 0, 10**6))
    left_s = progress.schedule_left_s(slow, now)
    assert left_s is not None
    assert left_s > 100
    until = sum(max(60, now + left_s - START_T - s) for s in (0, 0.8)) * 7.2 / 3600
    assert cost.cost_to(slow, now + left_s) == pytest.approx(until)


def test_best_and_target() -> None:
    run = told().run
    assert progress.best(run, "top5") == 0.9
    assert progress.best(run, "top1") == 0.45
    assert progress.best(Run(), "top5") is None
    goal = progress.target(run)
    assert goal is not None
    assert (goal.metric, goal.value) == ("top5", 0.6)
    assert run.target is not None
    assert goal.time_to_target_s == run.target.elapsed_s
    assert goal.cost_usd == cost.cost_to(run, run.epochs[1].received_t)
    assert progress.target(Run()) is None
    missed = progress.target(trained(top5=0.1).run)
    assert missed is not None
    assert missed.time_to_target_s is None


def test_the_cost_to_the_target_is_what_was_billed_at_the_end_of_its_epoch() -> None:
    story = Story().says(created(nnodes=1, target_value=0.6))
    began = ce.InstanceStarted(instance_id="i", started_t=START_T, usd_per_h=7.2, usd_per_h_on_demand=24.0)
    story.says(began, 0)
    for number, top5 in enumerate((0.3, 0.6, 0.9)):
        story.hears(0, epoch(number, 600.0 * (number + 1), top5), after_s=600)
        if number == 1:
            reached = re.TargetReached(metric="top5", value=top5, target=0.6, epoch=1, step=20, elapsed_s=1200.0)
            story.hears(0, reached, after_s=100)
    goal = progress.target(story.run)
    assert goal is not None
    # 1,200 seconds at 0.2 and at 0.667 cents.
    assert (goal.cost_usd, goal.cost_on_demand_usd) == (pytest.approx(2.4), pytest.approx(8.0))


def test_a_target_whose_epoch_was_not_told_has_its_cost_until_the_last_record() -> None:
    story = Story().says(created(nnodes=1, target_value=0.6))
    began = ce.InstanceStarted(instance_id="i", started_t=START_T, usd_per_h=7.2, usd_per_h_on_demand=24.0)
    reached = re.TargetReached(metric="top5", value=0.7, target=0.6, epoch=1, step=20, elapsed_s=500.0)
    goal = progress.target(story.says(began, 0).hears(0, reached, after_s=600).run)
    assert goal is not None
    assert (goal.metric, goal.value, goal.time_to_target_s) == ("top5", 0.6, 500.0)
    assert (goal.cost_usd, goal.cost_on_demand_usd) == (pytest.approx(1.2), pytest.approx(4.0))


def test_who_is_quiet() -> None:
    story = trained(epochs=1)
    run = story.run
    assert nodes.quiet(run, story.t + 1) == ()
    story.hears(0, re.HostSampled(cpu_util_pct=1.0, mem_used_mib=1.0, mem_total_mib=1.0), after_s=20)
    assert nodes.quiet(story.run, story.t) == (1,)
    assert nodes.stale_s(story.run.nodes[1], story.t) == pytest.approx(21.0)
    assert nodes.stale_s(Story().says(created()).run.nodes[0], story.t) is None
    assert nodes.quiet(told().run, story.t + 1e6) == ()


def test_utilisation() -> None:
    run = trained(epochs=1).run
    assert nodes.util_pct(run) == 40.5
    assert nodes.util_pct_mean(run.nodes[1]) == 41.0
    assert nodes.util_pct(launched().run) is None


def test_stages_count_the_nodes_that_are_past_them() -> None:
    story = Story().says(created(nnodes=3))
    for node in range(3):
        story.says(re.StageProgressed(stage="connect", done=0, total=1), node)
    story.says(re.StageProgressed(stage="connect", done=1, total=1), 0)
    story.says(re.StageProgressed(stage="data", done=10, total=40, detail="images"), 1)
    connect, data = nodes.stages(story.run)
    assert (connect.name, connect.nodes_done, connect.nodes) == ("connect", 2, 3)
    assert (data.name, data.nodes_done, data.detail) == ("data", 0, "node 1: 10/40 images")
    assert "node 2" in connect.detail
    assert all(stage.nodes_done == stage.nodes for stage in nodes.stages(launched().run))


def test_pending_commands() -> None:
    story = trained(epochs=1).says(ce.OperatorCommanded(id="x", command="pause"))
    story.hears(0, re.CommandDone(id="x", command="pause"))
    assert [command.id for command in nodes.pending(story.run, story.t)] == ["x"]
    assert nodes.pending(story.run, story.t + 61) == ()
    story.hears(1, re.CommandDone(id="x", command="pause", ok=False))
    assert nodes.pending(story.run, story.t) == ()


def test_headlines() -> None:
    assert headline.headline(Run(), 0.0) == "launching · no hosts yet · —"
    story = launched()
    assert headline.headline(story.run, story.t).startswith("launching · 2/2 hosts connected")
    story = trained(epochs=2)
    line = headline.headline(story.run, story.t)
    assert line == "training · epoch 2/2 · step 8/8 · top-5 60.0 % · 100 img/s · 00:11 · $0.24 simulated"
    run = told().run
    assert headline.headline(run, START_T + 99).startswith("reached · top-5 60.0 % in 00:10 · ")
    failed = story.says(ce.RunEnded(status=FAILED, exit_code=3, reason="no \x1b[31mluck")).run
    assert headline.headline(failed, story.t).startswith("failed · no luck · top-5 60.0 %")


def test_figures_are_drawn() -> None:
    assert [money(usd) for usd in (None, 0.0, 0.0042, 0.01, 1.234, 1234.5)] == [
        "—", "$0.00", "$0.0042", "$0.01", "$1.23", "$1,234.50",
    ]  # fmt: skip
    assert [percent(value) for value in (None, 0.0, 0.612, 0.92999, 0.93, 0.931, 1.0)] == [
        "—", "0.0 %", "61.2 %", "92.9 %", "93.0 %", "93.1 %", "100.0 %",
    ]  # fmt: skip
    assert percent(0.93178, 3) == "93.178 %"
    assert [clock(seconds) for seconds in (None, 0.0, 123.9, 3723.0)] == ["—", "00:00", "02:03", "1:02:03"]
    assert [duration(seconds) for seconds in (-1.0, 0.0, 123.9, 3723.0)] == ["0:00", "0:00", "2:03", "1:02:03"]
    assert [long_clock(seconds) for seconds in (-1.0, 123.9, 360_000.0)] == ["0:00:00", "0:02:03", "100:00:00"]
    assert [count(number) for number in (None, 5, 12345)] == ["—", "5", "12,345"]


@PATIENT
@given(st.text())
def test_plain_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    clean = plain(f"a\x1b[2Jb\x1b]0;title\x07c\x9b31md\u202e{text}", 200)
    assert clean.startswith("abcd")
    assert all(character.isprintable() or character.isspace() for character in clean if ord(character) < 0xA0)
    assert "\n" not in clean
    assert len(clean) <= 200
    clean.encode()


def test_the_time_that_a_doomed_spot_instance_has_left() -> None:
    written = trained()
    written.hears(1, re.SpotNoticed(action="terminate", deadline_t=written.t + 120))
    assert nodes.interruptions(written.run, written.t + 30) == {1: 90.0}
    assert nodes.interruptions(written.run, written.t + 130) == {1: 0.0}
    written.says(ce.HostLost(reason="EC2 terminated i-1"), 1)
    assert nodes.interruptions(written.run, written.t) == {}
