"""The budget of a run: how long it lasts, when the run must stop for it, and what another one must be at least. Pure.

The console stops a run early enough that checkpoint, fetch and the instances' end still fit; the hosts' leases never
reach beyond the moment at which the budget is used up, so that it holds too where the console is gone.
"""

from __future__ import annotations

from typing import Final

from console.billing import ledger
from console.format import clock, money
from console.state.run import Run

STOP_PATIENCE_S: Final = 60.0
"""From the wish to stop to the gang's end, checkpoint included."""
GIVE_BACK_S: Final = 10.0
"""From the gang's end to the last second that is billed, beside the fetch: agents say their last words, and EC2 bills
no instance that is shutting down."""
FETCH_S: Final = 30.0
"""A fetch of which nothing is known."""
FETCH_BYTES_S: Final = 5e6
"""The way of a checkpoint to the laptop, where none was fetched yet: a line of 40 Mbit/s."""
UNATTENDED_S: Final = 12 * 3600.0
"""The longest that the hosts continue without a console where no budget ends them before."""
HIGHEST_USD: Final = 1e9


def closing_s(run: Run) -> float:
    """How long an end in order takes: the gang's stop, the way of its checkpoint to the laptop, the instances' end."""
    newest = run.checkpoints[-1] if run.checkpoints else None
    fetched = next((one.fetch_s for one in reversed(run.checkpoints) if one.fetch_s is not None), None)
    fetch_s = fetched if fetched is not None else newest.size_bytes / FETCH_BYTES_S if newest else FETCH_S
    save_s = (newest.save_s if newest else None) or 0.0
    # The patience is for a step and a checkpoint of half a minute; one that is known to take longer gets its time.
    return STOP_PATIENCE_S + max(0.0, save_s - STOP_PATIENCE_S / 2) + fetch_s + GIVE_BACK_S


def lasts_s(run: Run, now: float) -> float | None:
    """Seconds until the budget is used up at the present price, 0 where it is.

    None where there is no budget, no price is known, or nothing is billed.
    """
    spent_usd, usd_per_h = ledger.bill(run).billed(now)
    if run.budget_usd is None or spent_usd is None or not usd_per_h:
        return None
    return max(0.0, run.budget_usd - spent_usd) / usd_per_h * 3600


def stops_in_s(run: Run, now: float) -> float | None:
    """Seconds until the run must be stopped for its budget; None where `lasts_s` is."""
    left_s = lasts_s(run, now)
    return None if left_s is None else max(0.0, left_s - closing_s(run))


def lease_s(run: Run, now: float, lease_minutes: float) -> float:
    """How long the hosts may live on without another word: the lease, but never beyond the budget's end."""
    left_s = lasts_s(run, now)
    return lease_minutes * 60 if left_s is None else min(lease_minutes * 60, left_s)


def least_usd(run: Run, now: float) -> float | None:
    """The least budget with which the run would not have to stop at once; None where no price is known."""
    spent_usd, usd_per_h = ledger.bill(run).billed(now)
    if spent_usd is None:
        return None
    if not usd_per_h:
        # Nothing is rented now: it would be the same fleet again.
        last = [node.billing[-1].usd_per_h for node in run.nodes if node.billing]
        usd_per_h = sum(price for price in last if price is not None)
    return spent_usd + (usd_per_h or 0.0) * closing_s(run) / 3600


def refusal(run: Run, now: float, usd: float) -> str:
    """Why so many dollars cannot be the run's budget, in one sentence; empty where they can."""
    least = least_usd(run, now)
    if least is None:
        return "no price is known for these hosts, so no budget can be held"
    spent = money(ledger.bill(run).billed(now)[0])
    if not 0 < usd < HIGHEST_USD:
        return f"a budget is an amount of dollars above 0; {spent} is spent"
    if usd <= least:
        return (
            f"{money(usd)} is too little: {spent} is spent, and to stop in order takes up to "
            f"{clock(closing_s(run))} more; give more than {money(least)}"
        )
    return ""


def again_refusal(run: Run, now: float) -> str:
    """Why a run that has ended cannot go on with the budget that it has; empty where it can, or where nobody knows."""
    least = least_usd(run, now)
    if run.budget_usd is None or least is None or run.budget_usd > least:
        return ""
    spent = money(ledger.bill(run).billed(now)[0])
    return f"of the budget of {money(run.budget_usd)}, {spent} is spent; to go on, set one of more than {money(least)}"


def dollars(text: str) -> float | None:
    """The amount that somebody typed: ``60``, ``$60.00``, ``1,200``; None where it is none."""
    plain = text.strip().removeprefix("$").replace(",", "").strip()
    whole, _, part = plain.partition(".")
    digits = whole + part
    return float(plain) if digits.isascii() and digits.isdecimal() and len(digits) <= 12 else None
