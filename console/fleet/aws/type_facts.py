"""The facts about an instance type that a launch needs from EC2: zones, network cards, processor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from console.catalog import instance_types
from console.fleet.aws.cloud import Cloud
from console.fleet.provider import ProviderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An instance type, as far as RunInstances' parameters depend on it."""

    name: str
    vcpus: int
    architecture: str
    """``x86_64`` or ``arm64``."""
    cards: tuple[int, ...] = (0,)
    """Indexes of its network cards."""
    efa_cards: tuple[int, ...] = ()
    """The cards that support an EFA interface."""
    cluster: bool = False
    """True if it can be in a cluster placement group."""


def machine_of(said: Mapping[str, Any]) -> Machine:
    """The type in an item of DescribeInstanceTypes."""
    network: Mapping[str, Any] = said.get("NetworkInfo", {})
    listed = {card["NetworkCardIndex"]: card.get("InterfaceTypes") or () for card in network.get("NetworkCards") or ()}
    cards = tuple(sorted(listed)) or tuple(range(network.get("MaximumNetworkCards", 1)))
    efa_cards: tuple[int, ...] = ()
    if network.get("EfaSupported"):
        efa_cards = tuple(card for card in cards if {"efa", "efa-only"} & set(listed.get(card, ())))
        # If EC2 does not say which: the card without EFA (p6-b300) is the first.
        efa_cards = efa_cards or cards[-network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 1) :]
    architectures = said.get("ProcessorInfo", {}).get("SupportedArchitectures") or ["x86_64"]
    return Machine(
        name=said["InstanceType"],
        vcpus=said.get("VCpuInfo", {}).get("DefaultVCpus", 0),
        architecture="x86_64" if "x86_64" in architectures else architectures[0],
        cards=cards,
        efa_cards=efa_cards,
        cluster="cluster" in said.get("PlacementGroupInfo", {}).get("SupportedStrategies", ()),
    )


async def describe_machine(cloud: Cloud, name: str) -> Machine:
    """The type as EC2 describes it. Raises CloudError."""
    answer = await cloud.call("ec2", "describe_instance_types", InstanceTypes=[name])
    return machine_of(answer["InstanceTypes"][0])


async def offered_zones(cloud: Cloud, name: str) -> list[str]:
    """The region's zones that offer the type, sorted.

    Raises:
        CloudError
        ProviderError: none does; the sentence names the nearest type.
    """
    zones = {zone for _, zone in await _offers(cloud, "availability-zone", [name])}
    if zones:
        return sorted(zones)
    offered = {offer for offer, _ in await _offers(cloud, "region", sorted(instance_types.TYPES))}
    raise ProviderError(not_offered(name, await cloud.region(), offered))


async def _offers(cloud: Cloud, kind: str, names: list[str]) -> list[tuple[str, str]]:
    filters = [{"Name": "instance-type", "Values": names}]
    said = await cloud.pages(
        "ec2", "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType=kind, Filters=filters
    )
    return [(offer["InstanceType"], offer["Location"]) for offer in said]


def not_offered(name: str, region: str, offered: Collection[str]) -> str:
    """The sentence for a type that a region does not offer."""
    known = instance_types.find(name)
    if known is None:
        alike = [other for other in instance_types.alike(name) if other in offered]
        hint = f"did you mean {alike[0]}?" if alike else "`fastconsole plan` shows where a type is offered"
    else:
        near = instance_types.nearest(known, offered)
        hint = f"nearest there: {_either(near)}" if near else "another region may offer it (fleet.region)"
    return f"fleet.instance_type: {name} is not offered in {region}; {hint}"


def retired(name: str) -> str | None:
    """The sentence for a type that EC2 no longer has; None for all others."""
    known = instance_types.find(name)
    if known is None or not known.retired:
        return None
    near = _either(instance_types.nearest(known))
    return f"fleet.instance_type: {name} is not offered in any region any more ({known.retired}); nearest: {near}"


def _either(near: tuple[instance_types.Nearest, ...]) -> str:
    return ", or ".join(f"{nearest.type.name}, {nearest.reason}" for nearest in near)
