"""TODO docstring: console/policy/spending.py."""

from __future__ import annotations

from console.billing import budget, cost, ledger
from console.billing.budget import STOP_PATIENCE_S as STOP_PATIENCE_S
from console.format import money as money_
from console.format import percent
from console.policy.decisions import Decision, StopGang, Warn
from console.state.run import STOPPING, Run
from console.views import progress

BUDGET_WARNING_S = 300.0
"""The last warning comes so long before the budget stops the run: time to read it, and to set another."""


def _budget(run: Run, now: float) -> list[Decision]:
    created, usd = run.created, run.budget_usd
    assert created is not None
    if usd is None or run.status == STOPPING:
        return []
    spent, money = cost.cost_to(run, now), money_(usd)
    if spent is None:
        unknown = f"the budget of {money} cannot be held: no price is known for these hosts"
        return _warn_once(run, unknown) if run.gang_started else []
    decisions: list[Decision] = []
    share = created.budget_warn_at
    if share is not None and spent >= usd * share:
        decisions += _warn_once(run, f"{percent(share)} of the budget of {money} is spent")
    # Early enough that checkpoint, fetch and the hosts' end still fit: what they will cost is on the bill to come.
    if (ledger.bill(run).billed(now + budget.closing_s(run))[0] or 0.0) >= usd:
        return [*decisions, StopGang(f"the budget of {money} would be passed")]
    stops_in_s, left_s = budget.stops_in_s(run, now), progress.schedule_left_s(run, now)
    if stops_in_s is not None and stops_in_s <= BUDGET_WARNING_S and (left_s is None or left_s > stops_in_s):
        minutes = f"{BUDGET_WARNING_S / 60:.0f} minutes"
        decisions += _warn_once(run, f"the budget of {money} stops the run in {minutes} or less")
    return decisions


def _warn_once(run: Run, text: str) -> list[Decision]:
    return [] if any(alert.text == text for alert in run.alerts) else [Warn("budget", text)]
