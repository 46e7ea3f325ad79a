"""The output of the ranks is fetched from a real SSH server: piece by piece, and complete at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from console.journal.directory import RunDirectory
from console.live import rank_logs
from console.live.rank_logs import LogFetcher
from remote.wire.layout import host_folder

KEY = asyncssh.generate_private_key("ssh-ed25519")


@asynccontextmanager
async def host(home: Path) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection to a host with this home."""

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    def sftp(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(home).encode())

    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[KEY], server_factory=Server, sftp_factory=sftp)
    async with server:
        connection = await asyncssh.connect("127.0.0.1", server.get_port(), known_hosts=None, username="x", config=None)
        async with connection:
            yield connection


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    path = tmp_path / "run-1"
    path.mkdir()
    return RunDirectory(path)


def logs_of(home: Path, node: int) -> Path:
    folder = home / host_folder("run-1", node) / "logs"
    folder.mkdir(parents=True)
    return folder


async def test_bit_by_bit_and_whole_at_the_end(
    tmp_path: Path, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_logs, "PIECE_BYTES", 1000)
    logs = logs_of(tmp_path / "home", 3)
    (logs / "local-rank-0.stdout.log").write_bytes(b"a" * 2500)
    (logs / "../../escape.log").write_text("x")
    (logs / "evil.sh").write_text("x")
    said: list[str] = []
    fetcher = LogFetcher(directory, said.append)
    here = directory.logs / "node-03" / "local-rank-0.stdout.log"
    async with host(tmp_path / "home") as connection:
        await fetcher._round({3: connection})
        assert here.read_bytes() == b"a" * 1000
        await fetcher._round({3: connection})
        assert here.stat().st_size == 2000
        with (logs / "local-rank-0.stdout.log").open("ab") as file:
            file.write(b"b" * 3000)
        await fetcher.finish({3: connection}, lambda node: None, 4)
    assert here.read_bytes() == b"a" * 2500 + b"b" * 3000
    assert [path.name for path in directory.logs.rglob("*") if path.is_file()] == ["local-rank-0.stdout.log"]
    assert said == []


async def test_a_file_that_the_host_began_anew_does_not_lose_the_one_before(
    tmp_path: Path, directory: RunDirectory
) -> None:
    logs = logs_of(tmp_path / "home", 0)
    name = "launcher.stderr.log"
    (logs / name).write_bytes(b"old" * 100)
    fetcher = LogFetcher(directory, print)
    async with host(tmp_path / "home") as connection:
        await fetcher._round({0: connection})
        (logs / name).rename(logs / f"{name}.1")
        (logs / name).write_bytes(b"new")
        await fetcher.finish({0: connection}, lambda node: None, 1)
    assert (directory.logs / "node-00" / name).read_bytes() == b"new"
    assert (directory.logs / "node-00" / f"{name}.1").read_bytes() == b"old" * 100


async def test_from_the_disk_that_a_host_left(tmp_path: Path, directory: RunDirectory) -> None:
    (logs_of(tmp_path / "disk", 1) / "local-rank-7.stderr.log").write_text("last words")
    fetcher = LogFetcher(directory, print)
    await fetcher.finish({}, lambda node: tmp_path / "disk" if node == 1 else None, 2)
    assert (directory.logs / "node-01" / "local-rank-7.stderr.log").read_text() == "last words"


async def test_a_laptop_that_is_full_of_logs_takes_no_more(
    tmp_path: Path, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_logs, "MOST_BYTES", 1000)
    monkeypatch.setattr(rank_logs, "PIECE_BYTES", 600)
    logs = logs_of(tmp_path / "home", 0)
    for number in range(4):
        (logs / f"local-rank-{number}.stdout.log").write_bytes(b"z" * 5000)
    said: list[str] = []
    fetcher = LogFetcher(directory, said.append)
    async with host(tmp_path / "home") as connection:
        await fetcher.finish({0: connection}, lambda node: None, 1)
    assert sum(path.stat().st_size for path in directory.logs.rglob("*.log")) == 1200
    assert len(said) == 1
    assert "the limit" in said[0]


async def test_a_host_without_logs_is_none(tmp_path: Path, directory: RunDirectory) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    fetcher = LogFetcher(directory, print)
    async with host(tmp_path / "home") as connection:
        await fetcher.finish({0: connection}, lambda node: None, 1)
    assert not directory.logs.exists()
