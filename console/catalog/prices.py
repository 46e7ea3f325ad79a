"""Prices of instances, volumes and addresses, each with its source and the time since which it holds.

Pure except for `on_demand`, `spot` and `spot_history`, which ask the `Aws` that they are given and leave its errors to
the caller. Dollars before tax, for Linux on shared hardware.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from console.catalog.instance_types import PRICES_OF, InstanceType

ADDRESS_USD_PER_H: Final = 0.005
"""A public IPv4 address, including an Elastic IP, in every region (aws.amazon.com/vpc/pricing, since February 2024)."""
STORAGE_USD_PER_GIB_MONTH: Final = 0.08
"""gp3 in us-east-1, its first 3,000 IOPS and 125 MB/s included (aws.amazon.com/ebs/pricing)."""
STORAGE_MONTH_H: Final = 30 * 24
"""Hours of the month that AWS bills volumes by, in its examples on the same page."""

PRICE_LIST: Final = "AWS price list"
SPOT_HISTORY: Final = "EC2 spot price history"
TABLE: Final = "table"
PROFILE: Final = "profile"


class Aws(Protocol):
    """The questions to AWS; `console.fleet.aws.cloud.Cloud` answers them."""

    async def pages(self, service: str, operation: str, key: str, /, **params: Any) -> list[Any]:
        """All items under `key` of an operation that answers in pages."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What one instance costs in a market."""

    usd_per_h: float
    market: str
    """``on-demand`` or ``spot``."""
    source: str
    """`PRICE_LIST` or `SPOT_HISTORY`, which are AWS's own; `TABLE`, this package's; or `PROFILE`."""
    as_of: float | None
    """Since when it holds, epoch seconds; None where that is not known."""
    zone: str | None = None
    """Availability zone; None where the price holds in the whole region."""
    note: str = ""
    """The profile's note on its quote, or the region of a price of the table."""

    @property
    def live(self) -> bool:
        """True if AWS itself has just stated it."""
        return self.source in (PRICE_LIST, SPOT_HISTORY)

    @property
    def origin(self) -> str:
        """Source and day, in words."""
        if self.source == PROFILE:
            return f"the profile: {self.note}" if self.note else "the profile"
        day = "" if self.as_of is None else datetime.fromtimestamp(self.as_of, UTC).strftime("%Y-%m-%d")
        if self.source == TABLE:
            return f"table of {day}, {self.note}"
        if self.source == SPOT_HISTORY and self.as_of is not None:
            return f"{self.source}, since {datetime.fromtimestamp(self.as_of, UTC):%Y-%m-%d %H:%M} UTC"
        return f"{self.source}, since {day}"


def storage_usd_per_h(gib: float) -> float:
    """What a gp3 volume costs an hour."""
    return gib * STORAGE_USD_PER_GIB_MONTH / STORAGE_MONTH_H


def table_quote(known: InstanceType) -> Quote | None:
    """The table's on-demand price; None where it has none, or the type can no longer be rented."""
    if known.usd_per_h is None or known.retired:
        return None
    as_of = datetime.fromisoformat(PRICES_OF).replace(tzinfo=UTC).timestamp()
    return Quote(usd_per_h=known.usd_per_h, market="on-demand", source=TABLE, as_of=as_of, note=known.price_region)


# --- AWS's answers ---------------------------------------------------------------------------------------------------


def parse_price_list(products: Iterable[str]) -> Quote | None:
    """The on-demand price in the products of a GetProducts answer, each a JSON text.

    None where there is none. Free offers are skipped: instance hours of a capacity block are listed with 0 dollars,
    because the block was paid before. Of several prices the highest is taken: a plan may state too much, never too
    little.
    """
    found: list[Quote] = []
    for text in products:
        try:
            product = json.loads(text)
            if product["product"]["attributes"].get("marketoption", "OnDemand") != "OnDemand":
                continue
            for term in product["terms"]["OnDemand"].values():
                since = datetime.fromisoformat(term["effectiveDate"])
                for dimension in term["priceDimensions"].values():
                    usd_per_h = float(dimension["pricePerUnit"]["USD"])
                    if dimension["unit"] == "Hrs" and usd_per_h > 0:
                        as_of = since.timestamp()
                        found.append(Quote(usd_per_h=usd_per_h, market="on-demand", source=PRICE_LIST, as_of=as_of))
        except (ValueError, KeyError, TypeError, AttributeError):
            # A product of another form is skipped.
            continue
    return max(found, key=lambda quote: quote.usd_per_h, default=None)


def parse_spot_history(items: Iterable[Mapping[str, Any]]) -> tuple[Quote, ...]:
    """The changes of spot prices in a DescribeSpotPriceHistory answer, the oldest first."""
    found = []
    for item in items:
        try:
            quote = Quote(
                usd_per_h=float(item["SpotPrice"]),
                market="spot",
                source=SPOT_HISTORY,
                as_of=item["Timestamp"].timestamp(),
                zone=str(item["AvailabilityZone"]),
            )
        except (ValueError, KeyError, AttributeError):
            continue
        if quote.usd_per_h > 0:
            found.append(quote)
    return tuple(sorted(found, key=lambda quote: (quote.as_of or 0.0, quote.zone or "")))


def latest_by_zone(history: Iterable[Quote]) -> tuple[Quote, ...]:
    """The last price of each zone, the cheapest zone first."""
    last: dict[str | None, Quote] = {}
    for quote in history:
        known = last.get(quote.zone)
        if known is None or (quote.as_of or 0.0) >= (known.as_of or 0.0):
            last[quote.zone] = quote
    return tuple(sorted(last.values(), key=lambda quote: (quote.usd_per_h, quote.zone or "")))


# --- asking ----------------------------------------------------------------------------------------------------------


async def on_demand(aws: Aws, instance_type: str, region: str) -> Quote | None:
    """AWS's present on-demand price; None where its price list has none for the type in the region.

    Raises:
        What `aws` raises: `console.fleet.aws.cloud.CloudError`.
    """
    wanted = {
        "instanceType": instance_type,
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        # Otherwise a p5.48xlarge has a second price, the 0 dollars of a capacity block.
        "marketoption": "OnDemand",
    }
    products = await aws.pages(
        "pricing",
        "get_products",
        "PriceList",
        in_region="us-east-1",
        ServiceCode="AmazonEC2",
        Filters=[{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()],
    )
    return parse_price_list(products)


async def spot(aws: Aws, instance_type: str, now: float) -> tuple[Quote, ...]:
    """The present spot price of each zone of the region, the cheapest first; empty where there is none.

    Raises:
        As `on_demand` does.
    """
    return latest_by_zone(await spot_history(aws, instance_type, now))


async def spot_history(aws: Aws, instance_type: str, since: float, zone: str | None = None) -> tuple[Quote, ...]:
    """The spot prices from `since` (epoch seconds, up to 90 days back) on, the oldest first.

    The first quote of a zone is the one that held at `since`; its own time lies before that.

    Raises:
        As `on_demand` does.
    """
    where = {} if zone is None else {"AvailabilityZone": zone}
    items = await aws.pages(
        "ec2",
        "describe_spot_price_history",
        "SpotPriceHistory",
        InstanceTypes=[instance_type],
        ProductDescriptions=["Linux/UNIX"],
        StartTime=datetime.fromtimestamp(since, UTC),
        **where,
    )
    return parse_spot_history(items)
