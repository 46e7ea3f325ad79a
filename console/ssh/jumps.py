"""SSH connections to jump hosts, each opened once and shared by all hosts behind it.

Shared, because an sshd drops connections at random while more than ten are unauthenticated (MaxStartups 10:30:100):
sixteen hosts behind one bastion would run into that at every start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncssh

from console.ssh.address import HostAddress

Open = Callable[[HostAddress], Awaitable[asyncssh.SSHClientConnection]]


class JumpShare:
    """One host's share in a jump host's connection."""

    def __init__(self, connection: asyncssh.SSHClientConnection, release: Callable[[], None]) -> None:
        self.connection = connection
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Releases the share; the last release closes the connection. Safe to call twice."""
        release, self._release = self._release, None
        if release is not None:
            release()


class Jumps:
    """The connections to jump hosts that are open now, of one event loop."""

    def __init__(self, open_: Open) -> None:
        self._open = open_
        self._shared: dict[HostAddress, _Shared] = {}

    async def through(self, address: HostAddress) -> JumpShare:
        """A share in the connection to the jump host, which is opened if there is none or it broke.

        Raises what opening it raises, to every waiter.
        """
        # The same host for all nodes.
        key = replace(address, node=0)
        shared = self._shared.get(key)
        if shared is None or shared.broken():
            shared = self._shared[key] = _Shared(asyncio.ensure_future(self._open(address)))
        shared.users += 1
        try:
            # A waiter that is cancelled must not cancel the connection for the others.
            connection = await asyncio.shield(shared.opening)
        except BaseException:
            self._release(key, shared)
            raise
        return JumpShare(connection, lambda: self._release(key, shared))

    def _release(self, key: HostAddress, shared: _Shared) -> None:
        shared.users -= 1
        if shared.users == 0:
            if self._shared.get(key) is shared:
                del self._shared[key]
            shared.close()


class _Shared:
    def __init__(self, opening: asyncio.Future[asyncssh.SSHClientConnection]) -> None:
        self.opening = opening
        self.users = 0

    def broken(self) -> bool:
        if not self.opening.done():
            return False
        return self.opening.cancelled() or self.opening.exception() is not None or self.opening.result().is_closed()

    def close(self) -> None:
        if not self.opening.done():
            self.opening.cancel()
        elif not self.opening.cancelled() and self.opening.exception() is None:
            self.opening.result().close()
