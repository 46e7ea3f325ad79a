"""Local disks on a rented host: what its boot does with blank ones, and what it leaves alone (root, loop devices)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import machine
import pytest
from machine import Machine, public

from console.fleet.rental.user_data import DATA_DIR, user_data

pytestmark = pytest.mark.usefixtures("no_leftovers")

INSTANCE_STORE = "Amazon EC2 NVMe Instance Storage        "
"""As the kernel gives it, padded to forty bytes."""
VOLUME = "Amazon Elastic Block Store              "


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    machine.needed()
    key = asyncssh.generate_private_key("ssh-ed25519")
    text = user_data(host_key=key, authorized_keys=[public(key)], lease_s=600, user="user")
    one = Machine(tmp_path / "machine", text)
    # Devices and their descriptions are the machine's own: those of this computer must not be touched.
    one.inside("mount -t tmpfs tmpfs /sys/block && mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3")
    yield one
    one.stop()


@pytest.fixture
def disk(host: Machine, tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    if shutil.which("losetup") is None or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs losetup and mkfs.ext4")
    loops: list[str] = []

    def make(name: str, model: str) -> str:
        file = tmp_path / name
        with file.open("wb") as image:
            image.truncate(512 << 20)
        done = subprocess.run(["losetup", "--find", "--show", str(file)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no loop device: {done.stderr}")
        loops.append(done.stdout.strip())
        number = Path(loops[-1]).stat().st_rdev
        major, minor = number >> 8, number & 0xFF
        host.inside(f"mkdir -p /sys/block/{name}/device /sys/block/{name}/holders")
        host.inside(f"echo '{model}' >/sys/block/{name}/device/model; mknod /dev/{name} b {major} {minor}")
        return loops[-1]

    yield make
    host.stop()
    for loop in loops:
        subprocess.run(["losetup", "--detach", loop], check=False)


def boot(host: Machine) -> str:
    """What the script says."""
    return host.inside("fastconsole-nvme user 2>&1")


def beginning(device: str) -> bytes:
    """The first MiB of a device."""
    with Path(device).open("rb") as file:
        return file.read(1 << 20)


def mounted(host: Machine) -> str:
    """What is mounted at its place; empty where nothing is."""
    return host.inside("grep ' /opt/dlami/nvme ' /proc/mounts | cut -d ' ' -f 1 || :").strip()


def test_a_host_without_local_disks_has_the_folder_all_the_same(host: Machine) -> None:
    assert "no blank local disk" in boot(host)
    assert mounted(host) == ""
    assert host.inside(f"stat -c %U {DATA_DIR}").strip() == "user"


def test_a_blank_disk_is_mounted_and_the_users(host: Machine, disk: Callable[[str, str], str]) -> None:
    disk("nvme0n1", VOLUME)
    disk("nvme1n1", INSTANCE_STORE)
    assert "/dev/nvme1n1 is mounted at /opt/dlami/nvme" in boot(host)
    assert mounted(host) == "/dev/nvme1n1"
    assert host.inside(f"stat -c %U {DATA_DIR}").strip() == "user"
    host.inside(f"setpriv --reuid 1234 --clear-groups touch {DATA_DIR}/written")
    # At the next start of the script it is as it was.
    assert "is mounted already" in boot(host)
    assert host.inside(f"ls {DATA_DIR}").split() == ["written"]


def test_of_several_disks_without_raid_one_is_used(host: Machine, disk: Callable[[str, str], str]) -> None:
    disk("nvme1n1", INSTANCE_STORE)
    disk("nvme2n1", INSTANCE_STORE)
    said = boot(host)
    assert mounted(host) in ("/dev/nvme1n1", "/dev/md/fastconsole"), said


def test_several_disks_become_one_where_the_image_has_mdadm(host: Machine, disk: Callable[[str, str], str]) -> None:
    disk("nvme1n1", INSTANCE_STORE)
    disk("nvme2n1", INSTANCE_STORE)
    # A stand-in for what this kernel need not have: the two become a link to the second.
    host.inside(
        "printf '#!/bin/sh\\necho \"$@\" >/run/mdadm\\nmkdir -p /dev/md\\nln -s ../nvme2n1 /dev/md/fastconsole\\n'"
        " >/run/shims/mdadm; chmod 755 /run/shims/mdadm"
    )
    said = host.inside("PATH=/run/shims:$PATH fastconsole-nvme user 2>&1")
    assert "/dev/md/fastconsole is mounted" in said
    words = host.inside("cat /run/mdadm").split()
    assert words == [
        "--create",
        "/dev/md/fastconsole",
        "--run",
        "--level=0",
        "--raid-devices=2",
        "/dev/nvme1n1",
        "/dev/nvme2n1",
    ]


@pytest.mark.parametrize("state", ["a file system", "a partition", "a holder", "a volume of EBS"])
def test_a_disk_that_is_not_blank_is_left_alone(host: Machine, disk: Callable[[str, str], str], state: str) -> None:
    loop = disk("nvme1n1", VOLUME if state == "a volume of EBS" else INSTANCE_STORE)
    if state == "a file system":
        subprocess.run(["mkfs.ext4", "-q", "-L", "precious", loop], check=True)
    elif state == "a partition":
        host.inside("mkdir /sys/block/nvme1n1/nvme1n1p1")
    elif state == "a holder":
        host.inside("mkdir /sys/block/nvme1n1/holders/dm-0")
    before = beginning(loop)
    assert "no blank local disk" in boot(host)
    assert mounted(host) == ""
    assert beginning(loop) == before
    assert host.inside(f"stat -c %U {DATA_DIR}").strip() == "user"


def test_a_file_system_that_cannot_be_made_ends_no_boot(host: Machine, disk: Callable[[str, str], str]) -> None:
    disk("nvme1n1", INSTANCE_STORE)
    host.inside("mount --bind /dev/null $(command -v mkfs.xfs || command -v mkfs.ext4)")
    assert "could not be used: /opt/dlami/nvme is on the root volume" in boot(host)
    assert host.inside(f"stat -c %U {DATA_DIR}").strip() == "user"
