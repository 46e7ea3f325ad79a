"""What a region needs before instances can be launched: image, subnets, groups. Found, or else created."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from console.catalog import prices
from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.aws.images import Image, find_image
from console.fleet.aws.type_facts import Machine, describe_machine, offered_zones
from console.fleet.provider import ProviderError
from console.fleet.rental.context import AwsContext
from console.fleet.rental.network import Subnet, admitted, has_efa, interfaces, placement_group, security_group, subnets

STEPS = 5
"""How many steps `prepare` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisites:
    """What a launch in one region needs."""

    region: str
    zones: tuple[str, ...]
    """The zones to try: they offer the type and have a subnet."""
    subnets: Mapping[str, Subnet]
    machine: Machine
    image: Image
    group: str
    """The security group's id."""
    placement: str | None
    """The placement group's name."""
    spot: Mapping[str, prices.Quote]
    """The spot price of each zone whose price is known."""

    def params(self, context: AwsContext, zone: str, market: str, count: int) -> dict[str, Any]:
        """The parameters of RunInstances, without the token and the user data. Raises ProviderError."""
        fleet = context.profile.fleet
        placement = {"AvailabilityZone": zone}
        if self.placement is not None:
            placement["GroupName"] = self.placement
        tagged = ["instance", "volume", "network-interface", *(["spot-instances-request"] if market == "spot" else [])]
        volume = {
            "VolumeSize": max(fleet.volume_gib, self.image.root_gib),
            "VolumeType": "gp3",
            "DeleteOnTermination": True,
        }
        params: dict[str, Any] = {
            "ImageId": self.image.image_id,
            "InstanceType": self.machine.name,
            "MinCount": count,
            "MaxCount": count,
            "NetworkInterfaces": interfaces(fleet, self.machine, self.subnets[zone].subnet_id, self.group),
            "Placement": placement,
            "BlockDeviceMappings": [{"DeviceName": self.image.root_device, "Ebs": volume}],
            # The lease powers the host off, which has to terminate the instance.
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "TagSpecifications": context.tagged(*tagged),
        }
        if market == "spot":
            spot = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
            params["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": spot}
        elif market in ("capacity-block", "reservation"):
            target = {"CapacityReservationId": fleet.reservation}
            params["CapacityReservationSpecification"] = {"CapacityReservationTarget": target}
            if market == "capacity-block":
                params["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
        return params


async def prepare(context: AwsContext, region: str, market: str) -> AsyncIterator[str | Prerequisites]:
    """Names each step as it begins, `STEPS` of them, and yields the prerequisites last.

    Raises:
        CloudError
        ProviderError: instances cannot be launched there.
    """
    profile, fleet, cloud = context.profile, context.profile.fleet, context.cloud(region)
    assert fleet.instance_type is not None
    yield "which zones offer it"
    zones = await offered_zones(cloud, fleet.instance_type)
    machine = await describe_machine(cloud, fleet.instance_type)
    if has_efa(fleet, machine) and fleet.connect == "public":
        # Raises before anything is created.
        interfaces(fleet, machine, "", "")
    group_name: str | None = None
    if market in ("capacity-block", "reservation"):
        zones, group_name = await _reserved(cloud, context, zones)
    yield "image"
    image = await find_image(cloud, fleet.image, machine.architecture)
    yield "subnets"
    by_zone = await subnets(cloud, fleet)
    zones = _wanted(zones, by_zone, context, region)
    vpc_id = by_zone[zones[0]].vpc_id
    quotes = await _spot(cloud, machine.name) if market == "spot" else {}
    # The cheapest first; a zone without a price last.
    zones.sort(key=lambda zone: (quotes[zone].usd_per_h if zone in quotes else float("inf"), zone))
    yield "security group"
    cidrs, own = await admitted(cloud, fleet, vpc_id)
    # On disk before anything of the run is in the region.
    context.remember(replace(context.resources.in_region(region), admitted=own))
    group = await security_group(context, region, vpc_id, cidrs)
    yield "placement group"
    # A reservation has its own placement group, and EC2 places a capacity block.
    if market in ("spot", "on-demand") and profile.fleet.nodes > 1 and fleet.placement_group and machine.cluster:
        group_name = await placement_group(context, region)
    yield Prerequisites(
        region=region,
        zones=tuple(zones),
        subnets=by_zone,
        machine=machine,
        image=image,
        group=group,
        placement=group_name,
        spot=quotes,
    )


def _wanted(zones: list[str], by_zone: Mapping[str, Subnet], context: AwsContext, region: str) -> list[str]:
    fleet = context.profile.fleet
    # Zones of the home region do not restrict the others.
    named = [zone for zone in fleet.zones if zone.startswith(region)]
    offering = [zone for zone in zones if not named or zone in named]
    if not offering:
        there = ", ".join(zones)
        raise ProviderError(f"fleet.zones: {', '.join(named)} offer no {fleet.instance_type}; in {region} {there} do")
    usable = [zone for zone in offering if zone in by_zone]
    if not usable:
        where = ", ".join(offering)
        kind = "fleet.subnets names no subnet" if fleet.subnets else "there is no default subnet"
        raise ProviderError(f"{kind} in {where}, where {region} offers {fleet.instance_type}")
    return usable


async def _reserved(cloud: Cloud, context: AwsContext, zones: list[str]) -> tuple[list[str], str | None]:
    """The zone of the profile's reservation, and its placement group."""
    fleet = context.profile.fleet
    assert fleet.reservation is not None
    try:
        answer = await cloud.call("ec2", "describe_capacity_reservations", CapacityReservationIds=[fleet.reservation])
        said = answer["CapacityReservations"][0]
    except (CloudError, IndexError) as error:
        if isinstance(error, CloudError) and error.kind != "missing":
            raise
        region = await cloud.region()
        raise ProviderError(f"fleet.reservation: there is no {fleet.reservation} in {region}") from None
    what = f"fleet.reservation: {fleet.reservation}"
    if said.get("InstanceType") != fleet.instance_type:
        kind = said.get("InstanceType")
        raise ProviderError(f"{what} is of {kind}, and fleet.instance_type is {fleet.instance_type}")
    if said.get("State") != "active":
        raise ProviderError(f"{what} is {said.get('State')}; it can be used while it is active")
    free = said.get("AvailableInstanceCount", fleet.nodes)
    if free < fleet.nodes and not context.resources.open:
        raise ProviderError(f"{what} has {free} instances free, and fleet.nodes is {fleet.nodes}")
    arn = said.get("PlacementGroupArn")
    zone = said["AvailabilityZone"]
    return [one for one in zones if one == zone] or [zone], arn.rpartition("/")[2] if arn else None


async def _spot(cloud: Cloud, instance_type: str) -> dict[str, prices.Quote]:
    """The zones' spot prices; empty without the permission to ask: they only order the zones."""
    try:
        quotes = await prices.spot(cloud, instance_type, time.time())
    except CloudError as error:
        if error.kind not in ("permission", "throttled"):
            raise
        return {}
    return {quote.zone: quote for quote in quotes if quote.zone is not None}
