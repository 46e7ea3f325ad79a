"""The start of the gang: on a real SSH server, with the checkpoint that only this machine has."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import small_run
from test_live_rank_logs import host
from test_policy_decide import commanded, connected, story

from console.fleet.choose import provider_of
from console.journal.directory import RunDirectory
from console.journal.store import RunStore
from console.live.gang import Gang
from console.live.links import Links
from console.ssh.address import HostAddress
from console.state import events as ce
from remote.wire import events as re
from remote.wire.job import Job
from remote.wire.layout import host_folder

WEIGHTS = b"weights"


class Parts:
    """A gang of two nodes that was resumed from the checkpoint of step 8, with the real parts around it."""

    def __init__(self, directory: RunDirectory) -> None:
        written = connected(story(), 0, 1)
        saved = re.CheckpointSaved(
            step=8,
            epoch=0,
            path="checkpoints/step-8.pt",
            size_bytes=len(WEIGHTS),
            sha256=hashlib.sha256(WEIGHTS).hexdigest(),
            save_s=0.1,
            reason="stop",
        )
        written.hears(0, saved)
        written.says(ce.CheckpointFetched(step=8, path="checkpoints/step-8.pt", size_bytes=len(WEIGHTS)))
        commanded(written, "stop").says(ce.RunEnded(status="stopped", exit_code=130, reason="stopped after step 8"))
        connected(written.says(ce.RunContinued(attempt=2, step=8)), 0, 1)
        directory.checkpoints.joinpath("step-8.pt").write_bytes(WEIGHTS)
        directory.checkpoints.joinpath("step-8.json").write_text("{}")
        profile = small_run.profile(run='env = { NCCL_DEBUG = "INFO" }')
        provider = provider_of(profile, directory)
        self.store = RunStore(directory.journal, written.run)
        self.links = Links(self.store, directory.run_id, self._prepare, provider.lost)
        self.gang = Gang(profile, directory, provider, self.store, self.links)

    async def _prepare(self, connection: asyncssh.SSHClientConnection, address: HostAddress) -> str | None:
        raise AssertionError("these links connect to nothing")

    async def start(self) -> list[str]:
        """Starts the gang; the commands that were recorded."""
        self.gang.start()
        for _ in range(200):
            await asyncio.sleep(0.01)
            self.gang.check()
            if self.store.run.gang_started:
                break
        return [command.command for command in self.store.run.commands]


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    directory = RunDirectory(tmp_path / "run-1")
    directory.checkpoints.mkdir(parents=True)
    made = Parts(directory)
    yield made
    await made.gang.cancel()
    made.store.close()


def there(home: Path) -> list[str]:
    """The checkpoints in the folder of node 0."""
    return sorted(path.name for path in home.joinpath(host_folder("run-1", 0), "checkpoints").glob("*"))


async def test_the_first_node_gets_the_checkpoint_before_the_gang_starts(parts: Parts, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    async with host(home) as connection:
        parts.links.connections[0] = connection
        for node in (0, 1):
            parts.gang.add(connection, HostAddress(node=node, host="h", gang_address=f"10.0.0.{node}"))
        assert await parts.start() == ["start"]
    assert there(home) == ["step-8.json", "step-8.pt"]
    stages = [line.text for line in parts.store.run.log]
    assert stages[-1] == "console: start"
    assert parts.store.run.nodes[0].stage == "checkpoint"


async def test_without_a_connection_to_the_first_node_nothing_is_started(parts: Parts, tmp_path: Path) -> None:
    parts.gang.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    parts.gang.check()
    assert parts.store.run.commands == ()
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    async with host(home) as connection:
        parts.gang.add(connection, HostAddress(node=0, host="h"))
        parts.links.connections[0] = connection
        assert await parts.start() == ["start"], "it is tried again"


async def test_a_start_that_was_cancelled_does_not_fail_the_run_that_is_resumed(parts: Parts) -> None:
    parts.gang.start()
    await parts.gang.cancel()
    parts.gang.check()


async def test_the_job_of_a_node(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    async with host(tmp_path / "home") as connection:
        parts.gang.add(connection, HostAddress(node=1, host="trainer.example.com"))
    job = Job.from_json(parts.gang.job(1).to_json())
    # Where the provider names no address for the gang, the one that SSH came to is the one that others reach.
    assert (job.node, job.nnodes, job.address) == (1, 2, "127.0.0.1")
    assert (job.lease_s, job.linger_s, job.env) == (60, 600, {"NCCL_DEBUG": "INFO"})
