"""What the budget of a run asks for: warnings, and the stop while checkpoint, fetch and release still fit. Pure."""

from __future__ import annotations

from typing import Final

from console.billing import budget, cost, ledger
from console.format import money, percent
from console.policy.decisions import Decision, StopGang, Warn
from console.state.run import Run
from console.state.status import STOPPING
from console.views import progress

BUDGET_WARNING_S: Final = 300.0
"""The last warning comes so long before the budget stops the run: time to read it, and to set another."""


def watch_budget(run: Run, now: float) -> list[Decision]:
    """The warnings that are due, and the stop; none where the run has no budget or is stopping already."""
    created, max_usd = run.created, run.budget_usd
    assert created is not None
    if max_usd is None or run.status == STOPPING:
        return []
    spent_usd, total = cost.cost_to(run, now), money(max_usd)
    if spent_usd is None:
        unknown = f"the budget of {total} cannot be held: no price is known for these hosts"
        return _warn_once(run, unknown) if run.gang_started else []
    decisions: list[Decision] = []
    share = created.budget_warn_at
    if share is not None and spent_usd >= max_usd * share:
        decisions += _warn_once(run, f"{percent(share)} of the budget of {total} is spent")
    # Early enough that checkpoint, fetch and the hosts' end still fit: what they will cost is on the bill to come.
    if (ledger.bill(run).billed(now + budget.closing_s(run))[0] or 0.0) >= max_usd:
        return [*decisions, StopGang(f"the budget of {total} would be passed")]
    stops_in_s, left_s = budget.stops_in_s(run, now), progress.schedule_left_s(run, now)
    if stops_in_s is not None and stops_in_s <= BUDGET_WARNING_S and (left_s is None or left_s > stops_in_s):
        minutes = f"{BUDGET_WARNING_S / 60:.0f} minutes"
        decisions += _warn_once(run, f"the budget of {total} stops the run in {minutes} or less")
    return decisions


def _warn_once(run: Run, text: str) -> list[Decision]:
    return [] if any(alert.text == text for alert in run.alerts) else [Warn("budget", text)]
