"""Launching instances on an AWS that refuses, goes silent, forgets and is slow; and the hosts that come of it."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from typing import Any

import fake_catalog
import pytest
import renting
from fake_cloud import FakeCloud
from fake_instances import Machines

from console.fleet.aws.type_facts import Machine, machine_of
from console.fleet.choose import provider_of
from console.fleet.provider import ProviderError
from console.fleet.rental.context import AwsContext
from console.fleet.rental.network import interfaces, readmit
from console.journal.directory import RunDirectory
from console.profile.schema import Profile
from console.ssh.connect import connect

ZONES = [f"us-east-1{letter}" for letter in "abcdf"]


async def refusal(given: Profile) -> str:
    """The sentence that a launch ends with."""
    with pytest.raises(ProviderError) as caught:
        await renting.all_of(renting.provider(given).bring_up())
    text = str(caught.value)
    assert "\n" not in text
    return text


def tried(cloud: FakeCloud) -> list[tuple[str | None, str | None]]:
    """Zone and outcome of each RunInstances."""
    return [(call.zone, call.code) for call in cloud.calls("RunInstances")]


def security_group(cloud: FakeCloud) -> dict[str, Any]:
    """The run's."""
    groups: list[dict[str, Any]] = cloud.client().describe_security_groups()["SecurityGroups"]
    [ours] = [group for group in groups if group["GroupName"].startswith("fastconsole-")]
    return ours


# --- what is asked for -----------------------------------------------------------------------------------------------


async def test_two_hosts_pinned_to_keys_of_their_own(cloud: FakeCloud, machines: Machines) -> None:
    given = renting.profile(market='"spot"', tags='{ team = "vision" }', volume_gib=120)
    rented = renting.provider(given)
    seen = await renting.all_of(rented.bring_up())
    hosts, started = renting.hosts(seen), renting.started(seen)
    assert sorted(hosts) == sorted(started) == [0, 1]
    ids = [started[node].instance_id for node in (0, 1)]
    assert ids == sorted(ids)
    assert renting.node_tags(cloud) == dict(zip(ids, ("0", "1"), strict=True))
    assert {start.market for start in started.values()} == {"spot"}
    assert {start.usd_per_h_on_demand for start in started.values()} == {fake_catalog.USD_PER_H["g6.xlarge"]}
    assert all(start.usd_per_h and start.usd_per_h < 0.5 and start.address_usd_per_h for start in started.values())
    # Two keys, neither of them the one that both booted with.
    keys = {address.host_key for address in hosts.values()}
    assert len(keys) == 2
    assert not keys & {machines[one].host_key for one in ids}
    for address in hosts.values():
        connection = await connect(address)
        said = await connection.run("hostname")
        connection.abort()
        assert said.exit_status == 0
        assert await rented.lost(address) is None
    await renting.all_of(rented.release())
    assert cloud.left_over() == []


async def test_what_ec2_is_asked_for(cloud: FakeCloud) -> None:
    given = renting.profile(market='"spot"', tags='{ team = "vision" }', volume_gib=120)
    directory = RunDirectory.create(given.name)
    on_disk: list[dict[str, Any]] = []

    def look(params: Any) -> bool:
        on_disk.append(json.loads((directory.path / "fleet.json").read_text())["claim"])
        return False

    cloud.misbehave("RunInstances", where=look)
    await renting.launched(renting.provider(given, directory))
    [call] = cloud.calls("RunInstances")
    asked = call.params
    # The token was on disk before the call.
    assert [order["token"] for order in on_disk[0]["orders"]] == [asked["ClientToken"]]
    assert on_disk[0]["orders"][0]["outcome"] == "asked"
    assert (asked["MinCount"], asked["MaxCount"]) == (2, 2)
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    assert asked["BlockDeviceMappings"][0]["Ebs"] == {
        "VolumeSize": 120,
        "VolumeType": "gp3",
        "DeleteOnTermination": True,
    }
    assert asked["InstanceMarketOptions"]["SpotOptions"]["SpotInstanceType"] == "one-time"
    tags = {
        one["ResourceType"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]} for one in asked["TagSpecifications"]
    }
    assert sorted(tags) == ["instance", "network-interface", "spot-instances-request", "volume"]
    for each in tags.values():
        assert each["fastconsole:run"] == directory.run_id
        assert each["fastconsole:profile"] == "small"
        assert each["team"] == "vision"
    group = security_group(cloud)
    ways = {rule["IpProtocol"]: rule for rule in group["IpPermissions"]}
    assert sorted(ways) == ["-1", "tcp"]
    assert (ways["tcp"]["FromPort"], ways["tcp"]["ToPort"]) == (22, 22)
    assert [each["CidrIp"] for each in ways["tcp"]["IpRanges"]] == ["127.0.0.0/8"]
    assert ways["-1"]["IpRanges"] == []
    for rules in (group["IpPermissions"], group["IpPermissionsEgress"]):
        assert group["GroupId"] in [pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]]
    # Secrets are for their owner's eyes, and the public half alone is in what may be shown.
    for file in directory.path.iterdir():
        assert file.is_dir() or stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    assert "PRIVATE KEY" not in (directory.path / "fleet.json").read_text()


def test_interfaces_by_the_cards_of_the_type() -> None:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    def asked(name: str, connect: str = "elastic-ip", **fleet: Any) -> list[tuple[int, int, str]]:
        given = renting.profile(instance_type=f'"{name}"', connect=f'"{connect}"', **fleet)
        made = interfaces(given.fleet, machine_of(INSTANCE_TYPES[name]), "subnet-1", "sg-1")
        assert all(one["Groups"] == ["sg-1"] and one["SubnetId"] == "subnet-1" for one in made)
        # EC2 refuses the word itself where there are several interfaces.
        assert all("AssociatePublicIpAddress" not in one for one in made) or len(made) == 1
        return [(one["NetworkCardIndex"], one["DeviceIndex"], one.get("InterfaceType", "")) for one in made]

    assert asked("g6.xlarge", "public") == [(0, 0, "")]
    assert asked("g5.12xlarge", "public") == [(0, 0, "efa")]
    assert asked("g5.12xlarge", "public", efa="false") == [(0, 0, "")]
    assert asked("p4d.24xlarge") == [
        (0, 0, "interface"),
        (0, 1, "efa-only"),
        (1, 0, "efa-only"),
        (2, 0, "efa-only"),
        (3, 0, "efa-only"),
    ]
    assert asked("p4d.24xlarge", "public", efa="false") == [(0, 0, "")]
    assert len(asked("p5.48xlarge")) == 33
    # The first of its seventeen cards has no EFA.
    b300 = asked("p6-b300.48xlarge")
    assert b300[:2] == [(0, 0, "interface"), (1, 0, "efa-only")]
    assert len(b300) == 17


def test_public_addresses_only_where_they_are_asked_for() -> None:
    kind = Machine(name="g6.xlarge", vcpus=4, architecture="x86_64")
    for way, public in (("public", True), ("private", False), ("elastic-ip", False)):
        [one] = interfaces(renting.profile(connect=f'"{way}"').fleet, kind, "subnet-1", "sg-1")
        assert one["AssociatePublicIpAddress"] is public


# --- zones, regions and markets --------------------------------------------------------------------------------------


async def test_no_capacity_in_the_first_zone(cloud: FakeCloud) -> None:
    cloud.misbehave("RunInstances", error="InsufficientInstanceCapacity", zone="us-east-1a", times=None)
    seen = await renting.launched(renting.provider(renting.profile()))
    # Asked once each, with a token of its own each.
    assert tried(cloud) == [("us-east-1a", "InsufficientInstanceCapacity"), ("us-east-1b", "OK")]
    assert len({call.params["ClientToken"] for call in cloud.calls("RunInstances")}) == 2
    assert renting.alerts(seen, "launch") == [
        "us-east-1a has no capacity for 2 × g6.xlarge (InsufficientInstanceCapacity); trying us-east-1b"
    ]
    assert {start.zone for start in renting.started(seen).values()} == {"us-east-1b"}
    assert len(cloud.instances()) == 2


async def test_the_cheapest_zone_first(cloud: FakeCloud) -> None:
    for usd, zone in ((0.4, "us-east-1a"), (0.2, "us-east-1c"), (0.3, "us-east-1b")):
        cloud.set_price("g6.xlarge", zone, "spot", usd)
    given = renting.profile(market='"spot"', zones='["us-east-1a", "us-east-1b", "us-east-1c"]')
    cloud.misbehave("RunInstances", error="InsufficientInstanceCapacity", zone="us-east-1c", times=None)
    seen = await renting.launched(renting.provider(given))
    assert tried(cloud) == [("us-east-1c", "InsufficientInstanceCapacity"), ("us-east-1b", "OK")]
    assert {start.usd_per_h for start in renting.started(seen).values()} == {0.3}


async def test_no_capacity_in_a_region_and_then_in_another(cloud: FakeCloud) -> None:
    given = renting.profile(failover_regions='["us-west-2"]', zones='["us-east-1a", "us-east-1b"]')
    rented = renting.provider(given)
    cloud.misbehave("RunInstances", error="InsufficientInstanceCapacity", region="us-east-1", times=None)
    seen = await renting.launched(rented)
    assert [zone for zone, _ in tried(cloud)] == ["us-east-1a", "us-east-1b", "us-west-2a"]
    assert len(cloud.instances(region="us-west-2")) == 2
    assert len(renting.alerts(seen, "launch")) == 2
    await renting.all_of(rented.release())
    # In the region where nothing was launched, too.
    assert cloud.left_over() == []


async def test_no_capacity_anywhere_is_one_sentence_that_says_what_was_tried(cloud: FakeCloud) -> None:
    cloud.misbehave("RunInstances", error="InsufficientInstanceCapacity", times=None)
    zones = '["us-east-1a", "us-east-1b"]'
    said = await refusal(renting.profile(zones=zones, failover_regions='["eu-west-1", "us-west-2"]'))
    assert said.startswith(
        "2 × g6.xlarge are not available: "
        "us-east-1a has no capacity for 2 × g6.xlarge (InsufficientInstanceCapacity); "
        "us-east-1b has no capacity for 2 × g6.xlarge (InsufficientInstanceCapacity); "
        "fleet.instance_type: g6.xlarge is not offered in eu-west-1; nearest there: g5.xlarge"
    )
    assert "; us-west-2a has no capacity for 2 × g6.xlarge (InsufficientInstanceCapacity)" in said
    assert cloud.left_over() == []


async def test_spot_and_then_on_demand(cloud: FakeCloud) -> None:
    def spot(params: Any) -> bool:
        return "InstanceMarketOptions" in params

    cloud.misbehave("RunInstances", error="UnfulfillableCapacity", where=spot, times=None)
    given = renting.profile(market='"spot-then-on-demand"', zones='["us-east-1a", "us-east-1b"]')
    seen = await renting.launched(renting.provider(given))
    assert [zone for zone, _ in tried(cloud)] == ["us-east-1a", "us-east-1b", "us-east-1a"]
    assert {start.market for start in renting.started(seen).values()} == {"on-demand"}
    assert renting.alerts(seen, "launch")[-1] == (
        "us-east-1b has no spot capacity for 2 × g6.xlarge (UnfulfillableCapacity); trying us-east-1a, on-demand"
    )


async def test_a_reservation_is_used_where_it_is(cloud: FakeCloud) -> None:
    cloud.reserve("cr-0123456789abcdef0", "g6.xlarge", "us-east-1c", 2)
    given = renting.profile(market='"reservation"', reservation='"cr-0123456789abcdef0"')
    seen = await renting.launched(renting.provider(given))
    assert tried(cloud) == [("us-east-1c", "OK")]
    assert {start.market for start in renting.started(seen).values()} == {"reservation"}
    # What it costs was agreed with AWS when it was made: the profile's word stands.
    assert {start.usd_per_h for start in renting.started(seen).values()} == {given.fleet.usd_per_h}


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_a_quota_that_is_too_small(cloud: FakeCloud) -> None:
    cloud.set_quota("L-DB2E81BA", 4)
    said = await refusal(renting.profile())
    assert "quota L-DB2E81BA (Running On-Demand G and VT instances) is too small" in said
    assert "2 × g6.xlarge need 8 vCPUs" in said
    assert "--quota-code L-DB2E81BA --desired-value 8" in said
    # It is the same in all zones.
    assert len(tried(cloud)) == 1
    assert cloud.left_over() == []


async def test_requests_that_are_limited_are_made_again(cloud: FakeCloud) -> None:
    cloud.misbehave("RunInstances", error="RequestLimitExceeded", times=3)
    await renting.launched(renting.provider(renting.profile()))
    assert [code for _, code in tried(cloud)] == ["RequestLimitExceeded"] * 3 + ["OK"]
    assert len({call.params["ClientToken"] for call in cloud.calls("RunInstances")}) == 1
    assert len(cloud.instances()) == 2


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a type with a slip": (
        {"instance_type": '"g6.9xlarge"'},
        "fleet.instance_type: g6.9xlarge is not offered in us-east-1; did you mean g6.xlarge?",
    ),
    "a type the region does not offer": (
        {"instance_type": '"p5e.48xlarge"', "connect": '"private"'},
        "fleet.instance_type: p5e.48xlarge is not offered in us-east-1; nearest there: p5en.48xlarge",
    ),
    "no such image": ({"image": '"ami-00000000000000000"'}, "fleet.image: there is no image ami-00000000000000000"),
    "no such parameter": ({"image": '"nonsense"'}, "there is no SSM parameter /aws/service/deeplearning/ami/x86_64/"),
    "no such subnet": ({"subnets": '["subnet-00000000"]'}, "fleet.subnets: us-east-1 has none of subnet-00000000"),
    "a zone without the type": ({"zones": '["us-east-1e"]'}, "fleet.zones: us-east-1e offer no g6.xlarge"),
    "no such reservation": (
        {"market": '"reservation"', "reservation": '"cr-00000000000000000"'},
        "fleet.reservation: there is no cr-00000000000000000 in us-east-1",
    ),
}


@pytest.mark.parametrize(("keys", "words"), WRONG.values(), ids=WRONG)
async def test_what_cannot_be_is_one_sentence_and_nothing_is_made(
    cloud: FakeCloud, keys: dict[str, Any], words: str
) -> None:
    assert words in await refusal(renting.profile(**keys))
    assert tried(cloud) == []
    assert cloud.left_over() == []


async def test_credentials_that_may_not(cloud: FakeCloud) -> None:
    cloud.misbehave("RunInstances", error="UnauthorizedOperation", times=None)
    said = await refusal(renting.profile())
    assert "these credentials may not do this: profiles/aws-iam-policy.json" in said
    assert cloud.left_over() == []


async def test_credentials_that_have_expired(cloud: FakeCloud) -> None:
    cloud.misbehave("*", error="RequestExpired", times=None)
    assert "the AWS credentials have expired" in await refusal(renting.profile())
    cloud.released()
    assert cloud.left_over() == []


def test_a_type_that_nobody_can_rent_any_more() -> None:
    given = renting.profile(instance_type='"p3.16xlarge"')
    with pytest.raises(ProviderError, match=r"p3\.16xlarge is not offered in any region any more.*p4d\.24xlarge"):
        provider_of(given, RunDirectory.create(given.name))


# --- silence ---------------------------------------------------------------------------------------------------------


async def test_launched_and_not_visible_yet(cloud: FakeCloud) -> None:
    cloud.hide_new(0.8)
    seen = await renting.launched(renting.provider(renting.profile()))
    assert sorted(renting.started(seen)) == [0, 1]
    assert len(cloud.calls("RunInstances")) == 1
    assert len(cloud.instances()) == 2


@pytest.mark.parametrize("hidden_s", [0.0, 0.8])
async def test_the_connection_is_cut_after_the_launch_was_accepted(cloud: FakeCloud, hidden_s: float) -> None:
    cloud.hide_new(hidden_s)
    cloud.misbehave("RunInstances", cut="after", times=2)
    seen = await renting.launched(renting.provider(renting.profile()))
    assert sorted(renting.started(seen)) == [0, 1]
    assert len(cloud.instances("pending", "running", "shutting-down", "terminated")) == 2
    assert {(call.zone, call.params["ClientToken"]) for call in cloud.calls("RunInstances")} == {
        ("us-east-1a", cloud.calls("RunInstances")[0].params["ClientToken"])
    }


async def test_no_answer_at_all_and_what_may_be_left_is_said(cloud: FakeCloud) -> None:
    cloud.hide_new(None)
    cloud.misbehave("RunInstances", cut="after", times=None)
    rented = renting.provider(renting.profile())
    with pytest.raises(ProviderError, match=r"it is not known whether 2 × g6\.xlarge were launched in us-east-1a"):
        await renting.all_of(rented.bring_up())
    assert {zone for zone, _ in tried(cloud)} == {"us-east-1a"}
    assert len(cloud.instances()) == 2
    cloud.released()
    await renting.all_of(rented.release())
    assert cloud.left_over() == []


async def test_an_instance_that_dies_while_it_is_pending(cloud: FakeCloud) -> None:
    cloud.set_delays(pending_s=5.0)
    rented = renting.provider(renting.profile())
    seen: list[Any] = []

    async def bring_up() -> None:
        async for one in rented.bring_up():
            seen.append(one)
            pending = sorted(machine.instance_id for machine in cloud.instances("pending"))
            if len(pending) == 2:
                cloud.fail(pending[0])

    with pytest.raises(ProviderError) as caught:
        await bring_up()
    assert "node 0: EC2: i-" in str(caught.value)
    assert "Internal error on launch" in str(caught.value)
    assert renting.started(seen) == {}
    assert cloud.left_over() == []


async def test_instances_that_never_run(cloud: FakeCloud) -> None:
    cloud.set_delays(pending_s=60.0)
    rented = renting.provider(renting.profile(), patience=replace(renting.PATIENCE, running_s=0.5))
    with pytest.raises(ProviderError, match="the instances of nodes 0, 1 are not running"):
        await renting.all_of(rented.bring_up())
    assert cloud.left_over() == []


# --- ways in ---------------------------------------------------------------------------------------------------------


async def test_through_an_elastic_ip_at_node_0(cloud: FakeCloud, machines: Machines) -> None:
    given = renting.profile(instance_type='"p4d.24xlarge"', connect='"elastic-ip"')
    rented = renting.provider(given)
    seen = await renting.all_of(rented.bring_up())
    first, second = renting.hosts(seen)[0], renting.hosts(seen)[1]
    [address] = cloud.client().describe_addresses()["Addresses"]
    assert (first.host, first.jump) == (address["PublicIp"], None)
    assert address["InstanceId"] == renting.started(seen)[0].instance_id
    assert second.jump == first
    assert (second.host, second.gang_address) == (second.gang_address, second.host)
    assert first.gang_address.startswith(cloud.networks["us-east-1"].removesuffix("0.0/16"))
    connection = await connect(second)
    assert (await connection.run("true")).exit_status == 0
    connection.abort()
    assert [renting.started(seen)[node].address_usd_per_h for node in (0, 1)] == [0.005, None]
    await renting.all_of(rented.release())
    assert cloud.left_over() == []


async def test_by_private_addresses(cloud: FakeCloud, machines: Machines) -> None:
    given = renting.profile(1, connect='"private"', ssh_from=None)
    rented = renting.provider(given)
    seen = await renting.all_of(rented.bring_up())
    assert renting.hosts(seen)[0].host.startswith(cloud.networks["us-east-1"].removesuffix("0.0/16"))
    assert [machine.public_ip for machine in cloud.instances()] == [None]
    group = security_group(cloud)
    # Who is in the VPC, and nobody else.
    allowed = {each["CidrIp"] for rule in group["IpPermissions"] for each in rule["IpRanges"]}
    assert allowed == {cloud.networks["us-east-1"]}
    assert cloud.calls("CreatePlacementGroup") == []
    await renting.all_of(rented.release())
    assert cloud.left_over() == []


async def test_a_laptop_that_cannot_find_out_its_own_address(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that nobody keeps.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    said = await refusal(renting.profile(ssh_from=None))
    assert said.startswith("this laptop's public address could not be found out (https://checkip.amazonaws.com: ")
    assert "say who may reach port 22 with fleet.ssh_from" in said
    assert cloud.left_over() == []


async def test_a_laptop_that_moved_is_let_in_from_its_new_address_alone(cloud: FakeCloud) -> None:
    rented = renting.provider(renting.profile(ssh_from='"198.51.100.1/32"'))
    await renting.launched(rented)
    rental = AwsContext(rented.profile, rented.directory, renting.PATIENCE)
    # Twice: a console may die between the two rules.
    for _ in range(2):
        await readmit(rental, "us-east-1", "198.51.100.1/32", "203.0.113.7/32")
    rules = [rule for rule in security_group(cloud)["IpPermissions"] if rule["IpProtocol"] == "tcp"]
    assert [each["CidrIp"] for rule in rules for each in rule["IpRanges"]] == ["203.0.113.7/32"]


# --- a console that comes back ---------------------------------------------------------------------------------------


async def test_the_next_console_finds_the_hosts_and_pins_the_rest(cloud: FakeCloud, machines: Machines) -> None:
    given = renting.profile()
    directory = RunDirectory.create(given.name)
    first = renting.provider(given, directory)
    before = await renting.until(first.bring_up(), lambda seen: len(renting.hosts(seen)) == 1)
    second = renting.provider(given, directory)
    seen = await renting.all_of(second.adopt())
    assert sorted(renting.hosts(seen)) == [0, 1]
    assert renting.hosts(before).items() <= renting.hosts(seen).items()
    assert renting.hosts(await renting.all_of(renting.provider(given, directory).adopt())) == renting.hosts(seen)
    assert len(cloud.instances("pending", "running", "shutting-down", "terminated")) == 2
    for address in renting.hosts(seen).values():
        (await connect(address)).abort()
    await renting.all_of(second.release())
    assert cloud.left_over() == []


async def test_another_instance_for_one_that_was_taken_back(cloud: FakeCloud, machines: Machines) -> None:
    given = renting.profile(market='"spot"', on_loss='"replace-on-demand"')
    directory = RunDirectory.create(given.name)
    rented = renting.provider(given, directory)
    before = await renting.all_of(rented.bring_up())
    old = renting.started(before)[1]
    cloud.interrupt(old.instance_id)
    await renting.until(rented.watch(), lambda seen: 1 in renting.stopped(seen))
    assert (await rented.lost(renting.hosts(before)[1]) or "").startswith(f"EC2: {old.instance_id} is ")
    assert await rented.lost(renting.hosts(before)[0]) is None
    seen = await renting.all_of(rented.replace(1))
    new = renting.started(seen)[1]
    assert new.instance_id != old.instance_id
    assert (new.market, new.zone) == ("on-demand", old.zone)
    assert list(renting.hosts(seen)) == [1]
    assert await rented.lost(renting.hosts(seen)[1]) is None
    # Asked of the host that held the place before, EC2 still says that it is gone.
    assert await rented.lost(renting.hosts(before)[1]) is not None
    # The next console has the new one.
    adopted = renting.hosts(await renting.all_of(renting.provider(given, directory).adopt()))
    assert adopted == {**renting.hosts(before), **renting.hosts(seen)}
    await renting.all_of(rented.release())
    assert cloud.left_over() == []


async def test_a_replacement_that_cannot_be_had_leaves_the_others_alone(cloud: FakeCloud, machines: Machines) -> None:
    rented = renting.provider(renting.profile())
    before = await renting.all_of(rented.bring_up())
    cloud.fail(renting.started(before)[1].instance_id)
    cloud.misbehave("RunInstances", error="InsufficientInstanceCapacity", times=None)
    with pytest.raises(ProviderError, match=r"us-east-1a has no capacity for 1 × g6\.xlarge"):
        await renting.all_of(rented.replace(1))
    assert await rented.lost(renting.hosts(before)[0]) is None
    (await connect(renting.hosts(before)[0])).abort()
    await renting.all_of(rented.release())
    assert cloud.left_over() == []
