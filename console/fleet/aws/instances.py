"""Instances as EC2 describes them, and the tags by which any laptop finds them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from console.fleet.aws.cloud import Cloud

RUN_TAG = "fastconsole:run"
PROFILE_TAG = "fastconsole:profile"
OWNER_TAG = "fastconsole:owner"
NODE_TAG = "fastconsole:node"

GONE = ("shutting-down", "terminated")
"""Final states, which are not billed."""
HALTED = (*GONE, "stopping", "stopped")
"""States in which the host is not running. Ours are never stopped by us, but a user may stop one."""

_AFTER_RUNNING = (
    "Client.InstanceInitiatedShutdown",
    "Client.InstanceTerminated",
    "Client.UserInitiatedShutdown",
    "Server.ScheduledStop",
    "Server.SpotInstanceShutdown",
    "Server.SpotInstanceTermination",
)
"""The reasons in docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html that are not launch failures. A
user can end a pending instance too; a caller who saw it pending knows better."""
_ENDED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance in one answer of EC2's."""

    instance_id: str
    region: str
    zone: str
    instance_type: str
    state: str
    """``pending``, ``running``, ``shutting-down``, ``terminated``, ``stopping`` or ``stopped``."""
    reason: str
    """Why it is in that state, in EC2's words; empty if EC2 does not say."""
    code: str
    """The reason as EC2's code (StateReason)."""
    launched_t: float
    """LaunchTime, epoch seconds."""
    ended_t: float | None
    """When it was ended, if EC2 states it."""
    market: str
    """``spot``, ``capacity-block``, ``reservation`` or ``on-demand``."""
    token: str
    """The client token of the launch request."""
    private_ip: str | None = None
    public_ip: str | None = None
    interface_id: str | None = None
    """Its primary network interface."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str | None:
        """The run that it belongs to; None if it is not one of ours."""
        return self.tags.get(RUN_TAG)

    @property
    def taken_back(self) -> bool:
        """True for a spot instance that EC2 reclaimed."""
        return self.code == "Server.SpotInstanceTermination"

    @property
    def ran(self) -> bool:
        """True if it runs, or ended for a reason that implies it ran: it is, or was, billed."""
        return self.state in ("running", "stopping", "stopped") or (self.state in GONE and self.code in _AFTER_RUNNING)

    @property
    def node(self) -> int | None:
        """Its node, if its tag says so."""
        said = self.tags.get(NODE_TAG, "")
        return int(said) if said.isascii() and said.isdigit() else None


def instance_of(said: Mapping[str, Any], region: str) -> Instance:
    """The instance in an item of DescribeInstances or RunInstances."""
    launched = said.get("LaunchTime")
    transition = said.get("StateTransitionReason") or ""
    ended = _ENDED_AT.search(transition)
    why = said.get("StateReason") or {}
    market = said.get("InstanceLifecycle") or ("reservation" if said.get("CapacityReservationId") else "on-demand")
    interfaces = sorted(
        said.get("NetworkInterfaces") or (),
        key=lambda interface: (
            interface.get("Attachment", {}).get("NetworkCardIndex") or 0,
            interface.get("Attachment", {}).get("DeviceIndex") or 0,
        ),
    )
    return Instance(
        instance_id=said["InstanceId"],
        region=region,
        zone=said.get("Placement", {}).get("AvailabilityZone", ""),
        instance_type=said.get("InstanceType", ""),
        state=said.get("State", {}).get("Name", ""),
        reason=_plain(why.get("Message") or why.get("Code") or transition),
        code=why.get("Code") or "",
        launched_t=launched.timestamp() if isinstance(launched, datetime) else 0.0,
        ended_t=datetime.strptime(ended[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp() if ended else None,
        market=market,
        token=said.get("ClientToken") or "",
        private_ip=said.get("PrivateIpAddress") or None,
        public_ip=said.get("PublicIpAddress") or None,
        interface_id=interfaces[0].get("NetworkInterfaceId") if interfaces else None,
        tags={tag["Key"]: tag["Value"] for tag in said.get("Tags") or ()},
    )


async def of_run(cloud: Cloud, run_id: str) -> list[Instance]:
    """The run's instances in the cloud's region, by their tag, ended ones for about an hour. Raises CloudError."""
    return await _found(cloud, [{"Name": f"tag:{RUN_TAG}", "Values": [run_id]}])


async def of_tokens(cloud: Cloud, tokens: Iterable[str]) -> list[Instance]:
    """The instances that were requested with these client tokens. Raises CloudError."""
    return await _found(cloud, [{"Name": "client-token", "Values": sorted(tokens)}])


async def ours(cloud: Cloud) -> list[Instance]:
    """All instances of fastconsole's in the cloud's region. Raises CloudError."""
    return await _found(cloud, [{"Name": "tag-key", "Values": [RUN_TAG]}])


async def regions(cloud: Cloud) -> list[str]:
    """The regions that the account may use, sorted. Raises CloudError."""
    answer = await cloud.call("ec2", "describe_regions")
    return sorted(region["RegionName"] for region in answer["Regions"] if region.get("OptInStatus") != "not-opted-in")


async def _found(cloud: Cloud, filters: list[dict[str, Any]]) -> list[Instance]:
    region = await cloud.region()
    reservations = await cloud.pages("ec2", "describe_instances", "Reservations", Filters=filters)
    found = [instance_of(said, region) for reservation in reservations for said in reservation["Instances"]]
    return sorted(found, key=lambda instance: instance.instance_id)


def why_gone(instance: Instance) -> str | None:
    """The sentence for an instance that is gone or about to be; None for one that runs."""
    if instance.state not in HALTED:
        return None
    states = {"shutting-down": "is being terminated", "terminated": "is terminated"}
    said = states.get(instance.state, f"is {instance.state}")
    return f"EC2: {instance.instance_id} {said}" + (f" ({instance.reason})" if instance.reason else "")


def _plain(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:200]
