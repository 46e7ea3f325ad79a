"""A run's receipt, as it is written to ``receipt.json``. Pure: dollars, epoch seconds, and null for what is unknown."""

from __future__ import annotations

from typing import Any, Final

from console.billing import breakdown, ledger
from console.billing.cost import cost as cost_
from console.state.run import Billing, Run
from console.views import progress

SCHEMA: Final = 1
"""Version of the receipt's form; keys are only ever added to one."""


def receipt(run: Run, now: float) -> dict[str, Any]:
    """What the run cost and why, instance by instance, until `now`."""
    made = ledger.bill(run)
    lines = made.lines(now)
    cost, goal = cost_(run, now), progress.target(run)
    idle = breakdown.idle(run, now)
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "profile": run.created.profile if run.created else None,
        "status": run.status,
        "reason": run.reason,
        "started_t": run.started_t,
        "ended_t": run.ended_t,
        "written_t": now,
        "cost_usd": _rounded(cost.billed_usd),
        "cost_on_demand_usd": _rounded(cost.on_demand_usd),
        "compute_usd": _rounded(breakdown.total(line.compute_usd for line in lines)),
        "storage_usd": _rounded(breakdown.total(line.storage_usd for line in lines)) if lines else None,
        "address_usd": _rounded(breakdown.total(line.address_usd for line in lines)) if lines else None,
        "cost_to_target_usd": _rounded(goal.cost_usd) if goal else None,
        "cost_to_target_on_demand_usd": _rounded(goal.cost_on_demand_usd) if goal else None,
        "price_note": cost.note,
        "budget": {
            "max_usd": run.budget_usd,
            "at_first_usd": run.created.budget_usd if run.created else None,
            "moves": [{"t": move.received_t, "max_usd": move.max_usd, "by": move.by} for move in run.budget_moves],
        },
        "instances": [_instance(line, billing) for line, billing in zip(lines, made.billings, strict=True)],
        "still_running": [line.instance_id for line in lines if line.to_t is None],
        "nodes": [
            {"node": node, "cost_usd": _rounded(spent.billed_usd), "cost_on_demand_usd": _rounded(spent.on_demand_usd)}
            for node, spent in enumerate(breakdown.per_node(run, now))
        ],
        "epochs": [
            {
                "epoch": epoch.event.epoch,
                "ended_t": epoch.ended_t,
                "cost_usd": _rounded(spent.billed_usd),
                "cost_on_demand_usd": _rounded(spent.on_demand_usd),
            }
            for epoch, spent in zip(run.epochs, breakdown.per_epoch(run), strict=True)
        ],
        "idle_usd": None if idle is None else {cause: _rounded(usd) for cause, usd in idle.items()},
        "prices": [
            {
                "instance_type": quote.instance_type,
                "market": quote.market,
                "zone": quote.zone,
                "usd_per_h": quote.usd_per_h,
                "effective_t": quote.effective_t,
                "source": quote.source,
            }
            for quote in run.quotes
        ],
    }


def _instance(line: ledger.Line, billing: Billing) -> dict[str, Any]:
    return {
        "node": line.node,
        "instance_id": line.instance_id,
        "instance_type": line.instance_type,
        "market": line.market,
        "zone": line.zone,
        "started_t": line.from_t,
        "stopped_t": line.to_t,
        "billed_s": line.billed_s,
        "usd_per_h": billing.usd_per_h,
        "usd_per_h_on_demand": billing.usd_per_h_on_demand,
        "compute_usd": _rounded(line.compute_usd),
        "storage_usd": _rounded(line.storage_usd),
        "address_usd": _rounded(line.address_usd),
        "cost_usd": _rounded(line.billed_usd),
        "cost_on_demand_usd": _rounded(line.on_demand_usd),
        "why_stopped": line.reason,
        "taken_back_by_ec2": line.taken_back,
    }


def _rounded(usd: float | None) -> float | None:
    """Millionths of a dollar are below any bill."""
    return None if usd is None else round(usd, 6)
