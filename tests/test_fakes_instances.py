"""The fake AWS's machines: they boot from user-data, let in whom it says, and live and die as instances do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncssh
import fake_catalog
import pytest
from fake_cloud import FakeCloud
from fake_init import HOME
from fake_instances import Machines

IMAGE = next(iter(fake_catalog.IMAGES))
KEY = asyncssh.generate_private_key("ssh-ed25519")
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")


def public(key: asyncssh.SSHKey) -> str:
    """As in an OpenSSH file."""
    return key.export_public_key().decode().strip()


def user_data(**more: Any) -> str:
    """For machines that hold `HOST_KEY` and let `KEY` in."""
    config = {
        "ssh_authorized_keys": [public(KEY)],
        "ssh_keys": {"ed25519_private": HOST_KEY.export_private_key().decode(), "ed25519_public": public(HOST_KEY)},
        "disable_root": False,
        **more,
    }
    return "#cloud-config\n" + json.dumps(config)


def launch(cloud: FakeCloud, count: int = 1, **more: Any) -> list[str]:
    """The ids of so many new instances."""
    ec2 = cloud.client()
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    asked = {
        "ImageId": IMAGE,
        "InstanceType": "g6.xlarge",
        "MinCount": count,
        "MaxCount": count,
        "SubnetId": subnet,
        "UserData": user_data(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        **more,
    }
    return [str(each["InstanceId"]) for each in ec2.run_instances(**asked)["Instances"]]


def described(cloud: FakeCloud, instance_id: str) -> Any:
    """The instance as EC2 describes it."""
    return cloud.client().describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


async def said(address: str, command: str, *, key: asyncssh.SSHKey = KEY, host_key: asyncssh.SSHKey = HOST_KEY) -> str:
    """What a command prints, over SSH with the pinned host key."""
    known = ([host_key.convert_to_public()], [], [])
    async with asyncssh.connect(
        address, username="root", client_keys=[key], known_hosts=known, config=None, agent_path=None
    ) as connection:
        return str((await connection.run(command, check=True)).stdout).strip()


async def until(what: Any, timeout_s: float = 20.0) -> Any:
    """What it gives as soon as it gives something."""
    async with asyncio.timeout(timeout_s):
        while not (found := await asyncio.to_thread(what)):  # noqa: ASYNC110 - it is a process elsewhere
            await asyncio.sleep(0.02)
    return found


async def test_sixteen_boot_with_the_pinned_key_and_let_in_nobody_else(cloud: FakeCloud, machines: Machines) -> None:
    ids = launch(cloud, 16)
    running = await asyncio.to_thread(machines.wait, *ids)
    addresses = [each.machine.private_ip for each in running]
    names = await asyncio.gather(
        *(said(address, "hostname; cat /var/lib/cloud/data/instance-id") for address in addresses)
    )
    assert [name.split() for name in names] == [
        ["ip-" + each.machine.private_ip.replace(".", "-"), each.machine.instance_id] for each in running
    ]
    public_ip = described(cloud, ids[0])["PublicIpAddress"]
    assert await said(public_ip, "cat /var/lib/cloud/data/instance-id") == ids[0]
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await said(addresses[0], "true", key=stranger)
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await said(addresses[0], "true", host_key=stranger)


async def test_user_data_runs_in_cloud_init_s_order_and_touches_nothing_real(
    cloud: FakeCloud, machines: Machines
) -> None:
    mark = "/etc/fastconsole-test-mark"
    config = user_data(
        bootcmd=[f"echo bootcmd >> {mark}"],
        write_files=[
            {"path": mark, "content": "write_files\n", "append": True},
            {"path": "/usr/local/sbin/fastconsole-test", "content": "#!/bin/sh\nsleep 1000\n", "permissions": "0755"},
            {
                "path": "/etc/systemd/system/fastconsole-test.service",
                "content": "[Service]\nExecStart=/usr/local/sbin/fastconsole-test\nRestart=always\nRestartSec=0.05\n",
            },
        ],
        runcmd=[
            ["sh", "-c", f"echo runcmd >> {mark}"],
            "systemctl daemon-reload && sudo -n systemctl enable --now fastconsole-test",
        ],
    )
    (name,) = launch(cloud, UserData=config)
    await asyncio.to_thread(machines.wait, name)
    await asyncio.to_thread(machines.wait_for_event, name, "finished")
    assert machines.path(name, mark).read_text().split() == ["bootcmd", "write_files", "runcmd"]

    def service() -> str:
        return machines.run(name, "pgrep", "-xf", "/bin/sh /usr/local/sbin/fastconsole-test").stdout.strip()

    first = service()
    assert first
    machines.run(name, "kill", "-9", first)
    await until(lambda: service() not in ("", first))
    # A power cycle: the disk stays, what is done once an instance is not done again, the service comes back.
    assert machines.run(name, "touch", "/run/gone", f"{HOME}/kept").returncode == 0
    await asyncio.to_thread(machines.reboot, name)
    await asyncio.to_thread(machines.wait_for_event, name, "finished")
    assert machines.path(name, mark).read_text().split() == ["bootcmd", "write_files", "runcmd", "bootcmd"]
    assert machines.run(name, "ls", "/root", "/run/gone").stdout.split() == ["/root:", "kept"]
    await until(service)
    assert await said(machines[name].machine.private_ip, "systemctl is-active fastconsole-test") == "active"
    for path in (mark, "/usr/local/sbin/fastconsole-test", "/usr/local/sbin/systemctl", f"{HOME}/kept"):
        assert not Path(path).exists()


async def test_a_machine_that_powers_itself_off_ends_its_instance_and_one_that_halts_does_not(
    cloud: FakeCloud, machines: Machines
) -> None:
    off, halted = launch(cloud, 2)
    await asyncio.to_thread(machines.wait, off, halted)
    for name, command in ((off, "sudo shutdown -h now"), (halted, "halt")):
        machines.run(name, "sh", "-c", command)
        await asyncio.to_thread(machines.wait_off, name)
    await until(lambda: described(cloud, off)["State"]["Name"] == "terminated")
    assert described(cloud, off)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert described(cloud, halted)["State"]["Name"] == "running"
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as it happens
        await said(described(cloud, halted)["PrivateIpAddress"], "true")


async def test_a_spot_notice_comes_through_the_metadata_service_and_the_end_on_its_time(
    cloud: FakeCloud, machines: Machines
) -> None:
    (name,) = launch(cloud, InstanceMarketOptions={"MarketType": "spot"})
    await asyncio.to_thread(machines.wait, name)
    ask = (
        "import os, sys, urllib.error, urllib.request as r\n"
        "base = os.environ['FASTCONSOLE_METADATA_URL']\n"
        "ttl = {'X-aws-ec2-metadata-token-ttl-seconds': '60'}\n"
        "put = r.Request(base + '/latest/api/token', method='PUT', headers=ttl)\n"
        "token = {} if sys.argv[2:] else {'X-aws-ec2-metadata-token': r.urlopen(put).read().decode()}\n"
        "try: print(r.urlopen(r.Request(base + '/latest/meta-data/' + sys.argv[1], headers=token)).read().decode())\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    (machines.path(name, f"{HOME}/ask.py")).write_text(ask)

    async def told(path: str) -> str:
        return await said(machines[name].machine.private_ip, f"{sys.executable} -I {HOME}/ask.py {path}")

    assert await told("instance-id") == name
    assert await told("placement/availability-zone") == "us-east-1a"
    assert await told("spot/instance-action no-token") == "401"
    assert await told("spot/instance-action") == "404"
    cloud.rebalance(name)
    at = cloud.notice(name, in_s=3600)
    async with asyncio.timeout(20):
        while (word := await told("spot/instance-action")) == "404":  # noqa: ASYNC110 - polled, as it is for
            await asyncio.sleep(0.05)
    assert json.loads(word) == {"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert "noticeTime" in await told("events/recommendations/rebalance")
    assert name in machines
    cloud.notice(name, in_s=0)
    await asyncio.to_thread(machines.wait_off, name)
    assert described(cloud, name)["StateReason"]["Code"] == "Server.SpotInstanceTermination"


async def test_an_unplugged_machine_is_silent_and_alive(cloud: FakeCloud, machines: Machines) -> None:
    (name,) = launch(cloud)
    await asyncio.to_thread(machines.wait, name)
    await asyncio.to_thread(machines.unplug, name)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await said(machines[name].machine.private_ip, "true")
    assert machines.run(name, "cat", "/var/lib/cloud/data/instance-id").stdout.strip() == name
    assert described(cloud, name)["State"]["Name"] == "running"
    await asyncio.to_thread(machines.plug, name)
    assert await said(machines[name].machine.private_ip, "echo back") == "back"


async def test_an_elastic_address_and_a_key_of_instance_connect_reach_a_machine(
    cloud: FakeCloud, machines: Machines
) -> None:
    (name,) = launch(cloud)
    await asyncio.to_thread(machines.wait, name)
    ec2 = cloud.client()
    address = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(InstanceId=name, AllocationId=address["AllocationId"])
    await asyncio.to_thread(machines.wait_for_event, name, "addressed")
    assert await said(address["PublicIp"], "cat /var/lib/cloud/data/instance-id") == name
    guest = asyncssh.generate_private_key("ssh-ed25519")
    connect = cloud.client("ec2-instance-connect")
    assert connect.send_ssh_public_key(InstanceId=name, InstanceOSUser="root", SSHPublicKey=public(guest))["Success"]
    await asyncio.to_thread(machines.wait_for_event, name, "keyed")
    assert await said(machines[name].machine.private_ip, "id -un", key=guest) == "root"


def test_machines_end_with_the_process_that_keeps_them_however_it_ends(machines: Machines, tmp_path: Path) -> None:
    """`machines` for its check that there can be any; its cloud is another."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "import test_fakes_instances as here\n"
        "cloud = here.FakeCloud()\n"
        "kept = here.Machines(cloud, Path(sys.argv[1]))\n"
        "names = here.launch(cloud, 2)\n"
        "print(*(each.pid for each in kept.wait(*names)), flush=True)\n"
        "time.sleep(1000)\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", script, str(tmp_path / "disks")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as keeper:
        assert keeper.stdout is not None
        pids = [int(pid) for pid in keeper.stdout.readline().split()]
        assert len(pids) == 2
        keeper.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a machine outlived its keeper"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
