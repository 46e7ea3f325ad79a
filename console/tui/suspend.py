"""Lends the terminal to another program, a pager or a shell, while the run continues.

The program is a job of its own, as in a shell: Ctrl-C reaches it and does not stop the run. The event loop keeps
running, since records arrive and leases have to be renewed; only painting stops.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from textual.app import App, SuspendNotSupported

NO_TERMINAL: Final = "No terminal here to lend."
_LOOK_S: Final = 0.3


async def lend(app: App[int], words: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Runs the program in the app's terminal; its exit status.

    Raises:
        OSError: there is no such program, or no terminal.
    """
    try:
        # Nothing is painted in a batch: with the terminal lent, Textual's writer would wait for ever.
        with app.batch_update(), app.suspend():
            return await _run(words, env)
    except SuspendNotSupported:
        raise OSError(NO_TERMINAL) from None
    finally:
        app.refresh(layout=True)


async def _run(words: Sequence[str], env: Mapping[str, str] | None) -> int:
    process = await asyncio.create_subprocess_exec(*words, env={**os.environ, **(env or {})}, process_group=0)
    terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    # A background process group may take the foreground only with this signal ignored.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        while process.returncode is None:
            # First, and again after Ctrl-Z: there is no shell here that would continue the program.
            _bring_forward(terminal, process.pid)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await process.wait()
                continue
            except TimeoutError:
                pass
            while process.returncode is None and not _stopped(process.pid):
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await process.wait()
                except TimeoutError:
                    pass
        return process.returncode
    finally:
        if process.returncode is None:
            process.kill()
        os.tcsetpgrp(terminal, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)
        os.close(terminal)


def _bring_forward(terminal: int, pid: int) -> None:
    try:
        os.tcsetpgrp(terminal, pid)
        os.killpg(pid, signal.SIGCONT)
    except (ProcessLookupError, PermissionError):
        pass


def _stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
