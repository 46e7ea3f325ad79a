"""How long a budget lasts, what another one must be, and how far the hosts' leases may reach."""

from __future__ import annotations

import pytest
from run_story import START_T, Story, created, trained

from console.billing import budget
from console.state import events as ce
from remote.wire import events as re

# Two instances at 7.20 dollars an hour: a dollar in 250 s.


def story(**changes: object) -> Story:
    """Two instances that started at `START_T`, under a budget of 20 dollars."""
    written = Story().says(created(**{"budget_usd": 20.0, **changes}))
    for node in (0, 1):
        began = ce.InstanceStarted(instance_id=f"i-{node}", started_t=START_T, usd_per_h=7.2, usd_per_h_on_demand=24.0)
        written.says(began, node)
    return written


def when(dollars: float) -> float:
    """The moment at which so much is spent."""
    return START_T + dollars * 250


def saved(written: Story, *, size_bytes: int = 0, save_s: float = 0.1) -> Story:
    return written.hears(
        0,
        re.CheckpointSaved(
            step=4, epoch=0, path="checkpoints/4.pt", size_bytes=size_bytes, sha256="0", save_s=save_s, reason="epoch"
        ),
    )


# --- how long ---------------------------------------------------------------------------------------------------------


def test_a_budget_lasts_until_it_is_spent_at_the_present_price() -> None:
    run = story().run
    assert budget.lasts_s(run, when(4.0)) == pytest.approx(16 * 250)
    assert budget.lasts_s(run, when(21.0)) == 0
    assert budget.lasts_s(story(budget_usd=None).run, when(4.0)) is None
    assert budget.lasts_s(Story().says(created()).run, START_T) is None


def test_what_nothing_is_known_of_gets_what_it_may_take() -> None:
    run = story().run
    # A minute to stop, half a minute to fetch a checkpoint, 10 s for the instances' end.
    assert budget.closing_s(run) == 60 + 30 + 10
    assert budget.stops_in_s(run, when(4.0)) == pytest.approx(16 * 250 - 100)
    assert budget.stops_in_s(run, when(19.9)) == 0


def test_the_end_takes_as_long_as_the_last_checkpoint_says() -> None:
    fixed = 60 + 10
    written = saved(story(), size_bytes=200_000_000)
    # 200 MB over a line of 40 Mbit/s.
    assert budget.closing_s(written.run) == fixed + 40
    written.says(ce.CheckpointFetched(step=4, path="checkpoints/4.pt", size_bytes=200_000_000, fetch_s=7.0))
    assert budget.closing_s(written.run) == fixed + 7
    assert budget.closing_s(saved(story(), save_s=45.0).run) == fixed + 15
    assert budget.closing_s(saved(story(), save_s=20.0).run) == fixed


# --- the leases -------------------------------------------------------------------------------------------------------


def test_a_lease_is_what_the_profile_says_while_the_budget_is_far() -> None:
    assert budget.lease_s(story().run, when(4.0), 60) == 3600
    assert budget.lease_s(story(budget_usd=None).run, when(400.0), 12 * 60) == 12 * 3600


def test_a_lease_never_reaches_beyond_the_budget() -> None:
    run = story().run
    for dollars in (7.0, 12.5, 19.99):
        at = when(dollars)
        assert at + budget.lease_s(run, at, 60) <= when(20.0) + 1e-6
        assert at + budget.lease_s(run, at, 12 * 60) == pytest.approx(when(20.0))
    assert budget.lease_s(run, when(25.0), 60) == 0


def test_a_raised_budget_prolongs_the_lease_and_a_lowered_one_shortens_it() -> None:
    written = story()
    assert budget.lease_s(written.run, when(19.0), 60) == pytest.approx(250)
    assert budget.lease_s(written.says(ce.BudgetMoved(max_usd=21.0)).run, when(19.0), 60) == pytest.approx(500)
    assert budget.lease_s(written.says(ce.BudgetMoved(max_usd=60.0)).run, when(19.0), 60) == 3600
    assert budget.lease_s(written.says(ce.BudgetMoved(max_usd=19.5)).run, when(19.0), 60) == pytest.approx(125)


def test_a_dearer_fleet_has_a_shorter_lease() -> None:
    written = story()
    more = ce.InstanceStarted(instance_id="i-2", started_t=when(10.0), usd_per_h=14.4, usd_per_h_on_demand=None)
    before = when(10.0) + budget.lease_s(written.run, when(10.0), 60)
    written.says(more, 1)
    # Twice the price, and the new one's first minute is owed at once.
    assert budget.lease_s(written.run, when(10.0), 60) == pytest.approx((10 - 14.4 / 60) * 125)
    assert when(10.0) + budget.lease_s(written.run, when(10.0), 60) < before


# --- another budget ---------------------------------------------------------------------------------------------------


def test_a_budget_must_leave_time_to_stop_in_order() -> None:
    run = story().run
    least = budget.least_usd(run, when(10.0))
    assert least == pytest.approx(10 + 100 / 250)
    assert least is not None
    assert budget.refusal(run, when(10.0), least + 0.01) == ""
    assert budget.refusal(run, when(10.0), 10.05) == (
        "$10.05 is too little: $10.00 is spent, and an orderly stop takes up to 01:40 more; give more than $10.40"
    )


@pytest.mark.parametrize("usd", [0.0, -5.0, float("nan"), float("inf"), 1e12])
def test_a_budget_is_an_amount_of_dollars(usd: float) -> None:
    assert budget.refusal(story().run, when(10.0), usd) == "a budget is an amount above $0; $10.00 is spent"


def test_without_a_price_no_budget_can_be_held() -> None:
    block = ce.InstanceStarted(
        instance_id="i-9", started_t=START_T, usd_per_h=None, usd_per_h_on_demand=24.0, market="capacity-block"
    )
    run = story().says(block, 0).run
    assert budget.lasts_s(run, when(4.0)) is None
    assert budget.lease_s(run, when(400.0), 60) == 3600
    assert budget.refusal(run, when(4.0), 50.0) == "no price is known for these hosts, so a budget cannot be enforced"


def test_a_run_that_its_budget_ended_goes_on_only_with_a_larger_one() -> None:
    written = story()
    for node in (0, 1):
        written.says(ce.InstanceStopped(instance_id=f"i-{node}", stopped_t=when(19.8), reason="released"), node)
    written.says(ce.RunEnded(status="over budget", exit_code=4, reason="stopped"), after_s=5000)
    assert budget.resume_refusal(written.run, written.t) == (
        "of the budget of $20.00, $19.80 is spent; to resume, set one of more than $20.20"
    )
    assert budget.refusal(written.run, written.t, 20.1) != ""
    written.says(ce.BudgetMoved(max_usd=30.0))
    assert budget.resume_refusal(written.run, written.t) == ""
    least = budget.least_usd(written.run, written.t)
    assert least is not None
    assert budget.resume_refusal(written.says(ce.BudgetMoved(max_usd=least)).run, written.t) != "", "it has to be more"
    assert budget.resume_refusal(story(budget_usd=None).run, when(50.0)) == ""


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [("60", 60.0), ("$60.00", 60.0), (" 1,200.5 ", 1200.5), (".5", 0.5), ("$ 7", 7.0), ("", None), ("$", None),
     ("sixty", None), ("-3", None), ("1e9", None), ("nan", None), ("6.0.0", None), ("٣", None), ("9" * 40, None)],
)  # fmt: skip
def test_an_amount_as_it_is_typed(typed: str, wanted: float | None) -> None:
    assert budget.dollars(typed) == wanted


def test_the_story_of_a_whole_run_has_a_budget_throughout() -> None:
    run = trained(epochs=3).run
    assert run.budget_usd == 5.0
    assert (budget.lasts_s(run, START_T + 30) or 0) > 0
