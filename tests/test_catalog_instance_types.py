"""The table of instance types: true to what EC2 says, and helpful about what cannot be had."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from console.catalog import instance_types
from console.catalog.instance_types import InstanceType, alike, find, from_ec2, is_name, nearest, quota


def known(name: str) -> InstanceType:
    found = find(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def said_by_ec2() -> dict[str, dict[str, Any]]:
    """DescribeInstanceTypes as moto keeps it: answers of the real EC2."""
    spec = importlib.util.find_spec("moto")
    assert spec is not None
    assert spec.origin is not None
    packed = Path(spec.origin).parent / "ec2" / "resources" / "instance_types.json.gz"
    said: dict[str, dict[str, Any]] = json.loads(gzip.decompress(packed.read_bytes()))
    return said


def test_the_table_is_what_ec2_says(said_by_ec2: dict[str, dict[str, Any]]) -> None:
    for name, one in instance_types.TYPES.items():
        if one.retired:
            assert name not in said_by_ec2, f"{name} can be rented again"
        else:
            assert from_ec2(said_by_ec2[name]) == one


def test_every_type_with_whole_gpus_of_nvidia_is_in_it(said_by_ec2: dict[str, dict[str, Any]]) -> None:
    families = {name.partition(".")[0] for name in instance_types.TYPES}
    missing = [name for name in said_by_ec2 if name.partition(".")[0] in families and name not in instance_types.TYPES]
    assert missing == []


def test_prices_have_a_day_and_a_region() -> None:
    assert known("p4d.24xlarge").price_note == "table of 2026-09-10, us-east-1"
    assert known("p6-b300.48xlarge").price_note == "table of 2026-09-10, us-west-2"
    assert "2026-09-10" not in known("p3.16xlarge").price_note
    assert all(one.usd_per_h is None or 0.1 < one.usd_per_h < 200 for one in instance_types.TYPES.values())


def test_a_type_that_is_not_in_the_table() -> None:
    assert find("p9.48xlarge") is None
    assert alike("p4d.24xlage")[0] == "p4d.24xlarge"
    assert alike("g6.xlareg")[0] == "g6.xlarge"
    assert "p3.16xlarge" not in alike("p3.16xlarg")
    assert alike("nonsense") == []


@pytest.mark.parametrize(
    "name", ["p4d.24xlarge", "p6-b200.48xlarge", "c5.xlarge", "g4dn.metal", "u-6tb1.metal", "t3.nano"]
)
def test_a_name_that_could_be_one(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["p4d.24xlage", "p4d", "p4d.", "P4D.24XLARGE", "p4d.24xlarge ", "16", "", "-x.large"])
def test_a_name_that_could_be_none(name: str) -> None:
    assert not is_name(name)


# --- what comes nearest ----------------------------------------------------------------------------------------------


def names(wanted: str, *offered: str) -> list[tuple[str, str]]:
    return [(one.type.name, one.reason) for one in nearest(known(wanted), offered or None)]


def test_in_place_of_what_2018_ran_on() -> None:
    assert names("p3.16xlarge") == [
        ("p4d.24xlarge", "8 GPUs (A100) as it has"),
        ("g6.48xlarge", "the cheapest with 8 GPUs (L4)"),
    ]


def test_in_place_of_what_a_region_does_not_offer() -> None:
    assert names("p5.48xlarge", "p4d.24xlarge", "g5.48xlarge", "g5.xlarge") == [
        ("p4d.24xlarge", "8 GPUs (A100) as it has"),
        ("g5.48xlarge", "the cheapest with 8 GPUs (A10G)"),
    ]
    assert names("p5.48xlarge")[0][0] == "p5en.48xlarge"
    assert names("g6.xlarge")[0][0] == "g6e.xlarge"


def test_where_nothing_has_as_many_gpus_the_next_larger() -> None:
    assert names("g7e.12xlarge", "g6.12xlarge", "p4d.24xlarge", "g6.xlarge") == [("g6.12xlarge", "4 GPUs (L4)")]


def test_a_v100_is_proposed_to_nobody_and_nothing_where_there_is_nothing() -> None:
    assert all(name != "p3dn.24xlarge" for name, _ in names("p4d.24xlarge"))
    assert names("p4d.24xlarge", "g6.xlarge", "p3dn.24xlarge", "p4d.24xlarge") == []


# --- quotas and interfaces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "market", "code"),
    [
        ("p4d.24xlarge", "on-demand", "L-417A185B"),
        ("p4d.24xlarge", "spot", "L-7212CCBC"),
        ("p5.48xlarge", "on-demand", "L-417A185B"),
        ("p5.48xlarge", "spot", "L-C4BD4855"),
        ("p5en.48xlarge", "spot", "L-C4BD4855"),
        ("p6-b200.48xlarge", "on-demand", "L-417A185B"),
        ("p6-b200.48xlarge", "spot", None),
        ("g6e.48xlarge", "on-demand", "L-DB2E81BA"),
        ("g4dn.xlarge", "spot", "L-3819A6DF"),
        ("c5.xlarge", "on-demand", None),
        ("gr6.4xlarge", "on-demand", None),
    ],
)
def test_the_quota_of_a_type(name: str, market: str, code: str | None) -> None:
    found = quota(name, market)
    assert (found.code if found else None) == code


def test_interfaces_of_an_instance() -> None:
    assert known("p4d.24xlarge").interfaces(None) == known("p4d.24xlarge").interfaces(True) == 5
    assert known("p4d.24xlarge").interfaces(False) == 1
    assert known("p5.48xlarge").interfaces(None) == 33
    assert known("p6-b300.48xlarge").interfaces(None) == 17
    assert known("g6.xlarge").interfaces(None) == known("g5.48xlarge").interfaces(None) == 1


def test_a_type_that_only_ec2_knows(said_by_ec2: dict[str, dict[str, Any]]) -> None:
    plain = from_ec2(said_by_ec2["c5.xlarge"])
    assert (plain.gpus, plain.gpu, plain.vcpus, plain.mem_gib, plain.usd_per_h) == (0, "", 4, 8.0, None)
    assert (plain.efa, plain.compute_capability, plain.network_cards) == (False, None, 1)
