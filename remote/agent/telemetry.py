"""Samples of the host in the journal: processors, memory, disk, network, GPUs, and the busiest processes.

Standard library only.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import time
from pathlib import Path

from remote.agent.cpu import MachineMeter, NetworkMeter, ProcessMeter, ShareMeter, boot_id, memory_mib
from remote.agent.gpu import GpuMeter
from remote.agent.trainer import free_port
from remote.agent.versions import nccl_version, torch_version
from remote.wire.events import AgentStarted, HostSampled, ProcessesSampled, XidReported
from remote.wire.job import Job
from remote.wire.journal import Journal

_SAMPLE_S = 1.0
_PROCESSES_S, _PROCESSES = 10.0, 8
"""How often the busiest processes are reported, and how many: finding them reads a file a thread."""


class Telemetry:
    """Reads the meters once a second and writes what they show into the journal."""

    def __init__(self, folder: Path, job: Job, journal: Journal) -> None:
        self._folder = folder
        self._job = job
        self._journal = journal
        self._gpus = GpuMeter()
        # Embedded hosts share the machine's network cards.
        self._network = None if job.embedded else NetworkMeter()
        own = [os.getpid()]
        self._processes = ProcessMeter(lambda: own)
        self._meter: ShareMeter | MachineMeter
        self._meter = ShareMeter(lambda: own, job.embedded) if job.embedded else MachineMeter()
        self._next_sample = time.monotonic()
        self._next_processes = time.monotonic()

    def host(self) -> AgentStarted:
        """The host's hardware and software, as the agent's first record."""
        return AgentStarted(
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

    def sample_when_due(self) -> None:
        """Writes a sample where the last one is a second old. A call that comes late shifts the later samples."""
        now = time.monotonic()
        if now < self._next_sample:
            return
        self._next_sample = max(self._next_sample + _SAMPLE_S, now)
        self._sample_host()
        if now >= self._next_processes:
            self._next_processes = now + _PROCESSES_S
            self._sample_processes()
        for fault in self._gpus.xids():
            self._journal.emit(XidReported(gpu=fault.gpu, xid=fault.xid))

    def _sample_host(self) -> None:
        cpu, used, total = self._meter.read()
        received, sent, again = self._network.read() if self._network is not None else (None, None, None)
        self._journal.emit(
            HostSampled(
                cpu_util_pct=cpu,
                mem_used_mib=used,
                mem_total_mib=total,
                disk_free_mib=self._disk_free_mib(),
                net_rx_mib_s=None if received is None else round(received, 2),
                net_tx_mib_s=None if sent is None else round(sent, 2),
                tcp_again_pct=None if again is None else round(again, 3),
                **self._gpus.read(),
            )
        )

    def _sample_processes(self) -> None:
        busiest = self._processes.read(_PROCESSES)
        if busiest:
            self._journal.emit(
                ProcessesSampled(
                    pids=tuple(process.pid for process in busiest),
                    names=tuple(process.name for process in busiest),
                    cpu_pct=tuple(round(process.cpu_pct, 1) for process in busiest),
                    mem_mib=tuple(round(process.mem_mib, 1) for process in busiest),
                )
            )

    def _disk_free_mib(self) -> float | None:
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return None
        return float(disk.f_bavail * disk.f_frsize >> 20)
