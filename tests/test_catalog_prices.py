"""Prices: what AWS's answers say, what the table says where AWS is silent, and what volumes and addresses come to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from console.catalog import prices
from console.catalog.instance_types import TYPES
from console.catalog.prices import (
    Quote,
    latest_by_zone,
    parse_price_list,
    parse_spot_history,
    storage_usd_per_h,
    table_quote,
)


def product(usd: str = "21.9576420000", *, unit: str = "Hrs", option: str | None = "OnDemand", **terms: Any) -> str:
    """A product of GetProducts as AWS writes it, less the attributes that nobody reads."""
    attributes = {
        "capacitystatus": "Used",
        "gpuMemory": "320 GB HBM2",
        "instanceType": "p4d.24xlarge",
        "licenseModel": "No License required",
        "location": "US East (N. Virginia)",
        "operatingSystem": "Linux",
        "operation": "RunInstances",
        "preInstalledSw": "NA",
        "regionCode": "us-east-1",
        "servicecode": "AmazonEC2",
        "tenancy": "Shared",
        "usagetype": "BoxUsage:p4d.24xlarge",
        "vcpu": "96",
    }
    if option is not None:
        attributes["marketoption"] = option
    rate = {
        "appliesTo": [],
        "beginRange": "0",
        "description": f"${usd} per On Demand Linux p4d.24xlarge Instance Hour",
        "endRange": "Inf",
        "pricePerUnit": {"USD": usd},
        "rateCode": "H7NGEAC6UEHNTKSJ.JRTCKXETXF.6YS6EN2CT7",
        "unit": unit,
    }
    on_demand = {
        "H7NGEAC6UEHNTKSJ.JRTCKXETXF": {
            "effectiveDate": "2026-09-01T00:00:00Z",
            "offerTermCode": "JRTCKXETXF",
            "priceDimensions": {"H7NGEAC6UEHNTKSJ.JRTCKXETXF.6YS6EN2CT7": rate},
            "sku": "H7NGEAC6UEHNTKSJ",
            "termAttributes": {},
        }
    }
    return json.dumps(
        {
            "product": {"attributes": attributes, "productFamily": "Compute Instance", "sku": "H7NGEAC6UEHNTKSJ"},
            "publicationDate": "2026-09-10T19:55:14Z",
            "serviceCode": "AmazonEC2",
            "terms": terms or {"OnDemand": on_demand},
            "version": "20260910195514",
        }
    )


def parsed(*products: str) -> Quote:
    quote = parse_price_list(products)
    assert quote is not None
    return quote


# --- on demand -------------------------------------------------------------------------------------------------------


def test_the_price_on_demand() -> None:
    quote = parsed(product())
    assert (quote.usd_per_h, quote.market, quote.zone, quote.live) == (21.957642, "on-demand", None, True)
    assert quote.as_of == datetime(2026, 9, 1, tzinfo=UTC).timestamp()
    assert quote.origin == "AWS price list, since 2026-09-01"


def test_a_capacity_blocks_nothing_is_no_price() -> None:
    free = product("0.0000000000", option="CapacityBlock")
    assert parse_price_list([free]) is None
    assert parsed(free, product("55.0400000000"), free).usd_per_h == 55.04
    assert parse_price_list([product("99.0", option="CapacityBlock")]) is None
    assert parse_price_list([product("0.0000000000")]) is None


def test_of_several_prices_the_highest() -> None:
    assert parsed(product("3.0"), product("4.0"), product("2.0")).usd_per_h == 4.0


def test_an_older_form_without_a_market_is_on_demand() -> None:
    assert parsed(product(option=None)).usd_per_h == 21.957642


@pytest.mark.parametrize(
    "other",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        product(unit="Quantity"),
        product("much"),
        product(Reserved={}),
        product(OnDemand=[]),
        product(OnDemand={"x": {"effectiveDate": "someday", "priceDimensions": {}}}),
        product().replace('"USD"', '"CNY"'),
    ],
)
def test_what_is_no_price_is_passed_over(other: str) -> None:
    assert parse_price_list([other]) is None
    assert parsed(other, product()).usd_per_h == 21.957642


def test_no_products_no_price() -> None:
    assert parse_price_list([]) is None


# --- spot ------------------------------------------------------------------------------------------------------------


def change(zone: str, hour: int, usd: str) -> dict[str, Any]:
    """An item of DescribeSpotPriceHistory as boto3 gives it."""
    return {
        "AvailabilityZone": zone,
        "AvailabilityZoneId": "use1-az4",
        "InstanceType": "p4d.24xlarge",
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": usd,
        "Timestamp": datetime(2026, 11, 20, hour, 30, tzinfo=UTC),
    }


HISTORY = [
    change("us-east-1a", 9, "8.500000"),
    change("us-east-1b", 7, "8.100000"),
    change("us-east-1a", 3, "7.900000"),
]


def test_how_the_spot_price_went_oldest_first() -> None:
    history = parse_spot_history(HISTORY)
    assert [(quote.zone, quote.usd_per_h) for quote in history] == [
        ("us-east-1a", 7.9),
        ("us-east-1b", 8.1),
        ("us-east-1a", 8.5),
    ]
    assert history[0].as_of == datetime(2026, 11, 20, 3, 30, tzinfo=UTC).timestamp()
    assert history[0].origin == "EC2 spot price history, since 2026-11-20 03:30 UTC"


def test_each_zones_last_price_cheapest_first() -> None:
    assert [(quote.zone, quote.usd_per_h) for quote in latest_by_zone(parse_spot_history(HISTORY))] == [
        ("us-east-1b", 8.1),
        ("us-east-1a", 8.5),
    ]
    assert latest_by_zone([]) == ()


def test_a_damaged_change_is_passed_over() -> None:
    damaged = [change("us-east-1a", 1, "cheap"), change("us-east-1a", 1, "0"), {}, {**HISTORY[0], "Timestamp": None}]
    assert parse_spot_history([*damaged, HISTORY[0]]) == parse_spot_history([HISTORY[0]])


# --- what is asked ---------------------------------------------------------------------------------------------------


class Answers:
    """AWS with its answers written down."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.asked: list[tuple[str, str, str, dict[str, Any]]] = []

    async def pages(self, service: str, operation: str, key: str, /, **params: Any) -> list[Any]:
        self.asked.append((service, operation, key, params))
        return self.items


async def test_the_price_list_is_asked_for_one_kind_of_hour() -> None:
    aws = Answers(product())
    quote = await prices.on_demand(aws, "p4d.24xlarge", "eu-west-1")
    assert quote == parsed(product())
    ((service, operation, key, params),) = aws.asked
    assert (service, operation, key) == ("pricing", "get_products", "PriceList")
    assert (params["in_region"], params["ServiceCode"]) == ("us-east-1", "AmazonEC2")
    assert {one["Type"] for one in params["Filters"]} == {"TERM_MATCH"}
    assert {one["Field"]: one["Value"] for one in params["Filters"]} == {
        "instanceType": "p4d.24xlarge",
        "regionCode": "eu-west-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }
    assert await prices.on_demand(Answers(), "p4d.24xlarge", "eu-west-1") is None


async def test_the_spot_price_is_asked_for_from_a_time_on() -> None:
    aws = Answers(*HISTORY)
    now = datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert await prices.spot(aws, "p4d.24xlarge", now.timestamp()) == latest_by_zone(parse_spot_history(HISTORY))
    since = datetime(2026, 11, 20, 3, tzinfo=UTC)
    history = await prices.spot_history(aws, "p4d.24xlarge", since.timestamp(), "us-east-1a")
    assert history == parse_spot_history(HISTORY)
    first, second = (params for _, _, _, params in aws.asked)
    assert first == {"InstanceTypes": ["p4d.24xlarge"], "ProductDescriptions": ["Linux/UNIX"], "StartTime": now}
    assert second == {**first, "StartTime": since, "AvailabilityZone": "us-east-1a"}


# --- the table, volumes, addresses -----------------------------------------------------------------------------------


def test_the_tables_price_has_its_day() -> None:
    quote = table_quote(TYPES["p5.48xlarge"])
    assert quote is not None
    assert (quote.usd_per_h, quote.market, quote.live) == (55.04, "on-demand", False)
    assert quote.origin == "table of 2026-09-10, us-east-1"
    assert table_quote(TYPES["p5e.48xlarge"]) is None, "nobody knows it"
    assert table_quote(TYPES["p3.16xlarge"]) is None, "nobody can rent it"


def test_the_profiles_quote_says_so() -> None:
    quote = Quote(usd_per_h=7.344, market="spot", source=prices.PROFILE, as_of=None, note="August 2018")
    assert (quote.live, quote.origin) == (False, "the profile: August 2018")


def test_volumes_and_addresses() -> None:
    # AWS's own example of reckoning: 2,000 GB for 12 hours of a month of 30 days.
    assert storage_usd_per_h(2000) * 12 == pytest.approx(0.08 * 2000 * 43_200 / (86_400 * 30))
    assert storage_usd_per_h(200) == pytest.approx(0.0222, abs=1e-4)
    year_usd = prices.ADDRESS_USD_PER_H * 24 * 365
    assert year_usd == pytest.approx(43.8)
