"""The complete output of the ranks, fetched from the hosts to ``logs/node-NN/`` of the run directory while the run is
running, so that it survives the loss of a host.

Only new output is fetched, a piece of each file at a time. What is missing at the end is fetched then, within a few
seconds, since the hosts are billed meanwhile. The journal has the same lines at once, as far as its rate limit allows.
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
"""Of a file in one round, so that a rank that floods its output does not hold up the others."""
LAST_S: Final = 10.0
"""How long the end of the run waits for the files."""
MOST_BYTES: Final = 1 << 30
"""Of all files of a run on this machine."""
_FILES: Final = 200
_NAME: Final = re.compile(r"(launcher|local-rank-\d{1,3})\.(stdout|stderr)\.log(\.1)?", re.ASCII)
"""The only names that are taken from a host."""

Connections = Mapping[int, asyncssh.SSHClientConnection]


class LogFetcher:
    """Fetches a run's logs, one host after another."""

    def __init__(self, directory: RunDirectory, log: Callable[[str], None]) -> None:
        """`log`: writes a sentence to the log."""
        self._directory = directory
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._next = time.monotonic() + EVERY_S
        self._bytes: int | None = None
        self._full = False

    def fetch_new(self, connections: Connections) -> None:
        """Begins a round over the hosts where one is due."""
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
        left = [(node, path) for node in range(nodes) if node not in connections and (path := disk(node))]
        tasks = [asyncio.create_task(fetch) for fetch in whole]
        tasks += [asyncio.create_task(asyncio.to_thread(self._copy, node, path)) for node, path in left]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=LAST_S)
        for task in late:
            task.cancel()
        if late:
            self._log(f"the logs of {len(late)} nodes are incomplete: they were not fetched within {LAST_S:.0f} s")
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self, connections: dict[int, asyncssh.SSHClientConnection]) -> None:
        for node, connection in connections.items():
            await self._node(node, connection, whole=False)

    async def _node(self, node: int, connection: asyncssh.SSHClientConnection, *, whole: bool) -> None:
        folder = f"{host_folder(self._directory.run_id, node)}/{LOGS}"
        try:
            async with connection.start_sftp_client() as sftp:
                names = [str(name) for name in await sftp.listdir(folder)]
                for name in sorted(filter(_NAME.fullmatch, names), reverse=True)[:_FILES]:
                    await self._file(sftp, f"{folder}/{name}", self._folder(node) / name, whole=whole)
        except (asyncssh.Error, OSError):
            # The host is gone, or has no such folder: the journal has its lines.
            return

    async def _file(self, sftp: asyncssh.SFTPClient, remote: str, local: Path, *, whole: bool) -> None:
        size = (await sftp.stat(remote)).size or 0
        known = local.stat().st_size if local.exists() else 0
        if size < known and not local.name.endswith(".1"):
            # The host began a new file; the one before is fetched under its own name.
            local.replace(local.with_name(f"{local.name}.1"))
            known = 0
        async with sftp.open(remote, "rb") as file:
            while known < size and self._room():
                piece = await file.read(min(PIECE_BYTES, size - known), known)
                if not piece:
                    return
                assert isinstance(piece, bytes)
                await asyncio.to_thread(self._append, local, piece)
                known += len(piece)
                if not whole:
                    return

    def _append(self, local: Path, piece: bytes) -> None:
        local.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with local.open("ab") as file:
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
            self._log(f"{self._directory.logs} holds {MOST_BYTES >> 30} GiB, the limit; the rest stays on the hosts")
        return False

    def _folder(self, node: int) -> Path:
        return self._directory.logs / f"node-{node:02d}"

    def _copy(self, node: int, disk: Path) -> None:
        """Copies the files from the disk that an embedded host left."""
        logs = disk / host_folder(self._directory.run_id, node) / LOGS
        for path in sorted(logs.iterdir()) if logs.is_dir() else ():
            if _NAME.fullmatch(path.name) and self._room():
                self._folder(node).mkdir(parents=True, exist_ok=True, mode=0o700)
                shutil.copyfile(path, self._folder(node) / path.name)
