"""What EC2 states of an instance type that a launch has to know: its zones, its network cards, its processor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from console.catalog import instance_types
from console.fleet.aws.cloud import Cloud
from console.fleet.provider import ProviderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An instance type as RunInstances has to know it."""

    name: str
    vcpus: int
    architecture: str
    """``x86_64`` or ``arm64``."""
    cards: tuple[int, ...] = (0,)
    """Indexes of its network cards."""
    efa_cards: tuple[int, ...] = ()
    """Those that can hold an EFA interface."""
    cluster: bool = False
    """It may be in a cluster placement group."""


def machine_of(said: Mapping[str, Any]) -> Machine:
    """The type in an item of DescribeInstanceTypes."""
    network: Mapping[str, Any] = said.get("NetworkInfo", {})
    listed = {card["NetworkCardIndex"]: card.get("InterfaceTypes") or () for card in network.get("NetworkCards") or ()}
    cards = tuple(sorted(listed)) or tuple(range(network.get("MaximumNetworkCards", 1)))
    efa_cards: tuple[int, ...] = ()
    if network.get("EfaSupported"):
        efa_cards = tuple(card for card in cards if {"efa", "efa-only"} & set(listed.get(card, ())))
        # Where EC2 does not say which: if one card has none (p6-b300), it is the first.
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
    """The type as EC2 states it. Raises CloudError."""
    answer = await cloud.call("ec2", "describe_instance_types", InstanceTypes=[name])
    return machine_of(answer["InstanceTypes"][0])


async def offered_zones(cloud: Cloud, name: str) -> list[str]:
    """The region's zones that offer the type, sorted.

    Raises:
        CloudError
        ProviderError: none does; the sentence names what comes nearest.
    """
    zones = {place for _, place in await _offers(cloud, "availability-zone", [name])}
    if zones:
        return sorted(zones)
    offered = {one for one, _ in await _offers(cloud, "region", sorted(instance_types.TYPES))}
    raise ProviderError(not_offered(name, await cloud.region(), offered))


async def _offers(cloud: Cloud, kind: str, names: list[str]) -> list[tuple[str, str]]:
    filters = [{"Name": "instance-type", "Values": names}]
    said = await cloud.pages(
        "ec2", "describe_instance_type_offerings", "InstanceTypeOfferings", LocationType=kind, Filters=filters
    )
    return [(one["InstanceType"], one["Location"]) for one in said]


def not_offered(name: str, region: str, offered: Collection[str]) -> str:
    """The sentence for a type that a region does not offer."""
    known = instance_types.find(name)
    if known is None:
        alike = [one for one in instance_types.alike(name) if one in offered]
        hint = f"did you mean {alike[0]}?" if alike else "`fastconsole plan` tells where a type is offered"
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
    return ", or ".join(f"{one.type.name}, {one.reason}" for one in near)
