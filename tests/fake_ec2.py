"""What EC2 does and moto does not: instances go through their states, and new ones may be hidden for a while.

Every method that is named for an action of EC2 answers it; all else goes to moto, whose objects in this process are
the one truth about what exists; so it is in fake_launch, fake_placement, fake_addresses and fake_market. An answer is
what boto3 shall see, or moto's own. All runs under the cloud's lock.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from moto.ec2.models.instance_types import INSTANCE_TYPES
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


class Ec2:
    """All regions."""

    def __init__(
        self,
        catalog: fake_catalog.Catalog,
        later: Callable[[float, Callable[[], None]], None],
        happened: Callable[[Happened], None],
    ) -> None:
        self.catalog = catalog
        self.later = later
        self.happened = happened
        self.pending_s = 0.1
        self.shutting_down_s = 0.1
        self.hidden: set[str] = set()
        """Instances that are not visible yet."""
        self.hide_new_s: float | None = None
        """0: new instances are visible at once (None means so too); inf: only once a test says so."""

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

    def run(self, ids: list[str]) -> None:
        """From pending to running."""
        for instance_id in ids:
            _, instance = self.instance(instance_id)
            if instance.state == "pending":
                set_state(instance, "running")
                self.happened(Happened("running", self.machine(instance_id)))

    def forget_ended(self) -> None:
        """Terminated instances are described no more, as an hour after their end."""
        for _, backend in self.backends():
            for name, reservation in list(backend.reservations.items()):
                kept = copy.copy(reservation)
                kept.instances = [each for each in reservation.instances if each.state != "terminated"]
                if kept.instances:
                    backend.reservations[name] = kept
                else:
                    del backend.reservations[name]

    def end(self, instance_id: str, code: str, message: str, transition: str, *, stop: bool = False) -> None:
        """The instance goes: power off now, ``terminated`` (or ``stopped``) a moment later."""
        region, instance = self.instance(instance_id)
        if instance.state in ("shutting-down", "terminated") or (stop and instance.state in ("stopping", "stopped")):
            return
        machine = self.machine(instance_id)
        set_state(instance, "stopping" if stop else "shutting-down")
        reason = StateReason(f"{code}: {message}", code)
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
        instance.state_reason, instance._reason = reason, f"{transition} ({stamp})" if transition else ""
        self.happened(Happened("off", machine))
        self.later(self.shutting_down_s, lambda: self._ended(region, instance, stop))

    def _ended(self, region: str, instance: Any, stop: bool) -> None:
        kept = instance.state_reason, instance._reason
        if stop:
            if instance.state == "stopping":
                instance.stop()
                set_state(instance, "stopped")
        else:
            backend = self.backend(region)
            for address in backend.addresses:
                if address.instance is instance or (address.eni is not None and address.eni in instance.nics.values()):
                    address.instance = address.eni = address.association_id = None
            for nic in instance.nics.values():
                nic.public_ip = None
            instance.terminate()
            set_state(instance, "terminated")
        instance.state_reason, instance._reason = kept

    def terminate_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        chosen = self.chosen(region, params)
        answer = []
        for instance in chosen:
            before = {"Name": instance.state, "Code": instance.state_code}
            self.end(instance.id, "Client.UserInitiatedShutdown", "User initiated shutdown", "User initiated")
            after = {"Name": instance.state, "Code": instance.state_code}
            answer.append({"InstanceId": instance.id, "PreviousState": before, "CurrentState": after})
        return {"TerminatingInstances": answer}

    def stop_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        answer = []
        for instance in self.chosen(region, params):
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
        chosen = self.chosen(region, params)
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
                give_public_twin(instance)
                set_state(instance, "pending")
                instance.launch_time = datetime.now(UTC)
                self.later(self.pending_s, lambda name=instance.id: self.run([name]))
            after = {"Name": instance.state, "Code": instance.state_code}
            answer.append({"InstanceId": instance.id, "PreviousState": before, "CurrentState": after})
        return {"StartingInstances": answer}

    def reboot_instances(self, region: str, params: dict[str, Any], request: Any) -> Any:
        for instance in self.chosen(region, params):
            self.happened(Happened("reboot", self.machine(instance.id)))
        return {}

    def chosen(self, region: str, params: dict[str, Any]) -> list[Any]:
        """The instances that a call names. Raises AwsError where one is none, or is not visible yet."""
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
            self.chosen(region, params)
        with self._without_hidden(region):
            return request.forward()

    def create_tags(self, region: str, params: dict[str, Any], request: Any) -> Any:
        for resource in params.get("Resources", []):
            if resource in self.hidden:
                raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{resource}' does not exist")
        return request.forward()

    def describe_instance_types(self, region: str, params: dict[str, Any], request: Any) -> Any:
        missing = [name for name in params.get("InstanceTypes", []) if name not in INSTANCE_TYPES]
        if missing:
            raise AwsError(
                "InvalidInstanceType",
                f"The following supplied instance types do not exist: [{', '.join(missing)}]",
            )
        return request.forward()

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

    def get_console_output(self, region: str, params: dict[str, Any], request: Any) -> Any:
        (instance,) = self.chosen(region, {"InstanceIds": [params["InstanceId"]]})
        output = base64.b64encode(getattr(instance, "console", "").encode()).decode()
        return {"InstanceId": instance.id, "Timestamp": datetime.now(UTC), "Output": output}

    def left_over(self) -> Iterator[str]:
        """One line for each thing in any region that costs money or that somebody made and did not delete."""
        for region, instance in self.instances():
            if instance.state != "terminated":
                yield f"{region} instance {instance.id} {instance.state}"
        for region, backend in self.backends():
            for volume in backend.volumes.values():
                yield f"{region} volume {volume.id} {volume.status}"
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


def _text(given: str | bytes) -> str:
    return given.decode() if isinstance(given, bytes) else given


def set_state(instance: Any, name: str) -> None:
    """Of moto's instance."""
    instance._state.name, instance._state.code = name, _STATES[name]


def _groups_of(instance: Any) -> set[str]:
    return {group.id for group in instance.security_groups} | {
        group.id for nic in instance.nics.values() for group in nic.group_set
    }


def give_public_twin(instance: Any) -> None:
    """Where EC2 gave the instance a public address, it is 127.110.1.4 for the private 127.10.1.4."""
    first, second, third, fourth = instance.private_ip.split(".")
    for nic in instance.nics.values():
        if nic.public_ip is not None and not nic.public_ip.startswith("127."):
            nic.public_ip = f"{first}.{int(second) + 100}.{third}.{fourth}"
