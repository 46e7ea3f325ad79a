"""What a run costs at a moment, for whoever shows it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from console.billing import ledger
from console.state.run import Run


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run costs, in dollars."""

    billed_usd: float | None
    """At the price that is paid; the spot price on spot."""
    on_demand_usd: float | None
    """The same time at the on-demand price: what DAWNBench counts."""
    usd_per_h: float | None
    """The price of the instances that run now, as billed."""
    usd_per_h_on_demand: float | None
    """The same at the on-demand price."""
    note: str
    """``simulated``, or where the price is from; empty where the run does not say."""


def cost(run: Run, now: float) -> Cost:
    """The run's cost until `now`, as `console.billing.ledger` has it.

    A sum is None where the price of any instance is unknown, since a part is not the bill.
    """
    billed_usd, usd_per_h = _bill(run, now, on_demand=False)
    on_demand_usd, usd_per_h_on_demand = _bill(run, now, on_demand=True)
    note = run.created.price_note if run.created else ""
    if not note and run.quotes:
        note = run.quotes[-1].source
    return Cost(billed_usd, on_demand_usd, usd_per_h, usd_per_h_on_demand, note)


def cost_to(run: Run, t: float) -> float | None:
    """Dollars billed until `t`, epoch seconds."""
    return _bill(run, t, on_demand=False)[0]


def cost_on_demand_to(run: Run, t: float) -> float | None:
    """Dollars until `t`, epoch seconds, had the instances been on demand."""
    return _bill(run, t, on_demand=True)[0]


def _bill(run: Run, until: float, *, on_demand: bool) -> tuple[float | None, float | None]:
    """Dollars until `until` and dollars an hour at that moment."""
    if not any(node.billing for node in run.nodes):
        created = run.created
        priced = created is not None and (created.usd_per_h_on_demand if on_demand else created.usd_per_h) is not None
        return (0.0, 0.0) if run.nodes and (priced or run.quotes) else (None, None)
    bill = ledger.bill(run)
    return bill.on_demand(until) if on_demand else bill.billed(until)
