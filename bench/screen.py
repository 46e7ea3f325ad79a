"""The screen in a real pseudo-terminal: processor time a tick, key to paint, time to the first paint.

    python bench/screen.py [--seconds 20] [--size 200x60]

A run of 16 and of 128 nodes with 8 GPUs each speaks twice a second, with every cell of the heat map changing, and the
screen repaints at 2 Hz. Processor time is the whole process's, less what the same records cost without a screen.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
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

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(nodes: int, size: tuple[int, int], seconds: float) -> dict[str, float]:
    """One run of the screen."""
    terminal = Terminal(["--child", str(nodes)], size)
    try:
        _, at = terminal.read(20, re.compile(rb"STARTING"))
        first_paint_s = (at or float("nan")) - terminal.began
        terminal.read(20, re.compile(rb"TRAINING"))
        terminal.read(3)
        before, written = cpu_s(terminal.process.pid), terminal.written
        began = time.monotonic()
        terminal.read(seconds)
        took = time.monotonic() - began
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
        resident = (
            int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{terminal.process.pid}/status").read_text())[0]) / 1024
        )
    finally:
        terminal.end()
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
        "MiB resident": resident,
    }


def child(nodes: int, *, alone: bool) -> None:
    """The screen over a canned run; or only the run, to know what its records cost."""
    sys.path.insert(0, str(HERE / "tests"))
    from canned_source import T0, CannedSource, scene, tick

    class Speaking(CannedSource):
        beat = 400

        def beats(self) -> None:
            self.beat += 1
            self.feed(tick(nodes, 8, T0 + 200 + self.beat / 2, self.beat))

        async def work(self) -> None:
            while True:
                await asyncio.sleep(0.5)
                self.beats()

    def make() -> Speaking:
        return Speaking(scene("training", nodes=nodes, gpus=8))

    if alone:
        source = make()
        before = time.process_time()
        for _ in range(20):
            source.beats()
        print((time.process_time() - before) / 20 * 1000)
        return
    from console.tui.app import ConsoleApp

    ConsoleApp(make).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--size", default="200x60")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child, alone=arguments.alone)
        return
    width, height = map(int, arguments.size.split("x"))
    load = os.getloadavg()[0]
    rows = {f"{nodes} × 8": measure(nodes, (width, height), arguments.seconds) for nodes in (16, 128)}
    names = list(next(iter(rows.values())))
    print(f"{width}×{height}, 2 Hz, {os.cpu_count()} cores, load {load:.1f} at the start")
    print("| " + " | ".join(["nodes × GPUs", *names]) + " |")
    print("|" + "---|" * (len(names) + 1))
    for name, row in rows.items():
        print(
            f"| {name} | "
            + " | ".join(f"{row[one]:.2f}" if "paint" in one else f"{row[one]:.1f}" for one in names)
            + " |"
        )


if __name__ == "__main__":
    main()
