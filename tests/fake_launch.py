"""RunInstances of the fake EC2: client tokens as EC2 keeps them, and what EC2 refuses that moto lets pass."""

from __future__ import annotations

import base64
import copy
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fake_ec2 import give_public_twin, set_state
from fake_faults import AwsError
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

if TYPE_CHECKING:
    from fake_ec2 import Ec2
    from fake_market import Market
    from fake_placement import PlacementGroups

_USER_DATA_BYTES = 16_384
_MULTI = "multiple network interfaces"


@dataclass
class Launch:
    """A launch under a client token."""

    params: dict[str, Any]
    reservation: Any


class Launches:
    """All launches, in all regions."""

    def __init__(self, ec2: Ec2, groups: PlacementGroups, market: Market) -> None:
        self._ec2 = ec2
        self._groups = groups
        self._market = market
        self._launches: dict[tuple[str, str | None, str], Launch] = {}

    def run_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        token = params.get("ClientToken", "")
        zone = self._ec2.zone(region, params)
        asked = {name: value for name, value in params.items() if name not in ("ClientToken", "DryRun")}
        before = self._launches.get((region, zone, token)) if token else None
        if before is not None:
            if before.params != asked:
                raise AwsError(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
                )
            if all(each.state in ("shutting-down", "terminated") for each in before.reservation.instances):
                raise AwsError(
                    "IdempotentInstanceTerminated",
                    "The instance that the client token belongs to has been terminated; use another token.",
                )
            return before.reservation
        backend = self._ec2.backend(region)
        count = int(params["MaxCount"])
        spec = self._checked(region, zone, params, count)
        if params.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
        form = dict(request.form)
        form["MinCount"] = str(count)
        for index, interface in enumerate(params.get("NetworkInterfaces", []), 1):
            # moto keeps an instance's interfaces by device index alone, which is unique only within a card.
            form[f"NetworkInterface.{index}.DeviceIndex"] = str(index - 1)
            form[f"NetworkInterface.{index}.DeleteOnTermination"] = str(
                interface.get("DeleteOnTermination", True)
            ).lower()
        known = set(backend.reservations)
        answer = request.forward(form)
        if answer.status != 200:
            return answer
        (name,) = set(backend.reservations) - known
        reservation = copy.copy(backend.reservations[name])
        if token:
            self._launches[region, zone, token] = Launch(asked, reservation)
        for instance in reservation.instances:
            self._born(region, backend, instance, reservation, params, spec)
        ids = [instance.id for instance in reservation.instances]
        if self._ec2.hide_new_s:
            self._ec2.hidden.update(ids)
            if self._ec2.hide_new_s != float("inf"):
                self._ec2.later(self._ec2.hide_new_s, lambda: self._ec2.hidden.difference_update(ids))
        self._ec2.later(self._ec2.pending_s, lambda: self._ec2.run(ids))
        return reservation

    def _born(
        self, region: str, backend: Any, instance: Any, reservation: Any, params: dict[str, Any], spec: dict[str, Any]
    ) -> None:
        set_state(instance, "pending")
        instance.reservation_id = reservation.id
        instance.placement.group_name = params.get("Placement", {}).get("GroupName", "")
        instance.network_card_count = spec["NetworkInfo"]["MaximumNetworkCards"]
        market = params.get("InstanceMarketOptions", {})
        instance.lifecycle = market.get("MarketType")
        if instance.lifecycle == "spot":
            instance.spot_instance_request_id = f"sir-{secrets.token_hex(4)}"
            instance.spot_options = market.get("SpotOptions", {})
        reserved = params.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
        instance.capacity_reservation_id = reserved.get("CapacityReservationId")
        instance.capacity_reservation_specification = params.get("CapacityReservationSpecification")
        for index, nic in sorted(instance.nics.items()):
            if not params.get("NetworkInterfaces"):
                nic.delete_on_termination = True
            for specification in params.get("TagSpecifications", []):
                if specification["ResourceType"] == "network-interface":
                    nic.add_tags({tag["Key"]: tag["Value"] for tag in specification["Tags"]})
            asked = params.get("NetworkInterfaces", [])
            if index < len(asked):
                nic.interface_type = asked[index].get("InterfaceType", "interface")
        give_public_twin(instance)
        root = instance.root_device_name
        if root not in dict(instance.get_block_device_mapping):
            # The image's own root volume is there whether or not the launch says anything about it.
            instance.add_block_device(8, root, None, False, True, None, volume_type="gp3")

    def _checked(self, region: str, zone: str | None, params: dict[str, Any], count: int) -> dict[str, Any]:
        """The instance type's description. Raises AwsError as EC2 does for what cannot be launched."""
        backend = self._ec2.backend(region)
        name = params.get("InstanceType", "m1.small")
        spec = INSTANCE_TYPES.get(name)
        if spec is None:
            raise AwsError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
        if not any(offer["InstanceType"] == name for offer in INSTANCE_TYPE_OFFERINGS["region"].get(region, [])):
            raise AwsError(
                "Unsupported",
                "The requested configuration is currently not supported. Please check the documentation for supported "
                "configurations.",
            )
        zones = sorted(
            offer["Location"]
            for offer in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
            if offer["InstanceType"] == name
        )
        if zone is not None and zone not in zones:
            raise AwsError(
                "Unsupported",
                f"Your requested instance type ({name}) is not supported in your requested Availability Zone ({zone}). "
                "Please retry your request by not specifying an Availability Zone or choosing "
                f"{', '.join(zones)}.",
            )
        image = params.get("ImageId", "")
        if not image.startswith("ami-"):
            raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image}" (expecting "ami-...")')
        if image not in backend.amis:
            raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image}]' does not exist")
        key = params.get("KeyName")
        if key is not None and key not in backend.key_pairs:
            raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{key}' does not exist")
        if len(base64.b64decode(params.get("UserData", ""))) > _USER_DATA_BYTES:
            raise AwsError("InvalidParameterValue", "User data is limited to 16384 bytes")
        self._check_interfaces(region, name, spec, params)
        self._check_tags(params)
        self._groups.check(region, zone, name, spec, params)
        self._market.check_price(region, zone, name, params)
        self._market.check_reservation(region, zone, name, params, count)
        self._market.check_quota(region, name, spec, params, count)
        return dict(spec)

    def _check_interfaces(self, region: str, name: str, spec: dict[str, Any], params: dict[str, Any]) -> None:
        backend = self._ec2.backend(region)
        interfaces = params.get("NetworkInterfaces", [])
        groups = list(params.get("SecurityGroupIds", []))
        if interfaces and (groups or params.get("SecurityGroups")):
            raise AwsError(
                "InvalidParameterCombination",
                "Network interfaces and an instance-level security groups may not be specified on the same request",
            )
        subnets = [params["SubnetId"]] if "SubnetId" in params else []
        for interface in interfaces:
            groups += interface.get("Groups", [])
            subnets += [interface["SubnetId"]] if "SubnetId" in interface else []
        for group in groups:
            if backend.get_security_group_from_id(group) is None:
                raise AwsError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
        for subnet in subnets:
            if not any(subnet in each for each in backend.subnets.values()):
                raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet}' does not exist")
        if len(interfaces) > 1 and any("AssociatePublicIpAddress" in each for each in interfaces):
            raise AwsError(
                "InvalidParameterCombination",
                f"The associatePublicIPAddress parameter cannot be specified when launching with {_MULTI}.",
            )
        places = [(each.get("NetworkCardIndex", 0), each.get("DeviceIndex")) for each in interfaces]
        if interfaces and ((0, 0) not in places or len(set(places)) < len(places)):
            raise AwsError("InvalidParameterValue", "Each network interface requires a unique device index.")
        network = spec["NetworkInfo"]
        if any(card >= network["MaximumNetworkCards"] for card, _ in places):
            raise AwsError("InvalidNetworkInterface.NetworkCardIndex", f"{name} has no such network card.")
        fabric = [each for each in interfaces if each.get("InterfaceType") in ("efa", "efa-only")]
        if fabric and not network.get("EfaSupported"):
            raise AwsError(
                "InvalidParameterCombination",
                f"Elastic Fabric Adapter (EFA) interfaces are not supported on '{name}' instances.",
            )
        if fabric and len(fabric) > network["EfaInfo"]["MaximumEfaInterfaces"]:
            raise AwsError("AttachmentLimitExceeded", f"EFA interface count {len(fabric)} exceeds the limit for {name}")
        primary = [each for each, place in zip(interfaces, places, strict=True) if place == (0, 0)]
        if any(each.get("InterfaceType") == "efa-only" for each in primary):
            raise AwsError("InvalidParameterCombination", "The primary network interface cannot be EFA-only.")

    def _check_tags(self, params: dict[str, Any]) -> None:
        spot = params.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        for specification in params.get("TagSpecifications", []):
            kind = specification["ResourceType"]
            if kind not in ("instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu") or (
                kind == "spot-instances-request" and not spot
            ):
                raise AwsError(
                    "InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation."
                )
            for tag in specification["Tags"]:
                if len(tag["Key"]) > 127 or len(tag.get("Value", "")) > 255 or tag["Key"].startswith("aws:"):
                    raise AwsError("InvalidParameterValue", f"Tag {tag['Key']!r} is not valid.")
