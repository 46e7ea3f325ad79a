"""From the launch's host key to one of each host's own: on machines that boot from the user data, with real sshds."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import asyncssh
import machine
import pytest
import yaml
from machine import Machine, public

from console.fleet.rental.bootstrap import pin
from console.fleet.rental.user_data import LIMIT_BYTES, user_data
from console.ssh.address import HostAddress, address_of
from console.ssh.connect import connect
from console.ssh.errors import HostRefused, HostUnreachable, WrongHostKey

pytestmark = pytest.mark.usefixtures("no_leftovers")


class Launch:
    """The keys of a launch, and the machines that it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = folder / "key"
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key.touch(0o600)
        self.client_key.write_bytes(key.export_private_key())
        self.user_data = user_data(host_key=self.host_key, authorized_keys=[public(key)], lease_s=3600, user="user")
        self.machines: list[Machine] = []

    @property
    def bootstrap(self) -> str:
        return public(self.host_key)

    def start(self, **keywords: object) -> Machine:
        """One more machine."""
        self.machines.append(Machine(self.folder / f"machine-{len(self.machines)}", self.user_data, **keywords))
        return self.machines[-1]

    def address(self, port: int, username: str = "user") -> HostAddress:
        return HostAddress(
            node=0,
            host="127.0.0.1",
            port=port,
            username=username,
            client_key=str(self.client_key),
            python=sys.executable,
        )


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    machine.needed()
    one = Launch(tmp_path)
    yield one
    for host in one.machines:
        host.stop()


async def pinned(
    launch: Launch,
    address: HostAddress,
    *,
    known: str | None = None,
    remember: Callable[[str], None] = lambda key: None,
    progress: Callable[[str], None] = lambda said: None,
    patience_s: float = 20.0,
    instance_id: str | None = None,
) -> HostAddress:
    return await pin(
        address,
        bootstrap=launch.bootstrap,
        known=known,
        remember=remember,
        patience_s=patience_s,
        progress=progress,
        instance_id=instance_id,
    )


async def presented(address: HostAddress, key: str) -> bool:
    """Whether the host proves to hold the key."""
    try:
        connection = await connect(replace(address, host_key=key))
    except WrongHostKey:
        return False
    connection.abort()
    return True


@pytest.mark.parametrize("username", ["user", "root"])
async def test_a_host_makes_a_key_of_its_own_and_drops_that_of_its_launch(launch: Launch, username: str) -> None:
    host = launch.start()
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    host.write_key("ssh_host_ecdsa_key", other.export_private_key().decode())
    address = launch.address(host.port, username)
    used = host.folder / "ssh/ssh_host_ed25519_key"
    of_the_launch = used.read_text()
    remembered: list[tuple[str, bool]] = []

    def remember(key: str) -> None:
        remembered.append((key, used.read_text() == of_the_launch))

    there = await pinned(launch, address, remember=remember)
    # Once, and before the host used it.
    assert remembered == [(there.host_key, True)]
    assert there.host_key != launch.bootstrap
    assert replace(there, host_key=None) == address
    assert await presented(address, str(there.host_key))
    assert not await presented(address, launch.bootstrap)
    assert not await presented(address, public(other))
    kept = sorted(path.name for path in host.folder.joinpath("ssh").glob("*key*") if path.name != "authorized_keys")
    assert kept == ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]
    assert used.stat().st_mode & 0o777 == 0o600
    assert used.with_suffix(".pub").read_text().split() == str(there.host_key).split()
    assert of_the_launch not in host.inside("cat /etc/ssh/*")


async def test_hosts_of_one_launch_come_to_hold_different_keys(launch: Launch) -> None:
    hosts = [launch.start(), launch.start()]
    there = await asyncio.gather(*(pinned(launch, launch.address(host.port)) for host in hosts))
    assert there[0].host_key != there[1].host_key


async def test_it_can_be_done_again(launch: Launch) -> None:
    host = launch.start()
    address = launch.address(host.port)
    there = await pinned(launch, address)
    remembered: list[str] = []
    assert await pinned(launch, address, known=there.host_key, remember=remembered.append) == there
    assert remembered == []


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
async def test_a_host_that_presents_another_key_than_the_launchs_is_refused_at_once(launch: Launch, kind: str) -> None:
    host = launch.start()
    if kind != "ssh-ed25519":
        # A host that was never told of the launch's key, and has none of its kind.
        host.inside("rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ecdsa -N '' -f /etc/ssh/ssh_host_ecdsa_key")
        host.reload_sshd()
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    remembered: list[str] = []
    said: list[str] = []
    with pytest.raises(HostRefused, match="presented another host key than the one pinned for it"):
        await pin(
            launch.address(host.port),
            bootstrap=public(stranger),
            known=None,
            remember=remembered.append,
            patience_s=60,
            progress=said.append,
        )
    # Neither tried again nor told to do anything.
    assert (said, remembered) == ([], [])


async def test_a_host_that_answers_in_place_of_another_is_refused_at_once(launch: Launch) -> None:
    first, second = launch.start(), launch.start()
    there = await pinned(launch, launch.address(first.port))
    await pinned(launch, launch.address(second.port))
    said: list[str] = []
    # What is the second host's address by now was the first one's.
    with pytest.raises(HostRefused, match="answers in its place"):
        await pinned(launch, launch.address(second.port), known=there.host_key, progress=said.append, patience_s=60)
    assert said == []


async def test_another_host_of_the_launch_that_has_no_own_key_yet_is_refused_too(launch: Launch) -> None:
    first, second = launch.start(), launch.start()
    there = await pinned(launch, launch.address(first.port))
    # It holds the launch's key, as all do, but not the key that the first one made.
    with pytest.raises(HostRefused, match="is not there any more"):
        await pinned(launch, launch.address(second.port), known=there.host_key, patience_s=60)


async def test_an_instance_that_answers_in_place_of_another_says_so_itself(launch: Launch) -> None:
    host = launch.start(instance_id="i-0123456789abcdef3")
    address = launch.address(host.port)
    remembered: list[str] = []
    with pytest.raises(HostRefused, match="is i-0123456789abcdef3 and answers in place of i-0123456789abcdef2"):
        await pinned(launch, address, instance_id="i-0123456789abcdef2", remember=remembered.append)
    assert remembered == []
    assert (await pinned(launch, address, instance_id="i-0123456789abcdef3")).host_key


CONSOLE = """\
import asyncio, json, os, signal, sys
from pathlib import Path
from console.ssh.address import address_of
from console.fleet.rental.bootstrap import pin

given = json.loads(sys.argv[1])

def die_at(moment):
    if moment.startswith(given["moment"]):
        os.kill(os.getpid(), signal.SIGKILL)

def remember(key):
    Path(given["memory"]).write_text(key)
    die_at("remembered")

address = address_of(given["address"])
asyncio.run(pin(address, bootstrap=given["bootstrap"], known=None, remember=remember, patience_s=20, progress=die_at))
"""


@pytest.mark.parametrize("moment", ["making its own host key", "remembered", "waiting for its local disks"])
async def test_a_console_that_is_killed_on_the_way_leaves_no_host_behind(launch: Launch, moment: str) -> None:
    host = launch.start()
    address = launch.address(host.port)
    memory = launch.folder / "memory"
    given = {"address": asdict(address), "bootstrap": launch.bootstrap, "memory": str(memory), "moment": moment}
    console = await asyncio.create_subprocess_exec(sys.executable, "-c", CONSOLE, json.dumps(given))
    assert await console.wait() == -signal.SIGKILL
    known = memory.read_text() if memory.exists() else None
    assert (known is None) == (moment == "making its own host key")
    there = await pinned(launch, address, known=known)
    assert known in (None, there.host_key)
    assert await presented(address, str(there.host_key))
    assert not await presented(address, launch.bootstrap)


async def test_a_swap_that_broke_off_is_done_to_its_end(launch: Launch) -> None:
    host = launch.start()
    address = launch.address(host.port)
    script = Path(sys.modules[pin.__module__].__file__ or "").with_name("host") / "host_key.sh"
    own = host.inside(f"sh {script} make").strip()
    assert host.inside(f"sh {script} make").strip() == own
    # The host's disk has it, and sshd has not read it; another key is still to be removed.
    host.inside("cp /etc/ssh/fastconsole_host_key /etc/ssh/ssh_host_ed25519_key")
    host.write_key("ssh_host_rsa_key", "-")
    assert await presented(address, launch.bootstrap)
    assert (await pinned(launch, address, known=own)).host_key == own
    assert not await presented(address, launch.bootstrap)
    assert not host.folder.joinpath("ssh/ssh_host_rsa_key").exists()
    assert not host.folder.joinpath("ssh/fastconsole_host_key").exists()


async def test_a_swap_that_broke_off_at_the_other_keys_is_done_to_its_end(launch: Launch) -> None:
    host = launch.start()
    address = launch.address(host.port)
    there = await pinned(launch, address)
    host.write_key("ssh_host_rsa_key", "-")
    assert await pinned(launch, address, known=there.host_key) == there
    assert not host.folder.joinpath("ssh/ssh_host_rsa_key").exists()


async def test_an_sshd_that_does_not_read_its_new_key(launch: Launch) -> None:
    host = launch.start()
    host.inside("rm /run/sshd.pid")
    with pytest.raises(HostRefused, match="its sshd did not load the new one"):
        await pinned(launch, launch.address(host.port))


async def test_a_user_who_may_not_become_root(launch: Launch) -> None:
    host = launch.start(sudo=False)
    with pytest.raises(HostRefused, match=r"user may not use sudo without a password .*fleet\.user"):
        await pinned(launch, launch.address(host.port))


async def test_a_host_without_ssh_keygen(launch: Launch) -> None:
    host = launch.start()
    host.inside("mount --bind /dev/null $(command -v ssh-keygen)")
    with pytest.raises(HostRefused, match=r"there is no ssh-keygen$"):
        await pinned(launch, launch.address(host.port))


async def test_a_host_that_still_boots_is_waited_for(launch: Launch) -> None:
    port = machine.free_port()
    said: asyncio.Queue[str] = asyncio.Queue()
    pinning = asyncio.create_task(pinned(launch, launch.address(port), progress=said.put_nowait))
    assert "127.0.0.1" in await asyncio.wait_for(said.get(), 10)
    await asyncio.to_thread(launch.start, port=port)
    assert (await pinning).host_key


async def test_a_host_whose_user_is_made_late_is_waited_for(launch: Launch) -> None:
    host = launch.start()
    keys = host.folder / "ssh/authorized_keys"
    kept = keys.read_text()
    keys.write_text("")
    said: asyncio.Queue[str] = asyncio.Queue()
    pinning = asyncio.create_task(pinned(launch, launch.address(host.port), progress=said.put_nowait))
    assert "refused the key of user" in await asyncio.wait_for(said.get(), 10)
    keys.write_text(kept)
    assert (await pinning).host_key


async def test_patience_ends(launch: Launch) -> None:
    with pytest.raises(HostUnreachable, match="gave up after 1 s"):
        await pinned(launch, launch.address(machine.free_port()), patience_s=1)


# --- the user data itself ---


def given(user: str = "ubuntu") -> tuple[asyncssh.SSHKey, str]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys = [public(asyncssh.generate_private_key("ssh-ed25519")) for _ in range(2)]
    return key, user_data(host_key=key, authorized_keys=keys, lease_s=1234.5, user=user)


def test_user_data_is_yaml_for_cloud_init_and_fits() -> None:
    key, text = given()
    assert text.startswith("#cloud-config\n")
    assert len(text.encode()) <= LIMIT_BYTES
    config = yaml.safe_load(text)
    there = asyncssh.import_private_key(config["ssh_keys"]["ed25519_private"])
    assert public(there) == public(key) == " ".join(config["ssh_keys"]["ed25519_public"].split())
    assert config["ssh_deletekeys"] is True
    assert config["ssh_pwauth"] is False
    assert config["disable_root"] is True
    assert len(config["ssh_authorized_keys"]) == 2
    assert config["bootcmd"][0][-2:] == ["1235", "ubuntu"]
    assert not any("@" in word.split("\n", 1)[0] for command in config["bootcmd"] for word in command)


def test_root_may_log_in_where_root_is_the_user() -> None:
    assert yaml.safe_load(given("root")[1])["disable_root"] is False


@pytest.mark.parametrize("user", ["", "a b", "x;poweroff", "%n", "$(id)", "a" * 40, "ubuntu\n"])
def test_a_user_who_is_no_linux_user_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match=r"fleet\.user is"):
        given(user)


def test_a_boot_arms_the_lease_before_anybody_can_connect(launch: Launch) -> None:
    host = launch.start()
    # It was written before sshd listened.
    deadline = host.inside("cat /run/fastconsole-lease/deadline").split()[1]
    assert 3500 < int(deadline) - machine.uptime() <= 3600
    assert host.inside("stat -c %U /run/fastconsole").strip() == "user"
    assert host.inside("stat -c %U /opt/dlami/nvme/fastconsole").strip() == "user"
    assert "fastconsole-lease 3600 user" in host.inside("ps ax")


def test_addresses_outlive_json() -> None:
    address = HostAddress(node=3, host="10.0.0.3", jump=HostAddress(node=0, host="198.51.100.7", port=22))
    assert address_of(json.loads(json.dumps(asdict(address)))) == address


def test_the_machines_end_with_their_tests(launch: Launch) -> None:
    host = launch.start()
    host.stop()
    left = subprocess.run(["pgrep", "-f", str(host.folder)], capture_output=True, text=True).stdout
    assert left == ""
