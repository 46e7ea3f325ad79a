"""The lease on a rented host, as the command that root's service runs: when it powers the host off, and when not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import uptime

from console.fleet.rental import user_data
from remote.agent.lease import GRACE_S, Lease

HOST = Path(user_data.__file__).with_name("host")

pytestmark = pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="the lease is Linux's")


class Timer:
    """The lease's command, with a folder in place of /run and a `poweroff` that writes down when it was called."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.run = folder / "run"
        self.file = self.run / "fastconsole" / "lease"
        self.state = self.run / "fastconsole-lease" / "deadline"
        self.calls = folder / "poweroff-calls"
        programs = folder / "programs"
        programs.mkdir()
        poweroff = programs / "poweroff"
        poweroff.write_text(f'#!/bin/sh\nread -r uptime _ </proc/uptime\necho "$uptime $*" >>{self.calls}\n')
        poweroff.chmod(0o755)
        self._env = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FASTCONSOLE_RUN": str(self.run),
            "FASTCONSOLE_LOOK_S": "1",
            "FASTCONSOLE_INSIST_S": "0.3",
        }
        self._log = folder / "log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, seconds: int) -> None:
        """Starts it, as systemd does at boot and whenever it ended."""
        command = ["sh", str(HOST / "lease.sh"), str(seconds)]
        with self._log.open("ab") as log:
            self.processes.append(subprocess.Popen(command, env=self._env, stderr=log, start_new_session=True))
        self.until(self.state.exists, "a deadline")

    def kill(self) -> None:
        """Kills it without a word."""
        os.killpg(self.processes[-1].pid, signal.SIGKILL)
        self.processes[-1].wait()

    def until(self, so: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
        """Waits until it is so."""
        end = time.monotonic() + within_s
        while not so():
            assert time.monotonic() < end, f"no {what}; {self.log}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends all that was started."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def until_poweroff(self) -> float:
        """Waits until the host would be off; the uptime at that moment."""
        self.until(self.calls.exists, "poweroff")
        self.until(lambda: self.calls.read_text().endswith("\n"), "poweroff")
        return float(self.calls.read_text().split()[0])

    @property
    def deadline(self) -> int:
        """As the timer wrote it down, in seconds of uptime."""
        return int(self.state.read_text().split()[1])

    @property
    def log(self) -> str:
        return self._log.read_text()

    def put(self, content: str | bytes) -> None:
        """What somebody puts into the file."""
        beside = self.file.with_name("beside")
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        beside.replace(self.file)


@pytest.fixture
def timers(tmp_path: Path) -> Iterator[Callable[[], Timer]]:
    made: list[Timer] = []

    def make() -> Timer:
        made.append(Timer(tmp_path / f"timer-{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def timer(timers: Callable[[], Timer]) -> Timer:
    return timers()


def test_it_powers_off_at_its_deadline_and_not_before(timer: Timer) -> None:
    began = uptime()
    timer.start(3)
    deadline = timer.deadline
    assert int(began) + 3 <= deadline <= int(uptime()) + 3
    assert timer.until_poweroff() >= deadline


def test_a_lease_that_is_moved_in_time_holds_longer(timer: Timer) -> None:
    timer.start(3)
    first = timer.deadline
    assert Lease(str(timer.file)).move(5 - GRACE_S)
    timer.until(lambda: timer.deadline > first, "later deadline")
    moved = timer.deadline
    assert timer.until_poweroff() >= moved > first


def test_the_agent_says_when_its_lease_ends() -> None:
    lease = Lease("")
    assert lease.left_s is None
    assert not lease.passed
    before = time.time()
    assert lease.move(600)
    # Two clocks are read: half a second is far more than lies between.
    assert before + 600 - 0.5 <= lease.deadline_t <= time.time() + 600 + 0.5
    assert lease.left_s is not None
    assert 590 < lease.left_s <= 600
    assert not lease.passed
    assert lease.move(-5)
    assert before - 5 - 0.5 <= lease.deadline_t <= time.time() - 5 + 0.5
    assert lease.passed


def test_the_timer_writes_down_how_long_it_is_until_its_deadline(timer: Timer) -> None:
    timer.start(3600)
    timer.until(lambda: "the deadline is " in timer.log, "line in the log")
    assert f"the deadline is {timer.deadline} s of uptime, 3600 s from now" in timer.log


def test_a_lease_can_be_ended_at_once(timer: Timer) -> None:
    timer.start(3600)
    deadline = timer.deadline
    assert Lease(str(timer.file)).end_now()
    assert timer.until_poweroff() < deadline


def test_killing_it_prolongs_nothing(timer: Timer) -> None:
    timer.start(4)
    deadline = timer.deadline
    for _ in range(3):
        timer.kill()
        timer.start(4)
        assert timer.deadline == deadline
    assert timer.until_poweroff() >= deadline
    assert timer.deadline == deadline


def test_a_moved_deadline_outlives_a_kill_too(timer: Timer) -> None:
    timer.start(3600)
    timer.put(f"{int(uptime()) + 4}\n")
    timer.until(lambda: timer.deadline < uptime() + 60, "earlier deadline")
    moved = timer.deadline
    timer.kill()
    timer.file.unlink()
    timer.start(3600)
    assert timer.until_poweroff() >= moved


GARBAGE = {
    "nothing": "",
    "an empty line": "\n",
    "a word": "soon",
    "a negative number": "-5",
    "hexadecimal": "0x10",
    "a floating number": "1e9",
    "eleven digits": "99999999999",
    "octal": "012",
    "two numbers": "0 0",
    "two lines": "7\n8",
    "a command": "$(poweroff)",
    "zeros": b"\0\0\0",
    "much": b"9" * 100_000,
}


def test_garbage_in_the_file_leaves_the_last_good_deadline(timers: Callable[[], Timer]) -> None:
    started = {}
    for name, content in GARBAGE.items():
        timer = started[name] = timers()
        timer.start(4)
        timer.put(content)
    deadlines = {name: timer.deadline for name, timer in started.items()}
    for name, timer in started.items():
        assert timer.until_poweroff() >= deadlines[name], name
        assert timer.deadline == deadlines[name], name


def test_a_file_that_is_no_file_leaves_the_last_good_deadline(timers: Callable[[], Timer]) -> None:
    started = {
        name: timers() for name in ("missing", "a folder", "a pipe", "a link to itself", "a folder that is gone")
    }
    for timer in started.values():
        timer.start(4)
    deadlines = {name: timer.deadline for name, timer in started.items()}
    started["a folder"].file.mkdir()
    # Nobody writes into it: to open it would be to wait for ever.
    os.mkfifo(started["a pipe"].file)
    started["a link to itself"].file.symlink_to(started["a link to itself"].file)
    started["a folder that is gone"].file.parent.rmdir()
    for name, timer in started.items():
        assert timer.until_poweroff() >= deadlines[name], name
        assert timer.deadline == deadlines[name], name


def test_a_deadline_too_far_off_is_cut_once(timer: Timer) -> None:
    timer.start(3600)
    first = timer.deadline
    timer.put("2000000000")
    timer.until(lambda: timer.deadline != first, "new deadline")
    cut = timer.deadline
    assert first < cut <= uptime() + 13 * 3600
    # The same number is not cut anew, ever later: at no look, and not where it was started again.
    timer.kill()
    timer.start(3600)
    timer.until(lambda: uptime() > cut - 13 * 3600 + 3, "three seconds")
    assert timer.deadline == cut


def test_a_long_lease_is_told_bit_by_bit(timer: Timer) -> None:
    timer.start(3600)
    lease = Lease(str(timer.file), horizon_s=6)
    assert lease.move(100_000)
    told = int(timer.file.read_text())
    assert told <= uptime() + 6 + GRACE_S + 1

    def later() -> bool:
        lease.keep()
        return int(timer.file.read_text()) >= told + 2

    timer.until(later, "next bit")


def test_the_timer_is_told_again_only_of_a_long_lease_and_not_at_once(tmp_path: Path) -> None:
    file = tmp_path / "lease"

    def told(lease: Lease) -> bool:
        file.unlink(missing_ok=True)
        lease.keep()
        return file.exists()

    long, short = Lease(str(file), horizon_s=0.6), Lease(str(file), horizon_s=0.6)
    assert long.move(100)
    assert short.move(0.5)
    # A twelfth of the horizon is between two tellings.
    time.sleep(0.1)
    assert told(long)
    assert not told(short), "the timer knows all of it"
    slow = Lease(str(file))
    assert slow.move(100_000)
    assert not told(slow), "an hour has not passed"


def test_a_host_that_is_still_up_is_powered_off_harder(timer: Timer) -> None:
    timer.start(1)
    timer.until(lambda: timer.calls.exists() and len(timer.calls.read_text().splitlines()) >= 3, "insisting")
    calls = [line.split()[1:] for line in timer.calls.read_text().splitlines()]
    assert calls[:3] == [[], ["-f"], ["-f"]]


def test_it_wants_to_know_how_long(timer: Timer) -> None:
    for words in ([], ["soon"], ["1.5"]):
        done = subprocess.run(["sh", str(HOST / "lease.sh"), *words], capture_output=True, text=True)
        assert done.returncode == 2
        assert "usage" in done.stderr


def test_a_host_without_a_timer_cannot_be_told(tmp_path: Path) -> None:
    assert not Lease(str(tmp_path / "nowhere" / "lease")).move(60)
    assert not Lease(str(tmp_path / "nowhere" / "lease")).end_now()
    assert not Lease("").end_now()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
@pytest.mark.parametrize("name", ["lease", "nvme"])
def test_systemd_takes_the_units(tmp_path: Path, name: str) -> None:
    script = tmp_path / f"fastconsole-{name}"
    shutil.copy(HOST / f"{name}.sh", script)
    script.chmod(0o755)
    text = (HOST / f"{name}.service").read_text().replace("/usr/local/sbin", str(tmp_path))
    unit = tmp_path / f"fastconsole-{name}.service"
    unit.write_text(text.replace("@SECONDS@", "3600").replace("@USER@", "ubuntu"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", sorted(HOST.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_plain_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert script.read_text().isascii()
