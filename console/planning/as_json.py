"""A plan as one JSON object, for ``fastconsole plan --json``. Pure."""

from __future__ import annotations

from typing import Any, Final

from console.catalog.instance_types import Nearest
from console.catalog.prices import Quote
from console.planning.offer import Region
from console.planning.plan import Cost, Plan

SCHEMA: Final = 1
"""Version of the object's form. Within a version keys may be added, none removed."""


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as one object: dollars, seconds, times in epoch seconds; what is not known is null."""
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
            {"market": zone.market, "region": zone.region, "zone": zone.name, **_quote(zone.quote)}
            for zone in plan.zones
        ],
        "instead": [_nearest(nearest) for nearest in plan.instead],
        "price": {
            "simulated": plan.simulated,
            "billed": _quote_or_none(price.billed),
            "on_demand": _quote_or_none(price.on_demand),
            "extras_usd_per_h": price.extras_usd_per_h,
            "fleet_usd_per_h": price.billed_usd_per_h,
            "fleet_usd_per_h_on_demand": price.on_demand_usd_per_h,
            "fleet_usd_per_h_at_most": price.most_usd_per_h,
        },
        "data": {
            "stage_from": plan.profile.data.stage_from,
            "files": plan.offer.data_set.objects if plan.offer.data_set else None,
            "total_bytes": plan.offer.data_set.total_bytes if plan.offer.data_set else None,
            "copy_s": plan.stage_s,
        },
        "time": _prediction(plan),
        "cost": {
            "counted": _cost_json(plan.counted),
            "record": _cost_json(plan.record),
            "to_target": _cost_json(plan.to_target),
            "whole": _cost_json(plan.whole),
        },
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
        "spot": None if region.spot is None else [{"zone": quote.zone, **_quote(quote)} for quote in region.spot],
        "quotas": [
            {
                "market": said.market,
                "code": said.quota.code,
                "name": said.quota.name,
                "held_vcpus": said.held_vcpus,
                "used_vcpus": said.used_vcpus,
            }
            for said in region.quotas
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


def _nearest(nearest: Nearest) -> dict[str, Any]:
    known = nearest.type
    return {"instance_type": known.name, "reason": nearest.reason, "usd_per_h_on_demand": known.usd_per_h}


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
        "sensitivity": [
            {"what": weight.what, "a_fifth_less_s": weight.less_s, "a_fifth_more_s": weight.more_s}
            for weight in predicted.sensitivity
        ],
    }
