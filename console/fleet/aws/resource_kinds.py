"""What a run has at AWS beside its instances: how each kind is found by its tag, and deleted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """Something else than an instance that a run may have, and how it is found and deleted."""

    name: str
    describe: str
    key: str
    identity: str
    delete: str
    parameter: str
    option: str
    """Of the AWS CLI's command."""
    only: tuple[str, str] | None = None
    """A filter: what is not so goes with its instance."""

    def command(self, region: str, identity: str) -> str:
        """What deletes it by hand."""
        return f"aws ec2 {self.delete.replace('_', '-')} --region {region} --{self.option} {identity}"


KINDS = (
    Kind(
        "network-interface",
        "describe_network_interfaces",
        "NetworkInterfaces",
        "NetworkInterfaceId",
        "delete_network_interface",
        "NetworkInterfaceId",
        "network-interface-id",
        ("status", "available"),
    ),
    Kind(
        "volume", "describe_volumes", "Volumes", "VolumeId", "delete_volume", "VolumeId", "volume-id",
        ("status", "available"),
    ),
    Kind(
        "elastic-ip",
        "describe_addresses",
        "Addresses",
        "AllocationId",
        "release_address",
        "AllocationId",
        "allocation-id",
    ),
    Kind(
        "placement-group",
        "describe_placement_groups",
        "PlacementGroups",
        "GroupName",
        "delete_placement_group",
        "GroupName",
        "group-name",
    ),
    Kind(
        "security-group",
        "describe_security_groups",
        "SecurityGroups",
        "GroupId",
        "delete_security_group",
        "GroupId",
        "group-id",
    ),
)  # fmt: skip
"""In the order in which they let go of each other."""
