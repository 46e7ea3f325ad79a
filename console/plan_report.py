"""A plan in words, 80 columns wide, and as one JSON object."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from console.instance_types import Nearest
from console.offer import Region
from console.plan import CLOSING_S, PREPAID_MARKETS, SPOT_MARKETS, Cost, Plan
from console.predict import PhasePrediction
from console.prices import PRICE_LIST, SPOT_HISTORY, Quote
from console.profile import Fleet
from console.views import clock, count, metric_name, money, percent, plain

COLUMNS: Final = 80
_LABEL: Final = 10
SCHEMA: Final = 1
"""Version of the JSON object's form: keys may be added, none taken away."""


# --- in words --------------------------------------------------------------------------------------------------------


def text(plan: Plan) -> str:
    """The plan for a person: what is in the way, what is rented, its price, its time, its cost, what bounds it."""
    parts = [_title(plan), _in_the_way(plan), _rent(plan), _price(plan), _time(plan), _cost(plan), _limits(plan)]
    parts += [_notes(plan), _assumptions(plan)]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def _title(plan: Plan) -> Iterator[str]:
    title = plan.profile.text.split("\n", 1)[0].lstrip("# ").rstrip(".")
    yield from textwrap.wrap(plain(f"{plan.profile.name}: {title}", 400), COLUMNS)


def _in_the_way(plan: Plan) -> Iterator[str]:
    if plan.problems:
        yield "It cannot be launched so:"
        for problem in plan.problems:
            yield from _wrapped("  ! ", problem)


def _rent(plan: Plan) -> Iterator[str]:
    fleet, run = plan.profile.fleet, plan.profile.run
    if fleet.provider == "local":
        yield from _labelled("hosts", [f"{count(fleet.nodes)} embedded in this machine; nothing is rented"])
    elif fleet.provider == "static":
        ranks = f"{count(plan.profile.world_size)} ranks on {run.accelerator}"
        yield from _labelled("hosts", [f"{count(fleet.nodes)} of your own, {ranks}; nothing is rented"])
    else:
        yield from _labelled("rent", _fleet(plan))
        if plan.type is not None:
            yield from _labelled("quota", _quotas(plan))
        # What is drawn as — above and below has its reason here.
        yield from _labelled("AWS", (f"no answer: {sentence}" for sentence in plan.offer.silent))


def _fleet(plan: Plan) -> Iterator[str]:
    fleet, known = plan.profile.fleet, plan.type
    what = f"{count(fleet.nodes)} × {fleet.instance_type}, {fleet.market.replace('-', ' ')}"
    if known is not None and known.gpus:
        what += f": {count(fleet.nodes * known.gpus)} × {known.gpu} ({known.gpu_mem_gib:g} GiB)"
    yield what
    if known is not None:
        network = f"{known.network_gbit_s:,g} Gbit/s"
        if known.efa and fleet.efa is not False:
            cards = known.efa_interfaces
            network += f" by EFA on {cards} card{'' if cards == 1 else 's'}"
        elif known.network_cards > 1:
            network = f"{known.network_gbit_s / known.network_cards:g} Gbit/s on one of {known.network_cards} cards"
        each = "each " if fleet.nodes > 1 else ""
        yield f"{each}{known.vcpus} vCPU, {known.mem_gib:,.0f} GiB, gp3 of {fleet.volume_gib} GiB, {network}"
    regions = [region.name for region in plan.offer.regions] or [fleet.region or "a region that is not known"]
    where = regions[0] + (f" (then {', '.join(regions[1:])})" if regions[1:] else "")
    group = ", cluster placement group" if fleet.placement_group and fleet.nodes > 1 else ""
    yield f"in {where}{group}, {_way(fleet)}"


def _way(fleet: Fleet) -> str:
    ways = {
        "public": "public addresses" if fleet.nodes > 1 else "a public address",
        "private": "private addresses" if fleet.nodes > 1 else "a private address",
        "elastic-ip": "an Elastic IP on node 0",
    }
    return f"by way of {ways.get(fleet.connect, fleet.bastion)}"


def _quotas(plan: Plan) -> Iterator[str]:
    needed = count(plan.needed_vcpus)
    if plan.profile.fleet.market in PREPAID_MARKETS:
        yield f"{needed} vCPU, counted when the reservation was made"
        return
    said = [(region, quota) for region in plan.offer.regions for quota in region.quotas]
    if all(quota.held_vcpus is None for _, quota in said):
        codes = dict.fromkeys(f"{quota.market} {quota.quota.code}" for _, quota in said)
        yield f"{needed} vCPU needed, — held" + (f" ({', '.join(codes)})" if codes else "")
        return
    for region, quota in said:
        held = count(None if quota.held_vcpus is None else int(quota.held_vcpus))
        used = f", {count(quota.used_vcpus)} in use" if quota.used_vcpus else ""
        few = ": too few" if region.short(quota.market, plan.needed_vcpus) else ""
        where = f"{quota.market.replace('-', ' ')}, {region.name}"
        yield f"{where}: {needed} vCPU of {held}{used} ({quota.quota.code}){few}"


def _price(plan: Plan) -> Iterator[str]:
    price, market = plan.price, plan.price.market
    spot = list(_spot_rows(plan))
    rows = [f"{'dollars an hour':24}{'instance':>12}{'all':>13}  since", *spot]
    if not plan.rented:
        rows.append(_price_row("simulated" if plan.simulated else "quoted", price.billed, price.nodes))
    elif market in PREPAID_MARKETS:
        rows.append(_price_row(market.replace("-", " "), price.billed, price.nodes))
    elif market in SPOT_MARKETS and not spot:
        rows.append(_price_row("spot", price.billed, price.nodes))
    rows.append(_price_row("on demand", price.on_demand, price.nodes))
    if plan.rented:
        addresses = f", {plan.addresses} address{'' if plan.addresses == 1 else 'es'}" if plan.addresses else ""
        rows.append(f"{'volumes' + addresses:24}{'':12}{money(price.extras_usd_per_h):>13}")
        most = price.most_usd_per_h
        at_most = "≤ " if price.billed is None and most is not None else ""
        rows.append(f"{'in all':24}{'':12}{at_most + money(most):>13}")
    yield from _labelled("price", rows)
    if plan.simulated:
        return
    quotes = [quote for quote in (price.billed, price.on_demand) if quote is not None]
    for source in dict.fromkeys(_source(quote) for quote in quotes):
        yield from _wrapped(" " * _LABEL, source)


def _source(quote: Quote) -> str:
    name = quote.market.replace("-", " ")
    where = {SPOT_HISTORY: SPOT_HISTORY, PRICE_LIST: PRICE_LIST}.get(quote.source, quote.origin)
    return f"{name}: {where}" if name else where


def _spot_rows(plan: Plan) -> Iterator[str]:
    """Each zone for who rents on spot, in the order in which they are tried; for others the cheapest of each region."""
    nodes = plan.price.nodes
    if plan.price.market in SPOT_MARKETS:
        for place in plan.places:
            if place.market == "spot" and place.quote is not None:
                yield _price_row(f"spot, {place.zone}", place.quote, nodes)
        return
    for region in plan.offer.regions:
        if region.spot:
            yield _price_row(f"spot, {region.spot[0].zone}", region.spot[0], nodes)


def _price_row(name: str, quote: Quote | None, nodes: int) -> str:
    if quote is None:
        return f"{name:24}{'—':>12}{'—':>13}"
    since = "" if quote.as_of is None else f"{datetime.fromtimestamp(quote.as_of, UTC):%Y-%m-%d %H:%M}"
    if quote.source != SPOT_HISTORY:
        since = since[:10]
    return f"{name:24}{_fine(quote.usd_per_h):>12}{money(quote.usd_per_h * nodes):>13}  {since}".rstrip()


def _fine(usd: float | None) -> str:
    """Dollars to a hundredth of a cent: spot prices differ there."""
    return "—" if usd is None else f"${usd:,.4f}"


def _time(plan: Plan) -> Iterator[str]:
    predicted = plan.prediction
    if predicted is None:
        yield from _labelled("time", ["— (predicted for ResNet-50 on folders of pictures, on GPUs that are known)"])
        return
    lines = [f"{'predicted, not measured':24}{'px':>5}{'batch':>9}{'img/s':>11}{'time':>10}"]
    lines.append(f"{'the trainer starts':49}{clock(predicted.startup_s):>10}")
    lines += [_phase(phase) for phase in predicted.phases]
    target = plan.profile.run.target
    if target is not None and predicted.to_target_s is not None:
        name = f"to {metric_name(target.metric)} {percent(target.value)} in epoch {predicted.to_target_epoch}"
        lines.append(f"{name:49}{clock(predicted.to_target_s):>10}")
    lines.append(f"{'all epochs':49}{clock(predicted.total_s):>10}")
    yield from _labelled("time", lines)


def _phase(phase: PhasePrediction) -> str:
    last = phase.start_epoch + phase.epochs
    first = phase.start_epoch + 1
    epochs = f"epoch {first}" if first == last else f"epochs {first}–{last}"
    waits = "" if phase.bound == "compute" else f"  {phase.bound}"
    rate = f"{phase.img_per_s:,.0f}"
    return f"{epochs:24}{phase.image_size:>5}{count(phase.batch):>9}{rate:>11}{clock(phase.total_s):>10}{waits}"


def _cost(plan: Plan) -> Iterator[str]:
    predicted, price = plan.prediction, plan.price
    if plan.whole is None or predicted is None:
        return
    lines = [f"{'':28}{'hosts for':>10}{'billed':>13}{'on demand':>13}"]
    for name, cost in (("to the target", plan.to_target), ("all epochs", plan.whole)):
        if cost is not None:
            at_most = price.billed is None and price.market in SPOT_MARKETS and cost.on_demand_usd is not None
            billed = f"≤ {money(cost.on_demand_usd)}" if at_most else money(cost.billed_usd)
            lines.append(f"{name:28}{clock(cost.seconds):>10}{billed:>13}{money(cost.on_demand_usd):>13}")
    if plan.rented:
        lines.append(
            f"with {clock(predicted.boot_s)} until the trainer starts and {clock(CLOSING_S)} to give them back"
        )
    record = plan.profile.record
    if record is not None and record.minutes_to_target is not None:
        paid = f", {money(record.usd_to_target)}" if record.usd_to_target is not None else ""
        lines.append(f"to race: {plain(record.name, 40)}: {record.minutes_to_target:g} minutes{paid}")
    yield from _labelled("cost", lines)


def _limits(plan: Plan) -> Iterator[str]:
    limits = plan.limits
    lines = []
    if limits.budget_usd is not None and limits.stop_after_s is None:
        lines.append(f"budget {money(limits.budget_usd)}: how long it lasts is not known without a price")
    elif limits.budget_usd is not None:
        warned = money(limits.budget_usd * plan.profile.budget.warn_at)
        lines.append(
            f"budget {money(limits.budget_usd)}: warns at {warned} after {_span(limits.warn_after_s)}, "
            f"stops after {_span(limits.stop_after_s)}"
        )
    lost = "" if limits.lost_usd is None else f", {money(limits.lost_usd)} at most"
    lines.append(f"laptop lost: hosts end {_span(limits.lease_s)} after its last word{lost}")
    ends = "after the start" if limits.stop_after_s is not None else "later"
    lines.append(f"left on purpose: hosts end {_span(limits.left_s)} {ends} at the latest")
    yield from _labelled("limits", lines)


def _notes(plan: Plan) -> Iterator[str]:
    for warning in plan.warnings:
        yield from _wrapped("! ", warning)
    if plan.simulated:
        yield from _wrapped("· ", "Prices are simulated: nothing is paid.")


def _assumptions(plan: Plan) -> Iterator[str]:
    if plan.prediction is not None:
        yield "What the time is predicted from:"
        for assumption in plan.prediction.assumptions:
            yield from _wrapped("· ", assumption)


def _span(seconds: float | None) -> str:
    """A time in words, to the minute where it is some: ``24 s``, ``58 min``, ``2 h 24 min``."""
    if seconds is None:
        return "—"
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds / 60), 60)
    parts = (f"{hours} h" if hours else "", f"{minutes} min" if minutes or not hours else "")
    return " ".join(filter(None, parts))


def _labelled(label: str, lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from _wrapped(f"{label:{_LABEL}}", line)
        label = ""


def _wrapped(head: str, line: str) -> list[str]:
    if len(head) + len(line) <= COLUMNS:
        return [head + line]
    return textwrap.wrap(line, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)


# --- as JSON ---------------------------------------------------------------------------------------------------------


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as one object; dollars, seconds, epoch seconds; what is not known is null."""
    fleet, known, price, limits = plan.profile.fleet, plan.type, plan.price, plan.limits
    return {
        "schema": SCHEMA,
        "profile": plan.profile.name,
        "overrides": list(plan.profile.overrides),
        "launchable": not plan.problems,
        "problems": list(plan.problems),
        "warnings": list(plan.warnings),
        "unanswered": list(plan.offer.silent),
        "asked_t": plan.offer.t,
        "fleet": {
            "provider": fleet.provider,
            "nodes": fleet.nodes,
            "world_size": plan.profile.world_size,
            "instance_type": fleet.instance_type,
            "gpus_per_node": known.gpus if known else None,
            "gpu": known.gpu or None if known else None,
            "gpu_mem_gib": known.gpu_mem_gib if known else None,
            "vcpus_per_node": known.vcpus if known else None,
            "mem_gib_per_node": known.mem_gib if known else None,
            "network_gbit_s": known.network_gbit_s if known else None,
            "network_interfaces": plan.interfaces,
            "efa": known.efa and fleet.efa is not False if known else None,
            "market": price.market or None,
            "connect": fleet.connect if plan.rented else None,
            "placement_group": fleet.placement_group and fleet.nodes > 1 if plan.rented else None,
            "volume_gib": fleet.volume_gib if plan.rented else None,
            "addresses": plan.addresses,
            "reservation": fleet.reservation,
        },
        "regions": [_region(region) for region in plan.offer.regions],
        "needed_vcpus": plan.needed_vcpus,
        "places": [
            {"market": place.market, "region": place.region, "zone": place.zone, **_quote(place.quote)}
            for place in plan.places
        ],
        "instead": [_nearest(one) for one in plan.instead],
        "price": {
            "simulated": plan.simulated,
            "billed": _quote_or_none(price.billed),
            "on_demand": _quote_or_none(price.on_demand),
            "extras_usd_per_h": price.extras_usd_per_h,
            "fleet_usd_per_h": price.billed_usd_per_h,
            "fleet_usd_per_h_on_demand": price.on_demand_usd_per_h,
            "fleet_usd_per_h_at_most": price.most_usd_per_h,
        },
        "time": _prediction(plan),
        "cost": {"to_target": _cost_json(plan.to_target), "whole": _cost_json(plan.whole)},
        "limits": {
            "budget_usd": limits.budget_usd,
            "warn_after_s": limits.warn_after_s,
            "stop_after_s": limits.stop_after_s,
            "closing_s": limits.closing_s,
            "lease_s": limits.lease_s,
            "lost_usd": limits.lost_usd,
            "left_s": limits.left_s,
        },
    }


def _region(region: Region) -> dict[str, Any]:
    return {
        "region": region.name,
        "zones": None if region.zones is None else list(region.zones),
        "on_demand": _quote_or_none(region.on_demand),
        "spot": None if region.spot is None else [{"zone": one.zone, **_quote(one)} for one in region.spot],
        "quotas": [
            {
                "market": one.market,
                "code": one.quota.code,
                "name": one.quota.name,
                "held_vcpus": one.held_vcpus,
                "used_vcpus": one.used_vcpus,
            }
            for one in region.quotas
        ],
    }


def _quote(quote: Quote | None) -> dict[str, Any]:
    return {
        "usd_per_h": quote.usd_per_h if quote else None,
        "as_of": quote.as_of if quote else None,
        "source": quote.origin if quote else None,
        "live": quote.live if quote else None,
    }


def _quote_or_none(quote: Quote | None) -> dict[str, Any] | None:
    return None if quote is None else {"market": quote.market or None, "zone": quote.zone, **_quote(quote)}


def _nearest(one: Nearest) -> dict[str, Any]:
    return {"instance_type": one.type.name, "reason": one.reason, "usd_per_h_on_demand": one.type.usd_per_h}


def _cost_json(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {"seconds": cost.seconds, "usd": cost.billed_usd, "usd_on_demand": cost.on_demand_usd}


def _prediction(plan: Plan) -> dict[str, Any] | None:
    predicted = plan.prediction
    if predicted is None:
        return None
    return {
        "instances_start_s": predicted.boot_s,
        "trainer_start_s": predicted.startup_s,
        "total_s": predicted.total_s,
        "to_target_s": predicted.to_target_s,
        "to_target_epoch": predicted.to_target_epoch,
        "phases": [
            {
                "start_epoch": phase.start_epoch,
                "epochs": phase.epochs,
                "image_size": phase.image_size,
                "batch": phase.batch,
                "img_per_s": phase.img_per_s,
                "bound": phase.bound,
                "total_s": phase.total_s,
            }
            for phase in predicted.phases
        ],
        "assumptions": list(predicted.assumptions),
    }
