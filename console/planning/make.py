"""Making a plan of a profile, an offer and a prediction. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from console.billing.budget import FETCH_S, RELEASE_S, STOP_PATIENCE_S, UNATTENDED_S
from console.catalog import instance_types
from console.catalog.instance_types import InstanceType, Nearest
from console.catalog.prices import ADDRESS_USD_PER_H, PROFILE, Quote, storage_usd_per_h, table_quote
from console.planning.offer import Offer, wanted_zones
from console.planning.plan import Cost, Limits, Plan, Price, Zone
from console.planning.prediction import Prediction
from console.planning.problems import problems, warnings
from console.profile.schema import Fleet, Profile

CLOSING_S: Final = FETCH_S + RELEASE_S
"""From the trainer's end to the last second that is billed: the checkpoint's fetch and the instances' end."""


STAGE_BYTES_PER_S: Final = 1e9
"""What one host copies from S3. An assumption: 32 connections of 85 MB/s each (AWS, "Best practices design patterns:
optimizing Amazon S3 performance") would be more, and a small instance's network less."""


SAME_FLEET: Final = 0.02
"""A record ran on such a fleet if its dollars are its time at this fleet's on-demand price, within this share."""


_MARKETS: Final = {"spot-then-on-demand": ("spot", "on-demand")}


PREPAID_MARKETS: Final = ("capacity-block", "reservation")
"""Markets that are paid for whether a run uses them or not: what a run adds to that bill is not known."""


def make(profile: Profile, offer: Offer, prediction: Prediction | None) -> Plan:
    """The plan of a profile, with what AWS said and with the prediction of its training."""
    fleet = profile.fleet
    rented = fleet.provider == "aws"
    known = (instance_types.find(fleet.instance_type or "") or offer.described) if rented else None
    needed = known.vcpus * fleet.nodes if known else None
    # Where every quota is too small, prices are told all the same.
    zones = tuple(_zones(fleet, offer, needed)) or tuple(_zones(fleet, offer, None)) if rented else ()
    addresses = {"public": fleet.nodes, "elastic-ip": 1}.get(fleet.connect, 0) if rented else 0
    volumes_usd_per_h = storage_usd_per_h(fleet.volume_gib) * fleet.nodes if rented else 0.0
    on_demand = _on_demand(fleet, offer, known, zones)
    price = Price(
        market=fleet.market if rented else "",
        nodes=fleet.nodes,
        billed=_billed(fleet, zones, on_demand) if rented else _quoted(fleet.usd_per_h, fleet),
        on_demand=on_demand,
        extras_usd_per_h=volumes_usd_per_h + addresses * ADDRESS_USD_PER_H,
    )
    stage_s = None if offer.data_set is None else offer.data_set.total_bytes / STAGE_BYTES_PER_S
    plan = Plan(
        profile=profile,
        offer=offer,
        type=known,
        interfaces=known.interfaces(fleet.efa) if known else None,
        addresses=addresses,
        zones=zones,
        price=price,
        instead=_instead(known, offer),
        needed_vcpus=needed,
        prediction=prediction,
        stage_s=stage_s,
        whole=_cost(price, prediction, stage_s, prediction.total_s) if prediction else None,
        to_target=_cost(price, prediction, stage_s, prediction.to_target_s) if prediction else None,
        counted=_counted(price, prediction.to_target_s) if prediction and prediction.to_target_s else None,
        record=_record(profile, price),
        limits=_limits(profile, price),
    )
    return replace(plan, problems=tuple(problems(plan)), warnings=tuple(warnings(plan)))


# --- where, and at which price ---------------------------------------------------------------------------------------


def _zones(fleet: Fleet, offer: Offer, needed_vcpus: int | None) -> Iterator[Zone]:
    """The zones that offer the type and that the profile allows, where the quota is not known to be too small.

    In the order of `Plan.zones`."""
    held = offer.reservation
    for market in _MARKETS.get(fleet.market, (fleet.market,)):
        for region in offer.regions:
            if region.short(market, needed_vcpus) is not None:
                continue
            spot = {quote.zone: quote for quote in region.spot or ()}
            known = region.zones if region.zones is not None else tuple(zone for zone in spot if zone)
            quotes: dict[str, Quote | None] = dict.fromkeys(wanted_zones(fleet.zones, region.name, known))
            for zone in quotes:
                quotes[zone] = {"spot": spot.get(zone), "on-demand": region.on_demand}.get(market)
            for zone, quote in sorted(quotes.items(), key=_cheapest_first):
                if held is None or zone == held.zone:
                    yield Zone(market=market, region=region.name, name=zone, quote=quote)


def _cheapest_first(priced: tuple[str, Quote | None]) -> tuple[float, str]:
    zone, quote = priced
    return (quote.usd_per_h if quote is not None else float("inf")), zone


def _on_demand(fleet: Fleet, offer: Offer, known: InstanceType | None, zones: tuple[Zone, ...]) -> Quote | None:
    first = zones[0].region if zones else None
    for region in offer.regions:
        if region.on_demand is not None and first in (None, region.name):
            return region.on_demand
    quoted = _quoted(fleet.usd_per_h_on_demand, fleet)
    return quoted or (table_quote(known) if known is not None else None)


def _billed(fleet: Fleet, zones: tuple[Zone, ...], on_demand: Quote | None) -> Quote | None:
    live = next((zone.quote for zone in zones if zone.quote is not None), None)
    return live or _quoted(fleet.usd_per_h, fleet) or (on_demand if fleet.market == "on-demand" else None)


def _quoted(usd_per_h: float | None, fleet: Fleet) -> Quote | None:
    if usd_per_h is None:
        return None
    market = fleet.market if fleet.provider == "aws" else ""
    return Quote(usd_per_h=usd_per_h, market=market, source=PROFILE, as_of=None, note=fleet.price_note)


def _instead(known: InstanceType | None, offer: Offer) -> tuple[Nearest, ...]:
    if known is None:
        return ()
    here = offer.regions[0] if offer.regions else None
    gone = known.retired or (here is not None and here.zones == ())
    return instance_types.nearest(known, here.offered if here is not None else None) if gone else ()


def _cost(price: Price, prediction: Prediction, stage_s: float | None, trained_s: float | None) -> Cost | None:
    if trained_s is None:
        return None
    seconds = prediction.boot_s + (stage_s or 0.0) + trained_s + (CLOSING_S if price.market else 0.0)
    billed, on_demand = price.billed_usd_per_h, price.on_demand_usd_per_h
    return Cost(
        seconds=seconds,
        billed_usd=None if billed is None else billed * seconds / 3600,
        on_demand_usd=None if on_demand is None else on_demand * seconds / 3600,
    )


def _counted(price: Price, seconds: float) -> Cost:
    """The cost of a time of the instances alone."""

    def usd(quote: Quote | None) -> float | None:
        return None if quote is None else price.nodes * quote.usd_per_h * seconds / 3600

    return Cost(seconds=seconds, billed_usd=usd(price.billed), on_demand_usd=usd(price.on_demand))


def _record(profile: Profile, price: Price) -> Cost | None:
    """The record's time and dollars; billed at this fleet's price only where it ran on such a fleet."""
    record = profile.record
    if record is None or record.minutes_to_target is None:
        return None
    seconds = record.minutes_to_target * 60
    here, usd = _counted(price, seconds), record.usd_to_target
    same = usd is not None and here.on_demand_usd is not None and abs(here.on_demand_usd - usd) <= SAME_FLEET * usd
    return Cost(seconds=seconds, billed_usd=here.billed_usd if same else None, on_demand_usd=usd)


def _limits(profile: Profile, price: Price) -> Limits:
    budget, rate = profile.budget, price.most_usd_per_h
    lease_s, closing_s = budget.lease_minutes * 60, STOP_PATIENCE_S + CLOSING_S
    ends_s = budget.max_usd / rate * 3600 if budget.max_usd is not None and rate else None
    return Limits(
        budget_usd=budget.max_usd,
        warn_after_s=None if ends_s is None else ends_s * budget.warn_at,
        stop_after_s=None if ends_s is None else max(0.0, ends_s - closing_s),
        closing_s=closing_s,
        lease_s=lease_s,
        lost_usd=None if rate is None else min(rate * lease_s / 3600, budget.max_usd or float("inf")),
        left_s=UNATTENDED_S if ends_s is None else min(UNATTENDED_S, ends_s),
    )
