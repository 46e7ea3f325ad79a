"""The interface of a provider. It creates or finds hosts; from an address with a pinned key on, all hosts are alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from console.profile.schema import Profile
from console.ssh.address import HostAddress
from remote.wire.codec import Event


class ProviderError(Exception):
    """The hosts are not available; one sentence (exit code 6)."""


News = tuple[int | None, Event]
"""An event, and the node that it concerns; None if it concerns the whole run."""


class Provider(Protocol):
    """Creates or finds a run's hosts, and releases them."""

    lease_end: str
    """What the lease's end ends on these hosts: see `remote.wire.job.Job.lease_end`."""
    embedded: int
    """How many of the hosts share one machine; 0 if each has its own."""
    releases_hosts: bool
    """False if the hosts exist independently of the run and stay."""
    states_ends: bool
    """True if the provider reports when a host ended while no console was attached."""
    lease_file: str
    """On a host, the file from which its own timer reads the lease's deadline: see `remote.wire.job.Job.lease_file`."""
    metadata_url: str
    """As a host sees it: see `remote.wire.job.Job.metadata_url`."""

    def bring_up(self) -> AsyncIterator[News | HostAddress]:
        """Starts or finds the hosts: yields events on the way, and each host's address once it is ready.

        Raises:
            ProviderError
        """
        ...

    def adopt(self) -> AsyncIterator[News | HostAddress]:
        """For a console that attaches to a run: yields its hosts, and finishes a launch that was interrupted.

        Raises:
            ProviderError
        """
        ...

    def replace(self, node: int) -> AsyncIterator[News | HostAddress]:
        """Another host for a node whose host is lost or soon will be; if it still lives, it keeps training meanwhile.

        Raises:
            ProviderError: there is none available.
        """
        ...

    def watch(self) -> AsyncIterator[News]:
        """Events about hosts and prices that only the provider knows, for as long as the run lasts."""
        ...

    async def lost(self, address: HostAddress) -> str | None:
        """Why the host is gone for good; None while the provider does not know that it is."""
        ...

    async def remains(self) -> bool:
        """True if any host of the run exists, or may exist. Raises ProviderError if that cannot be determined."""
        ...

    def release(self) -> AsyncIterator[News]:
        """Releases all hosts that it created; yields what happened to each. Safe to call twice."""
        ...

    def disk(self, node: int) -> Path | None:
        """The home folder of a lost host, if it can be read without the host; else None."""
        ...

    async def leave(self) -> None:
        """Detaches from the hosts without ending them: the run continues unattended."""
        ...

    def data_dir(self, profile: Profile) -> str:
        """Where the hosts keep data sets."""
        ...
