"""Starts the agent as a daemon, and releases the host when the agent ended because the lease passed.

Standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from remote.agent.daemon import Agent, Cause
from remote.agent.lease import Lease
from remote.wire.job import Job
from remote.wire.layout import HOST_PID

_POWEROFF_S = 20.0
"""How long the host's timer has to power it off: it looks every five seconds."""


def release_host(job: Job) -> None:
    """Ends what the job says the lease's end ends, beyond the agent itself (`Job.lease_end`)."""
    if job.lease_end == "host" and HOST_PID in os.environ:
        os.kill(int(os.environ[HOST_PID]), signal.SIGTERM)
    elif job.lease_end == "poweroff":
        if Lease(job.lease_file).end_now():
            time.sleep(_POWEROFF_S)
        # `halt` would leave an EC2 instance running; `poweroff` ends it where shutdown means terminate.
        subprocess.run(["sudo", "-n", "poweroff"], check=False)


def daemonize(folder: Path, job: Job, lock: int) -> None:
    """Starts the agent as a daemon and returns once its first record is in the journal.

    Raises:
        OSError: the folder cannot be written.
        RuntimeError: the daemon ended before its first record; the message is the last line of its log.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child:
        os.close(writable)
        os.waitpid(child, 0)
        with os.fdopen(readable, "rb") as pipe:
            answer = pipe.read()
        if answer != b"1":
            log = (folder / "agent.log").read_text(errors="replace").strip().splitlines()
            raise RuntimeError(log[-1] if log else "the agent ended at once")
        return
    os.close(readable)
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        log_fd = os.open(folder / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for fd, target in ((null, 0), (log_fd, 1), (log_fd, 2)):
            os.dup2(fd, target)
        ending = Agent(folder, job, lock).run(writable)
        os.close(lock)
        if ending.cause is Cause.LEASE:
            release_host(job)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
