"""What stands in the way of a plan, and what else one should know before launching it: sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from console.billing.accounts import MINIMUM_BILLED_S
from console.catalog import instance_types
from console.catalog.instance_types import OLDEST_COMPUTE_CAPABILITY, Nearest
from console.catalog.prices import TABLE
from console.format import clock, count, money
from console.planning.offer import Region, wanted_zones
from console.planning.plan import Plan


def problems(plan: Plan) -> Iterator[str]:
    """Why it cannot be launched as it is."""
    yield from plan.offer.wrong
    if plan.rented and plan.type is not None and plan.type.retired:
        yield f"{plan.type.name} can no longer be rented ({plan.type.retired}){_proposed(plan)}"
    else:
        refusals = [_refusal(plan, region) for region in plan.offer.regions]
        if all(refusals):
            # One region that has the fleet is enough; what prevents it in the others is a warning then.
            yield from filter(None, refusals)
    yield from _reservation_problems(plan)
    budget, rate = plan.limits.budget_usd, plan.price.most_usd_per_h
    if budget is not None and rate is not None and plan.limits.stop_after_s == 0:
        yield (
            f"budget.max_usd is {money(budget)}: a minute of the fleet, the least that EC2 bills, is "
            f"{money(rate * MINIMUM_BILLED_S / 3600)}, and it would stop at once; give more than "
            f"{money(rate * plan.limits.closing_s / 3600)}"
        )


def warnings(plan: Plan) -> Iterator[str]:
    """What else one should know before launching it."""
    limits = plan.limits
    if plan.rented:
        yield from _region_warnings(plan)
        yield from _type_warnings(plan)
        yield from _price_warnings(plan)
        if limits.budget_usd is None:
            yield "there is no budget (budget.max_usd): only the lease limits what the run may cost"
    goal, what = (plan.to_target, "target") if plan.to_target is not None else (plan.whole, "end")
    if limits.stop_after_s is not None and goal is not None and limits.stop_after_s < goal.seconds:
        sure = "" if plan.price.billed is not None else " (at on-demand prices)"
        yield (
            f"the budget of {money(limits.budget_usd)} stops the run after {clock(limits.stop_after_s)}{sure}, before "
            f"its predicted {what} at {clock(goal.seconds)}"
        )


# --- regions and quotas ----------------------------------------------------------------------------------------------


def _refusal(plan: Plan, region: Region) -> str | None:
    """Why the fleet cannot be rented in a region, as far as AWS said; None where nothing is known to prevent it."""
    fleet = plan.profile.fleet
    name = fleet.instance_type or ""
    if region.zones == ():
        if plan.type is None:
            near = instance_types.alike(name)
            return f"EC2 has no type {name} in {region.name}" + (f"; did you mean {near[0]}?" if near else "")
        return f"{name} is not offered in {region.name}{_proposed(plan)}"
    if region.zones is not None and not wanted_zones(fleet.zones, region.name, region.zones):
        named = ", ".join(zone for zone in fleet.zones if zone.startswith(region.name))
        return f"{name} is not offered in {named} (fleet.zones); it is in {', '.join(region.zones)}"
    short = _short(plan, region)
    # Of spot-then-on-demand one market is enough.
    return short[0] if short and len(short) == len(region.quotas) else None


def _region_warnings(plan: Plan) -> Iterator[str]:
    refusals = [_refusal(plan, region) for region in plan.offer.regions]
    for region, refusal in zip(plan.offer.regions, refusals, strict=True):
        if refusal is None:
            yield from _short(plan, region)
        elif not all(refusals):
            yield refusal


def _short(plan: Plan, region: Region) -> list[str]:
    """The region's quotas that are too small."""
    needed, known = plan.needed_vcpus, plan.type
    if needed is None or known is None:
        return []
    found = []
    for said in filter(None, (region.short(quota.market, needed) for quota in region.quotas)):
        held, used = int(said.held_vcpus or 0), said.used_vcpus or 0
        fit = max(0, held - used) // known.vcpus
        fewer = f", or take --nodes {fit}" if fit else ""
        in_use = f" and {count(used)} in use" if used else ""
        found.append(
            f"quota for {said.market} in {region.name}: {count(needed)} vCPU needed, {count(held)} held{in_use}; ask "
            f"for {count(needed + used)} under Service Quotas ({said.quota.code}, {said.quota.name}){fewer}"
        )
    return found


def _proposed(plan: Plan) -> str:
    """What could be rented instead, after what cannot."""
    if not plan.instead:
        return "" if plan.type is None else "; nothing else there has as many GPUs"
    first, *more = plan.instead
    said = [f"{first.type.name} comes nearest: {first.reason}{_at(first)}"]
    said += [f"{other.type.name} is {other.reason}{_at(other)}" for other in more]
    return f"; {'; '.join(said)}"


def _at(nearest: Nearest) -> str:
    price = nearest.type.usd_per_h
    return "" if price is None else f", {money(price)} an hour"


def _reservation_problems(plan: Plan) -> Iterator[str]:
    fleet, held = plan.profile.fleet, plan.offer.reservation
    if held is None:
        return
    if held.instance_type != fleet.instance_type:
        yield f"reservation {held.id} is for {held.instance_type}; say so in fleet.instance_type"
    if held.state != "active":
        yield f"reservation {held.id} is {held.state}, not active"
    elif held.available < fleet.nodes:
        fewer = f"; --nodes {held.available} would fit" if held.available else ""
        yield f"reservation {held.id} has room for {held.available} of {fleet.nodes} instances{fewer}"


# --- the type and its price ------------------------------------------------------------------------------------------


def _type_warnings(plan: Plan) -> Iterator[str]:
    fleet, run, known = plan.profile.fleet, plan.profile.run, plan.type
    if known is None:
        if all(region.zones is None for region in plan.offer.regions):
            yield f"nothing is known of {fleet.instance_type}: it is not in the table, and EC2 did not describe it"
        return
    capability = known.compute_capability
    if not known.retired and capability is not None and capability < OLDEST_COMPUTE_CAPABILITY:
        yield (
            f"{known.name}'s {known.gpu} has compute capability {capability / 10}, and PyTorch for CUDA 13 begins at "
            f"{OLDEST_COMPUTE_CAPABILITY / 10}: the image needs an older one"
        )
    if run.accelerator != "cpu" and known.gpu and run.accelerator.upper() != known.gpu.upper():
        yield f"run.accelerator is {run.accelerator}, and {known.name} has {known.gpu}"
    if run.accelerator != "cpu" and run.nproc_per_node < known.gpus:
        idle = known.gpus - run.nproc_per_node
        yield f"{idle} of {known.gpus} GPUs of each instance stay idle (run.nproc_per_node is {run.nproc_per_node})"
    if fleet.nodes > 1 and fleet.efa is False and known.network_cards > 1:
        card_gbit_s = known.network_gbit_s / known.network_cards
        yield (
            f"fleet.efa is false: the instances reach each other through one network card of {known.network_cards}, "
            f"{card_gbit_s:g} of {known.network_gbit_s:g} Gbit/s"
        )


def _price_warnings(plan: Plan) -> Iterator[str]:
    table = plan.price.on_demand
    here = plan.zones[0].region if plan.zones else plan.profile.fleet.region
    if table is not None and table.source == TABLE and here is not None and table.note != here:
        yield f"the table's price is that of {table.note}; {here} may have another"
    held, whole, asked_t = plan.offer.reservation, plan.whole, plan.offer.t
    if held is not None and held.end_t is not None and whole is not None and asked_t is not None:
        left_s = held.end_t - asked_t
        if left_s < whole.seconds:
            yield (
                f"reservation {held.id} ends in {clock(left_s)}, before the run's predicted end at "
                f"{clock(whole.seconds)}"
            )
