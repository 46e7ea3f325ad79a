"""Where hosts come from. A provider makes or finds them; after "here is an address and its pinned key" nobody asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from console.profile.schema import Profile
from console.ssh.address import HostAddress
from remote.wire.codec import Event


class ProviderError(Exception):
    """The hosts cannot be had, in one sentence (exit code 6)."""


News = tuple[int | None, Event]
"""An event, and the node that it concerns; None where it concerns all."""


class Provider(Protocol):
    """Makes or finds a run's hosts, and gives them back."""

    lease_end: str
    """What the lease's end ends on these hosts: see `remote.wire.job.Job.lease_end`."""
    embedded: int
    """How many of the hosts share one machine; 0 where each has its own."""
    gives_back: bool
    """False where the hosts are somebody's own and stay."""
    states_ends: bool
    """True if the provider says when a host ended that nobody was watching."""
    lease_file: str
    """On a host, where its own timer is told the lease's deadline: see `remote.wire.job.Job.lease_file`."""
    metadata_url: str
    """As a host sees it: see `remote.wire.job.Job.metadata_url`."""

    def bring_up(self) -> AsyncIterator[News | HostAddress]:
        """Starts or finds the hosts: yields what happens on the way, and each host as it is there.

        Raises:
            ProviderError
        """
        ...

    def adopt(self) -> AsyncIterator[News | HostAddress]:
        """For a console that comes to a run: yields the hosts that it has, and goes on with a launch that was cut off.

        Raises:
            ProviderError
        """
        ...

    def replace(self, node: int) -> AsyncIterator[News | HostAddress]:
        """Another host for the place of one that is lost or soon will be; one that still lives trains on meanwhile.

        Raises:
            ProviderError: there is none to be had.
        """
        ...

    def watch(self) -> AsyncIterator[News]:
        """What only the provider knows of hosts and prices, for as long as the run goes on."""
        ...

    async def lost(self, address: HostAddress) -> str | None:
        """Why the host is gone for good, or None while the provider does not know that it is."""
        ...

    async def remains(self) -> bool:
        """True if any host of the run is there, or may be. Raises ProviderError where nobody can say."""
        ...

    def give_back(self) -> AsyncIterator[News]:
        """Ends all hosts that it made; yields what happened to each. Safe to call twice."""
        ...

    def disk(self, node: int) -> Path | None:
        """The home folder of a lost host where it can still be read without it; None elsewhere."""
        ...

    async def leave(self) -> None:
        """Lets go of the hosts without ending them: the run goes on unattended."""
        ...

    def data_dir(self, profile: Profile) -> str:
        """Where the hosts keep data sets."""
        ...
