"""The console in a browser: the page and its websocket by a real client, read-only, on the loopback alone."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from canned_source import scene

from console.journal.directory import RunDirectory
from console.journal.writer import RunJournal

aiohttp = pytest.importorskip("aiohttp")
pytest.importorskip("textual_serve")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    directory = RunDirectory.create("local")
    with RunJournal(directory.journal) as journal:
        journal.append(*scene("training", nodes=4))
    return directory


@asynccontextmanager
async def served(name: str) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """The port on which it is, and the server."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "--serve", name, "--port", "0"), stderr=asyncio.subprocess.PIPE
    )
    assert server.stderr is not None
    said = (await server.stderr.readline()).decode()
    found = re.search(r"http://127\.0\.0\.1:(\d+) ", said)
    assert found, said
    try:
        yield int(found[1]), server
    finally:
        if server.returncode is None:
            server.send_signal(signal.SIGINT)
        await asyncio.wait_for(server.wait(), 30)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until(socket: aiohttp.ClientWebSocketResponse, text: str) -> str:
    """What the page is sent until the text is among it, styles taken away."""
    shown = ""
    async for message in socket:
        if message.type == aiohttp.WSMsgType.BINARY:
            shown += re.sub(r"\x1b\[[0-9;:?<>=]*[a-zA-Z]", "", message.data.decode(errors="replace"))
            if text in shown:
                return shown
    raise AssertionError(shown[-2000:])


async def test_a_run_in_the_browser_can_be_seen_and_not_touched(directory: RunDirectory) -> None:
    before = directory.journal.read_bytes()
    async with served(directory.run_id) as (port, server), aiohttp.ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{port}/") as page:
            text = await page.text()
            assert page.status == 200
            assert f"ws://127.0.0.1:{port}/ws" in text
            assert directory.run_id in text
        async with client.ws_connect(f"http://127.0.0.1:{port}/ws?width=120&height=40") as socket:
            await asyncio.wait_for(until(socket, "TRAINING"), 60)
            # Keys of the run, of the shell and of a picture on the server's disk.
            for key in ("c", "x", "T", "s", "r", "b", "!", " "):
                await socket.send_str(json.dumps(["stdin", key]))
            await socket.send_str(json.dumps(["stdin", "?"]))
            shown = await asyncio.wait_for(until(socket, "Esc close"), 60)
            assert "Save a checkpoint now" not in shown
            assert "shell on the node" not in shown.lower()
            await socket.send_str(json.dumps(["stdin", "q"]))
            assert directory.journal.read_bytes() == before
            # Ctrl-C while a page is open.
            assert server.returncode is None
            below = children(server.pid)
            assert below
            server.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(server.wait(), 30) == 0
        while any(Path(f"/proc/{pid}").exists() for pid in below):  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.05)


async def test_other_pages_and_other_interfaces_are_refused(directory: RunDirectory) -> None:
    async with served(str(directory.journal)) as (port, server), aiohttp.ClientSession() as client:
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            async with client.get(f"http://127.0.0.1:{port}/", headers=headers) as page:
                assert page.status == 403
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await client.ws_connect(f"http://127.0.0.1:{port}/ws", headers=headers)
        listening = {
            line.split()[1]
            for line in Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        }
        assert listening == {f"0100007F:{port:04X}"}
        for table in ("tcp6",):
            path = Path(f"/proc/{server.pid}/net/{table}")
            assert not path.exists() or f":{port:04X} " not in path.read_text()
        # The port is taken: a sentence.
        command = [sys.executable, "-m", "console", "--serve", str(directory.journal), "--port", str(port)]
        said = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        assert said.returncode == 2
        assert "--port 0 takes any that is free" in said.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--serve"], "expected a RUN or a LOG"),
        (["--serve", "nothing-like-it"], "there is no run nothing-like-it"),
        (["--serve", "x", "--port", "99999"], "is not a port"),
        (["--serve", "pyproject.toml"], "is not a journal"),
    ],
)
def test_what_cannot_be_served_is_a_sentence(directory: RunDirectory, words: list[str], says: str) -> None:
    said = subprocess.run([sys.executable, "-m", "console", *words], capture_output=True, text=True, timeout=60)
    assert said.returncode == 2
    assert says in said.stderr
    assert "Traceback" not in said.stderr
