"""The links to a run's hosts: one task per host, which keeps that host's channel open as long as the run is live.

A link connects, copies the code, attaches at the byte after the last record known, and reads. When it breaks, it asks
the provider whether the host is gone and else tries again, with growing pauses. Whatever happens to a host is a record
in the store and never an exception that leaves its task.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

from console.journal.reader import LINE_BYTES
from console.journal.store import RunStore
from console.ssh.address import HostAddress
from console.ssh.channel import Channel
from console.ssh.connect import connect, fingerprint
from console.ssh.errors import HostRefused as Refused
from console.ssh.errors import HostUnreachable as Unreachable
from console.ssh.ship import Code, ship
from console.state.events import HostConnected, HostFound, HostLost, HostRefused, HostUnreachable
from console.state.run import Node
from remote.wire.events import StageProgressed

_BACKOFF_S = (0.5, 8.0)
"""First and longest wait before a host is tried again."""
_AT_ONCE = 100
"""Lines that are folded before the event loop has its turn: 5 ms."""
_STEADY_S = 10.0
"""A link that held for so long starts again with the first wait."""

Prepare = Callable[[asyncssh.SSHClientConnection, HostAddress], Awaitable[str | None]]
"""Does what else a host needs before it is attached to. Returns its job as JSON; None where the agent must be there."""


class Links:
    """All links of a run."""

    def __init__(
        self, store: RunStore, run_id: str, prepare: Prepare, lost: Callable[[HostAddress], Awaitable[str | None]]
    ) -> None:
        """`lost(address)`: why the host is gone for good, according to its provider; None where it is not."""
        self._store = store
        self._run_id = run_id
        self._prepare = prepare
        self._lost = lost
        self._code = Code.read()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._channels: dict[int, Channel] = {}
        self._sent: dict[str, dict[str, Any]] = {}
        self.connections: dict[int, asyncssh.SSHClientConnection] = {}
        """Those that are open now, by node."""

    @property
    def linked(self) -> frozenset[int]:
        """Nodes whose channel is open."""
        return frozenset(self._channels)

    def serve(self, address: HostAddress) -> None:
        """Links a host, in a task of its own."""
        self._tasks[address.node] = asyncio.create_task(self._serve(address))

    def drop(self, node: int) -> None:
        """Gives up the link to a node's present host."""
        task = self._tasks.pop(node, None)
        if task is not None:
            task.cancel()

    def send(self, command: dict[str, Any], *, keep: bool = False) -> None:
        """Sends a command to every host; with `keep`, again after each reconnect until the host has acknowledged it."""
        if keep:
            self._sent[command["id"]] = command
        for channel in self._channels.values():
            channel.send(command)

    def check(self) -> None:
        """Raises what a link broke on where its host is not at fault: a full disk here, or a bug."""
        for task in self._tasks.values():
            if task.done() and not task.cancelled():
                task.result()

    async def wait_ended(self, timeout_s: float) -> None:
        """Waits until every agent that can be reached has ended in order, or the time is up."""
        speaking = [self._tasks[node] for node in self._channels]
        if speaking:
            await asyncio.wait(speaking, timeout=timeout_s)

    async def close(self) -> None:
        """Closes all channels; the agents continue."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._sent.clear()

    def _node(self, address: HostAddress) -> Node:
        return self._store.run.nodes[address.node]

    def _stage(self, address: HostAddress, stage: str, done: int, total: int = 1, detail: str = "") -> None:
        """Records a stage of the launch; a later reconnect is not one."""
        if self._node(address).agent is None:
            event = StageProgressed(stage=stage, done=done, total=total, detail=detail)
            self._store.witness(event, address.node)

    async def _serve(self, address: HostAddress) -> None:
        node, wait_s = address.node, _BACKOFF_S[0]
        while True:
            began = time.monotonic()
            try:
                await self._attach(address)
                return
            except Refused as error:
                self._store.witness(HostRefused(reason=str(error)), node)
                return
            except Unreachable as error:
                lost = await self._lost(address)
                if lost is not None:
                    self._store.witness(HostLost(reason=lost), node)
                    return
                if time.monotonic() - began > _STEADY_S:
                    wait_s = _BACKOFF_S[0]
                pause_s = wait_s * random.uniform(0.7, 1.3)
                self._store.witness(HostUnreachable(reason=str(error), retry_s=round(pause_s, 1)), node)
                await asyncio.sleep(pause_s)
                wait_s = min(wait_s * 2, _BACKOFF_S[1])

    async def _attach(self, address: HostAddress) -> None:
        """One connection from its beginning to the agent's end in order."""
        node = address.node
        self._stage(address, "connect", 0)
        connection = await connect(address)
        try:
            self.connections[node] = connection
            if self._node(address).fingerprint is None:
                peer = connection.get_extra_info("peername") or (address.host, address.port or 22)
                found = HostFound(address=peer[0], port=peer[1], fingerprint=fingerprint(connection))
                self._store.witness(found, node)
            self._stage(address, "connect", 1)
            await ship(connection, self._code, lambda done, total: self._shipped(address, done, total))
            job_json = await self._prepare(connection, address)
            self._stage(address, "agent", 0)
            offset = self._node(address).last_offset or 0
            channel = await Channel.open(
                connection, address, self._code, self._run_id, offset=offset, job_json=job_json
            )
            self._channels[node] = channel
            self._store.witness(HostConnected(from_offset=offset), node)
            self._send_again(node, channel)
            held = b""
            async for piece in channel.pieces():
                whole, newline, rest = piece.rpartition(b"\n")
                if newline:
                    whole = held + whole
                    await self._take(node, whole.split(b"\n"), offset)
                    offset += len(whole) + 1
                    held = rest
                else:
                    held += rest
                    if len(held) > LINE_BYTES:
                        # Our agents do not write such a line, and it may have no end.
                        raise Unreachable(f"a line of its journal is longer than {LINE_BYTES >> 10} KiB")
            await channel.verdict()
        finally:
            self._channels.pop(node, None)
            self.connections.pop(node, None)
            connection.abort()

    async def _take(self, node: int, lines: list[bytes], offset: int) -> None:
        """Takes in lines, a few at a time, so that a host with many of them does not hold up the screen's keys."""
        for begin in range(0, len(lines), _AT_ONCE):
            some = lines[begin : begin + _AT_ONCE]
            self._store.take_lines(node, some, offset)
            offset += sum(map(len, some)) + len(some)
            await asyncio.sleep(0)

    def _shipped(self, address: HostAddress, done: int, total: int) -> None:
        # Every file would be a record; a quarter of them is progress enough.
        if done in (1, total) or done % max(1, total // 4) == 0:
            self._stage(address, "ship", done, total, "files")

    def _send_again(self, node: int, channel: Channel) -> None:
        """Sends what this node has not acknowledged yet; an agent that did it already skips the id."""
        for command in self._store.run.commands:
            if command.id in self._sent and node not in command.done and node not in command.refused:
                channel.send(self._sent[command.id])
