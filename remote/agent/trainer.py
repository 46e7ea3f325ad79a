"""The trainer's process on this host (`remote.train.launcher`): started, killed, and its end reported in the journal.

It runs in a process group of its own, which holds torchrun's agent and the ranks, so that one signal reaches all of
them. The kernel kills it when the agent ends (`remote.parent_death`).

Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from remote.agent.rank_output import OutputReader
from remote.wire.events import TrainerEnded, TrainerStarted
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import LAUNCH, LOGS, OUTPUTS
from remote.wire.rank_pipes import RankPipes

_KILL_GRACE_S = 2.0
_LAUNCH_KEYS = ("rdzv_endpoint", "rdzv_id", "rdzv_node", "nnodes", "attempt")


class TrainerProcess:
    """At most one trainer at a time; each start is an attempt of the run."""

    def __init__(self, folder: Path, job: Job, journal: Journal) -> None:
        self._folder = folder
        self._job = job
        self._journal = journal
        self._process: subprocess.Popen[bytes] | None = None
        self._output: OutputReader | None = None
        self._attempt = 0
        self._killed = False

    @property
    def running(self) -> bool:
        """True from the start until `report_end` has reported the end."""
        return self._process is not None

    def start(self, launch: dict[str, Any]) -> None:
        """Starts this node's part of the gang. `launch` holds what `LAUNCH` keeps.

        Raises:
            OSError: the folder cannot be written, or no process can be started.
            ValueError: this node holds the rendezvous and its port is in use.
        """
        if self._job.node == launch["rdzv_node"]:
            check_port(int(str(launch["rdzv_endpoint"]).rpartition(":")[2]))
        self._attempt = int(launch["attempt"])
        (self._folder / LAUNCH).write_text(json.dumps({key: launch[key] for key in _LAUNCH_KEYS}))
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **self._job.env}
        if self._job.embedded:
            env.setdefault("OMP_NUM_THREADS", "1")
        pipes = RankPipes(self._job.nproc_per_node)
        process = subprocess.Popen(
            [sys.executable, "-m", "remote.train.launcher", str(self._folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**env, OUTPUTS: pipes.env_value},
            pass_fds=pipes.inherited,
        )
        pipes.close_writing()
        self._process = process
        self._killed = False
        self._output = OutputReader(process, self._journal, pipes, self._folder / LOGS)
        self._journal.emit(TrainerStarted(attempt=self._attempt, pid=process.pid))

    def kill(self) -> None:
        """Ends the process group, SIGTERM first so that ranks can report, and waits for the launcher's end."""
        process = self._process
        if process is None:
            return
        self._killed = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            try:
                process.wait(_KILL_GRACE_S)
            except subprocess.TimeoutExpired:
                continue
        try:
            # Ranks may outlive a launcher that SIGTERM ended.
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def report_end(self) -> bool:
        """Writes the end of the process into the journal, once it has ended; True where this call did so."""
        process, output = self._process, self._output
        if process is None or output is None or process.poll() is None:
            return False
        last = output.finish()
        code = process.returncode
        if self._killed:
            outcome, reason = "killed", "ended by command"
        elif code == 0:
            outcome, reason = "succeeded", ""
        else:
            outcome = "failed"
            how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit status {code}"
            reason = f"the trainer ended {how}" + (f": {last}" if last else "")
        self._process = self._output = None
        self._journal.emit(TrainerEnded(attempt=self._attempt, outcome=outcome, reason=reason))
        return True


def free_port() -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Raises ValueError where this host cannot listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(f"port {port}, for the rendezvous, cannot be used: {error.strerror}") from None
