"""Files to and from a real host: whole or not there, and readable by whom they are meant for."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio
from embedded import embedded_host

from console.ssh.connect import connect
from console.ssh.errors import HostUnreachable
from console.ssh.transfer import PRIVATE, fetch, upload, write_whole


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest_asyncio.fixture
async def connection(home: Path, tmp_path: Path) -> AsyncIterator[asyncssh.SSHClientConnection]:
    with embedded_host(home, tmp_path / "key") as address:
        connection = await connect(address)
        yield connection
        connection.abort()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_bytes_are_written_whole_and_for_their_owner_alone(
    connection: asyncssh.SSHClientConnection, home: Path
) -> None:
    async with connection.start_sftp_client() as sftp:
        await write_whole(sftp, "runs/r/job.json", b"first", permissions=PRIVATE)
        await write_whole(sftp, "runs/r/job.json", b"second", permissions=PRIVATE)
    folder = home / "runs/r"
    assert folder.joinpath("job.json").read_bytes() == b"second"
    assert folder.joinpath("job.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert names(folder) == ["job.json"]


async def test_a_reader_never_sees_half_a_file(connection: asyncssh.SSHClientConnection, home: Path) -> None:
    folder = home / "runs"
    folder.mkdir()
    folder.joinpath("addresses").write_bytes(b"old")
    # Whoever has it open keeps what it was: the new one is another file.
    with folder.joinpath("addresses").open("rb") as before:
        async with connection.start_sftp_client() as sftp:
            await write_whole(sftp, "runs/addresses", b"new" * 100_000, permissions=PRIVATE)
        assert before.read() == b"old"
    assert folder.joinpath("addresses").read_bytes() == b"new" * 100_000


async def test_a_write_that_fails_leaves_what_was_there(connection: asyncssh.SSHClientConnection, home: Path) -> None:
    folder = home / "runs"
    folder.joinpath("job.json").mkdir(parents=True)
    async with connection.start_sftp_client() as sftp:
        with pytest.raises(asyncssh.SFTPError):
            await write_whole(sftp, "runs/job.json", b"a file cannot take a folder's name", permissions=PRIVATE)
    assert folder.joinpath("job.json").is_dir()
    assert names(folder) == ["job.json"]


async def test_a_file_is_uploaded_over_what_a_broken_connection_left(
    connection: asyncssh.SSHClientConnection, home: Path, tmp_path: Path
) -> None:
    local = tmp_path / "step-00000001.pt"
    local.write_bytes(b"weights" * 50_000)
    folder = home / "runs/checkpoints"
    folder.mkdir(parents=True)
    folder.joinpath("step-00000001.pt.part").write_bytes(b"longer than the rest" * 100_000)
    await upload(connection, local, "runs/checkpoints/step-00000001.pt")
    assert names(folder) == ["step-00000001.pt"]
    assert folder.joinpath("step-00000001.pt").read_bytes() == local.read_bytes()
    back = tmp_path / "back.pt"
    digest = hashlib.sha256(local.read_bytes()).hexdigest()
    assert await fetch(connection, "runs/checkpoints/step-00000001.pt", back, digest) == local.stat().st_size
    assert back.read_bytes() == local.read_bytes()


async def test_what_a_host_cannot_write_is_a_sentence(
    connection: asyncssh.SSHClientConnection, home: Path, tmp_path: Path
) -> None:
    local = tmp_path / "step-00000001.pt"
    local.write_bytes(b"weights")
    home.joinpath("runs").write_text("a file, and no folder")
    with pytest.raises(HostUnreachable, match=r"^step-00000001.pt could not be sent: "):
        await upload(connection, local, "runs/step-00000001.pt")


async def test_a_file_with_another_hash_is_not_kept(
    connection: asyncssh.SSHClientConnection, home: Path, tmp_path: Path
) -> None:
    home.joinpath("weights").write_bytes(b"changed on the way")
    with pytest.raises(ValueError, match="came with another SHA-256"):
        await fetch(connection, "weights", tmp_path / "local.pt", "0" * 64)
    assert not list(tmp_path.glob("local.pt*"))
