"""A login on an embedded host: a shell on its own pseudo-terminal, as with sshd."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Mapping
from pathlib import Path

import asyncssh

SHELLS = (("/bin/bash", "--norc", "-i"), ("/bin/sh", "-i"))
"""The first that exists is used; without the machine's settings, whose prompt would not name the host."""


async def serve(process: asyncssh.SSHServerProcess[bytes], home: Path, env: Mapping[str, str]) -> int:
    """Runs a shell until it ends or the client disconnects; the shell's exit status."""
    loop = asyncio.get_running_loop()
    master, slave = pty.openpty()
    shell = next(command for command in SHELLS if Path(command[0]).exists())
    try:
        _resize(master, process.term_size)
        child = await asyncio.create_subprocess_exec(
            *shell,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=home,
            env={**env, "SHELL": shell[0], "TERM": process.term_type or "dumb", "PS1": f"{home.name}$ "},
            start_new_session=True,
            # Makes it the session's controlling terminal: Ctrl-C works in it.
            preexec_fn=_own_terminal,
        )
    finally:
        os.close(slave)
    printed = asyncio.Event()

    def show() -> None:
        try:
            data = os.read(master, 65536)
        except OSError:
            data = b""
        if data:
            process.stdout.write(data)
        else:
            loop.remove_reader(master)
            printed.set()

    loop.add_reader(master, show)
    typing = asyncio.create_task(_type(process, master))
    try:
        # A client that disconnects closes the terminal.
        ended = asyncio.create_task(child.wait())
        await asyncio.wait([ended, typing], return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            os.killpg(child.pid, signal.SIGHUP)
        status = await ended
        try:
            # The last output is read to its end, unless a background process holds the terminal open.
            await asyncio.wait_for(printed.wait(), 0.5)
        except TimeoutError:
            pass
    finally:
        typing.cancel()
        loop.remove_reader(master)
        os.close(master)
    return status if status >= 0 else 128 - status


async def _type(process: asyncssh.SSHServerProcess[bytes], master: int) -> None:
    while True:
        try:
            data = await process.stdin.read(4096)
        except asyncssh.TerminalSizeChanged as changed:
            _resize(master, (changed.width, changed.height, changed.pixwidth, changed.pixheight))
            continue
        except (asyncssh.BreakReceived, asyncssh.SignalReceived):
            continue
        except asyncssh.Error:
            return
        if not data:
            return
        await asyncio.to_thread(os.write, master, data)


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _resize(terminal: int, size: tuple[int, int, int, int]) -> None:
    width, height, pixels_wide, pixels_high = size
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, pixels_wide, pixels_high))
