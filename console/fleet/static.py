"""The `static` provider: existing SSH servers, with ``~/.ssh/config`` and ``known_hosts`` honoured, strictly.

Nothing is rented and nothing is released. A host whose key is not in the known_hosts file is refused: fastconsole
never trusts a host key on first use.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from console.fleet.provider import News, ProviderError
from console.journal.directory import RunDirectory
from console.profile.schema import Profile
from console.ssh.address import HostAddress
from console.state.events import InstanceStarted, InstanceStopped
from remote.wire.events import StageProgressed

_HOST = re.compile(r"(?:(?P<user>[^@]+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:]+))(?::(?P<port>\d+))?")


class StaticProvider:
    """Hosts that the profile names."""

    lease_end = "agent"
    embedded = 0
    releases_hosts = False
    states_ends = False
    lease_file = metadata_url = ""

    def __init__(self, profile: Profile, directory: RunDirectory) -> None:
        self._profile = profile
        self._directory = directory
        self._billed: set[int] = set()

    def data_dir(self, profile: Profile) -> str:
        """As the profile says, on each host's own disk."""
        return profile.data.dir

    async def bring_up(self) -> AsyncIterator[News | HostAddress]:
        """Yields the profile's hosts. Raises ProviderError if a file that the profile names is missing."""
        fleet = self._profile.fleet
        for key, value in (
            ("identity_file", fleet.identity_file),
            ("known_hosts", fleet.known_hosts),
            ("ssh_config", fleet.ssh_config),
        ):
            if value is not None and not Path(value).expanduser().is_file():
                raise ProviderError(f"fleet.{key}: there is no file {value}")
        known_hosts = Path(fleet.known_hosts or "~/.ssh/known_hosts").expanduser()
        if not known_hosts.is_file():
            raise ProviderError(
                f"there is no {known_hosts}: fastconsole connects only to hosts whose keys are pinned there "
                "(ssh-keyscan shows a host's key; compare it with what the host's owner says)"
            )
        addresses = [self._address(node, host) for node, host in enumerate(fleet.hosts[: fleet.nodes])]
        self._directory.write_fleet("static", addresses, {})
        for address in addresses:
            node = address.node
            if fleet.usd_per_h is not None or fleet.usd_per_h_on_demand is not None:
                self._billed.add(node)
                yield (
                    node,
                    InstanceStarted(
                        instance_id=str(address),
                        started_t=time.time(),
                        usd_per_h=fleet.usd_per_h,
                        usd_per_h_on_demand=fleet.usd_per_h_on_demand,
                    ),
                )
            yield node, StageProgressed(stage="host", done=1, total=1)
            yield address

    async def adopt(self) -> AsyncIterator[News | HostAddress]:
        """The hosts that an earlier console recorded."""
        for address in self._directory.read_fleet()[0]:
            yield address

    async def replace(self, node: int) -> AsyncIterator[News | HostAddress]:
        """The same host: there is no other."""
        yield self._address(node, self._profile.fleet.hosts[node])

    async def watch(self) -> AsyncIterator[News]:
        """Nothing: the provider knows no more than the hosts."""
        never: tuple[News, ...] = ()
        for news in never:
            yield news

    async def lost(self, address: HostAddress) -> str | None:
        """None: only the host itself knows."""
        return None

    async def remains(self) -> bool:
        """True if the run has recorded hosts: they stay, whatever becomes of the run."""
        return bool(self._directory.read_fleet()[0])

    async def release(self) -> AsyncIterator[News]:
        """Ends the bill; the hosts stay."""
        for node in sorted(self._billed):
            name = str(self._address(node, self._profile.fleet.hosts[node]))
            yield node, InstanceStopped(instance_id=name, stopped_t=time.time(), reason="the run ended")
        self._billed.clear()

    def disk(self, node: int) -> Path | None:
        """None: only the host itself can read its disk."""
        return None

    async def leave(self) -> None:
        """Nothing to do: the agents keep the leases."""

    def _address(self, node: int, host: str) -> HostAddress:
        match = _HOST.fullmatch(host)
        assert match is not None, host
        fleet = self._profile.fleet
        name = match["v6"] or match["name"]
        return HostAddress(
            node=node,
            host=name,
            port=int(match["port"]) if match["port"] else None,
            username=match["user"],
            client_key=str(Path(fleet.identity_file).expanduser()) if fleet.identity_file else None,
            known_hosts=str(known) if (known := fleet.known_hosts) else None,
            ssh_config=fleet.ssh_config,
            python=self._profile.run.python,
            gang_address=name,
        )
