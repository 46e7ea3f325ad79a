"""The fake AWS does what EC2 is documented to do, and goes wrong as it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.config
import fake_catalog
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from fake_cloud import FakeCloud

IMAGE = next(iter(fake_catalog.IMAGES))


SESSION = boto3.session.Session()


def user_client(cloud: FakeCloud, service: str = "ec2", region: str = "us-east-1") -> Any:
    """As the code under test makes one, but without retries."""
    config = botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=20)
    return SESSION.client(
        service,
        region_name=region,
        endpoint_url=cloud.endpoint,
        aws_access_key_id=cloud.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud.env["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )


def subnets(cloud: FakeCloud, region: str = "us-east-1") -> dict[str, str]:
    """Zone to its default subnet."""
    found = cloud.client("ec2", region).describe_subnets()["Subnets"]
    return {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in found}


def launch(ec2: Any, cloud: FakeCloud, **more: Any) -> Any:
    """RunInstances of one small GPU instance in us-east-1a, or what `more` says."""
    asked = {
        "ImageId": IMAGE,
        "InstanceType": "g6.xlarge",
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": subnets(cloud)["us-east-1a"],
        "InstanceInitiatedShutdownBehavior": "terminate",
        **more,
    }
    return ec2.run_instances(**{name: value for name, value in asked.items() if value is not None})


def refusal(call: Callable[[], Any]) -> str:
    """The code that AWS refuses with."""
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def until(what: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """What it gives as soon as it gives something."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


def state(cloud: FakeCloud, instance_id: str) -> Any:
    """The instance as EC2 describes it."""
    return cloud.client().describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def test_a_token_launches_once_and_says_so_again(cloud: FakeCloud) -> None:
    ec2 = user_client(cloud)
    first = launch(ec2, cloud, ClientToken="once", MinCount=16, MaxCount=16)
    again = launch(ec2, cloud, ClientToken="once", MinCount=16, MaxCount=16)
    assert first["ReservationId"] == again["ReservationId"]
    assert len(cloud.instances()) == len(again["Instances"]) == 16
    assert refusal(lambda: launch(ec2, cloud, ClientToken="once")) == "IdempotentParameterMismatch"
    # EC2's tokens hold within a zone: the same one elsewhere is another launch.
    launch(ec2, cloud, ClientToken="once", SubnetId=subnets(cloud)["us-east-1b"])
    assert len(cloud.instances()) == 17
    ec2.terminate_instances(InstanceIds=[each["InstanceId"] for each in first["Instances"]])
    assert refusal(lambda: launch(ec2, cloud, ClientToken="once", MinCount=16, MaxCount=16)) == (
        "IdempotentInstanceTerminated"
    )


def test_an_instance_goes_through_its_states_and_says_why_it_ended(cloud: FakeCloud) -> None:
    cloud.set_delays(shutting_down_s=3600)
    ec2 = user_client(cloud)
    market = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
    instance = launch(ec2, cloud, ClientToken="t", InstanceMarketOptions=market)["Instances"][0]
    assert instance["State"]["Name"] == "pending"
    name = instance["InstanceId"]
    until(lambda: cloud.instances("running"))
    seen = state(cloud, name)
    assert (seen["InstanceLifecycle"], seen["PrivateIpAddress"]) == (
        "spot",
        cloud.networks["us-east-1"].replace("0.0/16", "1.4"),
    )
    found = ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["t"]}])["Reservations"]
    assert [each["InstanceId"] for each in found[0]["Instances"]] == [name]
    cloud.interrupt(name)
    assert state(cloud, name)["State"]["Name"] == "shutting-down"
    assert cloud.left_over()[0] == f"us-east-1 instance {name} shutting-down"
    cloud.set_delays(shutting_down_s=0)
    other = launch(ec2, cloud)["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[other])
    until(lambda: state(cloud, other)["State"]["Name"] == "terminated")
    assert state(cloud, name)["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert state(cloud, other)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    ended = datetime.strptime(state(cloud, other)["StateTransitionReason"], "User initiated (%Y-%m-%d %H:%M:%S GMT)")
    assert abs(datetime.now(UTC) - ended.replace(tzinfo=UTC)) < timedelta(minutes=1)


def test_what_ec2_refuses_at_the_launch(cloud: FakeCloud) -> None:
    ec2 = user_client(cloud)
    zone_b = subnets(cloud)["us-east-1b"]
    cards: list[dict[str, Any]] = [
        {"NetworkCardIndex": card, "DeviceIndex": min(card, 1), "SubnetId": zone_b, "InterfaceType": kind}
        for card, kind in enumerate(["interface", "efa-only", "efa-only", "efa-only"])
    ]
    p4d = {"InstanceType": "p4d.24xlarge", "SubnetId": None, "NetworkInterfaces": cards}
    first = launch(ec2, cloud, **p4d)["Instances"][0]
    assert len(first["NetworkInterfaces"]) == 4
    cards[0]["AssociatePublicIpAddress"] = True
    assert refusal(lambda: launch(ec2, cloud, **p4d)) == "InvalidParameterCombination"
    fabric = [{"DeviceIndex": 0, "SubnetId": zone_b, "InterfaceType": "efa"}]
    assert refusal(lambda: launch(ec2, cloud, SubnetId=None, NetworkInterfaces=fabric)) == "InvalidParameterCombination"
    assert refusal(lambda: launch(ec2, cloud, InstanceType="p3.16xlarge")) == "InvalidParameterValue"
    assert refusal(lambda: launch(ec2, cloud, ImageId="ami-00000000000000000")) == "InvalidAMIID.NotFound"
    assert refusal(lambda: launch(ec2, cloud, UserData="x" * 16_385)) == "InvalidParameterValue"
    assert refusal(lambda: launch(ec2, cloud, Placement={"GroupName": "none"})) == "InvalidPlacementGroup.Unknown"
    ec2.create_placement_group(GroupName="near", Strategy="cluster")
    small = {"InstanceType": "t3.micro", "Placement": {"GroupName": "near"}}
    assert refusal(lambda: launch(ec2, cloud, **small)) == "InvalidParameterCombination"
    cloud.set_quota("L-DB2E81BA", 7)
    assert refusal(lambda: launch(ec2, cloud, MinCount=2, MaxCount=2)) == "VcpuLimitExceeded"
    assert len(cloud.instances()) == 1, "a refused launch launches nothing"


def test_groups_in_use_stay_and_what_is_left_is_told(cloud: FakeCloud) -> None:
    ec2 = user_client(cloud)
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=cloud.vpcs["us-east-1"])["GroupId"]
    rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    ec2.create_placement_group(GroupName="near", Strategy="cluster")
    assert refusal(lambda: ec2.create_placement_group(GroupName="near")) == "InvalidPlacementGroup.Duplicate"
    ec2.import_key_pair(KeyName="key", PublicKeyMaterial=b"ssh-ed25519 " + ED25519 + b" me")
    address = ec2.allocate_address(Domain="vpc")
    name = launch(ec2, cloud, SecurityGroupIds=[group], Placement={"GroupName": "near"}, KeyName="key")["Instances"][0]
    until(lambda: cloud.instances("running"))
    ec2.associate_address(InstanceId=name["InstanceId"], AllocationId=address["AllocationId"])
    assert state(cloud, name["InstanceId"])["PublicIpAddress"] == address["PublicIp"]
    kinds = sorted(line.split()[1] for line in cloud.left_over())
    assert kinds == ["address", "instance", "key", "placement", "security", "volume"]
    assert refusal(lambda: ec2.delete_security_group(GroupId=group)) == "DependencyViolation"
    assert refusal(lambda: ec2.delete_placement_group(GroupName="near")) == "InvalidPlacementGroup.InUse"
    assert refusal(lambda: ec2.release_address(AllocationId=address["AllocationId"])) == "InvalidIPAddress.InUse"
    ec2.terminate_instances(InstanceIds=[name["InstanceId"]])
    until(lambda: not cloud.instances())
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.delete_security_group(GroupId=group)
    ec2.delete_placement_group(GroupName="near")
    ec2.delete_key_pair(KeyName="key")
    assert refusal(lambda: ec2.delete_placement_group(GroupName="near")) == "InvalidPlacementGroup.Unknown"
    assert cloud.left_over() == []


def test_prices_quotas_and_images_are_those_that_a_test_sets(cloud: FakeCloud) -> None:
    day = datetime(2026, 11, 1, tzinfo=UTC)
    for hour, usd in enumerate((8.0, 9.5, 7.25)):
        cloud.set_price("p4d.24xlarge", "us-east-1b", "spot", usd, day + timedelta(hours=hour))
    ec2 = user_client(cloud)
    history = ec2.describe_spot_price_history(
        InstanceTypes=["p4d.24xlarge"],
        ProductDescriptions=["Linux/UNIX"],
        AvailabilityZone="us-east-1b",
        StartTime=day + timedelta(minutes=90),
    )["SpotPriceHistory"]
    assert [each["SpotPrice"] for each in history] == ["7.250000", "9.500000"]
    assert history[1]["Timestamp"] == day + timedelta(hours=1)
    cloud.set_price("p4d.24xlarge", "us-east-1", "on-demand", 20.5, day)
    exact = {
        "instanceType": "p4d.24xlarge",
        "regionCode": "us-east-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }

    def offers(fields: dict[str, str]) -> list[str]:
        filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
        answer = user_client(cloud, "pricing").get_products(ServiceCode="AmazonEC2", Filters=filters)
        return [str(each) for each in answer["PriceList"]]

    (offer,) = offers(exact)
    assert '"USD": "20.5000000000"' in offer
    assert '"2026-11-01T00:00:00Z"' in offer
    assert len(offers({"instanceType": "p4d.24xlarge", "regionCode": "us-east-1"})) > 1, (
        "a careless filter is found out"
    )
    cloud.set_quota("L-417A185B", 1536)
    quota = user_client(cloud, "service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode="L-417A185B")
    assert quota["Quota"]["Value"] == 1536
    ssm = user_client(cloud, "ssm")
    assert ssm.get_parameter(Name=fake_catalog.PYTORCH_PARAMETER)["Parameter"]["Value"] == IMAGE
    cloud.set_parameter(fake_catalog.PYTORCH_PARAMETER, None)
    assert refusal(lambda: ssm.get_parameter(Name=fake_catalog.PYTORCH_PARAMETER)) == "ParameterNotFound"


def test_an_error_is_answered_as_often_and_where_it_was_told(cloud: FakeCloud) -> None:
    cloud.misbehave("RunInstances", error="InsufficientInstanceCapacity", zone="us-east-1a", times=2)
    ec2 = user_client(cloud)
    assert refusal(lambda: launch(ec2, cloud)) == "InsufficientInstanceCapacity"
    assert launch(ec2, cloud, SubnetId=subnets(cloud)["us-east-1b"])["Instances"]
    assert refusal(lambda: launch(ec2, cloud)) == "InsufficientInstanceCapacity"
    assert launch(ec2, cloud)["Instances"]
    codes = [call.code for call in cloud.calls("RunInstances")]
    assert codes == ["InsufficientInstanceCapacity", "OK", "InsufficientInstanceCapacity", "OK"]
    cloud.misbehave("*", error="ExpiredToken", times=None, region="us-west-2")
    for service in ("ec2", "sts", "ssm"):
        client = user_client(cloud, service, "us-west-2")
        actions: dict[str, Callable[[], Any]] = {
            "ec2": lambda client=client: client.describe_instances(),
            "sts": lambda client=client: client.get_caller_identity(),
            "ssm": lambda client=client: client.get_parameter(Name=fake_catalog.PYTORCH_PARAMETER),
        }
        assert refusal(actions[service]) == "ExpiredToken"
    cloud.released()
    assert user_client(cloud, "sts", "us-west-2").get_caller_identity()["Account"]


def test_a_cut_before_launches_nothing_and_a_cut_after_launches(cloud: FakeCloud) -> None:
    ec2 = user_client(cloud)
    cloud.misbehave("RunInstances", cut="before")
    with pytest.raises(ConnectionClosedError):
        launch(ec2, cloud, ClientToken="cut")
    assert cloud.instances() == []
    cloud.misbehave("RunInstances", cut="after")
    with pytest.raises(ConnectionClosedError):
        launch(ec2, cloud, ClientToken="cut")
    assert [call.code for call in cloud.calls("RunInstances")] == ["cut", "cut"]
    (machine,) = cloud.instances()
    (instance,) = launch(ec2, cloud, ClientToken="cut")["Instances"]
    assert instance["InstanceId"] == machine.instance_id


def test_a_client_killed_at_a_held_call_has_made_it_or_not(cloud: FakeCloud) -> None:
    script = (
        "import boto3\n"
        "ec2 = boto3.client('ec2')\n"
        f"ec2.create_security_group(GroupName='g', Description='d', VpcId='{cloud.vpcs['us-east-1']}')\n"
    )
    for when, made in (("before", []), ("after", ["g"])):
        fault = cloud.misbehave("CreateSecurityGroup", hold=when)
        with subprocess.Popen([sys.executable, "-c", script], env=os.environ | cloud.env) as client:
            assert fault.wait().action == "CreateSecurityGroup"
            client.send_signal(signal.SIGKILL)
        fault.release()
        until(lambda when=when: cloud.calls("CreateSecurityGroup")[-1].code == {"before": "cut", "after": "OK"}[when])
        assert [line.split()[-1] for line in cloud.left_over()] == made


def test_new_instances_are_not_visible_yet(cloud: FakeCloud) -> None:
    cloud.hide_new()
    ec2 = user_client(cloud)
    name = launch(ec2, cloud, ClientToken="t")["Instances"][0]["InstanceId"]
    assert ec2.describe_instances()["Reservations"] == []
    for call in (
        lambda: ec2.describe_instances(InstanceIds=[name]),
        lambda: ec2.create_tags(Resources=[name], Tags=[{"Key": "a", "Value": "b"}]),
        lambda: ec2.terminate_instances(InstanceIds=[name]),
    ):
        assert refusal(call) == "InvalidInstanceID.NotFound"
    cloud.show()
    assert len(ec2.describe_instances(InstanceIds=[name])["Reservations"]) == 1


ED25519 = b"AAAAC3NzaC1lZDI1NTE5AAAAIJlzWXX9S2hJpE8V7e7FJ3mY3vVtWkFqzX8sGmW0oQkE"
