"""Addresses of the fake EC2, all of them loopback: default VPCs, public twins of private addresses, Elastic IPs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fake_ec2 import Happened, give_public_twin
from fake_faults import AwsError

if TYPE_CHECKING:
    from fake_ec2 import Ec2


class Addresses:
    """Those of all regions."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self._made = 0
        self.elastic = "127.200.0"
        """The elastic addresses' network."""

    def loopback_vpc(self, region: str, second: int) -> str:
        """A default VPC 127.<second>.0.0/16 with a default subnet in each of the first three zones; its id.

        moto's own default VPC goes: its addresses are nobody's.
        """
        backend = self._ec2.backend(region)
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

    def allocate_address(self, region: str, params: dict[str, Any], request: Any) -> Any:
        self._made += 1
        return request.forward({**request.form, "Domain": "vpc", "Address": f"{self.elastic}.{self._made}"})

    def associate_address(self, region: str, params: dict[str, Any], request: Any) -> Any:
        backend = self._ec2.backend(region)
        instance = None
        if "InstanceId" in params:
            (instance,) = self._ec2.chosen(region, {"InstanceIds": [params["InstanceId"]]})
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
            for address in backend.addresses:
                if address.eni in instance.nics.values():
                    # moto knows only of the interface, where the call named one.
                    address.instance = instance
            self._ec2.happened(Happened("address", self._ec2.machine(instance.id)))
        return answer

    def disassociate_address(self, region: str, params: dict[str, Any], request: Any) -> Any:
        freed = [
            address.instance
            for address in self._ec2.backend(region).addresses
            if address.association_id == params.get("AssociationId") and address.instance is not None
        ]
        answer = request.forward()
        for instance in freed:
            give_public_twin(instance)
            self._ec2.happened(Happened("address", self._ec2.machine(instance.id)))
        return answer

    def release_address(self, region: str, params: dict[str, Any], request: Any) -> Any:
        for address in self._ec2.backend(region).addresses:
            if address.allocation_id == params.get("AllocationId") and (address.instance or address.eni):
                raise AwsError("InvalidIPAddress.InUse", f"Address {address.public_ip} is in use.")
        return request.forward()

    def left_over(self) -> Iterator[str]:
        """As FakeCloud.left_over."""
        for region, backend in self._ec2.backends():
            for address in backend.addresses:
                yield f"{region} address {address.allocation_id} {address.public_ip}"
