"""The `local` provider: embedded SSH servers on this machine, for the demo and for trying things out.

Everything about them is real except the size: each has its own process, home folder and host key. They share the
machine's cores, its memory and one folder of data sets, as hosts with a network file system would. The price is
simulated, and labelled so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import asyncssh

from console.fleet.provider import News, ProviderError
from console.fleet.rack import HostsRequest, started
from console.journal.directory import RunDirectory
from console.paths import cache_home
from console.profile.schema import Profile
from console.ssh.address import HostAddress
from console.state.events import HostFound, InstanceStarted, InstanceStopped
from remote.agent.cpu import memory_mib
from remote.agent.versions import torch_version
from remote.wire.events import StageProgressed

RANK_MIB = 430
"""Memory of a launcher with its rank, agent, channel and SSH server, beyond what the hosts share.

With `BASE_MIB` it comes to what 16 ranks took beyond an idle machine: 7.4 GiB (bench/results)."""
BASE_MIB = 700
"""Memory that all hosts share (torch's libraries), and the console's."""
_IDLE_S = 20.0
_END_S = 10.0


class LocalProvider:
    """Embedded hosts on this machine."""

    lease_end = "host"
    releases_hosts = True
    states_ends = False
    lease_file = metadata_url = ""

    def __init__(self, profile: Profile, directory: RunDirectory) -> None:
        self._profile = profile
        self._directory = directory
        self.embedded = profile.fleet.nodes
        self._addresses, fleet = directory.read_fleet()
        self._pids: dict[int, tuple[int, str]] = {
            int(node): (pid, began) for node, (pid, began) in fleet.get("pids", {}).items()
        }
        self._processes: dict[int, tuple[int, str]] = {
            int(port): (pid, began) for port, (pid, began) in fleet.get("processes", {}).items()
        }
        """All that were started, by port, replaced ones too."""
        self._homes: dict[int, str] = {int(node): name for node, name in fleet.get("homes", {}).items()}
        """The home folders of replacement hosts, by node."""
        self._billed: set[int] = set(self._pids)
        self._racks: list[subprocess.Popen[bytes]] = []

    def data_dir(self, profile: Profile) -> str:
        """One folder for all hosts: in the user's cache, unless the profile names another."""
        given = profile.data.dir
        return given if not given.startswith("~/.fastconsole") else str(cache_home() / "data")

    async def bring_up(self) -> AsyncIterator[News | HostAddress]:
        """Starts the hosts. Raises ProviderError if that is impossible: no torch, too little memory, a port in use."""
        self._check()
        nodes = range(self._profile.fleet.nodes)
        key = asyncssh.generate_private_key("ssh-ed25519", comment="fastconsole")
        self._directory.write_private(self._directory.key.name, key.export_private_key())
        for node in nodes:
            yield node, StageProgressed(stage="host", done=0, total=1)
        async for news in self._rack(list(nodes)):
            yield news

    async def adopt(self) -> AsyncIterator[News | HostAddress]:
        """The hosts that another console started."""
        for address in self._addresses:
            yield address

    async def replace(self, node: int) -> AsyncIterator[News | HostAddress]:
        """A new host for the node, in a new home folder; one that still lives is left running until the end."""
        self._homes[node] = f"node-{node:02d}-{len(self._processes)}"
        if node in self._billed:
            ended_t = time.time()
            yield (
                node,
                InstanceStopped(
                    instance_id=f"embedded-{node:02d}", stopped_t=ended_t, reason="another takes its place"
                ),
            )
        async for news in self._rack([node]):
            yield news

    async def watch(self) -> AsyncIterator[News]:
        """Nothing: the end of an embedded host shows at its connection."""
        never: tuple[News, ...] = ()
        for news in never:
            yield news

    async def lost(self, address: HostAddress) -> str | None:
        """Why the host's process is gone; None while it runs."""
        known = self._processes.get(address.port or 0)
        if known is None or started(known[0]) == known[1]:
            return None
        return f"its embedded host (process {known[0]}) ended"

    async def remains(self) -> bool:
        """True if any of the processes runs."""
        return any(started(pid) == began for pid, began in self._processes.values())

    async def release(self) -> AsyncIterator[News]:
        """Ends every host and what runs on it, and removes the home folders."""
        nodes = list(self._pids)
        for rack in self._racks:
            # The rack passes the signal on to all its hosts, also to those that have not reported yet.
            rack.terminate()
        await self._end()
        await asyncio.to_thread(shutil.rmtree, self._directory.homes, ignore_errors=True)
        for node in nodes:
            if node in self._billed:
                self._billed.discard(node)
                yield (
                    node,
                    InstanceStopped(instance_id=f"embedded-{node:02d}", stopped_t=time.time(), reason="given back"),
                )

    def disk(self, node: int) -> Path | None:
        """An embedded host's home is a folder of this machine."""
        home = Path(self._home(node))
        return home if home.is_dir() else None

    async def leave(self) -> None:
        """Nothing to do: the hosts keep running until their lease ends."""

    # --- how ---

    def _home(self, node: int) -> str:
        return str(self._directory.homes / self._homes.get(node, f"node-{node:02d}"))

    def _check(self) -> None:
        if sys.platform != "linux":
            raise ProviderError(f"provider local runs on Linux (this is {sys.platform}); use hosts of your own: static")
        if torch_version() is None:
            raise ProviderError(
                "provider local trains on this machine and torch is not installed: pip install '.[train]'"
            )
        used, total = memory_mib()
        needed = BASE_MIB + RANK_MIB * self._profile.world_size
        if used is not None and total is not None and total - used < needed:
            free = total - used
            fit = int((free - BASE_MIB) // (RANK_MIB * self._profile.run.nproc_per_node))
            hint = f"; --nodes {fit} would fit" if fit >= 1 else ""
            raise ProviderError(
                f"{self._profile.world_size} ranks on this machine need about {needed / 1024:.1f} GiB of memory, "
                f"and {free / 1024:.1f} GiB are free{hint}"
            )

    async def _rack(self, nodes: list[int]) -> AsyncIterator[News | HostAddress]:
        public = asyncssh.read_private_key(str(self._directory.key)).export_public_key().decode().strip()
        request = HostsRequest(
            homes={node: self._home(node) for node in nodes},
            client_key=public,
            idle_s=_IDLE_S,
            base_port=self._profile.fleet.base_port,
        )
        rack = _start_rack()
        self._racks.append(rack)
        assert rack.stdin is not None
        assert rack.stdout is not None
        with rack.stdin:
            rack.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
        missing = set(nodes)
        while missing:
            line = await asyncio.to_thread(rack.stdout.readline)
            if not line:
                raise ProviderError(f"the embedded hosts of nodes {sorted(missing)} did not start")
            said = json.loads(line)
            node = said["node"]
            if "error" in said:
                where = f"port {said['port']} of 127.0.0.1" if said.get("port") else "a port of 127.0.0.1"
                raise ProviderError(f"node {node}: {where} cannot be used: {said['error']}")
            missing.discard(node)
            self._pids[node] = self._processes[said["port"]] = (said["pid"], said["started"])
            address = HostAddress(
                node=node,
                host="127.0.0.1",
                port=said["port"],
                username="fastconsole",
                host_key=said["host_key"],
                client_key=str(self._directory.key),
                python=sys.executable,
                gang_address="127.0.0.1",
            )
            self._addresses = [known for known in self._addresses if known.node != node] + [address]
            # On disk before it is used: a console that dies now leaves a record of it.
            extra = {"pids": self._pids, "processes": self._processes, "homes": self._homes}
            self._directory.write_fleet("local", self._addresses, extra)
            fleet = self._profile.fleet
            self._billed.add(node)
            yield (
                node,
                InstanceStarted(
                    instance_id=f"embedded-{node:02d}",
                    started_t=time.time(),
                    usd_per_h=fleet.usd_per_h,
                    usd_per_h_on_demand=fleet.usd_per_h_on_demand,
                ),
            )
            key = asyncssh.import_public_key(said["host_key"])
            yield node, HostFound(address="127.0.0.1", port=said["port"], fingerprint=key.get_fingerprint())
            yield node, StageProgressed(stage="host", done=1, total=1)
            yield address
        rack.stdout.close()

    async def _end(self) -> None:
        waiting = list(self._processes.values())
        for number, patience in ((signal.SIGTERM, _END_S), (signal.SIGKILL, _END_S)):
            waiting = [(pid, began) for pid, began in waiting if began and started(pid) == began]
            for pid, _ in waiting:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            end = time.monotonic() + patience
            # They are not children of this process, so there is no event for their end.
            while time.monotonic() < end and any(started(pid) == began for pid, began in waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for rack in self._racks:
            rack.poll()


def _start_rack() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "console.fleet.rack"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
