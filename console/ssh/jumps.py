"""SSH connections to jump hosts, each opened once and shared by all that go through it.

One for all and not one for each: an sshd drops connections at random while more than ten of them are unauthenticated
(MaxStartups 10:30:100), which sixteen hosts behind one bastion would meet at every start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncssh

from console.ssh.address import HostAddress

Open = Callable[[HostAddress], Awaitable[asyncssh.SSHClientConnection]]


class Passage:
    """One user's share in a jump host's connection."""

    def __init__(self, connection: asyncssh.SSHClientConnection, give_up: Callable[[], None]) -> None:
        self.connection = connection
        self._give_up: Callable[[], None] | None = give_up

    def end(self) -> None:
        """Gives the share back; the last one closes the connection. Safe to call twice."""
        give_up, self._give_up = self._give_up, None
        if give_up is not None:
            give_up()


class Jumps:
    """The connections to jump hosts that are open now, of one event loop."""

    def __init__(self, open_: Open) -> None:
        self._open = open_
        self._shared: dict[HostAddress, _Shared] = {}

    async def through(self, address: HostAddress) -> Passage:
        """A share in the connection to the jump host, which is opened where it is not there or broke.

        Raises what opening it raises, for all that wait for it.
        """
        # Whose node it is makes no other host of it.
        key = replace(address, node=0)
        shared = self._shared.get(key)
        if shared is None or shared.broken():
            shared = self._shared[key] = _Shared(asyncio.ensure_future(self._open(address)))
        shared.users += 1
        try:
            # One that waits and is cancelled must not take the connection from the others.
            connection = await asyncio.shield(shared.opening)
        except BaseException:
            self._give_up(key, shared)
            raise
        return Passage(connection, lambda: self._give_up(key, shared))

    def _give_up(self, key: HostAddress, shared: _Shared) -> None:
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
