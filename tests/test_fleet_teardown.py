"""What was rented is given back: whatever happened before, in whatever process, and what is left is named."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest
import renting
from fake_cloud import FakeCloud
from fake_instances import Machines

from console.fleet.provider import ProviderError
from console.fleet.rental.provider import AwsProvider
from console.journal.directory import RunDirectory
from console.state.events import HostLost, PriceQuoted


async def rent(directory: RunDirectory | None = None, **fleet: Any) -> tuple[AwsProvider, list[Any]]:
    """A provider with two running instances, and what it told on the way."""
    rented = renting.provider(renting.profile(**fleet), directory)
    return rented, await renting.launched(rented)


async def left_over(rented: AwsProvider) -> list[str]:
    """Gives back; what is told to be left."""
    return renting.alerts(await renting.all_of(rented.release()), "left over")


async def test_everything_is_ended_and_deleted(cloud: FakeCloud) -> None:
    rented = renting.provider(renting.profile(connect='"elastic-ip"'))
    # The second host is waited for through the first.
    seen = await renting.until(
        rented.bring_up(), lambda seen: renting.booting(seen) and len(renting.started(seen)) == 2
    )
    assert any("address" in line for line in cloud.left_over())
    ids = {node: start.instance_id for node, start in renting.started(seen).items()}
    assert [line.split()[1] for line in cloud.left_over()].count("instance") == 2
    ended = await renting.all_of(rented.release())
    assert cloud.left_over() == []
    assert {node: stop.instance_id for node, stop in renting.stopped(ended).items()} == ids
    # The time is EC2's own, which has whole seconds.
    truth = cloud.client().describe_instances(InstanceIds=sorted(ids.values()))["Reservations"]
    reasons = [one["StateTransitionReason"] for each in truth for one in each["Instances"]]
    for stop in renting.stopped(ended).values():
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stop.stopped_t))
        assert any(at in reason for reason in reasons)
        assert not stop.taken_back
    assert renting.alerts(ended, "left over") == []


async def test_twice_and_from_another_process(cloud: FakeCloud) -> None:
    given = renting.profile()
    directory = RunDirectory.create(given.name)
    rented, _ = await rent(directory)
    assert await left_over(renting.provider(given, directory)) == []
    assert cloud.left_over() == []
    calls = len(cloud.calls())
    assert await renting.all_of(renting.provider(given, directory).release()) == []
    assert await renting.all_of(rented.release()) != []
    assert len(cloud.calls("TerminateInstances")) == 1
    assert len(cloud.calls()) > calls
    assert cloud.left_over() == []


async def test_nothing_was_rented_and_nobody_is_asked(cloud: FakeCloud) -> None:
    assert await renting.all_of(renting.provider(renting.profile()).release()) == []
    assert cloud.calls() == []


async def test_a_group_that_is_in_use_for_a_while(cloud: FakeCloud) -> None:
    rented, _ = await rent()
    cloud.misbehave("DeleteSecurityGroup", error="DependencyViolation", times=3)
    assert await left_over(rented) == []
    assert len(cloud.calls("DeleteSecurityGroup")) == 4
    assert cloud.left_over() == []


async def test_what_cannot_be_deleted_is_named_with_the_command_that_does_it(cloud: FakeCloud) -> None:
    given = renting.profile()
    directory = RunDirectory.create(given.name)
    rented, _ = await rent(directory)
    cloud.misbehave("DeleteSecurityGroup", error="DependencyViolation", times=None)
    [text] = await left_over(rented)
    [line] = cloud.left_over()
    group = next(word for word in line.split() if word.startswith("sg-"))
    assert text.startswith(f"security-group {group} in us-east-1 is left (AWS ec2 DeleteSecurityGroup")
    assert f"end it with `aws ec2 delete-security-group --region us-east-1 --group-id {group}`" in text
    # It is not forgotten: the next time, it goes.
    cloud.released()
    assert await left_over(renting.provider(given, directory)) == []
    assert cloud.left_over() == []


async def test_instances_that_may_not_be_ended_are_named(cloud: FakeCloud) -> None:
    rented, seen = await rent()
    ids = " ".join(sorted(start.instance_id for start in renting.started(seen).values()))
    cloud.misbehave("TerminateInstances", error="UnauthorizedOperation", times=None)
    [text] = await left_over(rented)
    assert text.startswith("2 instances may still run in us-east-1 (AWS ec2 TerminateInstances in us-east-1 said")
    assert f"aws ec2 terminate-instances --region us-east-1 --instance-ids {ids}" in text
    assert len(cloud.instances("running")) == 2
    cloud.released()
    assert await left_over(rented) == []
    assert cloud.left_over() == []


async def test_aws_cannot_be_reached(cloud: FakeCloud) -> None:
    # Each call is made five times by itself, with pauses: few calls, then.
    rented, _ = await rent()
    hasty = AwsProvider(rented.profile, rented.directory, replace(renting.PATIENCE, free_s=0.0))
    cloud.misbehave("DescribeInstances", cut="before", times=None)
    [text] = await left_over(hasty)
    assert "2 instances may still run in us-east-1" in text
    cloud.released()
    assert await left_over(renting.provider(rented.profile, rented.directory)) == []
    assert cloud.left_over() == []


async def test_credentials_of_another_account_end_nothing_and_believe_nothing(cloud: FakeCloud) -> None:
    rented, _ = await rent()
    path = rented.directory.path / "fleet.json"
    fleet = json.loads(path.read_text())
    fleet["claim"]["account"] = "999988887777"
    path.write_text(json.dumps(fleet))
    other = renting.provider(rented.profile, rented.directory)
    [text] = await left_over(other)
    assert "is in AWS account 999988887777 and these credentials are of 123456789012" in text
    assert len(cloud.instances("running")) == 2
    with pytest.raises(ProviderError, match="999988887777"):
        await other.remains()
    await renting.all_of(rented.release())


async def test_an_operator_who_interrupts_the_launch_while_it_is_being_accepted(cloud: FakeCloud) -> None:
    held = cloud.misbehave("RunInstances", hold=True)
    rented = renting.provider(renting.profile(), patience=replace(renting.PATIENCE, visible_s=0.1))
    bringing = asyncio.create_task(renting.all_of(rented.bring_up()))
    await asyncio.to_thread(held.wait)
    bringing.cancel()
    await asyncio.gather(bringing, return_exceptions=True)
    giving = asyncio.create_task(left_over(rented))
    # What the call will have launched can only be known when it has come back.
    await asyncio.wait({giving}, timeout=0.5)
    assert not giving.done()
    held.release()
    assert await giving == []
    assert len(cloud.instances("terminated")) == 2
    assert cloud.left_over() == []


async def test_what_was_launched_and_is_not_visible_yet(cloud: FakeCloud) -> None:
    rented, _ = await rent()
    await renting.all_of(rented.release())
    cloud.hide_new(0.7)
    held = cloud.misbehave("DescribeInstances", hold=True)
    bringing = asyncio.create_task(renting.all_of(rented.bring_up()))
    await asyncio.to_thread(held.wait)
    bringing.cancel()
    held.release()
    await asyncio.gather(bringing, return_exceptions=True)
    assert await left_over(rented) == []
    assert cloud.left_over() == []


async def test_a_console_that_dies_while_it_gives_back_leaves_the_rest_to_the_next(cloud: FakeCloud) -> None:
    cloud.set_delays(shutting_down_s=1.0)
    rented, _ = await rent()
    await renting.until(rented.release(), lambda seen: len(seen) == 1)
    other = renting.provider(rented.profile, rented.directory)
    with pytest.raises(ProviderError, match="were released"):
        await renting.all_of(other.adopt())
    # Nothing was launched in their place.
    assert len(cloud.calls("RunInstances")) == 1
    assert cloud.left_over() == []


async def test_a_run_that_goes_on_later_has_instances_of_its_own(cloud: FakeCloud) -> None:
    rented, first = await rent()
    await renting.all_of(rented.release())
    again = renting.provider(rented.profile, rented.directory)
    second = await renting.launched(again)
    ended = await renting.all_of(again.release())
    old = {start.instance_id for start in renting.started(first).values()}
    new = {start.instance_id for start in renting.started(second).values()}
    assert len(old | new) == 4
    # Those of the first attempt are still shown by EC2, and told of no second time.
    assert {stop.instance_id for stop in renting.stopped(ended).values()} == new
    assert renting.started(ended) == {}
    assert cloud.left_over() == []


async def test_an_instance_that_was_never_put_on_the_bill_gets_its_line(cloud: FakeCloud) -> None:
    held = cloud.misbehave("GetProducts", hold=True)
    rented = renting.provider(renting.profile())
    bringing = asyncio.create_task(renting.all_of(rented.bring_up()))
    # They run, and the console dies before it could say so.
    await asyncio.to_thread(held.wait)
    bringing.cancel()
    held.release()
    await asyncio.gather(bringing, return_exceptions=True)
    ended = await renting.all_of(renting.provider(rented.profile, rented.directory).release())
    assert sorted(renting.started(ended)) == sorted(renting.stopped(ended)) == [0, 1]
    order = [type(one[1]).__name__ for one in ended if one[0] == 0]
    assert order.index("InstanceStarted") < order.index("InstanceStopped")


# --- what EC2 says meanwhile -----------------------------------------------------------------------------------------


async def test_an_instance_that_ec2_takes_back_is_told_with_ec2_s_own_time(
    cloud: FakeCloud, machines: Machines
) -> None:
    rented = renting.provider(renting.profile(market='"spot"'))
    seen = await renting.all_of(rented.bring_up())
    instance_id = renting.started(seen)[1].instance_id
    cloud.interrupt(instance_id)
    told = await renting.until(rented.watch(), lambda seen: renting.events(seen, HostLost))
    stop = renting.stopped(told)[1]
    assert (stop.instance_id, stop.taken_back) == (instance_id, True)
    assert renting.events(told, HostLost)[1].reason.startswith(f"EC2: {instance_id} is ")
    # Once.
    more = await renting.until(rented.watch(), lambda seen: len(renting.events(seen, PriceQuoted)) > 0)
    assert renting.stopped(more) == {}
    await renting.all_of(rented.release())
    assert cloud.left_over() == []


async def test_spot_prices_of_the_zone_in_use(cloud: FakeCloud) -> None:
    cloud.set_price("g6.xlarge", "us-east-1b", "spot", 0.2)
    rented, _ = await rent(market='"spot"')
    watching = renting.until(rented.watch(), lambda seen: len(seen) == 2)
    task = asyncio.create_task(watching)
    first = await asyncio.to_thread(cloud.wait_for_call, "DescribeSpotPriceHistory", 3)
    assert first.code in (None, "OK")
    cloud.set_price("g6.xlarge", "us-east-1b", "spot", 0.31)
    cloud.set_price("g6.xlarge", "us-east-1a", "spot", 0.11)
    quotes = [event for _, event in await task]
    assert [(quote.usd_per_h, quote.zone, quote.market) for quote in quotes] == [
        (0.2, "us-east-1b", "spot"),
        (0.31, "us-east-1b", "spot"),
    ]
    assert quotes[0].source.startswith("EC2 spot price history, since ")
    await renting.all_of(rented.release())


async def test_a_silent_ec2_is_no_loss(cloud: FakeCloud, machines: Machines) -> None:
    rented = renting.provider(renting.profile(1))
    host = renting.hosts(await renting.all_of(rented.bring_up()))[0]
    other = renting.provider(rented.profile, rented.directory)
    refused = cloud.misbehave("DescribeInstances", error="UnauthorizedOperation", times=None)
    assert await other.lost(host) is None
    refused.release()
    # Not shown is not gone, as long as it may be a new one.
    cloud.ec2.hidden.update(machine.instance_id for machine in cloud.instances())
    assert await renting.provider(rented.profile, rented.directory).lost(host) is None
    # Hours later it is: EC2 shows ended instances for about an hour.
    path = rented.directory.path / "fleet.json"
    fleet = json.loads(path.read_text())
    fleet["claim"]["orders"][0]["asked_t"] -= 7200
    path.write_text(json.dumps(fleet))
    later = renting.provider(rented.profile, rented.directory)
    assert (await later.lost(host) or "").endswith("is not there any more")
    cloud.released()
    assert await other.remains() is True
    await renting.all_of(rented.release())
    assert await other.remains() is False


async def test_a_host_whose_place_was_taken_while_it_lived_is_ended(cloud: FakeCloud, machines: Machines) -> None:
    rented = renting.provider(renting.profile())
    before = await renting.all_of(rented.bring_up())
    old = renting.started(before)[1].instance_id
    await renting.all_of(rented.replace(1))
    # It trains on until the other takes over.
    assert len(cloud.instances("running")) == 3
    told = await renting.until(rented.watch(), lambda seen: 1 in renting.stopped(seen))
    assert renting.stopped(told)[1].instance_id == old
    # The place has its host: nothing is lost.
    assert renting.events(told, HostLost) == {}
    assert len(cloud.instances("running")) == 2
    await renting.all_of(rented.release())
    assert cloud.left_over() == []
