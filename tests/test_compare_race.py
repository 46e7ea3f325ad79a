"""The race against a record: on the real logs of 2018, and on small runs where a figure can be told by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from long_ago import ALIBABA, LOG_8, TABLE_8, TABLE_16, until_epoch
from run_story import Story, created, launched

from console.compare import race as ghost
from console.compare.race import Ghost, GhostMark
from console.profile.schema import Mark, RaceRecord
from console.reports.story import story
from console.state import events as ce
from remote.wire import events as re

RECORD = RaceRecord(
    name="a record",
    minutes_to_target=5.0,
    usd_to_target=50.0,
    curve=(
        Mark(elapsed_s=100, top1=0.1, top5=0.4),
        Mark(elapsed_s=200, top1=0.3, top5=0.3),
        Mark(elapsed_s=300, top1=0.5, top5=0.61),
    ),
)


def epoch(number: int, elapsed_s: float, top5: float | None, **more: object) -> re.EpochEnded:
    values: dict[str, object] = {"epoch": number, "step": 10 * (number + 1), "elapsed_s": elapsed_s}
    values |= {"top1": None, "top5": top5, "train_loss": 1.0, "img_per_s": 50.0, "image_size": 32}
    return re.EpochEnded(**{**values, **more})  # type: ignore[arg-type]


def step(number: int) -> re.StepEnded:
    return re.StepEnded(
        step=number,
        epoch=0,
        epoch_step=number,
        steps_per_epoch=10,
        loss=1.0,
        lr=0.1,
        step_s=1.0,
        data_s=0.0,
        img_per_s=10.0,
    )


def made() -> Ghost:
    found = ghost.of_record(RECORD)
    assert found is not None
    return found


def test_a_record_of_marks_is_joined_by_lines_between_its_bests() -> None:
    theirs = made()
    assert theirs.reached_s("top5", 0.2) == pytest.approx(50)
    # The second mark is lower than the first: what counts is the best.
    assert theirs.reached_s("top5", 0.505) == pytest.approx(200)
    assert theirs.reached_s("top5", 0.62) is None
    assert theirs.reached_s("top1", 0.4) == pytest.approx(250)
    assert theirs.shown("top5", 200) == pytest.approx(0.505)
    assert theirs.shown("top5", 1000) == 0.61
    assert theirs.usd_at(150) == pytest.approx(25)
    # Past its end it would have gone on at the same price.
    assert theirs.usd_at(600) == pytest.approx(100)


def test_a_run_that_was_had_an_accuracy_when_an_evaluation_showed_it() -> None:
    marks = (GhostMark(100, None, 0.4, 3.0), GhostMark(200, None, 0.8, 5.0))
    theirs = Ghost("a run", "", marks, every_epoch=True)
    assert theirs.reached_s("top5", 0.41) == 200
    assert theirs.shown("top5", 199) == 0.4
    assert theirs.shown("top5", 99) == 0.0
    assert theirs.reached_s("top1", 0.1) is None
    assert theirs.shown("top1", 150) is None
    # What was paid before its first evaluation was paid for the launch too.
    assert theirs.usd_at(50) == 3.0
    assert theirs.usd_at(150) == pytest.approx(4.0)


def test_the_8_machines_of_2018_raced_the_16() -> None:
    run, now = until_epoch(LOG_8)
    theirs = ghost.default(run)
    assert theirs is not None
    assert theirs.name == "fast.ai and DIU, 2018"
    race = ghost.race(run, theirs, now)
    assert race is not None
    # DAWNBench: 18.09 minutes and $118.07, against 18.88 minutes; the 8 cost $61.63 from the tables' clock, and a
    # little more from the first line of the log.
    assert race.over
    assert race.ahead_s == pytest.approx((18.09 - 18.883) * 60, abs=1)
    assert ghost.lead_in_words(race.ahead_s) == "0:48 behind"
    assert race.ahead_usd == pytest.approx(118.07 - 63.0, abs=1.0)


def test_on_the_way_the_8_machines_were_behind_and_then_nearly_level() -> None:
    theirs = ghost.record_2018()
    assert theirs is not None
    leads = []
    for number in (10, 20, 25):
        run, now = until_epoch(LOG_8, number)
        race = ghost.race(run, theirs, now)
        assert race is not None
        assert not race.over
        assert race.ahead_s is not None
        assert race.ahead_usd is not None
        assert race.ahead_usd > 0
        leads.append(race.ahead_s)
    # Epoch 10: 63.2 % after 299 s; the 16 had 62.7 % after 181 s and 65.6 % after 229 s.
    assert leads == pytest.approx([-80, -154, -96], abs=40)


def test_a_record_raced_against_itself_is_level() -> None:
    run, now = until_epoch(TABLE_16)
    theirs = ghost.default(run)
    assert theirs is not None
    race = ghost.race(run, theirs, now)
    assert race is not None
    assert race.ahead_s == pytest.approx(0, abs=1)
    assert race.ahead_usd == pytest.approx(0, abs=0.1)


def test_alibaba_was_a_quarter_of_an_hour_ahead() -> None:
    run, now = until_epoch(ALIBABA)
    theirs = ghost.default(run)
    assert theirs is not None
    race = ghost.race(run, theirs, now)
    assert race is not None
    assert race.ahead_s == pytest.approx((18.09 - 2.63) * 60, abs=2)
    assert race.ahead_usd == pytest.approx(118.07 - 14.42, abs=0.1)


def test_any_run_can_be_the_ghost_of_another() -> None:
    eight, _ = until_epoch(TABLE_8)
    theirs = ghost.of_run(eight, "the 8")
    assert theirs is not None
    run, now = until_epoch(TABLE_16)
    race = ghost.race(run, theirs, now)
    assert race is not None
    assert race.ahead_s == pytest.approx((18.883 - 18.086) * 60, abs=1)
    assert race.ahead_epoch_s is None  # It had fewer epochs.
    early, now = until_epoch(TABLE_16, 20)
    race = ghost.race(early, theirs, now)
    assert race is not None
    assert race.ahead_epoch_s == pytest.approx(eight.epochs[20].event.elapsed_s - early.epochs[20].event.elapsed_s)


def racing(*ends: tuple[float, float | None]) -> Story:
    story = launched()
    story.hears(0, step(1), after_s=2)
    at = 0.0
    for number, (elapsed_s, top5) in enumerate(ends):
        story.hears(0, epoch(number, elapsed_s, top5), after_s=elapsed_s - at)
        at = elapsed_s
    return story


def test_between_evaluations_the_ghost_goes_on() -> None:
    story = racing((100, 0.2))
    run = story.run
    first, later = ghost.race(run, made(), story.t), ghost.race(run, made(), story.t + 100)
    assert first is not None
    assert later is not None
    assert first.shown == pytest.approx(0.4)
    assert later.shown == pytest.approx(0.505)
    assert later.ahead_s == first.ahead_s == pytest.approx(-50)
    assert ghost.race(launched().run, made(), 0.0) is None


def test_a_pause_stops_the_runs_own_clock_and_beyond_the_record_there_is_no_lead() -> None:
    story = racing((100, 0.2)).hears(0, re.Paused(rank=0, step=10), after_s=5)
    paused = ghost.trained_s(story.run, story.t + 600)
    assert paused == pytest.approx(105, abs=0.1)
    race = ghost.race(racing((100, 0.59), (120, 0.599)).run, made(), 0.0)
    assert race is not None
    assert race.ahead_s is not None
    better = ghost.race(racing((100, None), (120, 0.597)).run, replace(made(), marks=made().marks[:2]), 0.0)
    assert better is not None
    assert better.ahead_s is None
    assert better.lead is not None
    assert better.lead > 0


def test_whose_ghost_it_is() -> None:
    own = """
[fleet]
provider = "local"
[run]
model = "small"
[data]
dataset = "shapes"
[[phase]]
epochs = [0, 3]
image_size = 32
batch_size_per_gpu = 32
lr = 0.1
[record]
name = "last week's"
epochs_to_target = 2
curve = [[0.01, 0.2, 0.5]]
"""
    theirs = ghost.default(Story().says(created(profile_text=own)).run)
    assert theirs is not None
    assert (theirs.name, theirs.epochs_to_target) == ("last week's", 2)
    assert ghost.default(launched().run) is None
    assert ghost.default(Story().run) is None
    assert ghost.default(Story().says(created(profile_text="[record]\nname = 3")).run) is None
    # On ImageNet it is that of 2018, but the recipe is not.
    start = re.TrainingStarted(
        world_size=4,
        model="resnet50",
        parameters=1,
        classes=1000,
        train_images=ghost.IMAGENET,
        val_images=50_000,
        total_epochs=18,
        total_steps=180,
        start_step=0,
        start_epoch=0,
    )
    theirs = ghost.default(launched().hears(0, start).run)
    assert theirs is not None
    assert (theirs.name, theirs.epochs_to_target) == ("fast.ai and DIU, 2018", None)


def test_a_lead_in_words() -> None:
    assert ghost.lead_in_words(130) == "2:10 ahead"
    assert ghost.lead_in_words(-47.4) == "0:47 behind"
    assert ghost.lead_in_words(3725) == "1:02:05 ahead"
    assert ghost.lead_in_words(0.3) == "level"
    assert ghost.money_in_words(56.444) == "$56.44 less"
    assert ghost.money_in_words(-3.1) == "$3.10 more"
    assert ghost.money_in_words(0.0) == "the same cost"


def test_the_story_of_a_run_tells_the_race() -> None:
    line = "race           0:48 behind fast.ai and DIU, 2018, $55.00 less on demand, at top-5 93.0 %"
    assert line in story(until_epoch(LOG_8)[0])
    assert "15:28 ahead of fast.ai and DIU, 2018" in story(until_epoch(ALIBABA)[0])
    assert "level with fast.ai" in story(until_epoch(TABLE_16)[0])
    assert "race  " not in story(racing((100, 0.2)).run)


def test_the_stated_time_to_the_target_is_the_evaluations_after_the_last_mark_below_it() -> None:
    theirs = replace(made(), to_target_s=350.0)
    assert theirs.target_s("top5", 0.62) is None, "it never came so far"
    assert theirs.target_s("top5", 0.6) == 350
    assert theirs.target_s("top5", 0.2) == pytest.approx(50)
    assert replace(made(), to_target_s=None).target_s("top5", 0.61) == 300
    assert replace(made(), to_target_s=250.0).target_s("top5", 0.61) == 300


def test_what_a_ghost_had_cost_before_its_first_mark_and_without_figures() -> None:
    marks = (GhostMark(100, None, 0.4, 3.0), GhostMark(200, None, 0.8, None), GhostMark(300, None, 0.9, 5.0))
    epochs = Ghost("a run", "", marks, every_epoch=True)
    # A run pays before it trains; a record is an even price.
    assert [epochs.usd_at(t) for t in (0, 100, 200, 300, 400)] == pytest.approx([3, 3, 4, 5, 6])
    assert replace(epochs, every_epoch=False).usd_at(50) == pytest.approx(1.5)
    assert Ghost("x", "", (GhostMark(100, None, 0.4, 3.0),), True).usd_at(200) == pytest.approx(6)
    assert Ghost("x", "", (GhostMark(100, None, 0.4, None),), True).usd_at(200) is None
    assert (epochs.length_s, Ghost("x", "", (), True).length_s) == (300, 0.0)


def test_seconds_of_training_leave_out_pauses_and_end_with_the_run() -> None:
    story = launched()
    assert ghost.trained_s(story.run, story.t) is None
    story.hears(0, step(1))
    assert ghost.trained_s(story.run, story.t + 7) == pytest.approx(7)
    story.hears(0, epoch(0, 20.0, 0.1), after_s=30)
    assert ghost.trained_s(story.run, story.t + 7) == pytest.approx(27)
    assert ghost.trained_s(story.run, story.t - 7) == 20
    story.hears(0, re.Paused(rank=0, step=1), after_s=5)
    assert ghost.trained_s(story.run, story.t + 100) == pytest.approx(25)
    ended = story.says(ce.RunEnded(status="stopped", exit_code=5, reason="")).run
    assert ghost.trained_s(ended, story.t + 100) == 20
    done = story.hears(0, re.TrainingEnded(step=1, epoch=0, reason="target", elapsed_s=22.0)).run
    assert ghost.trained_s(done, story.t + 100) == 22


def test_a_run_with_a_top_1_target_races_by_its_top_1() -> None:
    story = launched()
    story.records[0] = replace(story.records[0], event=created(target_metric="top1", target_value=0.9))
    story.hears(0, step(1))
    for number, top1 in enumerate((0.2, 0.4, 0.3)):
        story.hears(0, epoch(number, 60.0 * (number + 1), 0.99, top1=top1), after_s=60)
    stands = ghost.race(story.run, made(), story.t)
    assert stands is not None
    assert (stands.metric, stands.accuracy, stands.own_s) == ("top1", 0.4, 120)
    assert stands.ahead_s == pytest.approx(130)
    assert stands.shown == pytest.approx(0.26)
    assert stands.lead == pytest.approx(0.14)
