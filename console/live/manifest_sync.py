"""TODO docstring: console/live/manifest_sync.py."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncssh

from console.journal import reader
from console.journal.manifest import FILE, belongs, read
from console.ssh.errors import HostUnreachable
from console.ssh.transfer import PRIVATE, write_whole
from console.state.events import (
    Record,
    record_line,
)
from console.state.run import Run
from remote.wire.layout import host_folder

_SETTLE_S: Final = 2.0
"""What comes together, as sixteen starts do, is written together."""


class Manifest:
    """A live run's charter, and the hosts that hold it as it is now."""

    def __init__(self, run_id: str, *, wanted: bool) -> None:
        """`wanted`: False for hosts that nobody can come to from elsewhere; they get none."""
        self._run_id = run_id
        self._wanted = wanted
        self._lines: list[str] = []
        self._held: dict[int, int] = {}
        """By node, how many of the lines its host has."""
        self._task: asyncio.Task[None] | None = None

    def recall(self, path: Path) -> None:
        """Takes up what a journal tells so far, unless that is known. Raises OSError where it cannot be read."""
        if self._lines or not self._wanted:
            return
        for line in reader.lines(path):
            # A record of a host has its offset before all else: nearly all lines are passed over unread.
            if isinstance(line, reader.Line) and b'"offset":' not in line.text[:80]:
                text = line.text.decode("utf-8", "replace")
                if read(text):
                    self._lines.append(text)

    def observe(self, before: Run, after: Run, record: Record | None) -> None:
        """Takes up a change of the book's."""
        if self._wanted and record is not None and belongs(record):
            self._lines.append(record_line(record))

    async def leave(self, connection: asyncssh.SSHClientConnection, node: int) -> None:
        """Has a node's host hold the charter as it is now.

        Raises:
            HostUnreachable: the connection broke. A host that cannot write it says so by itself, of greater things.
        """
        if not self._wanted:
            return
        count = len(self._lines)
        path = f"{host_folder(self._run_id, node)}/{FILE}"
        content = "".join(f"{line}\n" for line in self._lines[:count]).encode()
        try:
            async with connection.start_sftp_client() as sftp:
                await write_whole(sftp, path, content, permissions=PRIVATE)
        except asyncssh.SFTPError:
            return
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"the connection broke while sending the charter: {error}") from None
        self._held[node] = count

    def look(self, connections: Mapping[int, asyncssh.SSHClientConnection]) -> None:
        """Starts to bring those up to date that hold an older one, unless that is under way."""
        if (self._task is None or self._task.done()) and self._behind(connections):
            self._task = asyncio.create_task(self._spread(connections, _SETTLE_S))

    def cancel(self) -> None:
        """Leaves the hosts with what they have."""
        if self._task is not None:
            self._task.cancel()

    async def finish(self, connections: Mapping[int, asyncssh.SSHClientConnection], patience_s: float) -> None:
        """Has all hosts hold it as it is now, as far as they can be reached in time."""
        self.cancel()
        if self._behind(connections):
            self._task = asyncio.create_task(self._spread(connections, 0.0))
            await asyncio.wait([self._task], timeout=patience_s)
            self._task.cancel()

    def _behind(self, connections: Mapping[int, asyncssh.SSHClientConnection]) -> list[int]:
        return [node for node in connections if 0 < self._held.get(node, 0) < len(self._lines)]

    async def _spread(self, connections: Mapping[int, asyncssh.SSHClientConnection], wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        # A connection that breaks under it is its link's to mend, which leaves it there anew.
        await asyncio.gather(
            *(self.leave(connections[node], node) for node in self._behind(connections)), return_exceptions=True
        )
