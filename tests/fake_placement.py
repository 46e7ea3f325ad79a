"""Placement groups of the fake EC2, which moto has none of."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fake_faults import AwsError

if TYPE_CHECKING:
    from fake_ec2 import Ec2

ACCOUNT = "123456789012"


@dataclass
class PlacementGroup:
    """In one region."""

    group_name: str
    strategy: str
    tags: list[dict[str, str]]
    group_id: str = field(default_factory=lambda: f"pg-{secrets.token_hex(8)}1")
    state: str = "available"
    group_arn: str = ""


class PlacementGroups:
    """Those of all regions."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self._groups: dict[str, dict[str, PlacementGroup]] = {}

    def create_placement_group(self, region: str, params: dict[str, Any], request: Any) -> Any:
        groups = self._groups.setdefault(region, {})
        name = params["GroupName"]
        if name in groups:
            raise AwsError("InvalidPlacementGroup.Duplicate", f"The placement group '{name}' already exists.")
        if params.get("Strategy", "cluster") not in ("cluster", "partition", "spread"):
            raise AwsError("InvalidParameterValue", f"Invalid value '{params['Strategy']}' for strategy.")
        if params.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
        tags = [
            tag
            for specification in params.get("TagSpecifications", [])
            if specification["ResourceType"] == "placement-group"
            for tag in specification["Tags"]
        ]
        group = PlacementGroup(name, params.get("Strategy", "cluster"), tags)
        group.group_arn = f"arn:aws:ec2:{region}:{ACCOUNT}:placement-group/{name}"
        groups[name] = group
        return {"PlacementGroup": group}

    def describe_placement_groups(self, region: str, params: dict[str, Any], request: Any) -> Any:
        groups = self._groups.get(region, {})
        for name in params.get("GroupNames", []):
            if name not in groups:
                raise AwsError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
        found = [
            group
            for group in groups.values()
            if not params.get("GroupNames") or group.group_name in params["GroupNames"]
            if not params.get("GroupIds") or group.group_id in params["GroupIds"]
            if all(_matches(group, each["Name"], each["Values"]) for each in params.get("Filters", []))
        ]
        return {"PlacementGroups": found}

    def delete_placement_group(self, region: str, params: dict[str, Any], request: Any) -> Any:
        name = params["GroupName"]
        if name not in self._groups.get(region, {}):
            raise AwsError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
        if any(self._members(region, name)):
            raise AwsError(
                "InvalidPlacementGroup.InUse", f"The placement group '{name}' is in use and may not be deleted."
            )
        del self._groups[region][name]
        return {}

    def __iter__(self) -> Iterator[tuple[str, PlacementGroup]]:
        """(region, group)."""
        for region, groups in self._groups.items():
            for group in groups.values():
                yield region, group

    def _members(self, region: str, group: str) -> Iterator[tuple[str, Any]]:
        for name, instance in self._ec2.instances(region):
            if instance.state != "terminated" and instance.placement.group_name == group:
                yield name, instance

    def check(self, region: str, zone: str | None, name: str, spec: dict[str, Any], params: dict[str, Any]) -> None:
        wanted = params.get("Placement", {}).get("GroupName")
        if not wanted:
            return
        group = self._groups.get(region, {}).get(wanted)
        if group is None:
            raise AwsError("InvalidPlacementGroup.Unknown", f"The Placement Group '{wanted}' is unknown.")
        if group.strategy not in spec.get("PlacementGroupInfo", {}).get("SupportedStrategies", []):
            raise AwsError(
                "InvalidParameterCombination", f"Placement groups may not be used with instances of type '{name}'."
            )
        for _, other in self._members(region, wanted):
            if group.strategy == "cluster" and zone is not None and other.placement.zone != zone:
                raise AwsError(
                    "InvalidParameterValue",
                    f"Instances in the Placement Group must be launched in the {other.placement.zone} Availability "
                    f"Zone. Specify the {other.placement.zone} Availability Zone and try again",
                )


def _matches(group: PlacementGroup, name: str, values: list[str]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in group.tags}
    if name.startswith("tag:"):
        return tags.get(name[4:]) in values
    if name == "tag-key":
        return bool(set(tags) & set(values))
    return {"group-name": group.group_name, "strategy": group.strategy, "state": group.state}.get(name) in values
