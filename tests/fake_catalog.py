"""What the fake AWS publishes: prices (on demand and spot), quotas, images and their SSM parameters.

Tests set what they need; the figures that stand here are round enough to be told from live ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_faults import AwsError

USD_PER_H = {
    "p3dn.24xlarge": 31.212,
    "p4d.24xlarge": 21.9576,
    "p4de.24xlarge": 27.4471,
    "p5.4xlarge": 6.88,
    "p5.48xlarge": 55.04,
    "p5en.48xlarge": 63.296,
    "p6-b200.48xlarge": 113.93,
    "g4dn.12xlarge": 3.912,
    "g4dn.xlarge": 0.526,
    "g5.xlarge": 1.006,
    "g5.12xlarge": 5.672,
    "g5.48xlarge": 16.288,
    "g6.xlarge": 0.8048,
    "g6.48xlarge": 13.3504,
    "g6e.xlarge": 1.861,
    "g6e.48xlarge": 30.1312,
    "t3.micro": 0.0104,
}
"""On demand, in every region."""

SPOT_SHARE = 0.4
"""Of the on-demand price, in every zone that offers the type, where a test says nothing else."""

QUOTAS = {
    "L-417A185B": 10_000.0,
    "L-7212CCBC": 10_000.0,
    "L-C4BD4855": 10_000.0,
    "L-DB2E81BA": 10_000.0,
    "L-3819A6DF": 10_000.0,
}
"""vCPUs: P on demand, P spot up to P4, P5 spot, G and VT on demand, G and VT spot."""

_QUOTA_NAMES = {
    "L-417A185B": "Running On-Demand P instances",
    "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
    "L-C4BD4855": "All P5 Spot Instance Requests",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
}

PYTORCH_PARAMETER = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.7-ubuntu-22.04/latest/ami-id"
BASE_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"

IMAGES = {
    "ami-0d1a000000000000a": "Deep Learning OSS Nvidia Driver AMI GPU PyTorch 2.7 (Ubuntu 22.04) 20261105",
    "ami-0d1a000000000000b": "Deep Learning OSS Nvidia Driver AMI GPU PyTorch 2.7 (Ubuntu 22.04) 20261012",
    "ami-0ba5e00000000000c": "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20261101",
}
"""By id, owned by Amazon, in every region."""


def images() -> list[dict[str, str]]:
    """`IMAGES` in the form that moto reads."""
    return [
        {
            "ami_id": ami,
            "name": name,
            "description": name,
            "owner_id": "898082745236",
            "image_location": f"amazon/{name}",
            "public": "true",
            "virtualization_type": "hvm",
            "architecture": "x86_64",
            "state": "available",
            "image_type": "machine",
            "hypervisor": "xen",
            "root_device_name": "/dev/sda1",
            "root_device_type": "ebs",
            "sriov": "simple",
            "creation_date": f"{name[-8:-4]}-{name[-4:-2]}-{name[-2:]}T06:00:00.000Z",
        }
        for ami, name in IMAGES.items()
    ]


@dataclass(frozen=True)
class SpotPrice:
    """The spot price of a type in a zone from a time on."""

    at: datetime
    usd_per_h: float


class Catalog:
    """The tables, and the answers that are made from them."""

    def __init__(self) -> None:
        # Tables of offers, as moto has them, come in at the first use: they are large.
        self._on_demand: dict[tuple[str, str | None], tuple[float, datetime]] = {}
        self._spot: dict[tuple[str, str], list[SpotPrice]] = {}
        self.quotas: dict[tuple[str, str | None], float] = {(code, None): value for code, value in QUOTAS.items()}
        self.parameters = {PYTORCH_PARAMETER: next(iter(IMAGES)), BASE_PARAMETER: list(IMAGES)[-1]}
        start = datetime.now(UTC).replace(microsecond=0)
        for name, usd in USD_PER_H.items():
            self._on_demand[name, None] = (usd, start - timedelta(days=20))
        self._default_spot_at = start - timedelta(hours=20)

    def set_price(self, instance_type: str, place: str | None, market: str, usd: float | None, at: datetime) -> None:
        """See FakeCloud.set_price."""
        if market == "on-demand":
            if usd is None:
                del self._on_demand[instance_type, place]
            else:
                self._on_demand[instance_type, place] = (usd, at)
            return
        assert place is not None, "a spot price is a zone's"
        assert usd is not None
        self._spot.setdefault((instance_type, place), []).append(SpotPrice(at, usd))

    def spot_history(self, instance_type: str, zone: str) -> list[SpotPrice]:
        """Newest first."""
        given = self._spot.get((instance_type, zone))
        if given is None:
            usual = self._on_demand.get((instance_type, None))
            given = [SpotPrice(self._default_spot_at, round(usual[0] * SPOT_SHARE, 4))] if usual else []
        return sorted(given, key=lambda price: price.at, reverse=True)

    # --- EC2

    def describe_spot_price_history(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """Prices within the time asked for, and the one in effect at its start, newest first, in pages."""
        from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

        offers = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
        wanted = {each["Name"]: set(each["Values"]) for each in params.get("Filters", [])}
        types = set(params.get("InstanceTypes", [])) or wanted.get("instance-type", set())
        zones = {params["AvailabilityZone"]} if "AvailabilityZone" in params else wanted.get("availability-zone")
        products = set(params.get("ProductDescriptions", [])) or wanted.get("product-description", set())
        start, end = _time(params.get("StartTime")), _time(params.get("EndTime"))
        pairs = {(offer["InstanceType"], offer["Location"]) for offer in offers} | {
            pair for pair in self._spot if pair[1].startswith(region)
        }
        found: list[dict[str, Any]] = []
        for instance_type, zone in sorted(pairs):
            if (types and instance_type not in types) or (zones and zone not in zones):
                continue
            for price in self.spot_history(instance_type, zone):
                if end is not None and price.at > end:
                    continue
                for product, factor in (("Linux/UNIX", 1.0), ("Windows", 2.0)):
                    if products and not products & {product, f"{product} (Amazon VPC)"}:
                        continue
                    found.append(
                        {
                            "AvailabilityZone": zone,
                            "InstanceType": instance_type,
                            "ProductDescription": product,
                            "SpotPrice": f"{price.usd_per_h * factor:.6f}",
                            "Timestamp": price.at,
                        }
                    )
                if start is not None and price.at <= start:
                    break
        found.sort(key=lambda price: price["Timestamp"], reverse=True)
        return _page(found, "SpotPriceHistory", params, 1000)

    # --- Pricing

    def get_products(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """On-demand offers, and beside them those that a careless filter catches: Windows, unused reservations."""
        if region not in ("us-east-1", "eu-central-1", "ap-south-1"):
            raise AwsError("UnrecognizedClientException", f"there is no Pricing endpoint in {region}")
        wanted = {each["Field"]: each["Value"] for each in params.get("Filters", [])}
        offers = _storage(wanted) if params["ServiceCode"] == "AmazonEC2" else []
        if params["ServiceCode"] == "AmazonEC2":
            offers += self._instances(wanted)
        elif params["ServiceCode"] == "AmazonVPC":
            offers += [_address(wanted.get("regionCode", "us-east-1"))]
        keep = [
            json.dumps(offer)
            for offer in offers
            if all(
                {**offer["product"]["attributes"], "productFamily": offer["product"]["productFamily"]}.get(name)
                == value
                for name, value in wanted.items()
            )
        ]
        return {"FormatVersion": "aws_v1", **_page(keep, "PriceList", params, 100)}

    def _instances(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

        offers = []
        regions = [wanted["regionCode"]] if "regionCode" in wanted else ["us-east-1", "us-west-2", "eu-west-1"]
        for name in {name for name, _ in self._on_demand}:
            if wanted.get("instanceType", name) != name:
                continue
            for region in regions:
                price = self._on_demand.get((name, region)) or self._on_demand.get((name, None))
                offered = {offer["InstanceType"] for offer in INSTANCE_TYPE_OFFERINGS["region"].get(region, [])}
                if price is None or (name not in offered and (name, region) not in self._on_demand):
                    continue
                usd, at = price
                spec = INSTANCE_TYPES.get(name, {})
                for system, tenancy, software, status, share in (
                    ("Linux", "Shared", "NA", "Used", 1.0),
                    ("Linux", "Shared", "NA", "UnusedCapacityReservation", 1.0),
                    ("Linux", "Shared", "NA", "AllocatedCapacityReservation", 0.0),
                    ("Linux", "Dedicated", "NA", "Used", 1.1),
                    ("Linux", "Shared", "SQL Std", "Used", 3.0),
                    ("Windows", "Shared", "NA", "Used", 2.0),
                ):
                    attributes = {
                        "servicecode": "AmazonEC2",
                        "instanceType": name,
                        "instanceFamily": "GPU instance",
                        "regionCode": region,
                        "location": region,
                        "locationType": "AWS Region",
                        "operatingSystem": system,
                        "tenancy": tenancy,
                        "preInstalledSw": software,
                        "capacitystatus": status,
                        "licenseModel": "No License required",
                        "marketoption": "OnDemand",
                        "operation": "RunInstances" if system == "Linux" else "RunInstances:0002",
                        "usagetype": f"{'BoxUsage' if status == 'Used' else 'UnusedBox'}:{name}",
                        "vcpu": str(spec.get("VCpuInfo", {}).get("DefaultVCpus", 0)),
                        "memory": f"{spec.get('MemoryInfo', {}).get('SizeInMiB', 0) // 1024} GiB",
                        "currentGeneration": "Yes",
                    }
                    note = f"${usd * share:g} per On Demand {system} {name} Instance Hour"
                    offers.append(_offer("Compute Instance", attributes, usd * share, "Hrs", note, at))
        return offers

    # --- Service Quotas

    def get_service_quota(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """Of the region, or of all."""
        code = params["QuotaCode"]
        value = self.quota(code, region)
        if params["ServiceCode"] != "ec2" or value is None:
            raise AwsError("NoSuchResourceException", f"The request failed because the quota {code} does not exist.")
        return {
            "Quota": {
                "ServiceCode": "ec2",
                "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
                "QuotaCode": code,
                "QuotaName": _QUOTA_NAMES.get(code, code),
                "Value": value,
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }
        }

    def quota(self, code: str, region: str) -> float | None:
        """vCPUs; None: no such quota."""
        value = self.quotas.get((code, region))
        return self.quotas.get((code, None)) if value is None else value

    # --- SSM

    def get_parameter(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """A public parameter."""
        name = params["Name"]
        if name not in self.parameters:
            raise AwsError("ParameterNotFound", "")
        return {"Parameter": _parameter(region, name, self.parameters[name])}

    def get_parameters(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """Several."""
        return {
            "Parameters": [
                _parameter(region, name, self.parameters[name]) for name in params["Names"] if name in self.parameters
            ],
            "InvalidParameters": [name for name in params["Names"] if name not in self.parameters],
        }

    def get_parameters_by_path(self, region: str, params: dict[str, Any]) -> dict[str, Any]:
        """All below a path."""
        under = [
            _parameter(region, name, value)
            for name, value in sorted(self.parameters.items())
            if name.startswith(params["Path"].rstrip("/") + "/")
        ]
        return _page(under, "Parameters", params, 10)


def _parameter(region: str, name: str, value: str) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "String",
        "Value": value,
        "Version": 7,
        "LastModifiedDate": datetime(2026, 11, 5, tzinfo=UTC),
        "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        "DataType": "text",
    }


def _offer(family: str, attributes: dict[str, str], usd: float, unit: str, note: str, at: datetime) -> dict[str, Any]:
    sku = hashlib.sha256("".join(attributes.values()).encode()).hexdigest()[:16].upper()
    term, rate = f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7"
    return {
        "product": {"productFamily": family, "attributes": attributes, "sku": sku},
        "serviceCode": attributes["servicecode"],
        "terms": {
            "OnDemand": {
                term: {
                    "priceDimensions": {
                        rate: {
                            "unit": unit,
                            "endRange": "Inf",
                            "description": note,
                            "appliesTo": [],
                            "rateCode": rate,
                            "beginRange": "0",
                            "pricePerUnit": {"USD": f"{usd:.10f}"},
                        }
                    },
                    "sku": sku,
                    "effectiveDate": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "offerTermCode": "JRTCKXETXF",
                    "termAttributes": {},
                }
            }
        },
        "version": at.strftime("%Y%m%d%H%M%S"),
        "publicationDate": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _storage(wanted: dict[str, str]) -> list[dict[str, Any]]:
    attributes = {
        "servicecode": "AmazonEC2",
        "regionCode": wanted.get("regionCode", "us-east-1"),
        "volumeApiName": "gp3",
        "volumeType": "General Purpose",
        "usagetype": "EBS:VolumeUsage.gp3",
        "operation": "",
    }
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return [_offer("Storage", attributes, 0.08, "GB-Mo", "$0.08 per GB-month of General Purpose (gp3)", at)]


def _address(region: str) -> dict[str, Any]:
    attributes = {
        "servicecode": "AmazonVPC",
        "regionCode": region,
        "group": "VPCPublicIPv4Address",
        "usagetype": "PublicIPv4:InUseAddress",
        "operation": "AllocateAddressVPC",
    }
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return _offer("VpcPublicIPv4Address", attributes, 0.005, "Hrs", "$0.005 per In-use public IPv4 address", at)


def _page(items: list[Any], key: str, params: dict[str, Any], usual: int) -> dict[str, Any]:
    start = int(params.get("NextToken") or 0)
    size = int(params.get("MaxResults") or usual)
    answer: dict[str, Any] = {key: items[start : start + size]}
    if start + size < len(items):
        answer["NextToken"] = str(start + size)
    return answer


def _time(given: Any) -> datetime | None:
    if given is None or isinstance(given, datetime):
        return given if given is None or given.tzinfo else given.replace(tzinfo=UTC)
    when = datetime.fromisoformat(str(given))
    return when if when.tzinfo else when.replace(tzinfo=UTC)
