"""Checkpoints in the run directory: what a record says of them moves no file outside of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import asyncssh
import pytest

from console.fold import apply
from console.journal.directory import RunDirectory
from console.journal.store import RunStore
from console.live.checkpoints import CheckpointFetcher, hand_over, newest_kept
from console.ssh.errors import HostUnreachable
from console.state.events import CheckpointFetched, Record, RunCreated
from console.state.run import Run
from remote.wire.events import CheckpointSaved
from remote.wire.layout import host_folder

BYTES = b"weights"


def saved(step: int, path: str = "checkpoints/step-2.pt") -> CheckpointSaved:
    return CheckpointSaved(
        step=step,
        epoch=0,
        path=path,
        size_bytes=len(BYTES),
        sha256=hashlib.sha256(BYTES).hexdigest(),
        save_s=0.1,
        reason="epoch",
    )


def run_with(fetched: str) -> Run:
    """A run whose journal says that the checkpoint of step 1 is at `fetched`, and that a node saved one of step 2."""
    created = RunCreated(
        schema=1, run_id="r", version="0", profile="p", profile_text="", provider="local", nnodes=1, nproc_per_node=1
    )
    run = Run()
    for event, node in (
        (created, None),
        (saved(1, "checkpoints/step-1.pt"), 0),
        (CheckpointFetched(step=1, path=fetched, size_bytes=7), None),
        (saved(2), 0),
    ):
        run = apply.apply(run, Record(1.0, 1.0, event, node, 1 if node == 0 else None))
    return run


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.checkpoints.mkdir(parents=True)
    for name in ("thesis.tex", "run/key", "run/checkpoints/step-1.pt"):
        tmp_path.joinpath(name).write_bytes(BYTES)
        tmp_path.joinpath(name).with_suffix(".json").write_text("{}")
    tmp_path.joinpath("run/checkpoints/link.pt").symlink_to(tmp_path / "thesis.tex")
    tmp_path.joinpath("run/checkpoints/half.pt").write_bytes(BYTES)
    tmp_path.joinpath("run/checkpoints/half.json").symlink_to(tmp_path / "thesis.json")
    return made


OUTSIDE = ["{top}/thesis.tex", "../thesis.tex", "checkpoints/../../thesis.tex", "key", "checkpoints/link.pt"]
OUTSIDE += ["checkpoints/half.pt", "checkpoints/\0", "", "checkpoints"]


@pytest.mark.parametrize("name", OUTSIDE)
async def test_a_record_that_names_another_file_has_it_neither_deleted_nor_sent(
    name: str, directory: RunDirectory, tmp_path: Path
) -> None:
    run = run_with(name.format(top=tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert newest_kept(run, directory) is None
    connection: asyncssh.SSHClientConnection = None  # type: ignore[assignment]  # nothing is to be sent through it
    with pytest.raises(HostUnreachable, match="step 1 is not in the run directory"):
        await hand_over(connection, run.checkpoints[0], directory, 0)
    await fetch_the_newest(run, directory, tmp_path)
    assert directory.checkpoints.joinpath("step-2.pt").read_bytes() == BYTES
    assert {path: path.read_bytes() for path in before} == before


async def test_an_older_checkpoint_goes_when_the_newest_has_come(directory: RunDirectory, tmp_path: Path) -> None:
    run = run_with("checkpoints/step-1.pt")
    kept = newest_kept(run, directory)
    assert kept is not None
    assert kept.step == 1
    await fetch_the_newest(run, directory, tmp_path)
    assert not directory.checkpoints.joinpath("step-1.pt").exists()
    assert not directory.checkpoints.joinpath("step-1.json").exists()


async def test_a_disk_that_a_host_left_gives_nothing_from_beside_it(directory: RunDirectory, tmp_path: Path) -> None:
    store = RunStore(directory.journal, run_with("checkpoints/step-1.pt"))
    disk = tmp_path / "disk"
    disk.joinpath(host_folder("run", 0)).mkdir(parents=True)
    store.witness(saved(3, "../../../../../thesis.tex"), 0)
    await CheckpointFetcher(store, directory).finish({}, lambda node: disk)
    store.close()
    assert [alert.text for alert in store.run.alerts if "not the name of a file" in alert.text]
    assert not directory.checkpoints.joinpath("thesis.tex").exists()


async def fetch_the_newest(run: Run, directory: RunDirectory, tmp_path: Path) -> None:
    """From the disk that an embedded host left."""
    disk = tmp_path / "disk"
    there = disk / host_folder("run", 0) / "checkpoints"
    there.mkdir(parents=True)
    there.joinpath("step-2.pt").write_bytes(BYTES)
    store = RunStore(directory.journal, run)
    await CheckpointFetcher(store, directory).finish({}, lambda node: disk)
    store.close()
