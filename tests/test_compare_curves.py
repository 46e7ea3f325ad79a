"""Curves: places on the axes, thinning that forgets nothing and follows every state of the run, round numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_story import launched, trained
from test_compare_race import epoch
from test_wire_events import PATIENT

from console.compare import curves
from console.compare.curves import EPOCH, LOSS, STEP, TIME, TOP5, Trace, thinned, value_at
from console.compare.downsample import Levels, levels_of
from console.compare.race import Ghost, GhostMark
from console.state.run import Epoch, Point
from console.state.series import Series
from console.tui.draw import ticks
from remote.wire.events import EpochEnded


def points(count: int, loss: float | None = None) -> Series[Point]:
    return Series(Point(at + 1, 1000 + at / 2, at % 97 if loss is None else loss, 0.1, 50.0) for at in range(count))


def trace(steps: Series[Point], epochs: int = 0, each: int = 100) -> Trace:
    ends = (epoch(at, (at + 1) * each / 2, 0.1 * at, step=(at + 1) * each) for at in range(epochs))
    return Trace("", steps, tuple(ended(end, 1000 + end.elapsed_s) for end in ends), 1000.0, each)


def ended(event: EpochEnded, t: float) -> Epoch:
    return Epoch(event, received_t=t, ended_t=t)


def test_few_points_are_drawn_as_they_are() -> None:
    drawn = thinned(trace(points(50)), LOSS, STEP, (1, 50), 100)
    assert (list(drawn.xs), drawn.steps) == ([float(at) for at in range(1, 51)], 1)
    assert list(drawn.ys) == [float(at % 97) for at in range(50)]


@pytest.mark.parametrize("axis", curves.AXES)
def test_a_long_run_is_drawn_as_means_over_what_shares_a_dot(axis: str) -> None:
    long = trace(points(97 * 1000), epochs=970)
    span = curves.extent(long, axis)
    assert span is not None
    drawn = thinned(long, LOSS, axis, span, 200)
    assert 100 <= len(drawn.xs) <= 202
    assert list(drawn.xs) == sorted(drawn.xs)
    assert drawn.steps == pytest.approx(97_000 / len(drawn.xs), rel=0.01)
    # The mean of 0 to 96.
    assert all(abs(y - 48) < 6 for y in drawn.ys[1:-1])


def test_zoomed_in_nothing_is_lost() -> None:
    long = trace(points(97 * 1000))
    drawn = thinned(long, LOSS, STEP, (50_000, 50_040), 200)
    assert {50_000, 50_040} <= set(drawn.xs)
    assert drawn.steps == 1
    assert all(y == (x - 1) % 97 for x, y in zip(drawn.xs, drawn.ys, strict=True))


@PATIENT
@given(st.lists(st.one_of(st.none(), st.floats(0, 10)), min_size=20, max_size=900), st.integers(1, 40), st.data())
def test_means_are_true_whatever_was_drawn_before(losses: list[float | None], dots: int, data: st.DataObject) -> None:
    whole = Series(Point(at + 1, 1000.0 + at, loss, 0.1, 1.0) for at, loss in enumerate(losses))
    fork = data.draw(st.integers(1, len(losses)))
    # A replay that goes back has a shorter series; a run that was restarted goes on with other points.
    other = Series(whole[:fork])
    for at in range(fork, fork + 200):
        other = other.append(Point(at + 1, 1000.0 + at, 7.0, 0.1, 1.0))
    for steps in (whole, other, whole, Series(whole[: fork // 2 + 2]), other):
        if len(steps) < 2:
            continue
        drawn = thinned(trace(steps), LOSS, STEP, (1, len(steps)), dots)
        said = [point.loss for point in steps if point.loss is not None]
        if drawn.ys:
            assert min(said) - 1e-9 <= min(drawn.ys)
            assert max(drawn.ys) <= max(said) + 1e-9
        kept = levels_of(steps).levels(LOSS, 2, values)
        for depth, (one, fresh) in enumerate(zip(kept, Levels(steps).levels(LOSS, 2, values), strict=True), start=1):
            full = len(steps) // 8**depth
            assert one.sums[:full] == pytest.approx(fresh.sums)
            assert one.counts[:full] == fresh.counts


def values(some: list[Point]) -> list[float | None]:
    return [point.loss for point in some]


def test_axes_agree_at_the_ends_of_epochs() -> None:
    some = trace(points(1000), epochs=4)
    for at, last in enumerate(some.epochs):
        point = some.points[last.event.step - 1]
        assert value_at(some, TOP5, STEP, last.event.step) == pytest.approx(0.1 * at)
        assert value_at(some, TOP5, TIME, last.event.elapsed_s) == pytest.approx(0.1 * at)
        assert value_at(some, TOP5, EPOCH, at + 1) == pytest.approx(0.1 * at)
        assert value_at(some, LOSS, STEP, last.event.step) == point.loss
        assert value_at(some, LOSS, EPOCH, at + 1) == point.loss
    assert value_at(some, TOP5, STEP, 10) is None
    assert value_at(some, LOSS, STEP, 0) is None
    assert curves.extent(some, EPOCH) == (pytest.approx(0.01), 10.0)
    assert curves.extent(trace(Series()), STEP) is None


def test_pauses_take_no_room_on_the_axis_of_time() -> None:
    # An hour's pause within the second epoch: its steps are spread over the 50 s that it trained.
    early, late = points(100), [Point(101 + at, 4650 + at / 2, 1.0, 0.1, 50.0) for at in range(100)]
    for point in late:
        early = early.append(point)
    ends = epoch(0, 50.0, 0.5, step=100), epoch(1, 100.0, 0.5, step=200)
    some = Trace("", early, (ended(ends[0], 1050.0), ended(ends[1], 4700.0)), 1000.0, 100)
    extent = curves.extent(some, TIME)
    assert extent is not None
    assert extent[1] == pytest.approx(100, abs=1)


def test_what_a_run_has_is_what_is_offered() -> None:
    assert trace(points(10)).metrics() == (LOSS, curves.RATE, curves.LR)
    # Without steps, what the epochs say of the loss and the rate is drawn.
    ends = ended(epoch(0, 10.0, 0.5, step=0), 10.0), ended(epoch(1, 20.0, 0.6, step=0), 20.0)
    table = Trace("", Series(), ends, None, None)
    assert table.metrics() == (LOSS, TOP5, curves.RATE)
    assert not table.has_axis(STEP)
    assert list(thinned(table, TOP5, TIME, (0, 20), 10).xs) == [10.0, 20.0]
    assert list(thinned(table, TOP5, STEP, (0, 20), 10).xs) == []


@PATIENT
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
def test_ticks_are_few_round_and_inside(low: float, width: float, wanted: int) -> None:
    for made in (ticks.ticks(low, low + width, wanted), ticks.clock_ticks(low, low + width, wanted)):
        assert len(made) <= 2 * wanted + 2
        assert all(low - width * 1e-3 <= tick <= low + width * 1.001 for tick in made)


def test_round_numbers() -> None:
    assert ticks.ticks(0, 100, 5) == [0, 20, 40, 60, 80, 100]
    assert ticks.ticks(1, 10, 20, whole=True) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert ticks.ticks(3, 3, 5) == []
    assert ticks.clock_ticks(0, 1100, 5) == [0, 300, 600, 900]
    assert ticks.log_ticks(0.5, 8, 5) == [0.5, 1, 2, 5]
    assert ticks.log_ticks(0.001, 1000, 4) == [0.001, 0.1, 10, 1000]
    assert ticks.log_ticks(0, 1, 4) == []
    low, high = ticks.round_bounds(1.13, 6.88)
    assert (low, high) == (1.0, 7.0)
    assert ticks.round_bounds(0.3, 0.3)[0] < 0.3 < ticks.round_bounds(0.3, 0.3)[1]
    assert all(map(math.isfinite, ticks.round_bounds(0.0, 0.0)))


def test_before_there_are_steps_only_epochs_have_values() -> None:
    table = trace(Series(), epochs=3)
    assert value_at(table, LOSS, EPOCH, 2) == 1.0, "the epoch's own"
    for metric in (curves.LR, curves.SHARE):
        assert value_at(table, metric, EPOCH, 2) is None
        assert list(thinned(table, metric, EPOCH, (0, 3), 10).xs) == []
    drawn = thinned(table, TOP5, EPOCH, (1.5, 1.9), 10)
    assert (list(drawn.xs), list(drawn.ys), drawn.steps) == ([1, 2], pytest.approx([0.0, 0.1]), 1)
    assert curves.extent(table, EPOCH) == (1, 3)
    assert curves.extent(table, TIME) == (50, 150)


def test_a_metric_is_offered_where_any_of_its_values_is_known() -> None:
    def lossy(*losses: float | None) -> Trace:
        return trace(Series(Point(at + 1, 1000.0 + at, loss, 0.1, 0.0) for at, loss in enumerate(losses)))

    for losses in ((1.0, None, None), (None, 1.0, None), (None, None, 1.0)):
        assert lossy(*losses).has(LOSS)
    assert lossy(None, None, None).metrics() == (curves.LR,)
    assert trace(points(3), epochs=2).metrics() == (LOSS, TOP5, curves.RATE, curves.LR)
    assert not trace(Series()).has("no such metric")


def test_the_value_at_a_position_is_the_last_one_said() -> None:
    some = trace(Series(Point(at + 1, 1000.0 + at, None if at == 5 else float(at), 0.1, 50.0) for at in range(60)))
    assert [value_at(some, LOSS, STEP, x) for x in (1, 1.5, 2, 6, 6.5, 7, 100)] == [0, 0, 1, 4, 4, 6, 59]
    late = trace(Series(Point(at + 1, 1000.0 + at, 7.0 if at == 0 else None, 0.1, 50.0) for at in range(60)))
    assert value_at(late, LOSS, STEP, 49) == 7.0
    assert value_at(late, LOSS, STEP, 50) is None, "what is fifty steps old is not shown"


def test_a_runs_curves_are_its_own() -> None:
    run = trained(epochs=2).run
    own = curves.trace(run, "mine")
    assert (own.name, own.points, own.epochs) == ("mine", run.points, run.epochs)
    assert (own.began_t, own.steps_per_epoch) == (run.first_step_t, 4)
    assert curves.trace(launched().run).steps_per_epoch is None
    assert curves.trace(run).name == ""


def test_a_ghosts_curve_is_what_it_showed() -> None:
    theirs = Ghost("g", "", (GhostMark(10, 0.1, None, None), GhostMark(20, None, 0.4, None)), True)
    assert curves.ghost_curve(theirs, curves.TOP1) == ([10], [0.1])
    assert curves.ghost_curve(theirs, TOP5) == ([20], [0.4])
    assert curves.ghost_curve(theirs, LOSS) == ([], [])
