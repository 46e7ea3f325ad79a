"""What instances, volumes and addresses cost, each price with where it is from and since when it holds.

Pure but for `on_demand`, `spot` and `spot_history`, which ask through the `Aws` that they are given and leave its
errors to the caller. Dollars before tax, for Linux on shared hardware.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from console.catalog.instance_types import PRICES_OF, InstanceType

ADDRESS_USD_PER_H: Final = 0.005
"""A public IPv4 address, an Elastic IP too, in every region (aws.amazon.com/vpc/pricing, since February 2024)."""
STORAGE_USD_PER_GIB_MONTH: Final = 0.08
"""gp3 in us-east-1, its first 3,000 IOPS and 125 MB/s included (aws.amazon.com/ebs/pricing)."""
STORAGE_MONTH_H: Final = 30 * 24
"""The month that AWS reckons volumes by, in its examples on the same page."""

PRICE_LIST: Final = "AWS price list"
SPOT_HISTORY: Final = "EC2 spot price history"
TABLE: Final = "table"
PROFILE: Final = "profile"


class Aws(Protocol):
    """What is asked: `console.fleet.aws.cloud.Cloud` is one."""

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
    """`PRICE_LIST` or `SPOT_HISTORY`, which are AWS's own; `TABLE` of ours; `PROFILE`, what the profile quotes."""
    as_of: float | None
    """Since when it holds, epoch seconds; None where nobody says."""
    zone: str | None = None
    """None where the price is that of the whole region."""
    note: str = ""
    """What the profile says of its quote, or the region of a price of the table."""

    @property
    def live(self) -> bool:
        """True where AWS itself has just said so."""
        return self.source in (PRICE_LIST, SPOT_HISTORY)

    @property
    def origin(self) -> str:
        """Where it is from and of which day, in words."""
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


def table_quote(one: InstanceType) -> Quote | None:
    """The table's price on demand; None where the table has none, or only that of a type which nobody can rent."""
    if one.usd_per_h is None or one.retired:
        return None
    as_of = datetime.fromisoformat(PRICES_OF).replace(tzinfo=UTC).timestamp()
    return Quote(usd_per_h=one.usd_per_h, market="on-demand", source=TABLE, as_of=as_of, note=one.price_region)


# --- AWS's answers ---------------------------------------------------------------------------------------------------


def parse_price_list(products: Iterable[str]) -> Quote | None:
    """The on-demand price in the products of a GetProducts answer, a text in JSON each.

    None where there is none. Free offers are passed over: a capacity block's instance hours are listed with 0 dollars,
    because the block was paid before. Of several prices the highest: a plan may be too dear, never too cheap.
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
            # A product of another form is no price of ours; where all are, there is no price.
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
    """Each zone's last price, the cheapest zone first."""
    last: dict[str | None, Quote] = {}
    for quote in history:
        known = last.get(quote.zone)
        if known is None or (quote.as_of or 0.0) >= (known.as_of or 0.0):
            last[quote.zone] = quote
    return tuple(sorted(last.values(), key=lambda quote: (quote.usd_per_h, quote.zone or "")))


# --- asking ----------------------------------------------------------------------------------------------------------


async def on_demand(aws: Aws, instance_type: str, region: str) -> Quote | None:
    """AWS's present price on demand; None where its price list has none for the type in the region.

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
        # Without it a p5.48xlarge has a second price, the 0 dollars of a capacity block.
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
    """How the spot price went from `since` (epoch seconds, up to 90 days back) on, the oldest first.

    The first quote of a zone is the one that held at `since`, so its own time lies before. Raises as `on_demand` does.
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
