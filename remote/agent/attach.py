"""The console's channel to a host: ``python -m remote.agent attach RUN_ID NODE --from OFFSET [--start]``.

It copies the journal from byte OFFSET on to stdout, whole lines only. Commands come on stdin, a JSON object a line, and
are appended to the agent's ``commands.jsonl``. With ``--start`` the first line of stdin is the job, and the agent is
started unless one is alive. An error is one JSON line on stderr, ``{"error": "..."}``, with exit status 10.

It ends with the console (end of stdin), or when the agent has ended and the journal is copied. Where the agent was
killed, this process writes that into the journal.

Standard library only.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import json
import os
import select
import sys
import time
from pathlib import Path

from remote.agent import daemonize
from remote.agent.lock import take_lock
from remote.wire import layout
from remote.wire.events import AgentDied
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import JOURNAL, REFUSED, host_folder

_POLL_S = 0.05
_CHECK_AGENT_S = 0.5
_NEEDED_MIB = 16
"""Free disk space below which a run is refused."""


class Refusal(Exception):
    """The host cannot take part; the message is one sentence for the user."""


def main(argv: list[str]) -> int:
    """Runs ``attach RUN_ID NODE --from OFFSET [--start]``; returns the exit status."""
    parser = argparse.ArgumentParser(prog="remote.agent")
    parser.add_argument("command", choices=["attach"])
    parser.add_argument("run_id")
    parser.add_argument("node", type=int)
    parser.add_argument("--from", dest="offset", type=int, default=0)
    parser.add_argument("--start", action="store_true")
    options = parser.parse_args(argv)
    folder = Path.home() / host_folder(options.run_id, options.node)
    commands = b""
    try:
        if options.start:
            job, commands = _first_line()
            _start(folder, Job.from_json(job.decode()))
        elif not (folder / JOURNAL).exists():
            raise Refusal(f"run {options.run_id} is not on this host")
        _relay(folder, options.offset, commands)
    except Refusal as refusal:
        return _refuse(str(refusal))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _refuse(f"the disk of {Path.home()} is full; free some space and start again")
        if error.errno == errno.EPIPE:
            return 0
        return _refuse(f"{error.filename or folder}: {error.strerror}")
    return 0


def _refuse(sentence: str) -> int:
    sys.stderr.write(json.dumps({"error": sentence}) + "\n")
    return REFUSED


def _first_line() -> tuple[bytes, bytes]:
    """The first line of stdin, and what was read after it: the first commands may be in the same packet."""
    held = b""
    while b"\n" not in held and (piece := os.read(0, 65536)):
        held += piece
    line, _, rest = held.partition(b"\n")
    return line, rest


def _start(folder: Path, job: Job) -> None:
    if sys.version_info < (3, 10):
        raise Refusal(f"Python {sys.version.split()[0]} is too old: fastconsole needs 3.10 or newer on a host")
    if importlib.util.find_spec("torch") is None:
        raise Refusal(f"{sys.executable} has no torch: install it there, or set run.python to another Python")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = take_lock(folder)
    if lock is None:
        return
    # Flushed to the disk now, so that a full one is found before the gang waits for this node.
    with (folder / layout.JOB).open("w") as file:
        file.write(job.to_json())
        file.flush()
        os.fsync(file.fileno())
    free_mib = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize / 2**20
    if free_mib < _NEEDED_MIB:
        raise Refusal(f"the disk of {Path.home()} is full: {free_mib:.0f} MiB free, a run needs {_NEEDED_MIB} or more")
    (folder / layout.COMMANDS).unlink(missing_ok=True)
    journal = folder / JOURNAL
    if journal.exists():
        # Of an earlier attempt on this host: the console has read it, and offsets start at 0 again.
        journal.rename(folder / f"journal-{time.time_ns()}.jsonl")
    try:
        daemonize.daemonize(folder, job, lock)
    except RuntimeError as error:
        raise Refusal(f"the agent did not start: {error}") from None
    os.close(lock)


def _relay(folder: Path, offset: int, commands: bytes) -> None:
    """`commands`: what was read of them already, which may end within a line."""
    journal = os.open(folder / JOURNAL, os.O_RDONLY)
    if offset > os.fstat(journal).st_size:
        raise Refusal(f"the journal is shorter than {offset} bytes: this is another host than before")
    os.lseek(journal, offset, os.SEEK_SET)
    held = b""
    next_check = time.monotonic() + _CHECK_AGENT_S
    agent_alive = True
    whole, newline, commands = commands.rpartition(b"\n")
    if whole:
        _pass_on(folder, whole + newline)
    while True:
        readable, _, _ = select.select([0], [], [], 0 if not agent_alive else _POLL_S)
        if readable:
            piece = os.read(0, 65536)
            if not piece:
                return
            whole, newline, commands = (commands + piece).rpartition(b"\n")
            if whole:
                _pass_on(folder, whole + newline)
        news = os.read(journal, 1 << 20)
        if news:
            whole, newline, held = (held + news).rpartition(b"\n")
            _write(whole + newline)
            continue
        if not agent_alive:
            return
        if time.monotonic() >= next_check:
            next_check = time.monotonic() + _CHECK_AGENT_S
            agent_alive = _agent_alive(folder)


def _agent_alive(folder: Path) -> bool:
    lock = take_lock(folder)
    if lock is None:
        return True
    content = os.pread(lock, 20, 0).decode("ascii", "replace")
    if content != "ended":
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"ended", 0)
        journal = Journal(folder / JOURNAL)
        journal.emit(AgentDied(pid=int(content) if content.isdigit() else None))
        journal.close()
    os.close(lock)
    return False


def _pass_on(folder: Path, lines: bytes) -> None:
    fd = os.open(folder / layout.COMMANDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, lines)
    finally:
        os.close(fd)


def _write(lines: bytes) -> None:
    while lines:
        lines = lines[os.write(1, lines) :]
