"""A run's manifest, kept up to date on its rented hosts, so that a console on another machine can attach to the run.

What a manifest is and which records belong in it: `console.journal.manifest`.
"""

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
from console.state.events import Record, record_line
from console.state.run import Run
from remote.wire.layout import host_folder

_SETTLE_S: Final = 2.0
"""Records that come together, as sixteen starts do, are written together."""


class Manifest:
    """The lines of a live run's manifest, and how many of them each host has."""

    def __init__(self, run_id: str, *, wanted: bool) -> None:
        """`wanted`: False for hosts that no other machine can reach; they get none."""
        self._run_id = run_id
        self._wanted = wanted
        self._lines: list[str] = []
        self._held: dict[int, int] = {}
        """By node, how many of the lines its host has."""
        self._task: asyncio.Task[None] | None = None

    def load(self, path: Path) -> None:
        """Takes the lines that a journal has so far, unless they are known. Raises OSError where it cannot be read."""
        if self._lines or not self._wanted:
            return
        for line in reader.lines(path):
            # In a host's record the offset comes first: nearly all lines are skipped unparsed.
            if isinstance(line, reader.Line) and b'"offset":' not in line.text[:80]:
                text = line.text.decode("utf-8", "replace")
                if read(text):
                    self._lines.append(text)

    def observe(self, before: Run, after: Run, record: Record | None) -> None:
        """Takes a new record of the store."""
        if self._wanted and record is not None and belongs(record):
            self._lines.append(record_line(record))

    async def write(self, connection: asyncssh.SSHClientConnection, node: int) -> None:
        """Writes the manifest as it is now to a node's host.

        Raises:
            HostUnreachable: the connection broke. A host whose disk is full reports that itself, by its journal.
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
            raise HostUnreachable(f"the connection broke while sending the manifest: {error}") from None
        self._held[node] = count

    def update(self, connections: Mapping[int, asyncssh.SSHClientConnection]) -> None:
        """Starts to write it to the hosts that have an older one, unless that is under way."""
        if (self._task is None or self._task.done()) and self._behind(connections):
            self._task = asyncio.create_task(self._write_all(connections, _SETTLE_S))

    def cancel(self) -> None:
        """Stops writing; the hosts keep what they have."""
        if self._task is not None:
            self._task.cancel()

    async def finish(self, connections: Mapping[int, asyncssh.SSHClientConnection], patience_s: float) -> None:
        """Writes it to all hosts that have an older one, as far as they can be reached within `patience_s` seconds."""
        self.cancel()
        if self._behind(connections):
            self._task = asyncio.create_task(self._write_all(connections, 0.0))
            await asyncio.wait([self._task], timeout=patience_s)
            self._task.cancel()

    def _behind(self, connections: Mapping[int, asyncssh.SSHClientConnection]) -> list[int]:
        return [node for node in connections if 0 < self._held.get(node, 0) < len(self._lines)]

    async def _write_all(self, connections: Mapping[int, asyncssh.SSHClientConnection], wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        # A connection that breaks meanwhile is mended by its link, which has the manifest written again.
        await asyncio.gather(
            *(self.write(connections[node], node) for node in self._behind(connections)), return_exceptions=True
        )
