"""The network of a run: subnets, security group, placement group, interfaces, and who may reach port 22."""

from __future__ import annotations

import asyncio
import ipaddress
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.aws.instances import RUN_TAG
from console.fleet.aws.type_facts import Machine
from console.fleet.provider import ProviderError
from console.fleet.rental.context import AwsContext
from console.profile.schema import Fleet

_WHO_AM_I = "https://checkip.amazonaws.com"
_WHO_AM_I_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet to launch into."""

    subnet_id: str
    zone: str
    vpc_id: str


async def subnets(cloud: Cloud, fleet: Fleet) -> dict[str, Subnet]:
    """The subnet of each zone: the profile's that are in the region, or the default ones.

    Raises:
        CloudError
        ProviderError: they are in more than one VPC, or there is none.
    """
    region = await cloud.region()
    chosen = (
        {"Name": "subnet-id", "Values": list(fleet.subnets)}
        if fleet.subnets
        else {"Name": "default-for-az", "Values": ["true"]}
    )
    said = await cloud.pages("ec2", "describe_subnets", "Subnets", Filters=[chosen])
    found = [
        Subnet(subnet_id=subnet["SubnetId"], zone=subnet["AvailabilityZone"], vpc_id=subnet["VpcId"])
        for subnet in sorted(said, key=lambda subnet: str(subnet["SubnetId"]))
    ]
    if not found:
        if fleet.subnets:
            raise ProviderError(f"fleet.subnets: {region} has none of {', '.join(fleet.subnets)}")
        raise ProviderError(
            f"{region} has no default subnets: name some with fleet.subnets, or make them with "
            f"`aws ec2 create-default-vpc --region {region}`"
        )
    if len({subnet.vpc_id for subnet in found}) > 1:
        raise ProviderError(f"fleet.subnets: {', '.join(fleet.subnets)} are in different VPCs; name subnets of one VPC")
    by_zone: dict[str, Subnet] = {}
    for subnet in found:
        by_zone.setdefault(subnet.zone, subnet)
    return by_zone


async def admitted(cloud: Cloud, fleet: Fleet, vpc_id: str) -> tuple[list[str], str | None]:
    """The addresses (CIDR) that may reach the SSH port, and which of them is this laptop's own.

    Raises:
        CloudError
        ProviderError: this laptop's public address cannot be determined.
    """
    if fleet.ssh_from is not None:
        return [fleet.ssh_from], None
    if fleet.connect in ("private", "bastion"):
        # Connections come from inside the VPC, or from a network that fleet.ssh_from has to name.
        answer = await cloud.call("ec2", "describe_vpcs", VpcIds=[vpc_id])
        return [answer["Vpcs"][0]["CidrBlock"]], None
    own = await own_address()
    return [own], own


async def own_address() -> str:
    """This laptop's public address (CIDR). Raises ProviderError if it cannot be determined."""
    return await asyncio.to_thread(_own_address)


def _own_address() -> str:
    try:
        with urllib.request.urlopen(_WHO_AM_I, timeout=_WHO_AM_I_TIMEOUT_S) as answer:
            text = answer.read(100).decode("ascii", "replace").strip()
        return f"{ipaddress.IPv4Address(text)}/32"
    except (OSError, ValueError, urllib.error.URLError) as error:
        why = getattr(error, "reason", None) or error
        raise ProviderError(
            f"this laptop's public address could not be found out ({_WHO_AM_I}: {why}); "
            "say who may reach port 22 with fleet.ssh_from, for example 203.0.113.7/32"
        ) from None


async def security_group(context: AwsContext, region: str, vpc_id: str, cidrs: list[str]) -> str:
    """The run's security group, created if missing: open to itself, and the SSH port to `cidrs` alone.

    Raises:
        CloudError
        ProviderError: it exists but EC2 does not show it.
    """
    try:
        made = await context.create(
            region,
            "security-group",
            "create_security_group",
            GroupName=context.name,
            Description=f"fastconsole run {context.name}",
            VpcId=vpc_id,
            TagSpecifications=context.tagged("security-group"),
        )
        group = str(made["GroupId"])
    except CloudError as error:
        if error.kind != "duplicate":
            raise
        group = await _group_by_name(context, region, vpc_id)
    # EFA needs explicit rules in both directions; a new group's egress to everywhere is not enough.
    itself = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    port = context.profile.fleet.ssh_port
    await _allow(context, region, "ingress", group, itself)
    await _allow(context, region, "egress", group, itself)
    for cidr in cidrs:
        await _allow(context, region, "ingress", group, ssh_rule(port, cidr))
    return group


def ssh_rule(port: int, cidr: str) -> dict[str, Any]:
    """Port `port` from `cidr`, as a permission of a security group."""
    if ":" in cidr:
        return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "Ipv6Ranges": [{"CidrIpv6": cidr}]}
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": cidr}]}


async def readmit(context: AwsContext, region: str, before: str, own: str) -> None:
    """Allows SSH from this laptop's address `own` (CIDR) in place of `before`. Raises CloudError."""
    filters = [{"Name": f"tag:{RUN_TAG}", "Values": [context.run_id]}]
    cloud, port = context.cloud(region), context.profile.fleet.ssh_port
    for group in await cloud.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=filters):
        await _allow(context, region, "ingress", group["GroupId"], ssh_rule(port, own))
        try:
            rule = ssh_rule(port, before)
            await context.make(region, "revoke_security_group_ingress", GroupId=group["GroupId"], IpPermissions=[rule])
        except CloudError as error:
            if error.kind != "missing":
                raise


async def _allow(context: AwsContext, region: str, way: str, group: str, rule: dict[str, Any]) -> None:
    end = context.patience.visible_s
    while True:
        try:
            await context.make(region, f"authorize_security_group_{way}", GroupId=group, IpPermissions=[rule])
            return
        except CloudError as error:
            if error.kind == "duplicate":
                return
            # Just created, and not visible everywhere yet.
            if error.code != "InvalidGroup.NotFound" or end <= 0:
                raise
        await asyncio.sleep(context.patience.poll_s)
        end -= context.patience.poll_s


async def _group_by_name(context: AwsContext, region: str, vpc_id: str) -> str:
    filters = [{"Name": "group-name", "Values": [context.name]}, {"Name": "vpc-id", "Values": [vpc_id]}]
    end = context.patience.visible_s
    while True:
        groups = await context.cloud(region).pages("ec2", "describe_security_groups", "SecurityGroups", Filters=filters)
        if groups:
            return str(groups[0]["GroupId"])
        if end <= 0:
            raise ProviderError(f"EC2 says that security group {context.name} exists in {region} and does not show it")
        await asyncio.sleep(context.patience.poll_s)
        end -= context.patience.poll_s


async def placement_group(context: AwsContext, region: str) -> str:
    """The run's cluster placement group, created if missing. Raises CloudError."""
    try:
        await context.create(
            region,
            "placement-group",
            "create_placement_group",
            GroupName=context.name,
            Strategy="cluster",
            TagSpecifications=context.tagged("placement-group"),
        )
    except CloudError as error:
        if error.kind != "duplicate":
            raise
    return context.name


def has_efa(fleet: Fleet, kind: Machine) -> bool:
    """True if the instances get EFA interfaces. Raises ProviderError if the profile wants EFA and the type has none."""
    if fleet.efa and not kind.efa_cards:
        raise ProviderError(f"fleet.efa is true, and {kind.name} has no EFA; set it to false, or take p4d.24xlarge")
    return bool(kind.efa_cards) if fleet.efa is None else fleet.efa


def interfaces(fleet: Fleet, kind: Machine, subnet_id: str, group: str) -> list[dict[str, Any]]:
    """The network interfaces of an instance, as RunInstances takes them.

    A type with one card has one interface. With EFA on several cards, the primary interface is a plain one that holds
    the address, and every EFA-capable card gets an EFA-only one: on card 0 as its second device, elsewhere as its first
    (docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-acc-inst-types.html).

    Raises:
        ProviderError: EFA is asked for and the type has none, or public addresses for several interfaces.
    """
    base = {"SubnetId": subnet_id, "Groups": [group], "DeleteOnTermination": True}
    primary: dict[str, Any] = {**base, "DeviceIndex": 0, "NetworkCardIndex": 0}
    efa = has_efa(fleet, kind)
    if not efa or len(kind.cards) == 1:
        if efa:
            primary["InterfaceType"] = "efa"
        return [{**primary, "AssociatePublicIpAddress": fleet.connect == "public"}]
    if fleet.connect == "public":
        raise ProviderError(
            f'fleet.connect is "public", and EC2 gives no public addresses to {kind.name}, which has several network '
            'cards: say "elastic-ip", "bastion" or "private" (or efa = false for one plain interface)'
        )
    others = [
        {**base, "InterfaceType": "efa-only", "NetworkCardIndex": card, "DeviceIndex": 0 if card else 1}
        for card in kind.efa_cards
    ]
    return [{**primary, "InterfaceType": "interface"}, *others]
