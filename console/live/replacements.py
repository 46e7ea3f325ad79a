"""Other hosts for places whose own are lost or soon will be: asked for beside the run, kept until they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.fleet.provider import Provider, ProviderError
from console.journal.store import RunStore
from console.ssh.address import HostAddress
from console.state.events import HostFound, NodeReplaced, ReplacementOrdered, ReplacementReady


class Replacements:
    """The replacements of a run that are under way or ready."""

    def __init__(self, store: RunStore, provider: Provider, moved: Callable[[HostAddress], None]) -> None:
        """`moved(address)`: the way to another node's host leads elsewhere now."""
        self._store = store
        self._provider = provider
        self._moved = moved
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ready: dict[int, HostAddress] = {}
        self._found: dict[int, HostFound] = {}
        """Told when the host takes the place: until then the node is still the old one."""

    def order(self, node: int, reason: str) -> None:
        """Asks the provider for another host for the node, in a task of its own."""
        self._store.witness(ReplacementOrdered(reason=reason), node)
        self._tasks[node] = asyncio.create_task(self._bring(node))

    async def _bring(self, node: int) -> None:
        came = False
        async for one in self._provider.replace(node):
            if isinstance(one, HostAddress) and one.node != node:
                self._moved(one)
            elif isinstance(one, HostAddress):
                came = True
                self._ready[one.node] = one
                self._store.witness(ReplacementReady(address=str(one)), one.node)
            else:
                concerned, event = one
                if isinstance(event, HostFound) and concerned is not None:
                    self._found[concerned] = event
                    continue
                self._store.witness(event, concerned)
        # Not `_ready`: the host may have taken the place while the provider still had something to do.
        if not came:
            raise ProviderError(f"node {node}: no other host came up")

    def check(self) -> None:
        """Raises what a replacement failed on: ProviderError where there is none, or a bug."""
        for node, task in list(self._tasks.items()):
            if task.done() and not task.cancelled():
                del self._tasks[node]
                task.result()

    def take(self, node: int, reason: str) -> HostAddress:
        """The host that is ready for the node: it is the node's from here on."""
        address = self._ready.pop(node)
        self._store.witness(NodeReplaced(reason=reason), node)
        if node in self._found:
            self._store.witness(self._found.pop(node), node)
        return address

    async def cancel(self) -> None:
        """Waits for none of them any more. What they made, the provider gives back."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._ready.clear()
