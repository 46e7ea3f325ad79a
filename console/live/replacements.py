"""Replacement hosts for nodes whose own are lost or soon will be: ordered beside the run, kept until needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.fleet.provider import Provider, ProviderError
from console.journal.store import RunStore
from console.ssh.address import HostAddress
from console.state.events import HostFound, NodeReplaced, ReplacementOrdered, ReplacementReady


class Replacements:
    """The replacement hosts of a run that are ordered or ready."""

    def __init__(self, store: RunStore, provider: Provider, move: Callable[[HostAddress], None]) -> None:
        """`move(address)`: called where ordering a host has changed the address of another node's host."""
        self._store = store
        self._provider = provider
        self._move = move
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ready: dict[int, HostAddress] = {}
        self._found: dict[int, HostFound] = {}
        """Recorded when the host takes over the node: until then the node is still the old host."""

    def order(self, node: int, reason: str) -> None:
        """Orders another host for the node from the provider, in a task of its own."""
        self._store.witness(ReplacementOrdered(reason=reason), node)
        self._tasks[node] = asyncio.create_task(self._bring(node))

    async def _bring(self, node: int) -> None:
        came = False
        async for report in self._provider.replace(node):
            if isinstance(report, HostAddress) and report.node != node:
                self._move(report)
            elif isinstance(report, HostAddress):
                came = True
                self._ready[report.node] = report
                self._store.witness(ReplacementReady(address=str(report)), report.node)
            else:
                concerned, event = report
                if isinstance(event, HostFound) and concerned is not None:
                    self._found[concerned] = event
                    continue
                self._store.witness(event, concerned)
        # Not `_ready`: the host may have taken over the node while the provider still had something to do.
        if not came:
            raise ProviderError(f"node {node}: no other host came up")

    def check(self) -> None:
        """Raises what a replacement failed on: ProviderError where no host can be had, or a bug."""
        for node, task in list(self._tasks.items()):
            if task.done() and not task.cancelled():
                del self._tasks[node]
                task.result()

    def take(self, node: int, reason: str) -> HostAddress:
        """The host that is ready for the node; from here on it is the node's."""
        address = self._ready.pop(node)
        self._store.witness(NodeReplaced(reason=reason), node)
        if node in self._found:
            self._store.witness(self._found.pop(node), node)
        return address

    async def cancel(self) -> None:
        """Cancels all orders. The provider releases what they rented."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._ready.clear()
