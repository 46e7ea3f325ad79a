"""Hosts behind another one: real OpenSSH servers, reached through the one connection to a jump host."""

from __future__ import annotations

import asyncio
import getpass
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
import small_run
from machine import free_port
from openssh import Cluster, OpenSSHServer

from console.fleet.static import StaticProvider
from console.journal.directory import RunDirectory
from console.live.live_run import LiveRun
from console.ssh.address import HostAddress
from console.ssh.connect import connect
from console.ssh.errors import HostRefused, HostUnreachable, WrongHostKey
from console.ssh.jumps import Jumps
from console.state.run import Run
from console.state.status import FINISHED

pytestmark = pytest.mark.usefixtures("no_leftovers")


class Site:
    """A bastion and what is behind it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.cluster = Cluster(folder, 0)
        self.bastion: OpenSSHServer | None = None

    def start(self, hosts: int, bastion: str = "") -> None:
        """Starts `hosts` servers and a bastion with these lines in its configuration."""
        self.bastion = self.server("bastion", bastion)
        for index in range(hosts):
            self.server(f"host-{index}")

    def server(self, name: str, lines: str = "") -> OpenSSHServer:
        at = self.folder / name
        at.mkdir()
        self.cluster.servers.append(OpenSSHServer(at, self.cluster.key, lines=lines))
        return self.cluster.servers[-1]

    @property
    def hosts(self) -> list[OpenSSHServer]:
        return self.cluster.servers[1:]

    def address(self, server: OpenSSHServer, node: int = 0, jump: HostAddress | None = None) -> HostAddress:
        return HostAddress(
            node=node,
            host="127.0.0.1",
            port=server.port,
            username=getpass.getuser(),
            host_key=server.host_key,
            client_key=str(self.cluster.identity),
            jump=jump,
        )

    @property
    def jump(self) -> HostAddress:
        assert self.bastion is not None
        return self.address(self.bastion)

    def behind(self, index: int = 0) -> HostAddress:
        return self.address(self.hosts[index], index, self.jump)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path / "site")
    yield one
    one.cluster.stop()


async def until(so: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    """Waits until it is so."""
    end = time.monotonic() + within_s
    while not so():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


async def says(connection: asyncssh.SSHClientConnection) -> str:
    """What a host says when it is asked for its home folder."""
    return str((await connection.run("echo $HOME", check=True)).stdout).strip()


async def test_eight_hosts_through_one_connection_to_a_bastion_that_takes_few(site: Site) -> None:
    site.start(8, "MaxStartups 3:30:10")
    assert site.bastion is not None
    there = await asyncio.gather(*(connect(site.behind(index)) for index in range(8)))
    assert len(site.bastion.connections()) == 1
    assert await asyncio.gather(*map(says, there)) == [str(host.home) for host in site.hosts]
    # Each at its own address, though all come from the bastion.
    assert [one.get_extra_info("peername") for one in there] == [("127.0.0.1", host.port) for host in site.hosts]
    # One that goes takes nobody along.
    there[0].abort()
    assert await says(there[1]) == str(site.hosts[1].home)
    assert len(site.bastion.connections()) == 1
    # With the last one the way is closed.
    for one in there:
        one.abort()
    await until(lambda: site.bastion is not None and site.bastion.connections() == [], "the bastion is still connected")


async def test_a_way_that_broke_is_opened_anew(site: Site) -> None:
    site.start(2)
    assert site.bastion is not None
    before = await connect(site.behind(0))
    site.bastion.kill()
    await asyncio.wait_for(before.wait_closed(), 30)
    site.bastion.start()
    after = await asyncio.gather(connect(site.behind(0)), connect(site.behind(1)))
    assert [await says(one) for one in after] == [str(host.home) for host in site.hosts]
    assert len(site.bastion.connections()) == 1
    for one in after:
        one.abort()


async def test_a_share_in_a_way_that_broke_does_no_harm_to_the_new_one(site: Site) -> None:
    site.start(0)
    jumps = Jumps(connect)
    old = await jumps.through(site.jump)
    old.connection.abort()
    await old.connection.wait_closed()
    new = await jumps.through(site.jump)
    old.release()
    another = await jumps.through(site.jump)
    assert another.connection is new.connection
    another.release()
    another.release()
    assert site.bastion is not None
    assert await says(new.connection) == str(site.bastion.home)
    new.release()
    await asyncio.wait_for(new.connection.wait_closed(), 30)


async def test_who_gives_up_waiting_takes_the_way_from_nobody(site: Site) -> None:
    site.start(0)
    assert site.bastion is not None
    begun, may_open, opened = asyncio.Event(), asyncio.Event(), 0

    async def open_later(address: HostAddress) -> asyncssh.SSHClientConnection:
        nonlocal opened
        opened += 1
        begun.set()
        await may_open.wait()
        return await connect(address)

    jumps = Jumps(open_later)
    first = asyncio.create_task(jumps.through(site.jump))
    await begun.wait()
    second = asyncio.create_task(jumps.through(site.jump))
    # Tasks begin in the order in which they were made: after this one both wait for the bastion.
    await asyncio.create_task(begun.wait())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    may_open.set()
    share = await second
    assert await says(share.connection) == str(site.bastion.home)
    assert opened == 1
    share.release()


async def test_the_hosts_key_is_proved_through_the_bastion(site: Site) -> None:
    site.start(2)
    first, second = site.hosts
    impostor = replace(site.behind(0), host_key=second.host_key)
    with pytest.raises(WrongHostKey, match=rf"127.0.0.1:{first.port} \(through 127.0.0.1:\d+\) presented another"):
        await connect(impostor)
    assert site.bastion is not None
    await until(lambda: site.bastion is not None and site.bastion.connections() == [], "the bastion is still connected")


async def test_a_bastion_with_another_key_is_not_passed(site: Site) -> None:
    site.start(1)
    jump = replace(site.jump, host_key=site.hosts[0].host_key)
    with pytest.raises(
        HostRefused, match=rf"^the jump host: 127.0.0.1:{jump.port} presented another host key"
    ) as caught:
        await connect(replace(site.behind(), jump=jump))
    # Not to be taken for the host's own key, which may change once.
    assert not isinstance(caught.value, WrongHostKey)


async def test_errors_name_which_of_the_two_it_was(site: Site) -> None:
    site.start(1)
    nobody = free_port()
    with pytest.raises(HostUnreachable, match=rf"^the jump host: 127.0.0.1:{nobody}: Connect call failed"):
        await connect(replace(site.behind(), jump=replace(site.jump, port=nobody)))
    with pytest.raises(
        HostUnreachable, match=rf"^127.0.0.1:{nobody} \(through 127.0.0.1:{site.jump.port}\): .*refused"
    ):
        await connect(replace(site.behind(), port=nobody))
    stranger = site.folder / "stranger"
    stranger.touch(0o600)
    stranger.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    with pytest.raises(HostRefused, match=rf"^the jump host: 127.0.0.1:{site.jump.port} refused the key"):
        await connect(replace(site.behind(), jump=replace(site.jump, client_key=str(stranger))))
    with pytest.raises(HostRefused, match=rf"^127.0.0.1:{site.hosts[0].port} \(through .*\) refused the key"):
        await connect(replace(site.behind(), client_key=str(stranger)))


async def test_a_bastion_that_passes_nothing_on(site: Site) -> None:
    site.start(1, "AllowTcpForwarding no")
    with pytest.raises(HostRefused, match=r"^the jump host 127.0.0.1:\d+ refused the way to .* \(AllowTcpForwarding"):
        await connect(site.behind())


async def test_a_bastion_that_known_hosts_and_ssh_config_know(site: Site) -> None:
    site.start(1)
    assert site.bastion is not None
    config = site.folder / "config"
    config.write_text(
        f"Host bastion\n  HostName 127.0.0.1\n  Port {site.bastion.port}\n  IdentityFile {site.cluster.identity}\n"
    )
    site.cluster.known_hosts.write_text(site.bastion.known_hosts_line())
    jump = HostAddress(
        node=0,
        host="bastion",
        username=getpass.getuser(),
        known_hosts=str(site.cluster.known_hosts),
        ssh_config=str(config),
    )
    there = await connect(replace(site.behind(), jump=jump))
    assert await says(there) == str(site.hosts[0].home)
    there.abort()
    await there.wait_closed()
    site.cluster.known_hosts.write_text("")
    with pytest.raises(HostRefused, match=r"^the jump host: bastion presented another host key"):
        await connect(replace(site.behind(), jump=jump))


class Configured:
    """A user's SSH set-up: a home with a configuration, and the site's servers by the names that it gives them."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.home = site.folder / "user"
        self.home.joinpath(".ssh").mkdir(parents=True)
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def write(self, lines: str, pinned: dict[OpenSSHServer, str]) -> None:
        """The configuration, before which stands who is who, and the keys in ~/.ssh/known_hosts by their servers."""
        assert self.site.bastion is not None
        names = {"bastion": self.site.bastion, "inner": self.site.hosts[0]}
        who = "".join(f"Host {name}\n  HostName 127.0.0.1\n  Port {one.port}\n" for name, one in names.items())
        all_ = f"Host *\n  User {getpass.getuser()}\n  IdentityFile {self.site.cluster.identity}\n"
        self.home.joinpath(".ssh/config").write_text(f"{lines}\n{who}{all_}")
        known = "".join(server.known_hosts_line(key) for server, key in pinned.items())
        self.home.joinpath(".ssh/known_hosts").write_text(known)


INNER = HostAddress(node=0, host="inner")
NO_KEYS = ["UserKnownHostsFile none", "UserKnownHostsFile /dev/null", "StrictHostKeyChecking no"]


@pytest.mark.parametrize("line", [*NO_KEYS, "UserKnownHostsFile none\n  ProxyJump bastion"])
async def test_another_key_than_the_pinned_one_is_refused_whatever_the_configuration_says(
    site: Site, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    site.start(1)
    assert site.bastion is not None
    user = Configured(site, monkeypatch)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    user.write(f"Host *\n  {line}", {site.bastion: site.bastion.host_key, site.hosts[0]: other})
    with pytest.raises(HostRefused, match=r"^inner( \(through bastion\))? presented another host key"):
        await connect(INNER)


async def test_where_the_configuration_names_no_file_the_pinned_key_still_lets_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.start(1)
    user = Configured(site, monkeypatch)
    user.write("Host *\n  UserKnownHostsFile none", {site.hosts[0]: site.hosts[0].host_key})
    there = await connect(INNER)
    assert await says(there) == str(site.hosts[0].home)
    there.abort()


async def test_the_configurations_jump_host_is_held_to_its_pinned_key_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.start(1)
    assert site.bastion is not None
    user = Configured(site, monkeypatch)
    lines = "Host *\n  UserKnownHostsFile none\n  ProxyJump bastion"
    right = {site.bastion: site.bastion.host_key, site.hosts[0]: site.hosts[0].host_key}
    user.write(lines, right)
    there = await connect(INNER)
    assert await says(there) == str(site.hosts[0].home)
    assert there.get_extra_info("peername") == ("inner", 22)
    there.abort()
    await until(lambda: site.bastion is not None and not site.bastion.connections(), "the way is still open")
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    user.write(lines, {**right, site.bastion: other})
    with pytest.raises(HostRefused, match=r"^the jump host: bastion presented another host key"):
        await connect(INNER)


async def test_jump_hosts_that_lead_to_each_other_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.start(1)
    user = Configured(site, monkeypatch)
    user.write("Host inner\n  ProxyJump bastion\nHost bastion\n  ProxyJump inner", {})
    with pytest.raises(HostRefused, match=r"goes in a circle: inner, bastion, inner"):
        await connect(INNER)


async def test_a_second_file_of_keys_that_is_not_there_is_passed_over(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.start(1)
    user = Configured(site, monkeypatch)
    files = "~/.ssh/known_hosts ~/.ssh/known_hosts_of_work"
    user.write(f"Host *\n  UserKnownHostsFile {files}", {site.hosts[0]: site.hosts[0].host_key})
    there = await connect(INNER)
    assert await says(there) == str(site.hosts[0].home)
    there.abort()


async def test_a_bastion_behind_a_bastion(site: Site) -> None:
    site.start(2)
    middle = site.behind(0)
    there = await connect(replace(site.behind(1), jump=middle))
    assert await says(there) == str(site.hosts[1].home)
    there.abort()
    await until(lambda: not any(server.connections() for server in site.cluster.servers), "a way is still open")


class Behind(StaticProvider):
    """Hosts of the user's own, which are behind a bastion."""

    jump: HostAddress

    def _address(self, node: int, host: str) -> HostAddress:
        return replace(super()._address(node, host), jump=self.jump)


async def test_a_run_goes_on_after_its_bastion_died(site: Site, cache_home: Path) -> None:
    site.start(2)
    assert site.bastion is not None
    site.cluster.known_hosts.write_text("".join(host.known_hosts_line() for host in site.hosts))
    names = ", ".join(f'"{getpass.getuser()}@127.0.0.1:{host.port}"' for host in site.hosts)
    fleet = (
        f'provider = "static"\nhosts = [{names}]\n'
        f'identity_file = "{site.cluster.identity}"\nknown_hosts = "{site.cluster.known_hosts}"\n'
    )
    profile = small_run.profile(fleet=fleet, run=f'python = "{sys.executable}"', max_steps=150, data=str(cache_home))
    directory = RunDirectory.create(profile.name)
    directory.take()
    provider = Behind(profile, directory)
    provider.jump = site.jump
    live = LiveRun(profile, directory, provider)
    live.begin()
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, lambda run: run.step is not None and run.step.step >= 2)
    assert len(site.bastion.connections()) == 1
    site.bastion.kill()
    await small_run.until(live, lambda run: all(node.status == "unreachable" for node in run.nodes))
    site.bastion.start()

    def back(run: Run) -> bool:
        return not any(node.status == "unreachable" for node in run.nodes)

    await small_run.until(live, back)
    assert len(site.bastion.connections()) == 1
    await driving
    assert live.run.status == FINISHED, live.run.reason
    # What the hosts wrote in the meantime came, and each step once.
    assert [point.step for point in live.run.points] == list(range(1, 151))
    await until(lambda: site.bastion is not None and site.bastion.connections() == [], "the bastion is still connected")
