"""On what terms the fake EC2 gives instances: spot requests and prices, capacity reservations, vCPU quotas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fake_faults import AwsError
from moto.ec2.models.instance_types import INSTANCE_TYPES

if TYPE_CHECKING:
    from fake_ec2 import Ec2


class Market:
    """Of all regions."""

    def __init__(self, ec2: Ec2) -> None:
        self._ec2 = ec2
        self.reservations: dict[tuple[str, str], dict[str, Any]] = {}
        """Capacity reservations and blocks, by region and id."""

    def describe_spot_price_history(self, region: str, params: dict[str, Any], request: Any) -> Any:
        return self._ec2.catalog.describe_spot_price_history(region, params)

    def describe_spot_instance_requests(self, region: str, params: dict[str, Any], request: Any) -> Any:
        found = []
        for _, instance in self._ec2.instances(region):
            if instance.lifecycle != "spot" or instance.id in self._ec2.hidden:
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
            for _, each in self._ec2.instances()
            if each.capacity_reservation_id == name and each.state in ("pending", "running")
        )

    def check_price(self, region: str, zone: str | None, name: str, params: dict[str, Any]) -> None:
        market = params.get("InstanceMarketOptions", {})
        most = market.get("SpotOptions", {}).get("MaxPrice")
        if market.get("MarketType") != "spot" or not most:
            return
        now = self._ec2.catalog.spot_history(name, zone or f"{region}a")
        if now and float(most) < now[0].usd_per_h:
            raise AwsError(
                "SpotMaxPriceTooLow",
                f"Your Spot request price of {most} is lower than the minimum required Spot request fulfillment price "
                f"of {now[0].usd_per_h}.",
            )

    def check_reservation(self, region: str, zone: str | None, name: str, params: dict[str, Any], count: int) -> None:
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

    def check_quota(self, region: str, name: str, spec: dict[str, Any], params: dict[str, Any], count: int) -> None:
        spot = params.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        code = _quota_code(name, spot)
        limit = None if code is None else self._ec2.catalog.quota(code, region)
        if limit is None or params.get("InstanceMarketOptions", {}).get("MarketType") == "capacity-block":
            return
        used = sum(
            INSTANCE_TYPES[each.instance_type]["VCpuInfo"]["DefaultVCpus"]
            for _, each in self._ec2.instances(region)
            if each.state in ("pending", "running")
            and each.lifecycle != "capacity-block"
            and _quota_code(each.instance_type, each.lifecycle == "spot") == code
        )
        if used + count * spec["VCpuInfo"]["DefaultVCpus"] > limit:
            raise AwsError("MaxSpotInstanceCountExceeded" if spot else "VcpuLimitExceeded")


def _quota_code(instance_type: str, spot: bool) -> str | None:
    family = instance_type.split(".", 1)[0]
    if family.startswith("p"):
        return "L-7212CCBC" if spot else "L-417A185B"
    if family.startswith(("g", "vt")):
        return "L-3819A6DF" if spot else "L-DB2E81BA"
    return None
