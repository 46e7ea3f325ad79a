"""The agent: a daemon on a host that supervises the trainer, looks at the processors, and holds the host's lease.

It is the only thing on a host that acts. The console's words reach it as lines in ``commands.jsonl`` (written by
``remote.agent.attach``), each with an id, and it answers each once with a ``CommandDone`` in the journal; it runs in a
process session of its own, so that a console which goes away changes nothing for the run. What it starts
(``remote.train.launcher``) dies with it, by the kernel's hand.

The lease is a deadline. The console moves it while it is attached; when it passes, the agent asks the gang for a
checkpoint, ends the trainer, and gives the host back: nothing for a host that is somebody's own, the embedded host's
process, or the instance's power. A rented host has a timer of its own besides, which the agent keeps told
(`remote.agent.lease`).

Standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from remote.agent.cpu import MachineMeter, NetworkMeter, ProcessMeter, ShareMeter, boot_id, memory_mib
from remote.agent.gpu import GpuMeter
from remote.agent.lease import Lease
from remote.agent.rank_output import OutputReader
from remote.agent.spot_notice import METADATA_URL, Notices
from remote.agent.trainer import _must_be_free, free_port
from remote.agent.versions import nccl_version, torch_version
from remote.staging.process import Copier
from remote.wire import control
from remote.wire.events import (
    AgentEnded,
    AgentStarted,
    CommandDone,
    HostSampled,
    LeaseExpired,
    LeaseMoved,
    LogPrinted,
    ProcessesSampled,
    SpotNoticed,
    TrainerEnded,
    TrainerStarted,
    XidReported,
)
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import COMMANDS, HOST_PID, JOURNAL, LAUNCH, LOGS, OUTPUTS
from remote.wire.rank_pipes import RankPipes

_TICK_S = 0.1
_SAMPLE_S = 1.0
_PROCESSES_S, _PROCESSES = 10.0, 8
"""How often so many of the busiest processes are told: finding them reads a file a thread."""
_CHECKPOINT_GRACE_S = 10.0
"""How long the gang has for a checkpoint once the lease has passed."""
_KILL_GRACE_S = 2.0
_CONSOLE_S = 10.0
"""How long a console has to answer a spot notice before the agent does; it may be gone without a word."""


class Agent:
    """The daemon's state and loop."""

    def __init__(self, folder: Path, job: Job, lock: int) -> None:
        self._folder = folder
        self._job = job
        self._lock = lock
        self._journal = Journal(folder / JOURNAL)
        self._gpus = GpuMeter()
        self._trainer: subprocess.Popen[bytes] | None = None
        self._output: OutputReader | None = None
        self._copier = Copier(folder, job, self._journal)
        self._attempt = 0
        self._killed: float | None = None
        self._wish = control.ControlRequest()
        self._commands_read = 0
        self._done: set[str] = set()
        self._lease = Lease(job.lease_file)
        self._timer_told = True
        self._attended = True
        self._expired: float | None = None
        self._leaving = ""
        self._notices = Notices(os.environ.get(METADATA_URL, job.metadata_url))
        self._noticed: float | None = None
        # Embedded hosts share the machine's cards.
        self._network = None if job.embedded else NetworkMeter()
        self._processes = ProcessMeter(self._own_processes if job.embedded else lambda: [os.getpid()])
        self._processes_at = float("-inf")
        if job.embedded:
            self._meter: ShareMeter | MachineMeter = ShareMeter(self._own_processes, job.embedded)
        else:
            self._meter = MachineMeter()

    def run(self, ready: int) -> None:
        """Works until told to end or the lease passes. Writes a byte to `ready` once the journal has a line."""
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self._journal.emit(
            AgentStarted(
                run_id=self._job.run_id,
                pid=os.getpid(),
                hostname=socket.gethostname(),
                boot_id=boot_id(),
                python=platform.python_version(),
                torch=torch_version(),
                cpus=os.cpu_count() or 1,
                mem_total_mib=memory_mib()[1],
                disk_free_mib=shutil.disk_usage(self._folder).free / 2**20,
                gpu_names=self._gpus.names,
                free_port=free_port(),
                driver=self._gpus.driver,
                cuda=self._gpus.cuda,
                nccl=nccl_version() if self._gpus.names else None,
            )
        )
        os.write(ready, b"1")
        os.close(ready)
        if self._job.lease_s:
            self._move_lease(self._job.lease_s)
        self._copier.start()
        next_sample = time.monotonic()
        while not self._leaving:
            self._take_commands()
            self._copier.watch()
            self._watch_trainer()
            self._watch_lease()
            self._watch_notices()
            self._watch_host()
            if time.monotonic() >= next_sample:
                next_sample = max(next_sample + _SAMPLE_S, time.monotonic())
                self._sample()
            time.sleep(_TICK_S)
        self._copier.end()
        self._kill_trainer()
        self._watch_trainer()
        self._journal.emit(AgentEnded(reason=self._leaving))
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"ended", 0)

    def _signalled(self, number: int, _frame: object) -> None:
        self._leaving = signal.Signals(number).name

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
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        try:
            command = json.loads(line)
            name, id_ = str(command["command"]), str(command["id"])
        except (ValueError, KeyError, TypeError):
            self._journal.emit(CommandDone(id="", command="", ok=False, detail="not a command"))
            return
        if id_ in self._done:
            return
        act = getattr(self, f"_do_{name}", None)
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

    def _do_start(self, command: dict[str, Any]) -> str:
        """Starts the gang's part on this node: see `LAUNCH`."""
        if self._trainer is not None:
            return "the trainer runs already"
        if self._job.node == command["rdzv_node"]:
            _must_be_free(int(str(command["rdzv_endpoint"]).rpartition(":")[2]))
        launch = {key: command[key] for key in ("rdzv_endpoint", "rdzv_id", "rdzv_node", "nnodes", "attempt")}
        self._attempt = int(command["attempt"])
        (self._folder / LAUNCH).write_text(json.dumps(launch))
        self._wish = control.ControlRequest()
        control.write_wish(self._folder, self._wish)
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **self._job.env}
        if self._job.embedded:
            env.setdefault("OMP_NUM_THREADS", "1")
        pipes = RankPipes(self._job.nproc_per_node)
        self._trainer = subprocess.Popen(
            [sys.executable, "-m", "remote.train.launcher", str(self._folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**env, OUTPUTS: pipes.spoken},
            pass_fds=pipes.inherited,
        )
        pipes.close_writing()
        self._killed = None
        self._output = OutputReader(self._trainer, self._journal, pipes, self._folder / LOGS)
        self._journal.emit(TrainerStarted(attempt=self._attempt, pid=self._trainer.pid))
        return ""

    def _do_pause(self, command: dict[str, Any]) -> None:
        self._wish_for(control.ControlRequest(paused=True, stop=self._wish.stop, checkpoint=self._wish.checkpoint))

    def _do_resume(self, command: dict[str, Any]) -> None:
        self._wish_for(control.ControlRequest(paused=False, stop=self._wish.stop, checkpoint=self._wish.checkpoint))

    def _do_checkpoint(self, command: dict[str, Any]) -> None:
        self._noticed = None
        self._wish_for(control.ControlRequest(self._wish.paused, self._wish.stop, self._wish.checkpoint + 1))

    def _do_stop(self, command: dict[str, Any]) -> None:
        self._noticed = None
        self._wish_for(control.ControlRequest(False, True, self._wish.checkpoint))

    def _do_drain(self, command: dict[str, Any]) -> None:
        """As stop; the console will start the gang again."""
        self._do_stop(command)

    def _do_kill(self, command: dict[str, Any]) -> None:
        """Ends the trainer on this node at once; what is not in a checkpoint is lost."""
        self._kill_trainer()

    def _do_lease(self, command: dict[str, Any]) -> None:
        """Moves the deadline to ``seconds`` from now; ``attended`` says whether a console is there to move it again."""
        seconds = float(command["seconds"])
        attended = bool(command["attended"])
        if self._expired is not None:
            return
        before_s = self._lease.left_s
        self._move_lease(seconds)
        # While attended the lease moves every few seconds; only what changes the picture goes into the journal.
        if before_s is None or attended != self._attended or abs(seconds - before_s) > 60:
            reason = "attended" if attended else "the console left"
            self._journal.emit(LeaseMoved(deadline_t=self._lease.deadline_t, reason=reason))
        self._attended = attended

    def _do_end(self, command: dict[str, Any]) -> None:
        self._leaving = str(command.get("reason") or "the console ended the run")

    def _wish_for(self, wish: control.ControlRequest) -> None:
        control.write_wish(self._folder, wish)
        self._wish = wish

    # --- the trainer ---

    def _own_processes(self) -> list[int]:
        return [os.getpid()]

    def _kill_trainer(self) -> None:
        trainer = self._trainer
        if trainer is None:
            return
        self._killed = time.monotonic()
        # The whole group: torchrun's agent and its ranks. SIGTERM first, for their own last words.
        for number, grace in ((signal.SIGTERM, _KILL_GRACE_S), (signal.SIGKILL, _KILL_GRACE_S)):
            try:
                os.killpg(trainer.pid, number)
            except ProcessLookupError:
                return
            try:
                trainer.wait(grace)
            except subprocess.TimeoutExpired:
                continue
        try:
            # Ranks whose launcher went first.
            os.killpg(trainer.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _watch_trainer(self) -> None:
        trainer, output = self._trainer, self._output
        if trainer is None or output is None or trainer.poll() is None:
            return
        last = output.finish()
        code = trainer.returncode
        if self._killed is not None:
            outcome, reason = "killed", "ended by command"
        elif code == 0:
            outcome, reason = "succeeded", ""
        else:
            outcome = "failed"
            how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit status {code}"
            reason = f"the trainer ended {how}" + (f": {last}" if last else "")
        self._trainer = self._output = None
        self._journal.emit(TrainerEnded(attempt=self._attempt, outcome=outcome, reason=reason))
        if not self._attended and self._expired is None:
            left_s = self._lease.left_s
            self._move_lease(self._job.linger_s if left_s is None else min(left_s, self._job.linger_s))
            self._journal.emit(LeaseMoved(deadline_t=self._lease.deadline_t, reason="the trainer ended unattended"))

    # --- the lease ---

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
                if self._trainer is not None:
                    self._do_stop({})
        elif self._trainer is None or time.monotonic() - self._expired > _CHECKPOINT_GRACE_S:
            self._kill_trainer()
            self._watch_trainer()
            self._leaving = "the lease ran out"

    def _watch_notices(self) -> None:
        for event in self._notices.take():
            self._journal.emit(event)
            if isinstance(event, SpotNoticed):
                self._noticed = time.monotonic()
        if self._noticed is None or (self._attended and time.monotonic() - self._noticed < _CONSOLE_S):
            return
        self._noticed = None
        if self._trainer is not None:
            try:
                self._do_checkpoint({})
            except OSError as error:
                self._journal.emit(LogPrinted(text=f"no checkpoint before the end: {error}", stream="stderr"))

    def _watch_host(self) -> None:
        host = os.environ.get(HOST_PID)
        if self._job.embedded and host and not os.path.exists(f"/proc/{host}"):
            self._leaving = "its embedded host ended"

    # --- telemetry ---

    def _disk_free_mib(self) -> float | None:
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return None
        return float(disk.f_bavail * disk.f_frsize >> 20)

    def _sample(self) -> None:
        cpu, used, total = self._meter.read()
        free_mib = self._disk_free_mib()
        received, sent, again = self._network.read() if self._network is not None else (None, None, None)
        self._journal.emit(
            HostSampled(
                cpu_util_pct=cpu,
                mem_used_mib=used,
                mem_total_mib=total,
                disk_free_mib=free_mib,
                net_rx_mib_s=None if received is None else round(received, 2),
                net_tx_mib_s=None if sent is None else round(sent, 2),
                tcp_again_pct=None if again is None else round(again, 3),
                **self._gpus.read(),
            )
        )
        if time.monotonic() - self._processes_at >= _PROCESSES_S:
            self._processes_at = time.monotonic()
            busiest = self._processes.read(_PROCESSES)
            if busiest:
                self._journal.emit(
                    ProcessesSampled(
                        pids=tuple(one.pid for one in busiest),
                        names=tuple(one.name for one in busiest),
                        cpu_pct=tuple(round(one.cpu_pct, 1) for one in busiest),
                        mem_mib=tuple(round(one.mem_mib, 1) for one in busiest),
                    )
                )
        for fault in self._gpus.xids():
            self._journal.emit(XidReported(gpu=fault.gpu, xid=fault.xid))
