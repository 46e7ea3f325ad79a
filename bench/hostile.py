"""A rank that prints 100,000 lines a second, through the real way to a screen in a real pseudo-terminal.

    python bench/hostile.py [--seconds 10] [--size 120x40]

A process floods its stdout and stderr: escape sequences, markup, bytes that are no text, lines of a megabyte. The
reader of an agent takes them into a host's journal; a console reads that journal as its link does, into a book and
onto the screen. Measured: what came through, what the journal and the memory grew by, the longest processor time that
the event loop took before it turned again, and from key to paint. The same without the flood stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "tests"), str(HERE / "bench")]

FLOOD = r"""
import sys, time
seconds, a_second = float(sys.argv[1]), int(sys.argv[2])
nasty = [
    b"\x1b[2J\x1b[31mred", b"[bold]markup[/] [@click=app.quit]x[/]", b"caf\xe9 \xff\xf0\x9f", b"plain words of a step",
    "\u202eright to left".encode(), b"\x00\x07\x08 tab\t" + b"a" * 60,
]
block = b"".join(line + b" %d\n" % number for number, line in enumerate(nasty * 17))
lines = block.count(b"\n")
begun, sent = time.monotonic(), 0
out, err = sys.stdout.buffer, sys.stderr.buffer
while (now := time.monotonic() - begun) < seconds:
    while sent < a_second * now:
        (err if sent // lines % 10 == 0 else out).write(block)
        sent += lines
    if int(now * 2) % 2:
        out.write(b"m" * 1_000_000 + b"\n")
        sent += 1
    out.flush()
    time.sleep(0.005)
print(sent, file=sys.stderr)
"""


def agent(folder: Path, seconds: float, a_second: int) -> None:
    """The flood and the agent's reader of it."""
    from remote.agent.rank_output import OutputReader
    from remote.wire.journal import Journal

    words = [sys.executable, "-c", FLOOD, str(seconds), str(a_second)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    before = time.process_time()
    reader = OutputReader(process, Journal(folder / "host.jsonl"), folder=folder / "logs")
    process.wait()
    last = reader.finish()
    told = {"lines": int(last), "cpu_s": time.process_time() - before}
    (folder / "agent.json").write_text(json.dumps(told))


def child(folder: Path) -> None:
    """The screen over a book that follows the host's journal."""
    from canned_source import CannedSource, scene

    from console.journal.store import RunStore
    from console.tui.app import ConsoleApp

    records = scene("training", nodes=16, gpus=8)

    class Following(CannedSource):
        def __init__(self) -> None:
            super().__init__(records)
            self.store = RunStore(folder / "run.jsonl", self.run)
            self.longest_s = 0.0

        async def work(self) -> None:
            turning = asyncio.create_task(self._turn())
            held, offset = b"", 1 << 41
            with (folder / "host.jsonl").open("rb") as file:
                while True:
                    piece = file.read(1 << 16)
                    if not piece:
                        (folder / "loop.part").write_text(json.dumps(self.longest_s))
                        (folder / "loop.part").replace(folder / "loop.json")
                        await asyncio.sleep(0.05)
                        continue
                    whole, newline, rest = piece.rpartition(b"\n")
                    if not newline:
                        held += rest
                        continue
                    lines = (held + whole).split(b"\n")
                    for begin in range(0, len(lines), 100):
                        some = lines[begin : begin + 100]
                        self.store.take_lines(0, some, offset)
                        offset += sum(map(len, some)) + len(some)
                        await asyncio.sleep(0)
                    held, self.run = rest, self.store.run
            await turning

        async def _turn(self) -> None:
            await asyncio.sleep(3)
            while True:
                # Processor time of this thread: on a busy machine the clock counts what others took.
                before = time.thread_time()
                await asyncio.sleep(0.001)
                self.longest_s = max(self.longest_s, time.thread_time() - before)

        def now(self) -> float:
            return time.time()

    ConsoleApp(lambda: Following()).run()


def measure(seconds: float, a_second: int, size: tuple[int, int]) -> dict[str, float]:
    """One flood of so many lines a second; 0 for none."""
    from screen import Terminal

    class Screen(Terminal):
        """`bench/screen.py`'s terminal with this file in it."""

        program = str(Path(__file__).resolve())

    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        (folder / "host.jsonl").touch()
        terminal = Screen(["--child", name], size)
        try:
            terminal.read(20, re.compile(rb"TRAINING"))
            terminal.read(3)
            terminal.key(b"4")
            terminal.read(1)
            before = _mib(terminal.process.pid)
            flood = threading.Thread(target=agent, args=(folder, seconds, a_second))
            if a_second:
                flood.start()
            delays = []
            end = time.monotonic() + seconds
            number = 0
            while time.monotonic() < end:
                number += 1
                terminal.read(0.11 + 0.013 * (number % 7))
                pressed = time.monotonic()
                # The cursor's row changes its background.
                terminal.key(b"k" if number // 8 % 2 == 0 else b"j")
                _, at = terminal.read(2, re.compile(rb"48;2;24;32;43"))
                if at is not None:
                    delays.append((at - pressed) * 1000)
            if a_second:
                flood.join()
            terminal.read(1.5)
            after = _mib(terminal.process.pid)
        finally:
            terminal.end()
        told = json.loads((folder / "agent.json").read_text()) if a_second else {"lines": 0, "cpu_s": 0.0}
        return {
            "lines/s printed": told["lines"] / seconds,
            "MiB printed": sum(path.stat().st_size for path in folder.glob("logs/*")) / 2**20,
            "KiB/s in the journal": (folder / "host.jsonl").stat().st_size / 1024 / seconds,
            "agent % of a core": 100 * told["cpu_s"] / seconds,
            "screen MiB more": after - before,
            "longest block ms": 1000 * json.loads((folder / "loop.json").read_text()),
            "key p50 ms": statistics.median(delays) if delays else float("nan"),
            "key p95 ms": sorted(delays)[int(len(delays) * 0.95) - 1] if delays else float("nan"),
        }


def _mib(pid: int) -> float:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(Path(arguments.child))
        return
    width, height = map(int, arguments.size.split("x"))
    load = os.getloadavg()[0]
    rows = {f"{rate:,}": measure(arguments.seconds, rate, (width, height)) for rate in (0, 100_000)}
    names = list(rows["0"])
    print(f"{width}×{height}, {arguments.seconds:.0f} s, {os.cpu_count()} cores, load {load:.1f} at the start")
    print("| " + " | ".join(["lines/s asked", *names]) + " |")
    print("|" + "---|" * (len(names) + 1))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[one]:,.1f}" for one in names) + " |")


if __name__ == "__main__":
    main()
