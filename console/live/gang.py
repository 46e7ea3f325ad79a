"""The gang of a live run: the job that each node gets, the start of the trainers, the commands to them."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final

import asyncssh

from console.billing import budget
from console.fleet.provider import Provider
from console.journal.directory import RunDirectory
from console.journal.store import RunStore
from console.live import nccl
from console.live.checkpoints import hand_over, newest, newest_kept
from console.live.links import Links
from console.profile.schema import Profile
from console.ssh.address import HostAddress
from console.ssh.errors import HostUnreachable
from console.state.events import OperatorCommanded
from console.state.run import Checkpoint
from console.state.status import NODE_DROPPED
from remote.wire.events import StageProgressed
from remote.wire.job import Job

_LINGER_S: Final = 600.0
"""How long the results of an unattended run stay on its hosts."""


class Gang:
    """The trainers on the nodes of a run."""

    def __init__(
        self, profile: Profile, directory: RunDirectory, provider: Provider, store: RunStore, links: Links
    ) -> None:
        self._profile = profile
        self._directory = directory
        self._provider = provider
        self._store = store
        self._links = links
        self._addresses: dict[int, str] = {}
        """By node, the address at which the other nodes reach it."""
        self._starting: asyncio.Task[None] | None = None

    def add(self, connection: asyncssh.SSHClientConnection, address: HostAddress) -> None:
        """Notes the address at which the other nodes reach the host: its own for the gang, else the one that SSH
        uses."""
        peer = connection.get_extra_info("peername")
        self._addresses[address.node] = address.gang_address or (peer[0] if peer else address.host)

    def job(self, node: int) -> Job:
        """What the agent of a node has to do. The node's address must be noted (`add`)."""
        profile = self._profile
        return Job(
            run_id=self._directory.run_id,
            node=node,
            nnodes=profile.fleet.nodes,
            nproc_per_node=profile.run.nproc_per_node,
            recipe=profile.recipe(self._provider.data_dir(profile)),
            address=self._addresses[node],
            max_restarts=profile.run.max_restarts,
            env=nccl.in_a_job(profile),
            lease_s=budget.lease_s(self._store.run, time.time(), profile.budget.lease_minutes),
            lease_end=self._provider.lease_end,
            lease_file=self._provider.lease_file,
            stage_from=profile.data.stage_from or "",
            metadata_url=self._provider.metadata_url,
            linger_s=_LINGER_S,
            embedded=self._provider.embedded,
        )

    def order(self, command: str, *, by: str = "operator", **arguments: object) -> None:
        """Records a command and sends it to every host; `terminate` is recorded only, the console carries it out."""
        command_id = secrets.token_hex(6)
        self._store.witness(OperatorCommanded(id=command_id, command=command, by=by))
        if command != "terminate":
            self._links.send({"id": command_id, "command": command, **arguments}, keep=True)

    def start(self) -> None:
        """Begins to start the trainers, unless that is under way."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())

    def check(self) -> None:
        """Raises what a start failed on: a full disk here, or a bug."""
        if self._starting is not None and self._starting.done():
            self._starting.result()

    async def cancel(self) -> None:
        """Ends a start that is under way. Does not raise what it failed on."""
        if self._starting is not None:
            starting, self._starting = self._starting, None
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    async def _start(self) -> None:
        """Starts the trainers on every node that takes part; the first of them holds the rendezvous.

        Where a connection breaks meanwhile nothing is started, and the policy asks for another try.
        """
        run = self._store.run
        present = [node for node in run.nodes if node.status != NODE_DROPPED]
        first = present[0]
        last = newest(run)
        if last is not None and last.node is None:
            # No disk of the gang holds it. Any node will do: the ranks agree on which of them has the newest.
            kept, connection = newest_kept(run, self._directory), self._links.connections.get(first.node)
            if connection is None:
                return
            if kept is not None:
                try:
                    await self._hand_over(connection, kept, first.node)
                except HostUnreachable:
                    return
        assert first.agent is not None
        attempt = self._store.run.attempt
        port = self._profile.run.rdzv_port or first.agent.free_port
        host = self._addresses[first.node]
        self.order(
            "start",
            by="console",
            rdzv_endpoint=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            rdzv_id=f"{self._directory.run_id}-{attempt}",
            rdzv_node=first.node,
            nnodes=len(present),
            attempt=attempt,
        )

    async def _hand_over(self, connection: asyncssh.SSHClientConnection, checkpoint: Checkpoint, node: int) -> None:
        step = f"step {checkpoint.step}"
        self._store.witness(StageProgressed(stage="checkpoint", done=0, total=1, detail=step), node)
        await hand_over(connection, checkpoint, self._directory, node)
        self._store.witness(StageProgressed(stage="checkpoint", done=1, total=1, detail=step), node)
