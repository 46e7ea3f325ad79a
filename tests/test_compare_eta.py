"""When the target will be reached: on the real logs of 2018 the true time lies in the range that was said before."""

from __future__ import annotations

import pytest
from long_ago import ALIBABA, LOG_8, TABLE_8, TABLE_16, items, until_epoch
from run_story import Story, created, launched
from test_compare_race import epoch, step

from console.compare import race
from console.compare.eta import eta, schedule_s
from console.fold.apply import apply
from console.profile.recorded import legs
from console.state.run import Run
from remote.wire import codec
from remote.wire import events as re

PHASES = """
[[phase]]
epochs = [0, 4]
image_size = 100
batch_size_per_gpu = 32
[[phase]]
epochs = [4, 8]
image_size = 200
batch_size_per_gpu = 32
"""


def reached_s(name: str) -> float:
    target = until_epoch(name)[0].target
    assert target is not None
    return target.elapsed_s


@pytest.mark.parametrize("number", [10, 20, 25])
@pytest.mark.parametrize("by_ghost", [True, False])
def test_the_8_machines_of_2018_reached_it_within_the_range(number: int, by_ghost: bool) -> None:
    run, now = until_epoch(LOG_8, number)
    said = eta(run, now, race.record_2018() if by_ghost else None)
    assert said is not None
    assert said.basis == ("the ghost's pace" if by_ghost else "its own curve")
    true_s = reached_s(LOG_8) - run.epochs[-1].event.elapsed_s
    assert said.high_s is not None
    assert said.low_s <= true_s <= said.high_s
    # A range that says nothing would be true as well.
    assert not by_ghost or said.high_s <= 2.8 * said.low_s


@pytest.mark.parametrize("name", [LOG_8, TABLE_8, TABLE_16, ALIBABA])
def test_no_range_that_was_ever_said_of_a_run_of_old_was_wrong(name: str) -> None:
    for theirs in (race.record_2018(), None):
        run, said = Run(), 0
        for record in items(name):
            run = apply(run, record)
            if isinstance(record.event, re.EpochEnded) and run.target is None:
                left_s = reached_s(name) - record.event.elapsed_s
                one = eta(run, record.received_t, theirs)
                if one is not None and left_s > 0:
                    said += 1
                    assert one.low_s <= left_s <= (one.high_s or left_s), record.event.epoch
        assert said >= 20


def test_the_schedules_end_was_within_its_range_though_later_epochs_take_longer() -> None:
    whole, _ = until_epoch(LOG_8)
    assert whole.finished is not None
    for number in (6, 10, 13, 14, 20, 25, 30):
        run, now = until_epoch(LOG_8, number)
        span = schedule_s(run, now)
        assert span is not None
        assert span[0] <= whole.finished.elapsed_s - run.epochs[-1].event.elapsed_s <= span[1]


def training(text: str = PHASES, epochs: int = 8) -> Story:
    story = Story().says(created(profile_text=text, target_value=0.9))
    start = re.TrainingStarted(
        world_size=2,
        model="m",
        parameters=1,
        classes=10,
        train_images=640,
        val_images=64,
        total_epochs=epochs,
        total_steps=10 * epochs,
        start_step=0,
        start_epoch=0,
    )
    return story.hears(0, start)


def ended(story: Story, *values: float, each_s: float = 10.0) -> Story:
    for number, value in enumerate(values):
        story.hears(0, epoch(number, each_s * (number + 1), value), after_s=each_s)
    return story


def test_what_passes_is_taken_off_and_a_pause_is_not() -> None:
    story = ended(training(), 0.3, 0.5, 0.6)
    first, later = eta(story.run, story.t), eta(story.run, story.t + 4)
    assert first is not None
    assert later is not None
    assert (first.high_s or 0) - (later.high_s or 0) == pytest.approx(4, abs=0.1)
    assert first.low_s - later.low_s == pytest.approx(4, abs=0.1)
    paused = story.hears(0, re.Paused(rank=0, step=30), after_s=4)
    held = eta(paused.run, paused.t + 500)
    assert held is not None
    assert held.high_s == pytest.approx(later.high_s, abs=0.1)


def test_epochs_of_a_size_that_was_not_seen_take_as_long_as_pixels_allow() -> None:
    run = ended(training(), 0.3, 0.5, 0.6).run
    span = schedule_s(run, run.last_received_t or 0.0)
    # One more of 10 s; four of twice the side: between 2 and 4.9 times as long.
    assert span is not None
    assert span == pytest.approx((9.3 + 4 * 20, 10.7 + 4 * 10 * 2**2.3), abs=0.2)


def test_a_recipes_own_record_says_the_epoch() -> None:
    theirs = race.Ghost("r", "", (race.GhostMark(1.0, None, 0.9, None),), False, epochs_to_target=6)
    said = eta(ended(training(), 0.3, 0.5, 0.6).run, 0.0, theirs)
    assert said is not None
    assert said.basis == "the recipe's record"
    assert said.low_s == pytest.approx(9.3 + 20, abs=0.1)
    assert said.high_s == pytest.approx(10.7 + 3 * 10 * 2**2.3, abs=0.2)


def test_nothing_is_said_that_is_not_known() -> None:
    theirs = race.record_2018()
    assert eta(launched().run, 0.0, theirs) is None
    assert eta(training().run, 0.0, theirs) is None
    reached = ended(training(), 0.3, 0.5, 0.95)
    assert eta(reached.run, reached.t, theirs) is None
    missed = ended(training(), 0.3, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6)
    assert eta(missed.run, missed.t) is None
    over = ended(training(), 0.3, 0.5, 0.6)
    assert schedule_s(over.says(_stopped()).run, over.t) is None
    assert eta(over.run, over.t) is None


def _stopped() -> codec.Event:
    from console.state import events as ce

    return ce.RunEnded(status="stopped", exit_code=5, reason="")


def test_before_there_is_a_pace_the_schedule_alone_bounds_it() -> None:
    # One evaluation has no pace of its own, and a ghost that was there a hundred times later is no guide; one that fell
    # all the time has none either.
    for values in ((0.3,), (0.5, 0.4, 0.3)):
        said = eta(ended(training(), *values).run, 0.0, race.record_2018())
        end = schedule_s(ended(training(), *values).run, 0.0)
        assert said is not None
        assert end is not None
        assert said.basis == "its schedule"
        assert (said.low_s, said.high_s) == (pytest.approx(9.3, abs=4), end[1])
    story = training().hears(0, step(1), after_s=1)
    early = eta(story.run, story.t)
    assert early is not None
    assert early.basis == "its schedule"
    assert eta(ended(Story().says(created(profile_text="", target_value=0.9)), 0.3).run, 0.0) is None


def test_without_a_schedule_there_is_a_least_and_no_most() -> None:
    story = Story().says(created(profile_text="", target_value=0.9))
    said = eta(ended(story, 0.3, 0.5, 0.6).run, 0.0)
    assert said is not None
    assert said.low_s > 0
    assert said.high_s is None


def test_no_range_counts_an_epoch_whose_size_is_unknown() -> None:
    first, second = PHASES.split("[[phase]]\n")[1:]
    # Of the epochs to come the profile says nothing from the fifth on.
    story = ended(training(f"[[phase]]\n{first}"), 0.3, 0.5, 0.6)
    assert schedule_s(story.run, story.t) is None
    assert eta(story.run, story.t) is None
    # Of the epochs that were seen it does not say which size they had.
    for values in ((0.3, 0.5, 0.6), (0.3, 0.5, 0.6, 0.65)):
        story = ended(training(f"[[phase]]\n{second}"), *values)
        assert schedule_s(story.run, story.t) is None
        assert eta(story.run, story.t) is None


def test_an_epoch_of_a_new_kind_is_known_by_its_steps_before_it_ends() -> None:
    story = training()
    for number in range(1, 6):
        story.hears(0, step(number), after_s=1)
    # Ten steps of a second an epoch: 40 s for the first four; the size of the others was not seen.
    span = schedule_s(story.run, story.t)
    assert span is not None
    assert span[0] == pytest.approx(4 * 9.3 + 4 * 20 - 4, abs=0.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "= no TOML",
        "phase = 3",
        "[[phase]]\nepochs = 3",
        "[[phase]]\nepochs=[0,2]\nimage_size=0\nbatch_size_per_gpu=1",
    ],
)
def test_phases_that_cannot_be_read_are_none(text: str) -> None:
    assert legs(text) == ()


@pytest.mark.parametrize(
    ("size", "batch", "low", "high"),
    [
        (100, 32, 0.93, 1.07),
        (200, 32, 2.0, 2**2.3),
        (50, 32, 0.5**2.3, 0.5),
        (100, 64, 0.65, 1.0),
        (100, 16, 1.0, 1.5),
        (200, 64, 2.0 * 0.65, 2**2.3),
        (200, 16, 2.0, 2**2.3 * 1.5),
    ],
)
def test_an_epoch_of_another_kind_takes_what_its_size_and_batch_allow(
    size: int, batch: int, low: float, high: float
) -> None:
    text = PHASES.replace(
        "image_size = 200\nbatch_size_per_gpu = 32", f"image_size = {size}\nbatch_size_per_gpu = {batch}"
    )
    run = ended(training(text), 0.3, 0.5, 0.6).run
    span = schedule_s(run, run.last_received_t or 0.0)
    # One more epoch of 10 s, and four of the other kind.
    assert span == pytest.approx((9.3 + 40 * low, 10.7 + 40 * high), abs=0.01)


def test_where_no_epoch_is_known_the_ghosts_pace_alone_counts() -> None:
    second = PHASES.split("[[phase]]\n")[2]
    story = ended(training(f"[[phase]]\n{second}"), 0.3, 0.5, 0.6, 0.65)
    marks = race.GhostMark(40.0, None, 0.65, None), race.GhostMark(41.0, None, 0.9, None)
    said = eta(story.run, story.t, race.Ghost("g", "", marks, every_epoch=True))
    assert said is not None
    assert (said.basis, said.low_s, said.high_s) == ("the ghost's pace", pytest.approx(0.55), pytest.approx(1.45))


def test_what_is_overdue_is_due_now() -> None:
    story = ended(training(), 0.3, 0.5, 0.6)
    assert schedule_s(story.run, story.t + 1e6) == (0.0, 0.0)
    said = eta(story.run, story.t + 1e6)
    assert said is not None
    assert (said.low_s, said.high_s) == (0.0, 0.0)
