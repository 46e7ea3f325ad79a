"""kill -9 of a launching console between any two of its calls: no instance is lost sight of, none is launched twice."""

from __future__ import annotations

import pytest
import renting
from fake_cloud import FakeCloud

from console.fleet.rental.provider import AwsProvider
from console.journal.directory import RunDirectory

READS = (
    "GetCallerIdentity",
    "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes",
    "GetParameters",
    "DescribeImages",
    "DescribeSubnets",
    "DescribeSpotPriceHistory",
    "DescribeInstances",
    "GetProducts",
)
MAKES = (
    ("CreateSecurityGroup", 1),
    ("AuthorizeSecurityGroupIngress", 1),
    ("AuthorizeSecurityGroupEgress", 1),
    ("AuthorizeSecurityGroupIngress", 2),
    ("CreatePlacementGroup", 1),
    ("RunInstances", 1),
    ("RunInstances", 2),
    ("CreateTags", 1),
)
"""The first zone has no capacity, so that there are two orders."""
PLACES = [
    *((action, 1, "before") for action in READS),
    *((action, nth, when) for action, nth in MAKES for when in ("before", "after")),
]
FLEET = {"market": '"spot"', "zones": '["us-east-1a", "us-east-1b"]'}


def first_zone_is_full(cloud: FakeCloud) -> None:
    cloud.set_price("g6.xlarge", "us-east-1a", "spot", 0.30)
    cloud.set_price("g6.xlarge", "us-east-1b", "spot", 0.40)
    cloud.misbehave("RunInstances", error="InsufficientInstanceCapacity", zone="us-east-1a", times=None)


def killed(cloud: FakeCloud, action: str, nth: int, when: str) -> AwsProvider:
    """What comes after a console that was killed at its `nth` call of the action, before or after it was done."""
    given = renting.profile(**FLEET)
    directory = RunDirectory.create(given.name)
    met = 0

    def this_one(params: object) -> bool:
        nonlocal met
        met += 1
        return met == nth

    fault = cloud.misbehave(action, hold=when, where=this_one)
    first_zone_is_full(cloud)
    console = renting.begin(cloud.env, given, directory)
    try:
        fault.wait(60)
    finally:
        console.kill()
        console.join(10)
    fault.release()
    return renting.provider(given, directory)


@pytest.mark.parametrize("action", ["CreateSecurityGroup", "CreatePlacementGroup", "RunInstances"])
async def test_a_call_that_is_on_its_way_when_its_console_is_killed(cloud: FakeCloud, action: str) -> None:
    given = renting.profile()
    directory = RunDirectory.create(given.name)
    fault = cloud.misbehave(action, delay_s=0.7)
    console = renting.begin(cloud.env, given, directory)
    try:
        fault.wait(60)
    finally:
        console.kill()
        console.join(10)
    seen = await renting.all_of(renting.provider(given, directory).release())
    assert renting.alerts(seen, "left over") == []
    assert [call.code for call in cloud.calls(action)] == ["OK"]
    assert cloud.left_over() == []


async def test_the_calls_of_a_launch_are_those_that_are_tried_here(cloud: FakeCloud) -> None:
    first_zone_is_full(cloud)
    await renting.launched(renting.provider(renting.profile(**FLEET)))
    assert {call.action for call in cloud.calls()} == {*READS, *(action for action, _ in MAKES)}


@pytest.mark.parametrize(("action", "nth", "when"), PLACES)
async def test_the_next_console_goes_on_with_the_launch(cloud: FakeCloud, action: str, nth: int, when: str) -> None:
    rented = killed(cloud, action, nth, when)
    seen = await renting.until(rented.adopt(), lambda seen: len(renting.booting(seen)) == 2)
    ever = sorted(one.instance_id for one in cloud.instances("pending", "running", "shutting-down", "terminated"))
    assert renting.node_tags(cloud) == dict(zip(ever, ("0", "1"), strict=True))
    told = {node: start.instance_id for node, start in renting.started(seen).items()}
    # The console that was killed has told of them already where it came so far as to write their tags.
    assert told == ({} if action == "CreateTags" else dict(enumerate(ever)))
    await renting.all_of(rented.release())
    assert cloud.left_over() == []


@pytest.mark.parametrize(("action", "nth", "when"), [place for place in PLACES if place[0] not in READS])
async def test_the_next_console_gives_back_what_is_there(cloud: FakeCloud, action: str, nth: int, when: str) -> None:
    # What was made just before is seen by nobody for a moment.
    cloud.hide_new(0.7)
    rented = killed(cloud, action, nth, when)
    seen = await renting.all_of(rented.release())
    assert renting.alerts(seen, "left over") == []
    assert cloud.left_over() == []
