"""The console in a real terminal and in a pipe, with real signals: leaving, stopping from elsewhere, Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
import small_run
from canned_source import scene

from console.journal import open_log
from console.journal.directory import RunDirectory, all_runs
from console.state.events import record_line
from console.state.run import Run

pytestmark = pytest.mark.usefixtures("no_leftovers")

FASTCONSOLE = [sys.executable, "-m", "console"]


@pytest.fixture
def long_profile(tmp_path: Path) -> Path:
    """A run of two hosts that goes on for as long as it is left alone."""
    path = tmp_path / "small.toml"
    path.write_text(small_run.profile(max_steps=100_000, lease_minutes=0.5).text)
    return path


class Terminal:
    """A console in a pseudo-terminal of 120x40."""

    def __init__(self, *words: str, first: tuple[str, ...] = ()) -> None:
        """`first`: the terminal's first program, which starts the console; by default it is the console itself."""
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            [*first, *FASTCONSOLE, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=env,
            # What a login shell does: the terminal's end is then this process's SIGHUP.
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = b""

    def until(self, text: str) -> None:
        """Reads until the text was shown since the last call."""
        self.shown = b""
        while text.encode() not in self.shown:
            self.shown += os.read(self.master, 65536)

    def drain(self) -> int:
        """Reads until the console ends; its exit code."""
        try:
            while os.read(self.master, 65536):
                pass
        except OSError:
            pass
        return self.process.wait(60)


def only_run() -> tuple[RunDirectory, Run]:
    (directory,) = all_runs()
    return directory, open_log.fold(directory.journal)


async def stepping() -> None:
    """Waits until the only run's journal has a step. It is another process's file: looking is all there is."""
    while True:
        # It may have been made this moment and hold nothing yet.
        if all_runs() and all_runs()[0].journal.stat().st_size and only_run()[1].step:
            return
        await asyncio.sleep(0.2)


async def test_a_closed_terminal_leaves_the_run_going_and_stop_ends_it(tmp_path: Path, long_profile: Path) -> None:
    terminal = Terminal(str(long_profile))
    terminal.until("LAUNCHING")
    reading = asyncio.create_task(asyncio.to_thread(terminal.until, "TRAINING"))
    await asyncio.wait_for(asyncio.gather(stepping(), reading), 120)
    os.close(terminal.master)
    terminal.process.wait(60)
    directory, run = only_run()
    assert run.live
    assert not run.attached
    assert directory.console_pid() is None
    left_at = run.step
    assert left_at is not None

    listed = subprocess.run([*FASTCONSOLE, "ps"], capture_output=True, text=True, check=True)
    assert f"{directory.run_id}\ttraining (no console)" in listed.stdout
    told = subprocess.run([*FASTCONSOLE, "stop", directory.run_id], capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    _, run = only_run()
    assert run.status == "stopped"
    assert run.step is not None
    assert run.step.step > left_at.step
    assert [point.step for point in run.points] == list(range(1, run.step.step + 1))
    assert any(one.fetched for one in run.checkpoints)
    assert small_run.none_left(tmp_path / "state", 20) == {}


def test_a_terminal_that_goes_without_a_word_ends_the_console(tmp_path: Path) -> None:
    """As `make demo` in a window: the hang-up is told to make, which waits for the console to end."""
    log = tmp_path / "run.jsonl"
    log.write_text("".join(f"{record_line(record)}\n" for record in scene("training", nodes=2)))
    waits = ("sh", "-c", 'trap : HUP; "$@"; exit 7', "sh")
    terminal = Terminal("--replay", str(log), "--tui", first=waits)
    terminal.until("TRAINING")
    os.close(terminal.master)
    try:
        assert terminal.process.wait(60) == 7
    finally:
        if terminal.process.poll() is None:
            os.killpg(terminal.process.pid, signal.SIGKILL)


async def test_stop_from_another_terminal_reaches_the_console_on_the_screen(tmp_path: Path, long_profile: Path) -> None:
    terminal = Terminal(str(long_profile))
    draining = asyncio.create_task(asyncio.to_thread(terminal.drain))
    await asyncio.wait_for(stepping(), 120)
    directory, _ = only_run()
    assert directory.console_pid() == terminal.process.pid
    command = [*FASTCONSOLE, "stop", directory.run_id]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    assert await asyncio.wait_for(draining, 60) == 130
    assert only_run()[1].status == "stopped"
    assert small_run.none_left(tmp_path / "state", 20) == {}


async def test_ctrl_c_in_a_pipe_stops_gracefully_and_twice_at_once(tmp_path: Path, long_profile: Path) -> None:
    console = subprocess.Popen(
        [*FASTCONSOLE, str(long_profile)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    await asyncio.wait_for(stepping(), 120)
    console.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(console.communicate, timeout=60)
    assert console.returncode == 130
    assert "Traceback" not in out + err
    assert "stopping: checkpoint" in err
    assert "it can be resumed from there" in out
    assert small_run.none_left(tmp_path / "state", 20) == {}

    again = subprocess.Popen([*FASTCONSOLE, "resume"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert again.stdout is not None
    # At the worst moment: hosts there, agents starting, nothing to checkpoint yet.
    for line in again.stdout:
        if "agent" in line:
            break
    again.send_signal(signal.SIGINT)
    again.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(again.communicate, timeout=60)
    assert again.returncode == 130
    assert "Traceback" not in out + err
    assert small_run.none_left(tmp_path / "state", 20) == {}


def test_too_little_memory_is_said_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    path.write_text(small_run.profile().text)
    told = subprocess.run([*FASTCONSOLE, str(path), "--nodes", "1000"], capture_output=True, text=True, timeout=60)
    assert told.returncode == 6
    assert "1000 ranks on this machine need about" in told.stdout
    assert "GiB are" in " ".join(told.stdout.split())
    assert not (all_runs()[0].path / "fleet.json").exists()
