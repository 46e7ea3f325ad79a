"""The Cost pane: figures by hand, ranges from the time that is left, the burn-down, and what is simulated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from canned_source import T0, CannedPlayer, CannedSource, scene
from desk import desk, rare_collections
from long_ago import LOG_8, items, until_epoch

from console.compare import cost_forecast, race
from console.compare.eta import Eta, eta, schedule_s
from console.state import events as ce
from console.state.events import Record
from remote.wire import events as re

__all__ = ["rare_collections"]


def moved(usd: float) -> Record:
    return Record(T0 + 91, T0 + 91, ce.BudgetMoved(max_usd=usd), None)


def test_what_it_will_cost_is_the_time_left_times_the_price() -> None:
    run, now = until_epoch(LOG_8, 20)
    left = eta(run, now, race.record_2018())
    assert left is not None
    assert left.high_s is not None
    ends = cost_forecast.projection(run, now, left)
    # 8 machines at $7.344 and $24.48 an hour.
    spent = (now - (run.started_t or 0.0)) / 3600
    assert ends.target is not None
    assert ends.target_on_demand is not None
    assert ends.target == pytest.approx(
        ((spent + left.low_s / 3600) * 58.752, (spent + left.high_s / 3600) * 58.752), abs=0.01
    )
    assert ends.target_on_demand[0] == pytest.approx((spent + left.low_s / 3600) * 195.84, abs=0.01)
    # What it came to: $61.63 in DAWNBench's clock, the launch not counted.
    whole, _ = until_epoch(LOG_8)
    target = whole.target
    assert target is not None
    launch_usd = 195.84 * spent - 195.84 * run.epochs[-1].event.elapsed_s / 3600
    true_usd = 61.63 + launch_usd
    assert ends.target_on_demand[0] <= true_usd <= (ends.target_on_demand[1] or 0)
    assert ends.end is not None
    end = schedule_s(run, now)
    assert end is not None
    assert ends.end[1] == pytest.approx((spent + end[1] / 3600) * 58.752, abs=0.01)
    # 37 epochs in 27 minutes and 38 seconds.
    assert ends.per_epoch[0] == pytest.approx(58.752 * (now - (run.first_step_t or 0.0)) / 3600 / 21, rel=0.01)


def test_nothing_is_projected_that_is_not_known() -> None:
    run = CannedSource(scene("launching")).run
    ends = cost_forecast.projection(run, T0 + 10, None)
    assert (ends.target, ends.end, ends.per_epoch, ends.budget_first) == (None, None, (None, None), False)
    open_end = cost_forecast.projection(run, T0 + 10, Eta("top5", 0.9, 60.0, None, ""))
    assert open_end.target is not None
    assert open_end.target[1] is None


def test_a_budget_that_ends_before_the_target_is_said() -> None:
    source = CannedSource([*scene("training", nodes=4, gpus=8), moved(0.03)])
    run, now = source.run, source.now()
    assert cost_forecast.projection(run, now, Eta("top5", 0.9, 600.0, None, "")).budget_first
    assert not cost_forecast.projection(run, now, Eta("top5", 0.9, 0.0, None, "")).budget_first


def test_the_burn_down_goes_from_the_first_instance_to_the_budgets_end() -> None:
    source = CannedSource([*scene("training", nodes=4, gpus=8), moved(0.04)])
    run, now = source.run, source.now()
    down = cost_forecast.burn_down(run, now)
    assert down is not None
    assert down.times[0] == T0 + 1
    # A minute is owed at once: 4 × $0.153 an hour.
    assert down.left_usd[0] == pytest.approx(0.04 - 4 * 0.153 / 60)
    assert down.left_usd[-1] == pytest.approx(0.04 - 4 * 0.153 * (now - T0 - 1) / 3600)
    assert down.ahead is not None
    assert down.stops_t is not None
    (_, from_usd), (end_t, left_usd) = down.ahead
    assert from_usd == down.left_usd[-1]
    assert left_usd == pytest.approx(from_usd - 4 * 0.153 * (end_t - now) / 3600, abs=1e-9)
    assert now < down.stops_t < end_t
    assert cost_forecast.burn_down(CannedSource(scene("empty")).run, T0) is None
    finished = CannedSource(scene("finished", nodes=2))
    over = cost_forecast.burn_down(finished.run, finished.now() + 1000)
    assert over is not None
    assert over.ahead is None


async def test_every_figure_stands_beside_its_on_demand_equivalent() -> None:
    async with desk(CannedSource(scene("training", nodes=4)), size=(120, 44)) as one:
        shown = one.text("cost")
        rows = [" ".join(line.split()) for line in shown.splitlines()]
        assert "per hour $0.61 $2.04" in rows
        for name in ("so far $0.01", "per epoch $0.0", "at 93 % top-5 $", "at schedule end $"):
            assert any(row.startswith(name) and row.count("$") == 2 for row in rows), name
        assert "prices: simulated" in shown


async def test_forty_columns_are_enough_for_every_figure() -> None:
    async with desk(CannedSource(scene("training", nodes=4)), size=(40, 20)) as one:
        await one.press("3")
        shown = one.text("cost")
        for name in ("so far", "per hour", "at target", "at end"):
            assert name in shown
        assert "…" not in shown


def spent_usd(shown: str) -> float:
    (line,) = (line.split() for line in shown.splitlines() if line.strip().startswith("so far"))
    return float(line[2].removeprefix("$"))


async def test_it_ticks_every_second() -> None:
    source = CannedSource(scene("training", nodes=16, gpus=8))
    async with desk(source) as one:
        before = spent_usd(one.text("cost"))
        source._now = source.now() + 1.0
        one.app.tick()
        await one.pilot.pause()
        # 16 x 0.153 dollars an hour; the pane shows four decimals.
        assert spent_usd(one.text("cost")) - before == pytest.approx(16 * 0.153 / 3600, abs=1e-4)


async def test_the_cost_pane_says_more_where_it_has_the_screen_to_itself() -> None:
    # Nothing happens any more: only the new size makes it draw anew.
    async with desk(CannedSource(scene("finished", nodes=4)), size=(80, 34)) as one:
        await one.press("escape", "3")
        assert "epoch       billed    on demand" in one.text("cost")
        assert "epoch 16 " in one.text("cost")
        await one.pilot.resize_terminal(120, 40)
        await one.pilot.pause()
        shown = one.text("cost")
        assert "epoch       billed" not in shown
        assert "epoch 16 " in shown
        assert "idle cost:" in shown
        assert shown.splitlines()[-1].strip() == "prices: simulated", "no line of it is empty"
        await one.press("z")
        shown = one.text("cost")
        assert "epoch       billed" in shown
        # Four nodes that cost the same are one line.
        assert "billed/node" in shown
        assert "  0–3 " in shown


async def test_nodes_that_cost_something_else_have_a_line_of_their_own() -> None:
    records = []
    for record in scene("training", nodes=4):
        event = record.event
        if isinstance(event, ce.InstanceStarted) and record.node == 2:
            event = replace(event, usd_per_h=1.53)
        records.append(Record(record.received_t, record.t, event, record.node, record.offset))
    async with desk(CannedSource(records), size=(120, 40)) as one:
        await one.press("3", "z")
        shown = one.text("cost")
        assert "  0–1 " in shown
        assert [line for line in shown.splitlines() if "  2 " in line and "$0.03" in line]


async def test_the_budget_burns_down() -> None:
    # 4 x 0.153 dollars an hour, 1.5 minutes: half of three cents.
    async with desk(CannedSource([*scene("training", nodes=4, gpus=8), moved(0.03)]), size=(80, 40)) as one:
        await one.press("3", "z")
        shown = one.text("cost")
        for words in ("lasts until", "stops at", "budget left", "$0.03┤"):
            assert words in shown, words
        assert any(line.endswith(" time") and "└" in line for line in shown.splitlines()), "the x axis has its name"


async def test_the_real_prices_of_2018_are_called_estimated_and_both_figures_stand_there() -> None:
    player = CannedPlayer(items(LOG_8))
    player.seek([record.received_t for record in items(LOG_8) if isinstance(record.event, re.EpochEnded)][20])
    async with desk(player) as one:
        shown = one.text("cost")
        assert "$58.75       $195.84" in shown
        assert "estimated" in shown
        assert "at 93 % top-5         $17–25        $56–84" in shown
