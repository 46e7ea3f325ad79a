"""What a run is compared with: which ghost it races, past runs from their logs, and what it will cost in the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from run_story import START_T, Story, created, launched, told, trained
from test_compare_eta import PHASES, ended, training
from test_health_alerts import RECORD as WITH_RECORD

from console.billing.cost import cost_on_demand_to, cost_to
from console.compare import cost_forecast, past_runs, race
from console.compare.comparison import RECORD, Comparison, Past
from console.compare.curves import trace
from console.compare.eta import Eta, eta, schedule_s
from console.journal.directory import RunDirectory
from console.journal.open_log import LogError
from console.journal.writer import RunJournal
from console.paths import runs_home
from console.state import events as ce
from console.state.run import Run


def past(name: str, *, evaluated: bool = True) -> Past:
    run = trained(epochs=1).run if evaluated else launched().run
    return Past(f"/{name}", trace(run, name), race.of_run(run, name))


def racing() -> Run:
    return Story().says(created(profile_text=WITH_RECORD)).run


def names(comparison: Comparison, run: Run, count: int) -> list[str | None]:
    """The ghosts that one key goes through."""
    found = []
    for _ in range(count):
        comparison = comparison.next_ghost(run)
        ghost = comparison.ghost(run)
        found.append(None if ghost is None else ghost.name)
    return found


def test_the_record_is_raced_unless_another_is_chosen() -> None:
    pasts = (past("a"), past("silent", evaluated=False), past("b"))
    run = racing()
    record = Comparison(pasts).ghost(run)
    assert record is not None
    assert record.name == "last year's"
    assert Comparison(pasts, None).ghost(run) is None
    assert Comparison(pasts, 3).ghost(run) is pasts[2].ghost
    assert names(Comparison(pasts), run, 4) == ["a", "b", None, "last year's"]
    assert names(Comparison(pasts, None), run, 1) == ["last year's"]
    assert names(Comparison(), run, 3) == [None, "last year's", None]


def test_without_a_record_the_first_past_run_that_evaluated_is_raced() -> None:
    pasts = (past("silent", evaluated=False), past("a"), past("b"))
    run = launched().run
    first = Comparison(pasts).ghost(run)
    assert first is not None
    assert first.name == "a"
    assert names(Comparison(pasts), run, 3) == ["b", None, "a"]
    assert Comparison().ghost(run) is None
    assert Comparison((pasts[0],)).ghost(run) is None
    assert names(Comparison(pasts[:1]), run, 2) == [None, None]


def test_a_ghost_that_is_no_longer_chosen_gives_way_to_the_record() -> None:
    a, b, c = past("a"), past("b"), past("c")
    chosen = Comparison((a, b), 2, "reading c")
    assert (chosen.loading, chosen.pasts[1].name) == ("reading c", "b")
    assert chosen.next_ghost(racing()).loading == "reading c"
    assert chosen.with_pasts((b, c)).raced == 1
    assert chosen.with_pasts((c, a, b)).raced == 3
    assert chosen.with_pasts((c, a)).raced == RECORD
    assert chosen.with_pasts((c, a)).loading == ""
    assert chosen.with_pasts((c,), "reading d").loading == "reading d"
    assert Comparison((a,), None).with_pasts((b,)).raced is None
    assert Comparison((a,)).with_pasts((b,)).raced == RECORD


# --- past runs -------------------------------------------------------------------------------------------------------


def written(run_id: str, story: Story) -> RunDirectory:
    directory = RunDirectory(runs_home() / run_id)
    directory.path.mkdir(parents=True)
    journal = RunJournal(directory.journal)
    journal.append(*story.records)
    journal.close()
    return directory


def test_a_past_run_is_found_by_its_id_its_directory_and_its_log() -> None:
    directory = written("20260901-local-abcd", told())
    for path in ("20260901-local-abcd", str(directory.path), str(directory.journal)):
        loaded = past_runs.load(path)
        assert (loaded.path, loaded.name) == (str(directory.journal), "20260901-local-abcd")
        assert len(loaded.trace.points) == 12
        assert loaded.ghost is not None
        assert loaded.ghost.name == "20260901-local-abcd"
    with pytest.raises(LogError, match="No such file"):
        past_runs.load("nowhere/run.jsonl")


def test_a_run_that_took_no_step_is_nothing_to_compare_with(tmp_path: Path) -> None:
    directory = written("20260901-local-0000", launched())
    with pytest.raises(LogError, match="the run took no step, so there is nothing to compare with"):
        past_runs.load("20260901-local-0000")
    assert [found.name for found in past_runs.found()] == [directory.run_id]


def test_past_runs_are_offered_newest_first() -> None:
    for number, name in enumerate(("a", "b", "c")):
        directory = written(f"20260901-local-{name}", told())
        os.utime(directory.journal, (START_T + number, START_T + number))
    (runs_home() / "20260901-local-empty").mkdir()
    found = past_runs.found()
    assert [run.name[-1] for run in found] == ["c", "b", "a"]
    assert found[0].size_bytes == Path(found[0].path).stat().st_size > 0
    assert len(found[0].when) == len("21 Sep 14:13")


# --- what it will cost -----------------------------------------------------------------------------------------------


def priced(*values: float, budget_usd: float | None = None) -> Story:
    """A run of one instance at $36 and $72 an hour, a cent and two a second."""
    story = training()
    story.records[0] = type(story.records[0])(
        story.t, story.t, created(profile_text=PHASES, target_value=0.9, budget_usd=budget_usd, nnodes=1), None
    )
    began = ce.InstanceStarted(instance_id="i", started_t=story.t, usd_per_h=36.0, usd_per_h_on_demand=72.0)
    return ended(story.says(began, 0), *values, each_s=100.0)


def since(story: Story, ahead: tuple[tuple[float, float], tuple[float, float]]) -> list[tuple[float, float]]:
    return [(round(t - story.t, 3), round(usd, 6)) for t, usd in ahead]


def test_what_it_will_have_cost_at_the_target_and_in_the_end() -> None:
    story = priced(0.3, 0.5, 0.6)
    run, now = story.run, story.t
    left = eta(run, now)
    assert left is not None
    assert left.high_s is not None
    schedule = schedule_s(run, now)
    assert schedule is not None
    said = cost_forecast.projection(run, now, left)
    assert said.target == pytest.approx((3 + left.low_s / 100, 3 + left.high_s / 100))
    assert said.target_on_demand == pytest.approx((6 + left.low_s / 50, 6 + left.high_s / 50))
    assert said.end == pytest.approx((3 + schedule[0] / 100, 3 + schedule[1] / 100))
    assert said.end_on_demand == pytest.approx((6 + schedule[0] / 50, 6 + schedule[1] / 50))
    assert said.per_epoch == pytest.approx((1.0, 2.0))
    assert not said.budget_first
    without = cost_forecast.projection(run, now, None)
    assert (without.target, without.target_on_demand, without.budget_first) == (None, None, False)
    assert without.end == said.end


def test_nothing_is_said_of_costs_that_are_not_known() -> None:
    open_end = Eta("top5", 0.9, 50.0, None, "its own curve")
    story = priced(0.3, 0.5)
    said = cost_forecast.projection(story.run, story.t, open_end)
    assert said.target == (pytest.approx(2.5), None)
    unpriced = ended(training(), 0.3, 0.5)
    said = cost_forecast.projection(unpriced.run, unpriced.t, open_end)
    assert said.target is None or said.target[0] == cost_to(unpriced.run, unpriced.t + 50)
    early = cost_forecast.projection(training().run, START_T, None)
    assert (early.end, early.end_on_demand, early.per_epoch) == (None, None, (None, None))


def test_a_budget_that_ends_the_run_before_its_target_is_seen() -> None:
    # $9 last 900 s, of which 300 are over and 100 kept for the end.
    story = priced(0.3, 0.5, 0.6, budget_usd=9.0)
    for low_s, first in ((499.0, False), (501.0, True)):
        said = cost_forecast.projection(story.run, story.t, Eta("top5", 0.9, low_s, None, ""))
        assert said.budget_first is first
    over = story.says(ce.RunEnded(status="stopped", exit_code=5, reason="")).run
    assert not cost_forecast.projection(over, story.t, Eta("top5", 0.9, 501.0, None, "")).budget_first


def test_a_budget_burns_down_to_now_and_ahead() -> None:
    story = priced(0.3, 0.5, 0.6, budget_usd=6.0)
    burnt = cost_forecast.burn_down(story.run, story.t)
    assert burnt is not None
    assert (burnt.usd, len(burnt.times), burnt.times[0]) == (6.0, 81, START_T)
    assert [burnt.times[part] - START_T for part in (40, 80)] == pytest.approx([150, 300])
    assert [burnt.left_usd[part] for part in (0, 1, 40, 80)] == pytest.approx([5.4, 5.4, 4.5, 3.0])
    assert burnt.ahead is not None
    assert since(story, burnt.ahead) == pytest.approx([(0, 3), (300, 0)])
    assert burnt.stops_t is not None
    assert burnt.stops_t - story.t == pytest.approx(200)


def test_a_budget_for_days_is_drawn_as_far_as_the_schedule() -> None:
    story = priced(0.3, 0.5, 0.6, budget_usd=10_000.0)
    schedule = schedule_s(story.run, story.t)
    assert schedule is not None
    burnt = cost_forecast.burn_down(story.run, story.t)
    assert burnt is not None
    assert burnt.ahead is not None
    ahead_s = 1.2 * schedule[1]
    assert ahead_s > 600
    assert since(story, burnt.ahead)[1] == pytest.approx((ahead_s, 10_000 - 3 - ahead_s / 100))
    assert burnt.stops_t is None
    # Without a schedule it is as long as what has passed, twice.
    alone = priced(budget_usd=10_000.0)
    burnt = cost_forecast.burn_down(alone.run, alone.t + 50)
    assert burnt is not None
    assert burnt.ahead is not None
    assert burnt.ahead[1][0] - burnt.ahead[0][0] == pytest.approx(100)


def test_an_ended_run_burns_no_further() -> None:
    story = priced(0.3, budget_usd=6.0).says(ce.RunEnded(status="stopped", exit_code=5, reason=""))
    burnt = cost_forecast.burn_down(story.run, story.t + 1000)
    assert burnt is not None
    assert burnt.times[-1] == story.t
    assert (burnt.ahead, burnt.stops_t) == (None, None)
    assert cost_forecast.burn_down(story.run, START_T) is None
    assert cost_forecast.burn_down(priced(0.3).run, story.t) is None
    assert cost_forecast.burn_down(Story().says(created()).run, START_T + 5) is None
    assert cost_on_demand_to(story.run, story.t) == pytest.approx(2.0)
