"""The meters of CPU, memory and network, by what a busy process does to them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from remote.agent.cpu import (
    MachineMeter,
    NetworkMeter,
    ProcessMeter,
    ShareMeter,
    boot_id,
    descendants,
    memory_mib,
    network_bytes,
    tcp_segments,
)

ROOT = Path(__file__).parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

BUSY = """
import sys
held = bytearray(b"x" * (40 << 20))
print(flush=True)
end = None
while True:
    pass
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that takes a core and 40 MiB, below a shell."""
    process = subprocess.Popen(
        ["sh", "-c", f"'{sys.executable}' -c '{BUSY}' & echo; wait"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    yield process
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


def until(seconds: float) -> None:
    """Lets the machine's clock of 10 ms ticks move."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)


@linux
def test_the_memory_of_the_machine() -> None:
    used, total = memory_mib()
    assert used is not None
    assert total is not None
    assert 0 < used < total
    assert total == pytest.approx(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20, rel=0.01)


@linux
def test_the_boot_has_a_name_that_stays() -> None:
    assert boot_id()
    assert boot_id() == boot_id()


@linux
def test_descendants(busy: subprocess.Popen[bytes]) -> None:
    below = descendants(busy.pid)
    assert below[0] == busy.pid
    assert len(below) == 2
    assert busy.pid in descendants(os.getpid())


def test_nothing_is_below_a_process_that_is_not_there() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert descendants(gone.pid) == [gone.pid]


@linux
def test_a_busy_process_shows_on_the_machine(busy: subprocess.Popen[bytes]) -> None:
    meter = MachineMeter()
    until(0.5)
    util, used, total = meter.read()
    assert util is not None
    # Never more than it can have, and not nothing: one process takes all that it gets of a core.
    assert 0 < util <= 100
    assert used is not None
    assert total is not None


@linux
def test_a_host_that_shares_the_machine_counts_its_own(busy: subprocess.Popen[bytes]) -> None:
    hosts = 1000
    meter = ShareMeter(lambda: [busy.pid], hosts)
    first = meter.read()
    until(0.3)
    util, memory, share = meter.read()
    assert first[0] == 0.0, "nothing to compare with yet"
    assert util == 100.0, "a thousandth of the cores is less than any busy process takes"
    assert memory is not None
    assert 40 <= memory < 200
    total = memory_mib()[1]
    assert total is not None
    assert share == pytest.approx(total / hosts)


@linux
def test_a_host_that_idles_takes_nothing() -> None:
    with subprocess.Popen(["sleep", "60"]) as idle:
        meter = ShareMeter(lambda: [idle.pid], 1)
        meter.read()
        until(0.2)
        util, memory, _ = meter.read()
        idle.kill()
    assert util is not None
    assert util < 5
    assert memory is not None
    assert memory < 20


def test_a_host_with_no_processes_says_nothing() -> None:
    assert ShareMeter(list, 2).read() == (None, None, None)


# --- processes -------------------------------------------------------------------------------------------------------


def test_the_busiest_process_is_first_and_at_most_so_many_are_told() -> None:
    spin = "import sys\nprint(1, flush=True)\nwhile True: pass"
    idle = "import sys, time\nprint(1, flush=True)\ntime.sleep(600)"
    with ExitStack() as stack:
        started = []
        for program in (spin, idle, idle):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            started.append(process.pid)
        meter = ProcessMeter(lambda: started)
        assert meter.read(2) == [], "nothing is known of a time that has not passed"
        used = Path(f"/proc/{started[0]}/stat").read_text().split()[13]
        while Path(f"/proc/{started[0]}/stat").read_text().split()[13] == used:
            pass
        first, second = meter.read(2)
        assert first.pid == started[0]
        assert first.cpu_pct > 0 == second.cpu_pct
        assert first.name.startswith("python")
        assert 1 < first.mem_mib < 200


def test_a_process_that_is_gone_is_left_out() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    meter = ProcessMeter(lambda: [gone.pid])
    meter.read(8)
    assert meter.read(8) == []


# --- the network -----------------------------------------------------------------------------------------------------

DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier comp
    lo: 9000000  100    0    0    0     0          0         0  9000000  100    0    0    0     0       0          0
  ens5: 1048576  100    0    0    0     0          0         0  2097152  100    0    0    0     0       0          0
ens6:4194304  100    0    0    0     0          0         0  8388608  100    0    0    0     0       0          0
docker0: 777  100    0    0    0     0          0         0  777  100    0    0    0     0       0          0
"""
SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens InSegs OutSegs RetransSegs InErrs
Tcp: 1 200 120000 -1 3100 910000 1200000 34 0
"""


def test_what_the_kernel_counts_of_the_network() -> None:
    assert network_bytes(DEV) == (5 * 1048576, 10 * 1048576)
    assert tcp_segments(SNMP) == (1_200_000, 34)


@pytest.mark.parametrize("text", ["", "Tcp: A\n", "Tcp: OutSegs\nTcp: 3\n", "Tcp: OutSegs RetransSegs\nTcp: x 3\n"])
def test_a_kernel_that_counts_otherwise_is_unknown(text: str) -> None:
    with pytest.raises(ValueError, match=r"TCP|x"):
        tcp_segments(text)


def test_the_meter_reads_this_machine() -> None:
    meter = NetworkMeter()
    received, sent, again = meter.read()
    assert received is not None
    assert sent is not None
    assert received >= 0 <= sent
    assert again is None or 0 <= again <= 100
