"""What a run will have cost in the end, and how it burns its budget down. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from console.billing import breakdown, budget, cost, ledger
from console.compare import eta
from console.compare.eta import Eta
from console.state.run import Run

_PARTS: Final = 80
"""Into how many straight pieces the curve of what was spent is cut."""

Dollars = tuple[float, float | None]
"""The least and the most; no most where none is known."""


@dataclass(frozen=True, slots=True)
class Projection:
    """Dollars in the end at the prices known; None where the time or a price is unknown."""

    target: Dollars | None
    """Billed when the target is reached."""
    target_on_demand: Dollars | None
    end: Dollars | None
    """Billed at the end of the schedule."""
    end_on_demand: Dollars | None
    per_epoch: tuple[float | None, float | None]
    """Billed, and on demand, for an epoch on average so far."""
    budget_first: bool
    """The budget stops the run before its target could be reached."""


def projection(run: Run, now: float, left: Eta | None) -> Projection:
    """What the run will have cost at its target, and at its schedule's end."""
    target = target_on_demand = end = end_on_demand = None
    if left is not None:
        target = _dollars(run, now, left.low_s, left.high_s, on_demand=False)
        target_on_demand = _dollars(run, now, left.low_s, left.high_s, on_demand=True)
    schedule = eta.schedule_s(run, now)
    if schedule is not None:
        end = _dollars(run, now, *schedule, on_demand=False)
        end_on_demand = _dollars(run, now, *schedule, on_demand=True)
    epochs = breakdown.per_epoch(run)
    stops_s = budget.stops_in_s(run, now) if run.live else None
    return Projection(
        target,
        target_on_demand,
        end,
        end_on_demand,
        (_mean([spent.billed_usd for spent in epochs]), _mean([spent.on_demand_usd for spent in epochs])),
        stops_s is not None and left is not None and stops_s < left.low_s,
    )


def _mean(dollars: list[float | None]) -> float | None:
    whole = breakdown.total(dollars)
    return whole / len(dollars) if whole is not None and dollars else None


def _dollars(run: Run, now: float, low_s: float, high_s: float | None, *, on_demand: bool) -> Dollars | None:
    until = cost.cost_on_demand_to if on_demand else cost.cost_to
    low = until(run, now + low_s)
    high = None if high_s is None else until(run, now + high_s)
    return None if low is None else (low, high)


@dataclass(frozen=True, slots=True)
class BurnDown:
    """What is left of the budget over the laptop's clock."""

    usd: float
    """The budget."""
    times: tuple[float, ...]
    left_usd: tuple[float, ...]
    """What was left at each of them."""
    ahead: tuple[tuple[float, float], tuple[float, float]] | None
    """Where it will go at the present price: two moments and what is left at each."""
    stops_t: float | None
    """When the run will be stopped for it, where that lies within what is shown."""


def burn_down(run: Run, now: float) -> BurnDown | None:
    """From the first instance to where the budget will be used up, or the run's end; None without a budget or price."""
    usd, bill = run.budget_usd, ledger.bill(run)
    starts = [billing.started_t for billing in bill.billings]
    if not usd or not starts or bill.billed(now)[0] is None:
        return None
    start, end = min(starts), now if run.live else min(now, run.ended_t or now)
    if end <= start:
        return None
    times = tuple(start + (end - start) * part / _PARTS for part in range(_PARTS + 1))
    left_usd = tuple(max(0.0, usd - (bill.billed(t)[0] or 0.0)) for t in times)
    lasts_s = budget.lasts_s(run, now) if run.live else None
    ahead = stops_t = None
    hourly = bill.billed(now)[1]
    if lasts_s and hourly:
        # A budget for days must not press the hour that has passed into one column.
        schedule = eta.schedule_s(run, now)
        ahead_s = min(lasts_s, max(2 * (end - start), 1.2 * schedule[1] if schedule else 0.0))
        ahead = (end, left_usd[-1]), (end + ahead_s, max(0.0, left_usd[-1] - hourly * ahead_s / 3600))
        stops_s = budget.stops_in_s(run, now)
        if stops_s is not None and stops_s <= ahead_s:
            stops_t = now + stops_s
    return BurnDown(usd, times, left_usd, ahead, stops_t)
