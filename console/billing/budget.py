"""The budget of a run: how long it lasts, when the run must stop for it, and the least that a new one must be. Pure.

The console stops a run early enough that the checkpoint, its fetch and the end of the instances still fit. The hosts'
leases never reach beyond the moment at which the budget is used up, so that it holds without a console too.
"""

from __future__ import annotations

from typing import Final

from console.billing import ledger
from console.format import clock, money
from console.state.run import Run

STOP_PATIENCE_S: Final = 60.0
"""From the request to stop to the end of the ranks, a checkpoint included."""
RELEASE_S: Final = 10.0
"""From the end of the ranks to the last second that is billed, without the fetch: agents write their last records. EC2
does not bill an instance that is shutting down."""
FETCH_S: Final = 30.0
"""The fetch of a checkpoint, where there is none yet whose size is known."""
FETCH_BYTES_S: Final = 5e6
"""Rate of a fetch to the laptop, where none was measured yet: a line of 40 Mbit/s."""
UNATTENDED_S: Final = 12 * 3600.0
"""The longest that the hosts continue without a console where no budget ends them before."""
HIGHEST_USD: Final = 1e9
"""A budget of more is taken for a mistake."""


def closing_s(run: Run) -> float:
    """Seconds that an orderly end takes: the stop of the ranks, the fetch of their checkpoint, the instances' end."""
    newest = run.checkpoints[-1] if run.checkpoints else None
    fetched = next((saved.fetch_s for saved in reversed(run.checkpoints) if saved.fetch_s is not None), None)
    fetch_s = fetched if fetched is not None else newest.size_bytes / FETCH_BYTES_S if newest else FETCH_S
    save_s = (newest.save_s if newest else None) or 0.0
    # The patience allows half a minute for a checkpoint; one that is known to take longer gets its time.
    return STOP_PATIENCE_S + max(0.0, save_s - STOP_PATIENCE_S / 2) + fetch_s + RELEASE_S


def lasts_s(run: Run, now: float) -> float | None:
    """Seconds until the budget is used up at the present price; 0 once it is.

    None where there is no budget, no price is known, or nothing is billed.
    """
    spent_usd, usd_per_h = ledger.bill(run).billed(now)
    if run.budget_usd is None or spent_usd is None or not usd_per_h:
        return None
    return max(0.0, run.budget_usd - spent_usd) / usd_per_h * 3600


def stops_in_s(run: Run, now: float) -> float | None:
    """Seconds until the run must be stopped for its budget; None where `lasts_s` is None."""
    left_s = lasts_s(run, now)
    return None if left_s is None else max(0.0, left_s - closing_s(run))


def lease_s(run: Run, now: float, lease_minutes: float) -> float:
    """Seconds that the hosts may keep running without a console: the lease, but never beyond the budget's end."""
    left_s = lasts_s(run, now)
    return lease_minutes * 60 if left_s is None else min(lease_minutes * 60, left_s)


def least_usd(run: Run, now: float) -> float | None:
    """The least budget with which the run would not have to stop at once; None where no price is known."""
    spent_usd, usd_per_h = ledger.bill(run).billed(now)
    if spent_usd is None:
        return None
    if not usd_per_h:
        # Nothing is rented now: a resumed run would have the same fleet.
        last = [node.billing[-1].usd_per_h for node in run.nodes if node.billing]
        usd_per_h = sum(price for price in last if price is not None)
    return spent_usd + (usd_per_h or 0.0) * closing_s(run) / 3600


def refusal(run: Run, now: float, usd: float) -> str:
    """Why so many dollars cannot be the run's budget, in one sentence; empty where they can."""
    least = least_usd(run, now)
    if least is None:
        return "no price is known for these hosts, so a budget cannot be enforced"
    spent = money(ledger.bill(run).billed(now)[0])
    if not 0 < usd < HIGHEST_USD:
        return f"a budget is an amount above $0; {spent} is spent"
    if usd <= least:
        return (
            f"{money(usd)} is too little: {spent} is spent, and an orderly stop takes up to "
            f"{clock(closing_s(run))} more; give more than {money(least)}"
        )
    return ""


def resume_refusal(run: Run, now: float) -> str:
    """Why a run that has ended cannot be resumed within its budget, in one sentence; empty where it can, or where no
    price is known."""
    least = least_usd(run, now)
    if run.budget_usd is None or least is None or run.budget_usd > least:
        return ""
    spent = money(ledger.bill(run).billed(now)[0])
    return f"of the budget of {money(run.budget_usd)}, {spent} is spent; to resume, set one of more than {money(least)}"


def dollars(text: str) -> float | None:
    """The amount that was typed: ``60``, ``$60.00``, ``1,200``; None where it is not an amount of dollars."""
    plain = text.strip().removeprefix("$").replace(",", "").strip()
    whole, _, part = plain.partition(".")
    digits = whole + part
    return float(plain) if digits.isascii() and digits.isdecimal() and len(digits) <= 12 else None
