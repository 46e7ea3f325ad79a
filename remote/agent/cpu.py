"""A host's CPU, memory and network use, from /proc.

CPU and memory are those of the whole machine, or, where several embedded hosts share one machine, those of a host's own
processes relative to its share of the cores. Where there is no /proc (not Linux) everything is None.

Standard library only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


def boot_id() -> str:
    """Changes with every boot of the machine; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def memory_mib() -> tuple[float | None, float | None]:
    """(used, total) memory of the machine in MiB; used is what is not available to a new process."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total = int(lines["MemTotal"].split()[0]) / 1024
        return total - int(lines["MemAvailable"].split()[0]) / 1024, total
    except (OSError, KeyError, ValueError, IndexError):
        return None, None


def descendants(pid: int) -> list[int]:
    """The process and all its descendants, as far as /proc shows them."""
    found, queue = [], [pid]
    while queue:
        process = queue.pop()
        found.append(process)
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                queue += map(int, Path(f"/proc/{process}/task/{task}/children").read_text().split())
        except (OSError, ValueError):
            continue
    return found


class MachineMeter:
    """CPU and memory of the whole machine."""

    def __init__(self) -> None:
        self._last = self._ticks()

    def read(self) -> tuple[float | None, float | None, float | None]:
        """(CPU utilisation of all cores since the last read in %, used memory in MiB, total memory in MiB)."""
        ticks, last = self._ticks(), self._last
        self._last = ticks
        util = None
        if ticks and last and ticks[1] > last[1]:
            util = 100.0 * (1 - (ticks[0] - last[0]) / (ticks[1] - last[1]))
        return util, *memory_mib()

    @staticmethod
    def _ticks() -> tuple[int, int] | None:
        try:
            with open("/proc/stat", encoding="ascii") as file:
                values = [int(value) for value in file.readline().split()[1:9]]
        except (OSError, ValueError):
            return None
        return values[3] + values[4], sum(values)


class ShareMeter:
    """CPU and memory of some processes and their descendants, where `hosts` hosts share the machine."""

    def __init__(self, roots: Callable[[], list[int]], hosts: int) -> None:
        """`roots()` returns the ids of the processes."""
        self._roots = roots
        self._cores = (os.cpu_count() or 1) / hosts
        self._spent: dict[int, float] = {}
        self._at = time.monotonic()
        self._total = memory_mib()[1]
        self._hosts = hosts

    def read(self) -> tuple[float | None, float | None, float | None]:
        """(CPU in % of the host's share of the cores, at most 100; its processes' memory in MiB; its share of the
        machine's memory in MiB)."""
        spent, memory = {}, 0.0
        for root in self._roots():
            for pid in descendants(root):
                found = self._process(pid)
                if found:
                    spent[pid] = found[0]
                    memory += found[1]
        now = time.monotonic()
        passed, self._at = now - self._at, now
        used = sum(seconds - self._spent.get(pid, 0.0) for pid, seconds in spent.items() if pid in self._spent)
        self._spent = spent
        if not spent or passed <= 0:
            return None, None, None
        share = None if self._total is None else self._total / self._hosts
        return min(100.0, 100.0 * used / passed / self._cores), memory, share

    @staticmethod
    def _process(pid: int) -> tuple[float, float] | None:
        """(CPU seconds since its start, resident MiB that no file backs)."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            statm = Path(f"/proc/{pid}/statm").read_text().split()
        except (OSError, IndexError):
            return None
        seconds = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
        return seconds, (int(statm[1]) - int(statm[2])) * os.sysconf("SC_PAGE_SIZE") / MIB


@dataclass(frozen=True, slots=True)
class Process:
    """A process's use since the last read."""

    pid: int
    name: str
    """From the kernel, at most 15 characters."""
    cpu_pct: float
    """100 is one core."""
    mem_mib: float
    """Resident, including what files back."""


class ProcessMeter:
    """The busiest of some processes and their descendants."""

    def __init__(self, roots: Callable[[], list[int]]) -> None:
        """`roots()` returns the ids of the processes."""
        self._roots = roots
        self._spent: dict[int, float] = {}
        self._at = time.monotonic()

    def read(self, count: int) -> list[Process]:
        """The `count` busiest processes since the last read, the busiest first; none at the first read."""
        now = time.monotonic()
        passed, self._at = now - self._at, now
        before, self._spent = self._spent, {}
        found: list[Process] = []
        for pid in dict.fromkeys(process for root in self._roots() for process in descendants(root)):
            stat = self._stat(pid)
            if stat is None:
                continue
            name, seconds, mem_mib = stat
            self._spent[pid] = seconds
            if pid in before and passed > 0:
                found.append(Process(pid, name, 100 * max(0.0, seconds - before[pid]) / passed, mem_mib))
        return sorted(found, key=lambda process: -process.cpu_pct)[:count]

    @staticmethod
    def _stat(pid: int) -> tuple[str, float, float] | None:
        """(name, CPU seconds since its start, resident MiB): proc(5), fields 2, 14, 15 and 24 of ``stat``."""
        try:
            head, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
            fields = rest.split()
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            return head.partition("(")[2], seconds, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / MIB
        except (OSError, IndexError, ValueError):
            return None


class NetworkMeter:
    """Traffic of the machine's network cards. The kernel does not count RDMA: of EFA only TCP traffic is included."""

    def __init__(self) -> None:
        self._last = self._counts()
        self._at = time.monotonic()

    def read(self) -> tuple[float | None, float | None, float | None]:
        """(received MiB/s, sent MiB/s, retransmitted TCP segments in % of all sent), since the last read."""
        now, last, self._last = time.monotonic(), self._last, self._counts()
        passed, self._at = now - self._at, now
        if last is None or self._last is None or passed <= 0:
            return None, None, None
        received, sent, segments, again = (after - before for before, after in zip(last, self._last, strict=True))
        if min(received, sent, segments, again) < 0:
            # A card was removed, with its counts.
            return None, None, None
        again_pct = 100 * again / segments if segments else None
        return received / passed / MIB, sent / passed / MIB, again_pct

    @staticmethod
    def _counts() -> tuple[int, int, int, int] | None:
        try:
            received, sent = network_bytes(Path("/proc/net/dev").read_text())
            segments, again = tcp_segments(Path("/proc/net/snmp").read_text())
        except (OSError, ValueError):
            return None
        return received, sent, segments, again


def network_bytes(dev: str) -> tuple[int, int]:
    """(received, sent) in /proc/net/dev: bytes of all cards but the virtual ones.

    Raises:
        ValueError: the text has another format.
    """
    received = sent = 0
    for line in dev.splitlines()[2:]:
        name, _, counts = line.partition(":")
        fields = counts.split()
        if len(fields) < 9:
            raise ValueError(f"no counts: {line!r}")
        if not name.strip().startswith(("lo", "docker", "veth", "br-", "virbr")):
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def tcp_segments(snmp: str) -> tuple[int, int]:
    """(sent, retransmitted) TCP segments in /proc/net/snmp.

    Raises:
        ValueError: the text has another format.
    """
    rows = [line.split() for line in snmp.splitlines() if line.startswith("Tcp:")]
    if len(rows) != 2:
        raise ValueError("no line of TCP's counts")
    counts = dict(zip(*rows, strict=False))
    try:
        return int(counts["OutSegs"]), int(counts["RetransSegs"])
    except KeyError as error:
        raise ValueError(f"no {error} among TCP's counts") from None
