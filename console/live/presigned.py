"""Presigned URLs, by which the hosts of a run copy their data set from S3.

Hosts have no credentials. This machine lists the objects and signs a URL for each, valid for an hour. The URLs go over
SSH into a file in the run's folder on each host, and are sent again well before they expire, or at once where a host
reports that they have. They are in no journal and on no command line.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Mapping
from typing import Final

import asyncssh

from console.fleet.aws.buckets import Listing, listing
from console.fleet.aws.cloud import Cloud
from console.fleet.provider import ProviderError
from console.profile.schema import Profile
from console.ssh.errors import HostUnreachable
from console.ssh.transfer import PRIVATE, write_whole
from console.state.run import Node, Run
from remote.wire.layout import ADDRESSES, S3, host_folder

VALID_S: Final = 3600
"""How long a URL is valid. Whoever gets hold of it can read that object for so long."""
_AGAIN_S = 5.0
"""URLs that a host reports as expired are sent again no sooner than that."""
_UNSIGNED_S = 30.0
"""After URLs could not be signed, it is tried again: somebody may have logged in."""


class Presigner:
    """Sends the hosts of a run the URLs of what they copy, until they have copied it."""

    def __init__(self, profile: Profile, run_id: str) -> None:
        """For a profile whose `data.stage_from` is in S3."""
        assert profile.data.stage_from is not None
        self._source = profile.data.stage_from
        self._cloud = Cloud(profile.fleet.region)
        self._run_id = run_id
        self._valid_s = VALID_S
        self._found: Listing | None = None
        self._looking = asyncio.Lock()
        self._sent_t: dict[int, float] = {}
        """When each node was sent URLs, by the monotonic clock."""
        self._not_before = 0.0
        self._tasks: dict[int, asyncio.Task[str]] = {}

    async def list_source(self) -> Listing:
        """The objects of the source, listed once. Raises ProviderError."""
        async with self._looking:
            if self._found is None:
                self._found = await listing(self._cloud, self._source)
            return self._found

    async def send(self, connection: asyncssh.SSHClientConnection, node: int) -> None:
        """Writes fresh URLs to a host.

        Raises:
            ProviderError: they cannot be signed.
            HostUnreachable: the connection broke, or the host could not write them.
        """
        found = await self.list_source()
        calls = [{"Bucket": found.bucket, "Key": found.prefix + name} for name, _, _ in found.objects]
        self._sent_t[node] = time.monotonic()
        signed = await self._cloud.signed("s3", "get_object", calls, valid_s=self._valid_s, in_region=found.region)
        objects = [[*listed, url] for listed, url in zip(found.objects, signed, strict=True)]
        # Serial: this machine's clock in milliseconds, so that another console's URLs count as newer too.
        text = json.dumps({"serial": time.time_ns() // 1_000_000, "objects": objects}, separators=(",", ":")).encode()
        path = f"{host_folder(self._run_id, node)}/{ADDRESSES}"
        try:
            async with connection.start_sftp_client() as sftp:
                await write_whole(sftp, path, gzip.compress(text, 6), permissions=PRIVATE)
        except (asyncssh.Error, OSError) as error:
            why = getattr(error, "reason", None) or str(error)
            raise HostUnreachable(f"the presigned URLs of the data set could not be sent: {why}") from None

    def renew(self, run: Run, connections: Mapping[int, asyncssh.SSHClientConnection]) -> list[str]:
        """Starts to send URLs to the hosts that need fresh ones; a sentence for each host for which that failed."""
        now = time.monotonic()
        failures = []
        for node in run.nodes:
            task = self._tasks.get(node.node)
            if task is not None:
                if not task.done():
                    continue
                del self._tasks[node.node]
                if sentence := task.result():
                    failures.append(sentence)
            connection = connections.get(node.node)
            if connection is not None and self._needs(node, now):
                self._tasks[node.node] = asyncio.create_task(self._try(connection, node.node))
        return failures

    def _needs(self, node: Node, now: float) -> bool:
        if node.agent is None or node.staged is not None or now < self._not_before:
            return False
        sent_t = self._sent_t.get(node.node)
        if sent_t is None:
            return True
        expired = node.staging is not None and node.staging.activity == "renew"
        return now - sent_t > (_AGAIN_S if expired else self._valid_s / 2)

    async def _try(self, connection: asyncssh.SSHClientConnection, node: int) -> str:
        try:
            await self.send(connection, node)
        except HostUnreachable:
            # Its link reports that; after the next connection it is sent again.
            self._sent_t.pop(node, None)
        except ProviderError as error:
            # The hosts continue while their URLs are valid, and then wait.
            self._sent_t.pop(node, None)
            self._not_before = time.monotonic() + _UNSIGNED_S
            return f"the presigned URLs of the data set cannot be renewed: {error}"
        return ""

    def cancel(self) -> None:
        """Stops sending."""
        for task in self._tasks.values():
            task.cancel()


def presigner_for(profile: Profile, run_id: str) -> Presigner | None:
    """The presigner of a run; None where its data set does not come from S3."""
    source = profile.data.stage_from
    return Presigner(profile, run_id) if source is not None and source.startswith(S3) else None
