"""The same path over hosts that exist: real OpenSSH servers, strict host keys, and what can be wrong with a host."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest
import small_run
from openssh import Cluster

from console.journal import open_log
from console.state.outcome import Exit
from console.state.status import FINISHED, UNREACHABLE

pytestmark = pytest.mark.usefixtures("no_leftovers")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    made: list[Cluster] = []

    def make(count: int, **keywords: bool) -> Cluster:
        folder = tmp_path / "cluster"
        folder.mkdir()
        made.append(Cluster(folder, count, **keywords))
        return made[0]

    yield make
    for one in made:
        one.stop()


def python_lines(cluster: Cluster) -> str:
    """`[run]` lines: the Python that has torch, and a data set that all hosts share."""
    return f'python = "{sys.executable}"'


async def test_four_openssh_hosts_train(tmp_path: Path, cluster: Callable[..., Cluster], cache_home: Path) -> None:
    servers = cluster(4, one_home=True)
    profile = small_run.profile(fleet=servers.fleet(), run=python_lines(servers), max_steps=4, data=str(cache_home))
    live = small_run.start(profile)
    await live.drive()
    run = live.run
    assert (run.status, run.exit_code) == (FINISHED, Exit.DONE), run.reason
    assert run.training is not None
    assert run.training.world_size == 4
    assert [point.step for point in run.points] == [1, 2, 3, 4]
    assert [node.port for node in run.nodes] == [server.port for server in servers.servers]
    assert small_run.differences(run, open_log.fold(live.directory.journal)) == []
    # The hosts are somebody's own and stay; of ours nothing runs there any more.
    assert [line for line in small_run.processes(tmp_path).values() if "sshd" not in line] == []


async def launch_fails(fleet: str, run: str = "") -> str:
    """Launches, expects that no host could be had or used, and returns the sentence."""
    live = small_run.start(small_run.profile(fleet=fleet, run=run))
    await live.drive()
    assert (live.run.status, live.run.exit_code) == (UNREACHABLE, Exit.UNREACHABLE), live.run.reason
    assert "\n" not in live.run.reason
    assert "Traceback" not in live.run.reason
    return live.run.reason


async def test_a_host_that_refuses_the_key(cluster: Callable[..., Cluster]) -> None:
    servers = cluster(2)
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    servers.servers[1].folder.joinpath("authorized_keys").write_bytes(stranger.export_public_key())
    reason = await launch_fails(servers.fleet())
    assert "node 1" in reason
    assert "refused the key" in reason


async def test_a_host_that_presents_another_host_key(cluster: Callable[..., Cluster]) -> None:
    servers = cluster(2)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    first, second = servers.servers
    servers.known_hosts.write_text(first.known_hosts_line() + second.known_hosts_line(other))
    reason = await launch_fails(servers.fleet())
    assert "node 1" in reason
    assert "another host key" in reason


async def test_a_host_that_answers_in_place_of_another(cluster: Callable[..., Cluster]) -> None:
    servers = cluster(2)
    first, second = servers.servers
    servers.known_hosts.write_text(first.known_hosts_line(second.host_key) + second.known_hosts_line(first.host_key))
    assert "another host key" in await launch_fails(servers.fleet())


async def test_a_host_that_is_not_pinned_is_not_trusted_on_first_use(cluster: Callable[..., Cluster]) -> None:
    servers = cluster(1)
    servers.known_hosts.write_text("")
    reason = await launch_fails(servers.fleet())
    assert "host key" in reason


async def test_a_host_without_python(cluster: Callable[..., Cluster]) -> None:
    reason = await launch_fails(cluster(1).fleet(), 'python = "/usr/bin/python-of-nowhere"')
    assert "node 0" in reason
    assert "no Python" in reason
    assert "python-of-nowhere" in reason


async def test_a_host_without_torch(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    reason = await launch_fails(cluster(1).fleet(), f'python = "{tmp_path}/bare/bin/python"')
    assert "no torch" in reason


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can be mounted by root only")
async def test_a_host_with_a_full_disk(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    servers = cluster(1)
    home = servers.servers[0].home
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(home)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        reason = await launch_fails(servers.fleet(), python_lines(servers))
        assert "node 0" in reason
        assert "disk" in reason
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can be mounted by root only")
async def test_a_host_whose_disk_holds_the_code_but_no_run(cluster: Callable[..., Cluster]) -> None:
    servers = cluster(1)
    home = servers.servers[0].home
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(home)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        reason = await launch_fails(servers.fleet(), python_lines(servers))
        assert "disk" in reason
        assert "full" in reason
    finally:
        subprocess.run(["umount", str(home)], check=True)


async def test_a_host_where_nobody_listens(cluster: Callable[..., Cluster]) -> None:
    servers = cluster(2)
    servers.servers[1].stop()
    live = small_run.start(small_run.profile(fleet=servers.fleet(), run=python_lines(servers)))
    driving = asyncio.create_task(live.drive())
    run = await small_run.until(live, lambda run: run.nodes[1].status == "unreachable")
    assert "127.0.0.1" in run.nodes[1].reason
    await live.command("stop")
    await driving
    assert live.run.exit_code == Exit.INTERRUPTED, live.run.reason


async def test_files_that_the_profile_names_and_that_are_not_there(cluster: Callable[..., Cluster]) -> None:
    servers = cluster(1)
    servers.identity.unlink()
    assert str(servers.identity) in await launch_fails(servers.fleet())
