"""What EC2 does and moto does not: tokens, placement groups, quotas, checks at the launch, spot, and time passing.

Every method that is named for an action of EC2 answers it; all else goes to moto, whose objects in this process are
the one truth about what exists. An answer is what boto3 shall see, or moto's own. All runs under the front's lock.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import fake_catalog
from fake_faults import AwsError

with tempfile.NamedTemporaryFile("w", suffix=".json") as _images:
    # moto reads its images from here while it is imported, and takes the name's presence as "no others"; its own 1,300
    # cost a second.
    json.dump(fake_catalog.images(), _images)
    _images.flush()
    os.environ["MOTO_AMIS_PATH"] = _images.name
    import moto.ec2.models
    import moto.ec2.utils

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.ec2.models.instances import StateReason

# Filters of DescribeInstances that moto lacks.
moto.ec2.utils.filter_dict_attribute_mapping.update(
    {
        "client-token": "client_token",
        "reservation-id": "reservation_id",
        "instance-lifecycle": "lifecycle",
        "spot-instance-request-id": "spot_instance_request_id",
        "placement-group-name": "placement.group_name",
    }
)

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
"""Those with a default VPC of loopback addresses."""

_STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
_USER_DATA_BYTES = 16_384
_MULTI = "multiple network interfaces"


@dataclass(frozen=True)
class Machine:
    """What a machine needs to know of its instance."""

    instance_id: str
    region: str
    zone: str
    private_ip: str
    public_ip: str | None
    user_data: bytes
    """As the launch gave it, decoded from base64."""
    market: str
    instance_type: str
    state: str
    public_keys: tuple[str, ...] = ()
    """Of its EC2 key pair, which cloud-init gives to the image's login user."""


@dataclass(frozen=True)
class Happened:
    """An event for who boots the machines.

    `kind`: ``running`` (power on), ``off`` (power off: stopped or terminated), ``reboot``, ``address`` (a public
    address came or went), ``key`` (EC2 Instance Connect; `detail` is (user, public key)), ``notice`` (of a spot
    interruption; `detail` is its time), ``rebalance``.
    """

    kind: str
    machine: Machine
    detail: Any = None


@dataclass
class Launch:
    """A launch under a client token."""

    params: dict[str, Any]
    reservation: Any


@dataclass
class PlacementGroup:
    """In one region."""

    group_name: str
    strategy: str
    tags: list[dict[str, str]]
    group_id: str = field(default_factory=lambda: f"pg-{secrets.token_hex(8)}1")
    state: str = "available"
    group_arn: str = ""


class Ec2:
    """All regions."""

    def __init__(
        self,
        catalog: fake_catalog.Catalog,
        later: Callable[[float, Callable[[], None]], None],
        happened: Callable[[Happened], None],
    ) -> None:
        self.catalog = catalog
        self._later = later
        self._happened = happened
        self.pending_s = 0.1
        self.shutting_down_s = 0.1
        self.hidden: set[str] = set()
        """Instances that are not visible yet."""
        self.hide_new_s: float | None = None
        """0: new instances are visible at once (None means so too); inf: only once a test says so."""
        self._launches: dict[tuple[str, str | None, str], Launch] = {}
        self._groups: dict[str, dict[str, PlacementGroup]] = {}
        self._addresses = 0
        self.elastic = "127.200.0"
        """The elastic addresses' network."""
        self.reservations: dict[tuple[str, str], dict[str, Any]] = {}
        """Capacity reservations and blocks, by region and id."""

    def backend(self, region: str) -> Any:
        """moto's EC2 of that region."""
        return moto.ec2.models.ec2_backends[DEFAULT_ACCOUNT_ID][region]

    def backends(self) -> Iterator[tuple[str, Any]]:
        """Those that somebody has asked."""
        for account, region, backend in list(moto.ec2.models.ec2_backends.iter_backends()):
            if account == DEFAULT_ACCOUNT_ID:
                yield region, backend

    def instances(self, region: str | None = None) -> Iterator[tuple[str, Any]]:
        """(region, moto's instance), the visible and the hidden."""
        for name, backend in self.backends():
            if region in (None, name):
                for reservation in backend.reservations.values():
                    for instance in reservation.instances:
                        yield name, instance

    def instance(self, instance_id: str) -> tuple[str, Any]:
        """Raises InvalidInstanceID.NotFound."""
        for region, instance in self.instances():
            if instance.id == instance_id:
                return region, instance
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")

    def machine(self, instance_id: str) -> Machine:
        """As it is now."""
        region, instance = self.instance(instance_id)
        key = self.backend(region).key_pairs.get(instance.key_name)
        return Machine(
            instance_id=instance.id,
            region=region,
            zone=instance.placement.zone,
            private_ip=instance.private_ip,
            public_ip=instance.public_ip,
            user_data=base64.b64decode(str(instance.user_data or "")),
            market=instance.lifecycle or "on-demand",
            instance_type=instance.instance_type,
            state=instance.state,
            public_keys=() if key is None else (_text(key.material_public).strip(),),
        )

    # --- networks

    def loopback_vpc(self, region: str, second: int) -> str:
        """A default VPC 127.<second>.0.0/16 with a default subnet in each of the first three zones; its id.

        moto's own default VPC goes: its addresses are nobody's.
        """
        backend = self.backend(region)
        old = backend.get_default_vpc()
        for subnets in backend.subnets.values():
            subnets.clear()
        backend.delete_vpc(old.id)
        vpc = backend.default_vpc = backend.create_vpc(cidr_block=f"127.{second}.0.0/16", is_default=True)
        for number, zone in enumerate(backend.describe_availability_zones([])[:3], 1):
            cidr = f"127.{second}.{number}.0/24"
            subnet = backend.create_subnet(vpc.id, cidr, availability_zone=zone.name)
            subnet.default_for_az = subnet.map_public_ip_on_launch = True
        return str(vpc.id)

    # --- launch

    def run_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        token = params.get("ClientToken", "")
        zone = self.zone(region, params)
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
        backend = self.backend(region)
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
        if self.hide_new_s:
            self.hidden.update(ids)
            if self.hide_new_s != float("inf"):
                self._later(self.hide_new_s, lambda: self.hidden.difference_update(ids))
        self._later(self.pending_s, lambda: self._run(ids))
        return reservation

    def _born(
        self, region: str, backend: Any, instance: Any, reservation: Any, params: dict[str, Any], spec: dict[str, Any]
    ) -> None:
        _set_state(instance, "pending")
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
            if nic.public_ip is not None:
                nic.public_ip = _public_twin(instance.private_ip)
        root = instance.root_device_name
        if root not in dict(instance.get_block_device_mapping):
            # The image's own root volume is there whether or not the launch says anything about it.
            instance.add_block_device(8, root, None, False, True, None, volume_type="gp3")

    def _checked(self, region: str, zone: str | None, params: dict[str, Any], count: int) -> dict[str, Any]:
        """The instance type's description. Raises AwsError as EC2 does for what cannot be launched."""
        backend = self.backend(region)
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
        self._check_group(region, zone, name, spec, params)
        self._check_market(region, zone, name, params)
        self._check_reservation(region, zone, name, params, count)
        self._check_quota(region, name, spec, params, count)
        return dict(spec)

    def _check_interfaces(self, region: str, name: str, spec: dict[str, Any], params: dict[str, Any]) -> None:
        backend = self.backend(region)
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
        if any(each.get("InterfaceType") == "efa-only" for each in interfaces if each.get("DeviceIndex") == 0):
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

    def _check_group(
        self, region: str, zone: str | None, name: str, spec: dict[str, Any], params: dict[str, Any]
    ) -> None:
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

    def _check_market(self, region: str, zone: str | None, name: str, params: dict[str, Any]) -> None:
        market = params.get("InstanceMarketOptions", {})
        most = market.get("SpotOptions", {}).get("MaxPrice")
        if market.get("MarketType") != "spot" or not most:
            return
        now = self.catalog.spot_history(name, zone or f"{region}a")
        if now and float(most) < now[0].usd_per_h:
            raise AwsError(
                "SpotMaxPriceTooLow",
                f"Your Spot request price of {most} is lower than the minimum required Spot request fulfillment price "
                f"of {now[0].usd_per_h}.",
            )

    def _check_reservation(self, region: str, zone: str | None, name: str, params: dict[str, Any], count: int) -> None:
        target = params.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
        wanted = target.get("CapacityReservationId")
        if wanted is None:
            if params.get("InstanceMarketOptions", {}).get("MarketType") == "capacity-block":
                raise AwsError("MissingParameter", "A capacity block needs CapacityReservationTarget.")
            return
        found = self.reservations.get((region, wanted))
        if found is None:
            raise AwsError(
                "InvalidCapacityReservationId.NotFound", f"The capacity reservation '{wanted}' does not exist."
            )
        if name != found["InstanceType"] or (zone or found["AvailabilityZone"]) != found["AvailabilityZone"]:
            raise AwsError(
                "InvalidParameterValue", f"The capacity reservation '{wanted}' is of another type or Availability Zone."
            )
        if count > found["AvailableInstanceCount"] - self._reserved(wanted):
            raise AwsError("ReservationCapacityExceeded", "The capacity reservation has not enough capacity left.")

    def _check_quota(self, region: str, name: str, spec: dict[str, Any], params: dict[str, Any], count: int) -> None:
        spot = params.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        code = _quota_code(name, spot)
        limit = None if code is None else self.catalog.quota(code, region)
        if limit is None or params.get("InstanceMarketOptions", {}).get("MarketType") == "capacity-block":
            return
        used = sum(
            INSTANCE_TYPES[each.instance_type]["VCpuInfo"]["DefaultVCpus"]
            for _, each in self.instances(region)
            if each.state in ("pending", "running")
            and each.lifecycle != "capacity-block"
            and _quota_code(each.instance_type, each.lifecycle == "spot") == code
        )
        if used + count * spec["VCpuInfo"]["DefaultVCpus"] > limit:
            raise AwsError("MaxSpotInstanceCountExceeded" if spot else "VcpuLimitExceeded")

    def zone(self, region: str, params: dict[str, Any]) -> str | None:
        """The zone that a call's parameters name; None where they name none."""
        subnets = [params.get("SubnetId")] + [
            each.get("SubnetId") for each in params.get("NetworkInterfaces", []) if isinstance(each, dict)
        ]
        backend = self.backend(region)
        for wanted in filter(None, subnets):
            for each in backend.subnets.values():
                if wanted in each and isinstance(wanted, str):
                    return str(each[wanted].availability_zone)
        placement = params.get("Placement")
        named = params.get("AvailabilityZone") or (placement or {}).get("AvailabilityZone")
        return str(named) if named else None

    # --- time passing

    def _run(self, ids: list[str]) -> None:
        for instance_id in ids:
            _, instance = self.instance(instance_id)
            if instance.state == "pending":
                _set_state(instance, "running")
                self._happened(Happened("running", self.machine(instance_id)))

    def end(self, instance_id: str, code: str, message: str, transition: str, *, stop: bool = False) -> None:
        """The instance goes: power off now, ``terminated`` (or ``stopped``) a moment later."""
        region, instance = self.instance(instance_id)
        if instance.state in ("shutting-down", "terminated") or (stop and instance.state in ("stopping", "stopped")):
            return
        machine = self.machine(instance_id)
        _set_state(instance, "stopping" if stop else "shutting-down")
        reason = StateReason(f"{code}: {message}", code)
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
        instance.state_reason, instance._reason = reason, f"{transition} ({stamp})" if transition else ""
        self._happened(Happened("off", machine))
        self._later(self.shutting_down_s, lambda: self._ended(region, instance, stop))

    def _ended(self, region: str, instance: Any, stop: bool) -> None:
        kept = instance.state_reason, instance._reason
        if stop:
            if instance.state == "stopping":
                instance.stop()
                _set_state(instance, "stopped")
        else:
            backend = self.backend(region)
            for address in backend.addresses:
                if address.instance is instance or (address.eni is not None and address.eni in instance.nics.values()):
                    address.instance = address.eni = address.association_id = None
            for nic in instance.nics.values():
                nic.public_ip = None
            instance.terminate()
            _set_state(instance, "terminated")
        instance.state_reason, instance._reason = kept

    def terminate_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        chosen = self._chosen(region, params)
        answer = []
        for instance in chosen:
            before = {"Name": instance.state, "Code": instance.state_code}
            self.end(instance.id, "Client.UserInitiatedShutdown", "User initiated shutdown", "User initiated")
            after = {"Name": instance.state, "Code": instance.state_code}
            answer.append({"InstanceId": instance.id, "PreviousState": before, "CurrentState": after})
        return {"TerminatingInstances": answer}

    def stop_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        answer = []
        for instance in self._chosen(region, params):
            if instance.lifecycle == "spot":
                raise AwsError("UnsupportedOperation", f"You can't stop the Spot Instance '{instance.id}'.")
            before = {"Name": instance.state, "Code": instance.state_code}
            self.end(
                instance.id, "Client.UserInitiatedShutdown", "User initiated shutdown", "User initiated", stop=True
            )
            after = {"Name": instance.state, "Code": instance.state_code}
            answer.append({"InstanceId": instance.id, "PreviousState": before, "CurrentState": after})
        return {"StoppingInstances": answer}

    def start_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        chosen = self._chosen(region, params)
        for instance in chosen:
            if instance.state not in ("stopped", "running"):
                raise AwsError(
                    "IncorrectInstanceState", f"The instance '{instance.id}' is not in a state from which it can start."
                )
        answer = []
        for instance in chosen:
            before = {"Name": instance.state, "Code": instance.state_code}
            if instance.state == "stopped":
                instance.start()
                _set_state(instance, "pending")
                instance.launch_time = datetime.now(UTC)
                self._later(self.pending_s, lambda name=instance.id: self._run([name]))
            after = {"Name": instance.state, "Code": instance.state_code}
            answer.append({"InstanceId": instance.id, "PreviousState": before, "CurrentState": after})
        return {"StartingInstances": answer}

    def reboot_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        for instance in self._chosen(region, params):
            self._happened(Happened("reboot", self.machine(instance.id)))
        return {}

    def _chosen(self, region: str, params: dict[str, Any]) -> list[Any]:
        ids = params.get("InstanceIds", [])
        if not ids:
            raise AwsError("MissingParameter", "The request must contain the parameter InstanceId")
        there = {each.id: each for _, each in self.instances(region) if each.id not in self.hidden}
        missing = [each for each in ids if each not in there]
        if len(missing) == 1:
            raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{missing[0]}' does not exist")
        if missing:
            raise AwsError("InvalidInstanceID.NotFound", f"The instance IDs '{', '.join(missing)}' do not exist")
        if params.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
        return [there[each] for each in ids]

    # --- looking

    @contextlib.contextmanager
    def _without_hidden(self, region: str) -> Iterator[None]:
        backend = self.backend(region)
        kept = dict(backend.reservations)
        try:
            for name, reservation in kept.items():
                seen = [each for each in reservation.instances if each.id not in self.hidden]
                if len(seen) == len(reservation.instances):
                    continue
                if seen:
                    backend.reservations[name] = copy.copy(reservation)
                    backend.reservations[name].instances = seen
                else:
                    del backend.reservations[name]
            yield
        finally:
            backend.reservations.clear()
            backend.reservations.update(kept)

    def describe_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        for instance_id in params.get("InstanceIds", []):
            if not instance_id.startswith("i-"):
                raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
        with self._without_hidden(region):
            return request.forward()

    def describe_instance_status(self, region: str, params: dict[str, Any], request: Any) -> Any:
        if params.get("InstanceIds"):
            self._chosen(region, params)
        with self._without_hidden(region):
            return request.forward()

    def create_tags(self, region: str, params: dict[str, Any], request: Any) -> Any:
        for resource in params.get("Resources", []):
            if resource in self.hidden:
                raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{resource}' does not exist")
        return request.forward()

    def describe_spot_price_history(self, region: str, params: dict[str, Any], request: Any) -> Any:
        return self.catalog.describe_spot_price_history(region, params)

    def describe_instance_types(self, region: str, params: dict[str, Any], request: Any) -> Any:
        missing = [name for name in params.get("InstanceTypes", []) if name not in INSTANCE_TYPES]
        if missing:
            raise AwsError(
                "InvalidInstanceType",
                f"The following supplied instance types do not exist: [{', '.join(missing)}]",
            )
        return request.forward()

    # --- security groups

    def delete_security_group(self, region: str, params: dict[str, Any], request: Any) -> Any:
        wanted = params.get("GroupId")
        for _, instance in self.instances(region):
            if instance.state != "terminated" and wanted in _groups_of(instance):
                raise AwsError("DependencyViolation", f"resource {wanted} has a dependent object")
        backend = self.backend(region)
        for others in backend.groups.values():
            for other in others.values():
                for rule in [*other.ingress_rules, *other.egress_rules]:
                    if other.id != wanted and rule.source_group.get("GroupId") == wanted:
                        raise AwsError("DependencyViolation", f"resource {wanted} has a dependent object")
        return request.forward()

    # --- placement groups

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
        group.group_arn = f"arn:aws:ec2:{region}:{DEFAULT_ACCOUNT_ID}:placement-group/{name}"
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
        if any(True for _ in self._members(region, name)):
            raise AwsError(
                "InvalidPlacementGroup.InUse", f"The placement group '{name}' is in use and may not be deleted."
            )
        del self._groups[region][name]
        return {}

    def placement_groups(self) -> Iterator[tuple[str, PlacementGroup]]:
        """(region, group)."""
        for region, groups in self._groups.items():
            for group in groups.values():
                yield region, group

    def _members(self, region: str, group: str) -> Iterator[tuple[str, Any]]:
        for name, instance in self.instances(region):
            if instance.state != "terminated" and instance.placement.group_name == group:
                yield name, instance

    # --- addresses

    def allocate_address(self, region: str, params: dict[str, Any], request: Any) -> Any:
        self._addresses += 1
        return request.forward({**request.form, "Domain": "vpc", "Address": f"{self.elastic}.{self._addresses}"})

    def associate_address(self, region: str, params: dict[str, Any], request: Any) -> Any:
        backend = self.backend(region)
        instance = None
        if "InstanceId" in params:
            (instance,) = self._chosen(region, {"InstanceIds": [params["InstanceId"]]})
            if len(instance.nics) > 1:
                raise AwsError(
                    "InvalidInstanceID",
                    f"There are multiple interfaces attached to instance '{instance.id}'. Please specify an interface "
                    "ID for the operation instead.",
                )
        elif "NetworkInterfaceId" in params:
            nic = backend.enis.get(params["NetworkInterfaceId"])
            instance = nic.instance if nic is not None else None
        if instance is not None and instance.state == "pending":
            raise AwsError(
                "IncorrectInstanceState",
                f"The pending-instance-creation instance '{instance.id}' is not in a valid state for this operation.",
            )
        answer = request.forward()
        if answer.status == 200 and instance is not None:
            self._happened(Happened("address", self.machine(instance.id)))
        return answer

    def release_address(self, region: str, params: dict[str, Any], request: Any) -> Any:
        for address in self.backend(region).addresses:
            if address.allocation_id == params.get("AllocationId") and (address.instance or address.eni):
                raise AwsError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
        return request.forward()

    # --- spot

    def describe_spot_instance_requests(self, region: str, params: dict[str, Any], request: Any) -> Any:
        found = []
        for _, instance in self.instances(region):
            if instance.lifecycle != "spot" or instance.id in self.hidden:
                continue
            over = instance.state in ("shutting-down", "terminated")
            code = "fulfilled"
            if over:
                taken = instance.state_reason.code == "Server.SpotInstanceTermination"
                code = "instance-terminated-no-capacity" if taken else "instance-terminated-by-user"
            found.append(
                {
                    "SpotInstanceRequestId": instance.spot_instance_request_id,
                    "InstanceId": instance.id,
                    "State": "closed" if over else "active",
                    "Status": {"Code": code, "Message": code, "UpdateTime": datetime.now(UTC)},
                    "Type": "one-time",
                    "CreateTime": instance.launch_time,
                    "InstanceInterruptionBehavior": "terminate",
                    "LaunchedAvailabilityZone": instance.placement.zone,
                    "ProductDescription": "Linux/UNIX",
                }
            )
        wanted = params.get("SpotInstanceRequestIds")
        return {
            "SpotInstanceRequests": [each for each in found if not wanted or each["SpotInstanceRequestId"] in wanted]
        }

    def cancel_spot_instance_requests(self, region: str, params: dict[str, Any], request: Any) -> Any:
        return {
            "CancelledSpotInstanceRequests": [
                {"SpotInstanceRequestId": each, "State": "cancelled"} for each in params["SpotInstanceRequestIds"]
            ]
        }

    # --- capacity reservations

    def describe_capacity_reservations(self, region: str, params: dict[str, Any], request: Any) -> Any:
        wanted = params.get("CapacityReservationIds", [])
        for each in wanted:
            if (region, each) not in self.reservations:
                raise AwsError(
                    "InvalidCapacityReservationId.NotFound", f"The capacity reservation '{each}' does not exist."
                )
        return {
            "CapacityReservations": [
                {**found, "AvailableInstanceCount": found["AvailableInstanceCount"] - self._reserved(name)}
                for (where, name), found in self.reservations.items()
                if where == region and (not wanted or name in wanted)
            ]
        }

    def _reserved(self, name: str) -> int:
        return sum(
            1
            for _, each in self.instances()
            if each.capacity_reservation_id == name and each.state in ("pending", "running")
        )

    # --- console

    def get_console_output(self, region: str, params: dict[str, Any], request: Any) -> Any:
        (instance,) = self._chosen(region, {"InstanceIds": [params["InstanceId"]]})
        output = base64.b64encode(getattr(instance, "console", "").encode()).decode()
        return {"InstanceId": instance.id, "Timestamp": datetime.now(UTC), "Output": output}

    # --- what is left

    def left_over(self) -> Iterator[str]:
        """One line for each thing in any region that costs money or that somebody made and did not delete."""
        for region, instance in self.instances():
            if instance.state != "terminated":
                yield f"{region} instance {instance.id} {instance.state}"
        for region, backend in self.backends():
            for volume in backend.volumes.values():
                yield f"{region} volume {volume.id} {volume.status}"
            for address in backend.addresses:
                yield f"{region} address {address.allocation_id} {address.public_ip}"
            for groups in backend.groups.values():
                for group in groups.values():
                    if group.name != "default":
                        yield f"{region} security group {group.id} {group.name}"
            for key in backend.key_pairs.values():
                yield f"{region} key pair {key.key_name}"
            for nic in backend.enis.values():
                if nic.instance is None or nic.instance.state == "terminated":
                    yield f"{region} network interface {nic.id}"
            for template in getattr(backend, "launch_templates", {}).values():
                yield f"{region} launch template {template.id}"
        for region, group in self.placement_groups():
            yield f"{region} placement group {group.group_name}"


def _text(given: str | bytes) -> str:
    return given.decode() if isinstance(given, bytes) else given


def _set_state(instance: Any, name: str) -> None:
    instance._state.name, instance._state.code = name, _STATES[name]


def _groups_of(instance: Any) -> set[str]:
    return {group.id for group in instance.security_groups} | {
        group.id for nic in instance.nics.values() for group in nic.group_set
    }


def _public_twin(private_ip: str) -> str:
    """127.10.1.4 is reached from outside as 127.110.1.4."""
    first, second, third, fourth = private_ip.split(".")
    return f"{first}.{int(second) + 100}.{third}.{fourth}"


def _quota_code(instance_type: str, spot: bool) -> str | None:
    family = instance_type.split(".", 1)[0]
    if family.startswith("p"):
        return "L-7212CCBC" if spot else "L-417A185B"
    if family.startswith(("g", "vt")):
        return "L-3819A6DF" if spot else "L-DB2E81BA"
    return None


def _matches(group: PlacementGroup, name: str, values: list[str]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in group.tags}
    if name.startswith("tag:"):
        return tags.get(name[4:]) in values
    if name == "tag-key":
        return bool(set(tags) & set(values))
    return {"group-name": group.group_name, "strategy": group.strategy, "state": group.state}.get(name) in values
