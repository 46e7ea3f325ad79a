"""The screen in a real pseudo-terminal: processor time a tick, key to paint, longest turn, first paint, memory.

    python bench/screen.py [--runs 3] [--seconds 20] [--size 200x60] [--no-hour]

A run of 16 and of 128 nodes with 8 GPUs each speaks twice a second, with every cell of the heat map changing, and the
screen repaints at 2 Hz. Processor time is the whole process's, less what the same records cost without a screen. The
longest turn of the event loop is in processor time, at the ticks and over a tour of keys (metrics, panes maximised, a
node, help, resizes). The hour is `bench/seek.py`'s log of 16 nodes with 8 GPUs, replayed at 64 times its speed to its
end, then sought through.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "tests"), str(HERE / "bench")]

from turns import longest, watch  # noqa: E402

SHOWN = b"\x1b[?2026l"
"""The end of one synchronised update: what was written before it is on the screen."""


class Terminal:
    """A program in a pseudo-terminal."""

    program = str(Path(__file__).resolve())

    def __init__(self, arguments: list[str], size: tuple[int, int]) -> None:
        self.began = time.monotonic()
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(HERE)}
        environment.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [sys.executable, self.program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.written = 0

    def read(self, seconds: float, until: re.Pattern[bytes] | None = None) -> tuple[bytes, float | None]:
        """What was written in so many seconds, or until a match, and when the match came."""
        end = time.monotonic() + seconds
        got = b""
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self.fd], [], [], left)
            if not ready:
                break
            try:
                some = os.read(self.fd, 65536)
            except OSError:
                break
            if b"\x1b[?2026$p" in some:
                # A terminal that answers: synchronised output is known here.
                os.write(self.fd, b"\x1b[?2026;2$y")
            self.written += len(some)
            got += some
            if until is not None and until.search(got):
                return got, time.monotonic()
        return got, None

    def key(self, key: bytes) -> None:
        os.write(self.fd, key)

    def resize(self, width: int, height: int) -> None:
        """Another size, and the signal that says so."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        # The terminal is not the one that controls the process, which else would be told.
        os.kill(self.process.pid, signal.SIGWINCH)

    def mib(self, field: str = "VmRSS") -> float:
        """Memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(rf"{field}:\s+(\d+)", status)[0]) / 1024

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


TOUR = [*"mmvvo", "\t", *"zz", "\t", *"zz4zz1", "\r", "l", "\x1b", "?", "\x1b", *"H1<>x", "\x1b"]
"""Keys that change much: metrics, map, order, panes maximised and hidden, a node and the next, help, a dialog."""


def measure(nodes: int, size: tuple[int, int], seconds: float, folder: Path) -> dict[str, float]:
    """One run of the screen."""
    turns = folder / "turns.jsonl"
    turns.unlink(missing_ok=True)
    terminal = Terminal(["--child", str(nodes), "--turns", str(turns)], size)
    try:
        _, at = terminal.read(20, re.compile(rb"STARTING"))
        first_paint_s = (at or float("nan")) - terminal.began
        terminal.read(20, re.compile(rb"TRAINING"))
        terminal.read(3)
        before, written = cpu_s(terminal.process.pid), terminal.written
        began = time.monotonic()
        terminal.read(seconds)
        ended = time.monotonic()
        took = ended - began
        spent = cpu_s(terminal.process.pid) - before
        ticks = took * 2
        kib = (terminal.written - written) / 1024 / ticks
        delays = []
        for number in range(40):
            terminal.read(0.11 + 0.013 * (number % 7))
            pressed = time.monotonic()
            terminal.key(b"j" if number // 10 % 2 == 0 else b"k")
            # The row under the cursor changes its background; in the map the node's number does.
            _, at = terminal.read(2, re.compile(rb"48;2;24;32;43|48;2;76;184;255"))
            if at is not None:
                delays.append((at - pressed) * 1000)
        resident = terminal.mib()
        pressed = time.monotonic()
        for key in TOUR:
            terminal.key(key.encode())
            terminal.read(0.4)
        for width, height in ((80, 24), (40, 10), (120, 40), size):
            terminal.resize(width, height)
            terminal.read(0.6)
        ticked, toured = longest(turns, began, ended), longest(turns, pressed, time.monotonic())
    finally:
        terminal.end()
    for turn in (ticked, toured):
        if turn["cpu_ms"] > 50:
            took = f"{turn['cpu_ms']:.0f} ms, {turn['collecting_ms']:.0f} of them collecting garbage"
            print(f"over 50 ms of the event loop: {took}, {turn['what']}", file=sys.stderr)
    alone = float(
        subprocess.run(
            [sys.executable, __file__, "--child", str(nodes), "--alone"],
            env={**os.environ, "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    ms = spent * 1000 / ticks - alone
    return {
        "first paint s": first_paint_s,
        "CPU ms/tick": ms,
        "% of a core": ms * 2 / 10,
        "KiB/tick": kib,
        "key p50 ms": statistics.median(delays) if delays else float("nan"),
        "key p95 ms": sorted(delays)[int(len(delays) * 0.95) - 1] if delays else float("nan"),
        "longest turn ms": ticked["cpu_ms"],
        "… of the keys": toured["cpu_ms"],
        "MiB": resident,
    }


def hour(size: tuple[int, int], folder: Path) -> None:
    """Replays an hour's log on the screen and prints what that took."""
    from seek import long

    from console.state.events import record_line

    path, turns = folder / "hour.jsonl", folder / "turns.jsonl"
    turns.unlink(missing_ok=True)
    with path.open("w") as file:
        file.writelines(f"{record_line(record)}\n" for record in long(1.0))
    terminal = Terminal(["--log", str(path), "--turns", str(turns)], size)
    try:
        terminal.read(20, re.compile(rb"TRAINING"))
        while terminal.read(1.5, re.compile(rb"reads"))[0].find(b"reads") >= 0:
            pass
        rows = [("read", terminal.mib(), 0.0)]
        for name, keys, seconds in (("replayed at 64 times", [b"+"] * 6, 62.0), ("sought through", [b"g"] * 20, 0.3)):
            began = time.monotonic()
            for number, key in enumerate(keys):
                terminal.key(key)
                terminal.read(0.2)
                if key == b"g":
                    terminal.key(f"{number * 37 % 100}%\r".encode())
                    terminal.read(0.5)
            terminal.read(seconds)
            rows.append((name, terminal.mib(), longest(turns, began, time.monotonic())["cpu_ms"]))
        print(f"an hour of 16 × 8, {path.stat().st_size / 2**20:.0f} MiB of log")
        print("| | MiB | longest turn ms |")
        print("|---|---|---|")
        for name, mib, turn_ms in rows:
            print(f"| {name} | {mib:.0f} | {turn_ms:.0f} |")
    finally:
        terminal.end()


def child(nodes: int, *, alone: bool) -> None:
    """The screen over a canned run; or only the run, to know what its records cost."""
    from canned_source import T0, CannedSource, scene, tick

    class Speaking(CannedSource):
        beat = 400

        def beats(self) -> Iterator[None]:
            self.beat += 1
            records = tick(nodes, 8, T0 + 200 + self.beat / 2, self.beat)
            # A console's links take in what comes a hundred lines at a time.
            for begin in range(0, len(records), 100):
                yield
                self.feed(records[begin : begin + 100])

        async def work(self) -> None:
            while True:
                await asyncio.sleep(0.5)
                for _ in self.beats():
                    await asyncio.sleep(0)

    def make() -> Speaking:
        return Speaking(scene("training", nodes=nodes, gpus=8))

    if alone:
        source = make()
        before = time.process_time()
        for _ in range(20):
            deque(source.beats(), 0)
        print((time.process_time() - before) / 20 * 1000)
        return
    from console.tui.app import ConsoleApp

    ConsoleApp(make).run()


def replay(path: str) -> None:
    """The screen over a log, as ``fastconsole --replay LOG --tui`` opens it."""
    from console.playback.replay import Replay
    from console.tui.app import ConsoleApp

    ConsoleApp(lambda: asyncio.to_thread(Replay, path, at_once_s=2.0)).run()


def table(runs: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """A row each, with the best and the median of its runs."""
    names = list(next(iter(runs.values()))[0])
    yield "| " + " | ".join(["nodes × GPUs", *names]) + " |"
    yield "|" + "---|" * (len(names) + 1)
    for name, rows in runs.items():
        figures = []
        for one in names:
            values, digits = [row[one] for row in rows], 2 if "paint" in one else 1
            best, median = f"{min(values):.{digits}f}", f"{statistics.median(values):.{digits}f}"
            figures.append(best if len(values) == 1 else f"{best} · {median}")
        yield f"| {name} | " + " | ".join(figures) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--size", default="200x60")
    parser.add_argument("--no-hour", action="store_true")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    parser.add_argument("--turns", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turns is not None:
        watch(Path(arguments.turns))
    if arguments.log is not None:
        replay(arguments.log)
        return
    if arguments.child is not None:
        child(arguments.child, alone=arguments.alone)
        return
    width, height = map(int, arguments.size.split("x"))
    load = os.getloadavg()[0]
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="screen-") as name:
        for _ in range(arguments.runs):
            for nodes in (16, 128):
                row = measure(nodes, (width, height), arguments.seconds, Path(name))
                runs.setdefault(f"{nodes} × 8", []).append(row)
        best = ", best · median of each" if arguments.runs > 1 else ""
        print(f"{width}×{height}, 2 Hz, {os.cpu_count()} cores, load {load:.1f} at the start{best}")
        print("\n".join(table(runs)), flush=True)
        if not arguments.no_hour:
            hour((width, height), Path(name))


if __name__ == "__main__":
    main()
