"""A run's checkpoints on this machine: fetched while it trains, so that the newest survives the loss of its host."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh

from console.journal.directory import RunDirectory
from console.journal.store import RunStore
from console.ssh.errors import HostUnreachable
from console.ssh.transfer import fetch, upload
from console.state.events import AlertRaised, CheckpointFetched
from console.state.run import Checkpoint, Run
from remote.wire.layout import host_folder

_RETRY_S = 2.0


def newest(run: Run) -> Checkpoint | None:
    """The checkpoint of the highest step."""
    return max(run.checkpoints, key=lambda checkpoint: checkpoint.step, default=None)


def newest_kept(run: Run, directory: RunDirectory) -> Checkpoint | None:
    """The checkpoint of the highest step among those that are in the run directory."""
    kept = [checkpoint for checkpoint in run.checkpoints if _kept(checkpoint, directory) is not None]
    return max(kept, key=lambda checkpoint: checkpoint.step, default=None)


def _kept(checkpoint: Checkpoint, directory: RunDirectory) -> Path | None:
    """Its file in the run directory's folder of checkpoints; None where it is not there, or its name leads elsewhere.

    The key, the journal and everything else in the run directory is not a checkpoint, whatever a record says."""
    path = directory.inside(checkpoint.fetched) if checkpoint.fetched else None
    if path is None or path.parent != directory.checkpoints.resolve() or not path.is_file():
        return None
    return None if path.with_suffix(".json").is_symlink() else path


class CheckpointFetcher:
    """Fetches a run's newest checkpoint, one at a time."""

    def __init__(self, store: RunStore, directory: RunDirectory) -> None:
        self._store = store
        self._directory = directory
        self._task: asyncio.Task[None] | None = None

    def fetch_newest(self, connections: dict[int, asyncssh.SSHClientConnection]) -> None:
        """Starts to fetch the newest checkpoint, unless that is done or a fetch is under way."""
        if self._task is not None and not self._task.done():
            return
        checkpoint = newest(self._store.run)
        if checkpoint is None or checkpoint.fetched is not None or checkpoint.node is None:
            return
        connection = connections.get(checkpoint.node)
        if connection is not None:
            self._task = asyncio.create_task(self._fetch(checkpoint, checkpoint.node, connection, None))

    async def finish(
        self, connections: dict[int, asyncssh.SSHClientConnection], disk: Callable[[int], Path | None]
    ) -> None:
        """Fetches the newest checkpoint from its host or, where that is gone, from the `disk` that the node left."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        checkpoint = newest(self._store.run)
        if checkpoint is not None and checkpoint.fetched is None and checkpoint.node is not None:
            node = checkpoint.node
            await self._fetch(checkpoint, node, connections.get(node), disk(node))

    async def _fetch(
        self, checkpoint: Checkpoint, node: int, connection: asyncssh.SSHClientConnection | None, disk: Path | None
    ) -> None:
        """Fetches a checkpoint. A failure is an alert; the next checkpoint will come."""
        local = self._directory.checkpoints / Path(checkpoint.path).name
        remote = f"{host_folder(self._directory.run_id, node)}/{checkpoint.path}"
        try:
            began = time.monotonic()
            fetch_s: float | None = None
            if connection is not None:
                size = await fetch(connection, remote, local, checkpoint.sha256)
                fetch_s = round(time.monotonic() - began, 3)
            elif disk is not None:
                if not (disk / remote).resolve().is_relative_to(disk.resolve()):
                    raise ValueError(f"{checkpoint.path!r:.80} is not the name of a file in the run's folder")
                await asyncio.to_thread(shutil.copyfile, disk / remote, local)
                size = local.stat().st_size
            else:
                return
            head = {"sha256": checkpoint.sha256, "size_bytes": size, "step": checkpoint.step}
            local.with_suffix(".json").write_text(json.dumps(head))
        except (HostUnreachable, ValueError, OSError) as error:
            # A host keeps two; that an older one is gone by now is expected.
            if checkpoint is newest(self._store.run):
                self._store.witness(
                    AlertRaised(kind="checkpoint", text=f"step {checkpoint.step} was not fetched: {error}")
                )
                await asyncio.sleep(_RETRY_S)
            return
        path = str(local.relative_to(self._directory.path))
        self._store.witness(CheckpointFetched(step=checkpoint.step, path=path, size_bytes=size, fetch_s=fetch_s))
        for old in self._store.run.checkpoints:
            file = _kept(old, self._directory)
            if file is not None and old.fetched != path and old.step < checkpoint.step:
                file.unlink(missing_ok=True)
                file.with_suffix(".json").unlink(missing_ok=True)


async def hand_over(
    connection: asyncssh.SSHClientConnection, checkpoint: Checkpoint, directory: RunDirectory, node: int
) -> None:
    """Copies a checkpoint to a host, where the gang looks for it. Raises HostUnreachable."""
    local = _kept(checkpoint, directory)
    if local is None:
        raise HostUnreachable(f"the checkpoint of step {checkpoint.step} is not in the run directory")
    remote = Path(host_folder(directory.run_id, node)) / checkpoint.path
    # The checksum comes last: to the trainer a checkpoint with a checksum is a complete one.
    await upload(connection, local, str(remote))
    await upload(connection, local.with_suffix(".json"), str(remote.with_suffix(".json")))
