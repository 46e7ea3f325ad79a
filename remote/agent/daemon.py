"""The agent: a daemon on a host that supervises the trainer, samples the hardware, and holds the host's lease.

Nothing else on a host starts or ends anything. The console's commands reach it as lines in ``commands.jsonl`` (written
by `remote.agent.attach`), each with an id; it answers each once, with a ``CommandDone`` in the journal. It runs in a
process session of its own, so a console that disconnects changes nothing for the run. The kernel kills what the agent
started (`remote.train.launcher`, `remote.staging`) when the agent ends.

The lease is a deadline, which the console moves while it is attached. When it passes, the agent asks the gang for a
checkpoint, ends the trainer, and releases the host: nothing happens to a host that belongs to somebody; an embedded
host's process is ended; a rented instance is powered off. A rented host also has a timer of its own, which the agent
keeps up to date (`remote.agent.lease`).

Standard library only.
"""

from __future__ import annotations

import enum
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from remote.agent.lease import Lease
from remote.agent.spot_notice import METADATA_URL, Notices
from remote.agent.telemetry import Telemetry
from remote.agent.trainer import TrainerProcess
from remote.staging.process import Copier
from remote.wire.control import ControlRequest, write_request
from remote.wire.events import AgentEnded, CommandDone, LeaseExpired, LeaseMoved, LogPrinted, SpotNoticed
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import COMMANDS, HOST_PID, JOURNAL

_TICK_S = 0.1
_CHECKPOINT_GRACE_S = 10.0
"""How long the gang has for a checkpoint once the lease has passed."""
_CONSOLE_S = 10.0
"""How long a console has to answer a spot notice before the agent does; it may have disconnected unnoticed."""

Command = dict[str, Any]
"""A line of ``commands.jsonl``: ``id``, ``command``, and what that command takes."""


class Cause(enum.Enum):
    """Why the agent ends."""

    SIGNAL = enum.auto()
    COMMAND = enum.auto()
    LEASE = enum.auto()
    """The host is released: see `Job.lease_end`."""
    HOST_GONE = enum.auto()
    """The process of the embedded host has ended."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the agent ends, for the program and for people."""

    cause: Cause
    reason: str


class Agent:
    """The daemon's state and loop."""

    def __init__(self, folder: Path, job: Job, lock: int) -> None:
        self._folder = folder
        self._job = job
        self._lock = lock
        self._journal = Journal(folder / JOURNAL)
        self._telemetry = Telemetry(folder, job, self._journal)
        self._trainer = TrainerProcess(folder, job, self._journal)
        self._copier = Copier(folder, job, self._journal)
        self._request = ControlRequest()
        self._commands: dict[str, Callable[[Command], str | None]] = {
            "start": self._start,
            "pause": self._pause,
            "resume": self._resume,
            "checkpoint": self._checkpoint,
            "stop": self._stop,
            "drain": self._stop,  # as stop; the console will start the gang again
            "kill": self._kill,
            "lease": self._renew_lease,
            "end": self._end,
        }
        self._commands_read = 0
        """Bytes of the file of commands."""
        self._done: set[str] = set()
        """Ids of the commands that were executed."""
        self._lease = Lease(job.lease_file)
        self._timer_told = True
        self._attended = True
        self._expired: float | None = None
        """When the lease passed."""
        self._ending: Ending | None = None
        self._notices = Notices(os.environ.get(METADATA_URL, job.metadata_url))
        self._noticed: float | None = None
        """When a spot notice came that nobody has answered with a checkpoint yet."""

    def run(self, ready: int) -> Ending:
        """Works until there is a reason to end, and returns it. Writes a byte to `ready` once the journal has a
        line."""
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self._journal.emit(self._telemetry.host())
        os.write(ready, b"1")
        os.close(ready)
        if self._job.lease_s:
            self._move_lease(self._job.lease_s)
        self._copier.start()
        while self._ending is None:
            self._take_commands()
            self._copier.watch()
            self._watch_trainer()
            self._watch_lease()
            self._watch_notices()
            self._watch_host()
            self._telemetry.sample_when_due()
            time.sleep(_TICK_S)
        self._copier.end()
        self._trainer.kill()
        self._watch_trainer()
        self._journal.emit(AgentEnded(reason=self._ending.reason))
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"ended", 0)
        return self._ending

    def _signalled(self, number: int, _frame: object) -> None:
        self._ending = Ending(Cause.SIGNAL, signal.Signals(number).name)

    # --- commands ---

    def _take_commands(self) -> None:
        path = self._folder / COMMANDS
        try:
            if path.stat().st_size <= self._commands_read:
                return
            with path.open("rb") as file:
                file.seek(self._commands_read)
                text = file.read()
        except OSError:
            return
        whole, newline, _ = text.rpartition(b"\n")
        self._commands_read += len(whole) + len(newline)
        for line in whole.splitlines():
            self._execute(line)

    def _execute(self, line: bytes) -> None:
        try:
            command = json.loads(line)
            name, id_ = str(command["command"]), str(command["id"])
        except (ValueError, KeyError, TypeError):
            self._journal.emit(CommandDone(id="", command="", ok=False, detail="not a command"))
            return
        if id_ in self._done:
            return
        act = self._commands.get(name)
        if act is None:
            self._journal.emit(CommandDone(id=id_, command=name, ok=False, detail="this agent does not know it"))
            return
        try:
            detail = act(command)
        except (OSError, KeyError, ValueError, TypeError) as error:
            detail = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            self._journal.emit(CommandDone(id=id_, command=name, ok=False, detail=detail))
            return
        if name != "lease":
            self._done.add(id_)
            self._journal.emit(CommandDone(id=id_, command=name, detail=detail or ""))

    def _start(self, command: Command) -> str:
        if self._trainer.running:
            return "the trainer runs already"
        self._send(ControlRequest())
        self._trainer.start(command)
        return ""

    def _pause(self, command: Command) -> None:
        self._send(replace(self._request, paused=True))

    def _resume(self, command: Command) -> None:
        self._send(replace(self._request, paused=False))

    def _checkpoint(self, command: Command) -> None:
        self._request_checkpoint()

    def _stop(self, command: Command) -> None:
        self._request_stop()

    def _kill(self, command: Command) -> None:
        """Ends the trainer on this node at once; work since the last checkpoint is lost."""
        self._trainer.kill()

    def _renew_lease(self, command: Command) -> None:
        """Moves the deadline to ``seconds`` from now; ``attended`` says whether a console is there to move it again."""
        seconds = float(command["seconds"])
        attended = bool(command["attended"])
        if self._expired is not None:
            return
        before_s = self._lease.left_s
        self._move_lease(seconds)
        # While attended the lease moves every few seconds; only a change worth showing goes into the journal.
        if before_s is None or attended != self._attended or abs(seconds - before_s) > 60:
            reason = "attended" if attended else "the console left"
            self._journal.emit(LeaseMoved(deadline_t=self._lease.deadline_t, reason=reason))
        self._attended = attended

    def _end(self, command: Command) -> None:
        self._ending = Ending(Cause.COMMAND, str(command.get("reason") or "the console ended the run"))

    # --- the trainer ---

    def _send(self, request: ControlRequest) -> None:
        """Puts a request to the ranks into their control file. Raises OSError."""
        write_request(self._folder, request)
        self._request = request

    def _request_checkpoint(self) -> None:
        self._noticed = None
        self._send(replace(self._request, checkpoint=self._request.checkpoint + 1))

    def _request_stop(self) -> None:
        self._noticed = None
        self._send(replace(self._request, paused=False, stop=True))

    def _watch_trainer(self) -> None:
        if self._trainer.report_end() and not self._attended and self._expired is None:
            left_s = self._lease.left_s
            self._move_lease(self._job.linger_s if left_s is None else min(left_s, self._job.linger_s))
            self._journal.emit(LeaseMoved(deadline_t=self._lease.deadline_t, reason="the trainer ended unattended"))

    # --- the end of the host ---

    def _move_lease(self, seconds: float) -> None:
        told = self._lease.move(seconds)
        if told != self._timer_told:
            self._timer_told = told
            what = "can be written again" if told else "cannot be written: the host's timer stays as it was"
            self._journal.emit(LogPrinted(text=f"{self._job.lease_file} {what}", stream="stderr"))

    def _watch_lease(self) -> None:
        if self._expired is None:
            self._lease.keep()
            if self._lease.passed:
                self._expired = time.monotonic()
                self._journal.emit(LeaseExpired(deadline_t=self._lease.deadline_t))
                if self._trainer.running:
                    self._request_stop()
        elif not self._trainer.running or time.monotonic() - self._expired > _CHECKPOINT_GRACE_S:
            self._trainer.kill()
            self._watch_trainer()
            self._ending = Ending(Cause.LEASE, "the lease ran out")

    def _watch_notices(self) -> None:
        for event in self._notices.take():
            self._journal.emit(event)
            if isinstance(event, SpotNoticed):
                self._noticed = time.monotonic()
        if self._noticed is None or (self._attended and time.monotonic() - self._noticed < _CONSOLE_S):
            return
        self._noticed = None
        if self._trainer.running:
            try:
                self._request_checkpoint()
            except OSError as error:
                self._journal.emit(LogPrinted(text=f"no checkpoint before the end: {error}", stream="stderr"))

    def _watch_host(self) -> None:
        host = os.environ.get(HOST_PID)
        if self._job.embedded and host and not os.path.exists(f"/proc/{host}"):
            self._ending = Ending(Cause.HOST_GONE, "its embedded host ended")
