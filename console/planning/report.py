"""A plan as text of 80 columns, for ``fastconsole plan``. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from console.catalog.prices import PRICE_LIST, SPOT_HISTORY, Quote
from console.format import amount, clock, count, metric_name, money, percent, plain
from console.planning.make import CLOSING_S, PREPAID_MARKETS
from console.planning.plan import SPOT_MARKETS, Plan
from console.planning.prediction import PhasePrediction
from console.profile.schema import Fleet

COLUMNS: Final = 80
_LABEL: Final = 10
WEIGHED: Final = 2
"""How many inputs of the prediction are listed with what depends on them."""


def text(plan: Plan) -> str:
    """The plan as text: problems, what is rented, price, time, cost, limits, and what the prediction rests on."""
    parts = [_title(plan), _problems(plan), _rent(plan), _data(plan), _price(plan), _time(plan), _cost(plan)]
    parts += [_limits(plan), _notes(plan), _assumptions(plan), _sensitivity(plan)]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def _title(plan: Plan) -> Iterator[str]:
    title = plan.profile.text.split("\n", 1)[0].lstrip("# ").rstrip(".")
    yield from textwrap.wrap(plain(f"{plan.profile.name}: {title}", 400), COLUMNS)


def _problems(plan: Plan) -> Iterator[str]:
    if plan.problems:
        yield "Cannot be launched as it is:"
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
        # The reason for every — above and below.
        yield from _labelled("AWS", (f"no answer: {sentence}" for sentence in plan.offer.silent))


def _data(plan: Plan) -> Iterator[str]:
    """What is copied to every host first."""
    data, found = plan.profile.data, plan.offer.data_set
    if data.stage_from is None:
        return
    source = plain(data.stage_from, 200)
    if found is None:
        # S3 did not say, or only the hosts see the folder.
        yield from _labelled("data", [f"{source}, to {plain(data.dir, 200)} on every host; how much is not known"])
        return
    checked = "a packed set" if found.packed else "no packed set"
    files = f"{count(found.objects)} file{'' if found.objects == 1 else 's'}"
    lines = [f"{source}: {amount(found.total_bytes)} in {files}, {checked}"]
    lines.append(f"to {plain(data.dir, 200)} on every host, {clock(plan.stage_s)} at 1 GB/s each (assumed)")
    yield from _labelled("data", lines)


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
    return f"through {ways.get(fleet.connect, fleet.bastion)}"


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
        rows.append(f"{'total':24}{'':12}{at_most + money(most):>13}")
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
    """On spot every zone, in the order in which they are tried; in other markets the cheapest of each region."""
    nodes = plan.price.nodes
    if plan.price.market in SPOT_MARKETS:
        for zone in plan.zones:
            if zone.market == "spot" and zone.quote is not None:
                yield _price_row(f"spot, {zone.name}", zone.quote, nodes)
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
    lines.append(f"{'start-up':49}{clock(predicted.startup_s):>10}")
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
    lines = [f"{'':37}{'time':>9}{'billed':>12}{'on demand':>12}"]
    rows = [
        ("to the target, as DAWNBench counts it", plan.counted),
        (f"  {_record_name(plan)}", plan.record),
        ("the whole bill, to the target", plan.to_target),
        ("the whole bill, all epochs", plan.whole),
    ]
    if not plan.rented:
        rows = [(name.replace("the whole bill, ", ""), cost) for name, cost in rows if cost is not plan.to_target]
    for name, cost in rows:
        if cost is not None:
            unsaid = cost is not plan.record and price.billed is None and price.market in SPOT_MARKETS
            at_most = unsaid and cost.on_demand_usd is not None
            billed = f"≤ {money(cost.on_demand_usd)}" if at_most else money(cost.billed_usd)
            lines.append(f"{name:37}{clock(cost.seconds):>9}{billed:>12}{money(cost.on_demand_usd):>12}")
    if plan.rented:
        before = clock(predicted.boot_s + (plan.stage_s or 0.0))
        lines.append(
            "DAWNBench counts the trainer's time at the instances' price; the whole bill has "
            f"{before} until the trainer starts, {clock(CLOSING_S)} to release the hosts, volumes, addresses"
        )
    yield from _labelled("cost", lines)


def _record_name(plan: Plan) -> str:
    record = plan.profile.record
    return plain(record.name, 35) if record is not None else ""


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
    lines.append(f"laptop lost: hosts end {_span(limits.lease_s)} after the last contact{lost}")
    ends = "after the start" if limits.stop_after_s is not None else "later"
    lines.append(f"detached: hosts end {_span(limits.left_s)} {ends} at the latest")
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


def _sensitivity(plan: Plan) -> Iterator[str]:
    predicted = plan.prediction
    if predicted is None or not predicted.sensitivity:
        return
    goal_s = predicted.total_s if predicted.to_target_s is None else predicted.to_target_s
    rate = plan.price.most_usd_per_h
    yield from _wrapped("", f"What it depends on most, of {clock(goal_s)}, for a figure a fifth lower and higher:")
    for weight in predicted.sensitivity[:WEIGHED]:
        changes = [_change(seconds, rate) for seconds in (weight.less_s, weight.more_s)]
        yield f"· {weight.what:34}{changes[0]:>21}{changes[1]:>21}"


def _change(seconds: float, usd_per_h: float | None) -> str:
    usd = "" if usd_per_h is None else f" {'-' if seconds < 0 else '+'}{money(abs(seconds) * usd_per_h / 3600)}"
    return f"{seconds:+.0f} s{usd}"


def _span(seconds: float | None) -> str:
    """A time as ``24 s``, ``58 min`` or ``2 h 24 min``."""
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
