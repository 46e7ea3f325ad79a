"""Instances of runs that nobody here launched, made past the fake AWS's front: for tests of what any laptop sees."""

from __future__ import annotations

from typing import Any

from fake_cloud import FakeCloud

IMAGE = "ami-0d1a000000000000a"


def tags(run_id: str, **more: str) -> list[dict[str, str]]:
    """The tags that a run's console writes."""
    owner = {"fastconsole:run": run_id, "fastconsole:profile": "imagenet", "fastconsole:owner": "ada@lovelace"}
    return [{"Key": key, "Value": value} for key, value in {**owner, **more}.items()]


def launch(
    cloud: FakeCloud,
    run_id: str,
    count: int = 1,
    *,
    kind: str = "p4d.24xlarge",
    region: str = "us-east-1",
    zone: str = "",
    market: str = "on-demand",
    groups: tuple[str, ...] = (),
) -> list[str]:
    """Instances that bear the run's tags, once they run; their ids in the order of their nodes."""
    client = cloud.client("ec2", region)
    tagged = [{"ResourceType": what, "Tags": tags(run_id)} for what in ("instance", "volume")]
    more: dict[str, Any] = {"SecurityGroupIds": list(groups)} if groups else {}
    if market == "spot":
        more["InstanceMarketOptions"] = {"MarketType": "spot"}
    said = client.run_instances(
        ImageId=IMAGE,
        InstanceType=kind,
        MinCount=count,
        MaxCount=count,
        Placement={"AvailabilityZone": zone or f"{region}a"},
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 100, "DeleteOnTermination": True}}],
        TagSpecifications=tagged,
        **more,
    )
    ids = sorted(one["InstanceId"] for one in said["Instances"])
    client.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})  # type: ignore[arg-type]
    for node, instance_id in enumerate(ids):
        client.create_tags(Resources=[instance_id], Tags=[{"Key": "fastconsole:node", "Value": str(node)}])
    return ids


def group(cloud: FakeCloud, run_id: str, region: str = "us-east-1") -> str:
    """A security group of the run's; its id."""
    specification = {"ResourceType": "security-group", "Tags": tags(run_id)}
    made = cloud.client("ec2", region).create_security_group(
        GroupName=f"fastconsole-{run_id}",
        Description="of a run",
        VpcId=cloud.vpcs[region],
        TagSpecifications=[specification],
    )
    return str(made["GroupId"])
