"""The SSH channel to a host's agent."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator
from typing import Any

import asyncssh

from console.ssh.address import HostAddress
from console.ssh.errors import HostRefused, HostUnreachable
from console.ssh.ship import Code
from remote.wire.layout import REFUSED


class Channel:
    """The open channel to a host's agent: receives journal lines, sends commands."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process

    @classmethod
    async def open(
        cls,
        connection: asyncssh.SSHClientConnection,
        address: HostAddress,
        code: Code,
        run_id: str,
        *,
        offset: int,
        job_json: str | None = None,
    ) -> Channel:
        """Attaches at byte `offset` of the host's journal; with a job, starts the agent if none is running."""
        words = [
            address.python,
            "-m",
            "remote.agent",
            "attach",
            run_id,
            str(address.node),
            "--from",
            str(offset),
        ]
        if job_json is not None:
            words.append("--start")
        command = f'PYTHONPATH="$HOME"/{code.folder} exec ' + " ".join(map(shlex.quote, words))
        try:
            process = await connection.create_process(command, encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"no channel could be opened: {error}") from None
        channel = cls(process)
        if job_json is not None:
            channel._write(job_json.encode() + b"\n")
        return channel

    def send(self, command: dict[str, Any]) -> None:
        """Sends a command. A channel that is closing drops it; it is sent again on the next one."""
        self._write(json.dumps(command, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            self._process.stdin.write(line)
        except (BrokenPipeError, OSError, asyncssh.Error):
            pass

    async def pieces(self) -> AsyncIterator[bytes]:
        """The received bytes, in pieces of any length, until the channel ends."""
        try:
            while piece := await self._process.stdout.read(1 << 16):
                yield piece
        except (asyncssh.Error, OSError):
            return

    async def verdict(self) -> None:
        """Why the channel ended: returns if the agent exited normally, else raises.

        Raises:
            HostRefused, HostUnreachable
        """
        try:
            said = await self._process.stderr.read(1 << 16)
            await self._process.wait_closed()
        except (asyncssh.Error, OSError):
            said = b""
        status = self._process.exit_status
        if status == 0:
            return
        text = said.decode("utf-8", "replace").strip()
        last = text.splitlines()[-1] if text else ""
        if status == REFUSED:
            try:
                raise HostRefused(str(json.loads(last)["error"]))
            except (ValueError, KeyError, TypeError):
                raise HostRefused(last) from None
        if status == 127:
            raise HostRefused("there is no Python of that name (run.python); " + last)
        if status is not None:
            raise HostRefused(f"the agent's channel ended with exit status {status}: {last}")
        raise HostUnreachable("the connection was lost")

    async def close(self) -> None:
        """Ends the channel; the agent keeps running."""
        self._process.close()
