"""The kinds of resources that a run has at AWS beside its instances: how each is found by its tag, and deleted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource, and how it is found and deleted."""

    name: str
    describe: str
    key: str
    identity: str
    delete: str
    parameter: str
    option: str
    """The option of the AWS CLI's command that names it."""
    only: tuple[str, str] | None = None
    """A filter: resources that do not match are deleted with their instance."""

    def command(self, region: str, identity: str) -> str:
        """The AWS CLI command that deletes it."""
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
"""In the order of deletion: each is in use by those before it."""
