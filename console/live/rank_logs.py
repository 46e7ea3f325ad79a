"""What the ranks printed, whole, brought from the hosts to ``logs/node-NN/`` of the run's directory while the run goes
on, so that a lost host does not take it along.

Only what is new is fetched, a bit of each file at a time; what is missing at the end is fetched then, for as long as
that may take: the hosts are paid for meanwhile. The journal has the same lines as far as its rate allows, and has them
at once.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import asyncssh

from console.journal.directory import RunDirectory
from remote.wire.layout import LOGS, host_folder

EVERY_S: Final = 60.0
"""Between two rounds over the hosts."""
PIECE_BYTES: Final = 1 << 20
"""Of a file in one round; a rank that floods must not fill the way for the others."""
LAST_S: Final = 10.0
"""How long the end waits for the files."""
MOST_BYTES: Final = 1 << 30
"""Of all files of a run on the laptop."""
_FILES: Final = 200
_NAME: Final = re.compile(r"(launcher|local-rank-\d{1,3})\.(stdout|stderr)\.log(\.1)?", re.ASCII)
"""A host names no file here that it likes."""

Connections = Mapping[int, asyncssh.SSHClientConnection]


class LogFetcher:
    """Fetches a run's logs, a host after another."""

    def __init__(self, directory: RunDirectory, say: Callable[[str], None]) -> None:
        """`say`: writes a sentence to the log."""
        self._directory = directory
        self._say = say
        self._task: asyncio.Task[None] | None = None
        self._next = time.monotonic() + EVERY_S
        self._bytes: int | None = None
        self._full = False

    def look(self, connections: Connections) -> None:
        """Begins a round where it is time for one."""
        if time.monotonic() >= self._next and (self._task is None or self._task.done()):
            self._next = time.monotonic() + EVERY_S
            self._task = asyncio.create_task(self._round(dict(connections)))

    def cancel(self) -> None:
        """Ends the round that is under way."""
        if self._task is not None:
            self._task.cancel()

    async def finish(self, connections: Connections, disk: Callable[[int], Path | None], nodes: int) -> None:
        """Fetches what is missing, from the hosts or from the disks that they left; not for longer than `LAST_S`."""
        if self._task is not None:
            self.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        whole = [self._node(node, connection, whole=True) for node, connection in connections.items()]
        left = [(node, place) for node in range(nodes) if node not in connections and (place := disk(node))]
        tasks = [asyncio.create_task(one) for one in whole]
        tasks += [asyncio.create_task(asyncio.to_thread(self._copy, node, place)) for node, place in left]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=LAST_S)
        for task in late:
            task.cancel()
        if late:
            self._say(f"the logs of {len(late)} nodes are not whole: they did not come within {LAST_S:.0f} s")
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self, connections: dict[int, asyncssh.SSHClientConnection]) -> None:
        for node, connection in connections.items():
            await self._node(node, connection, whole=False)

    async def _node(self, node: int, connection: asyncssh.SSHClientConnection, *, whole: bool) -> None:
        there = f"{host_folder(self._directory.run_id, node)}/{LOGS}"
        try:
            async with connection.start_sftp_client() as sftp:
                names = [str(name) for name in await sftp.listdir(there)]
                for name in sorted(filter(_NAME.fullmatch, names), reverse=True)[:_FILES]:
                    await self._file(sftp, f"{there}/{name}", self._folder(node) / name, whole=whole)
        except (asyncssh.Error, OSError):
            # A host that is gone, or one without such a folder: the journal has its lines.
            return

    async def _file(self, sftp: asyncssh.SFTPClient, there: str, here: Path, *, whole: bool) -> None:
        size = (await sftp.stat(there)).size or 0
        known = here.stat().st_size if here.exists() else 0
        if size < known and not here.name.endswith(".1"):
            # The host began a new file; the one before comes under its own name.
            here.replace(here.with_name(f"{here.name}.1"))
            known = 0
        async with sftp.open(there, "rb") as file:
            while known < size and self._room():
                piece = await file.read(min(PIECE_BYTES, size - known), known)
                if not piece:
                    return
                assert isinstance(piece, bytes)
                await asyncio.to_thread(self._append, here, piece)
                known += len(piece)
                if not whole:
                    return

    def _append(self, here: Path, piece: bytes) -> None:
        here.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with here.open("ab") as file:
            file.write(piece)
        self._bytes = (self._bytes or 0) + len(piece)

    def _room(self) -> bool:
        if self._bytes is None:
            files = self._directory.logs.rglob("*.log*")
            self._bytes = sum(path.stat().st_size for path in files)
        if self._bytes < MOST_BYTES:
            return True
        if not self._full:
            self._full = True
            self._say(f"{self._directory.logs} holds {MOST_BYTES >> 30} GiB and takes no more; the hosts have the rest")
        return False

    def _folder(self, node: int) -> Path:
        return self._directory.logs / f"node-{node:02d}"

    def _copy(self, node: int, disk: Path) -> None:
        """From the disk that an embedded host left."""
        place = disk / host_folder(self._directory.run_id, node) / LOGS
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if _NAME.fullmatch(path.name) and self._room():
                self._folder(node).mkdir(parents=True, exist_ok=True, mode=0o700)
                shutil.copyfile(path, self._folder(node) / path.name)
