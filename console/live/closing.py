"""How the console finishes with a run: it closes it, leaves it running, or ends one whose hosts are gone already."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from dataclasses import replace
from typing import Final

from console.fleet.provider import Provider
from console.journal.directory import RunDirectory
from console.journal.store import RunStore
from console.live.checkpoints import CheckpointFetcher
from console.live.links import Links
from console.live.manifest_sync import Manifest
from console.live.rank_logs import LogFetcher
from console.policy import endings
from console.policy.decisions import EndRun
from console.reports.receipt import receipt
from console.ssh.address import HostAddress
from console.state.events import ConsoleDetached, InstanceStopped, Record, RunEnded
from console.state.run import Run
from remote.wire.layout import JOURNAL, host_folder

_LAST_RECORDS_S: Final = 10.0
"""How long the end waits for the agents' last records, and a leaving console for its messages to arrive."""
_SENT_S: Final = 0.5
"""How long messages to the hosts have before their channels are closed."""


class Closing:
    """The ends of a run."""

    def __init__(
        self,
        directory: RunDirectory,
        store: RunStore,
        provider: Provider,
        checkpoints: CheckpointFetcher,
        logs: LogFetcher,
    ) -> None:
        self._directory = directory
        self._store = store
        self._provider = provider
        self._checkpoints = checkpoints
        self._logs = logs

    async def close(self, end: EndRun, links: Links) -> None:
        """Ends what runs on the hosts, fetches the results, releases the hosts, and writes the last record."""
        links.send({"id": secrets.token_hex(6), "command": "kill"})
        await self._checkpoints.finish(links.connections, self._provider.disk)
        await self._logs.finish(links.connections, self._provider.disk, self._store.run.nnodes)
        links.send({"id": secrets.token_hex(6), "command": "end", "reason": end.status})
        # The agents write their last records and end, which ends the channels; one that hangs must not keep the rest.
        await links.wait_ended(_LAST_RECORDS_S)
        await links.close()
        async for node, event in self._provider.release():
            self._store.witness(event, node)
        self._end(end)

    async def leave(self, links: Links, manifest: Manifest) -> None:
        """Leaves the run running without this console; the hosts were told of their leases before."""
        await manifest.finish(links.connections, _LAST_RECORDS_S)
        await asyncio.sleep(_SENT_S)
        await links.close()
        self._store.witness(ConsoleDetached(pid=os.getpid()))
        await self._provider.leave()
        self._store.close()
        self._directory.leave()

    async def salvage(self) -> bool:
        """For a run that has not ended and that no console drives: True if hosts of it are still there.

        Where they are not, what their disks still hold is taken in, the last checkpoint is kept, and the run is ended
        with a sentence that tells what happened.
        """
        if await self._provider.remains():
            return True
        run = self._store.run
        last_t = {node.node: node.last_received_t or run.started_t or time.time() for node in run.nodes}

        def remember(before: Run, after: Run, record: Record | None) -> None:
            if record is not None and record.node is not None and record.offset is not None:
                last_t[record.node] = record.t

        self._store.observe(remember)
        for address in self._directory.read_fleet()[0]:
            self._take_journal(address)
        await self._checkpoints.finish({}, self._provider.disk)
        await self._logs.finish({}, self._provider.disk, self._store.run.nnodes)
        end = endings.salvaged(self._store.run)
        async for node, event in self._provider.release():
            # They ended when they last wrote a record, and not now; EC2 knows better.
            if isinstance(event, InstanceStopped) and node is not None and not self._provider.states_ends:
                event = replace(event, stopped_t=last_t[node])
            self._store.witness(event, node)
        self._end(end)
        return False

    def _take_journal(self, address: HostAddress) -> None:
        """Takes in what the journal on a node's disk tells beyond what is known, where that disk is here."""
        disk = self._provider.disk(address.node)
        journal = disk / host_folder(self._directory.run_id, address.node) / JOURNAL if disk else None
        if journal is None or not journal.is_file():
            return
        offset = self._store.run.nodes[address.node].last_offset or 0
        whole = journal.read_bytes()[offset:].rpartition(b"\n")[0]
        if whole:
            self._store.take_lines(address.node, whole.split(b"\n"), offset)

    def _end(self, end: EndRun) -> None:
        self._store.witness(RunEnded(status=end.status, exit_code=int(end.exit_code), reason=end.reason))
        self._directory.write_receipt(receipt(self._store.run, time.time()))
