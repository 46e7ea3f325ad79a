"""How long it takes to go back in a run's log, and what that takes: 20 minutes and ten hours of 16 nodes x 8 GPUs.

The logs are `bench/replay.py`'s, one after another for the longer one. Each line is of a fresh process: reading the log
into its history (with states to go back to) beside folding it once, seeks to random moments, steps back one after
another, and the memory of the process. Goal: a seek within 150 ms, on the short log and on the long one.

    python bench/seek.py [--hours 0.33 1 10]
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from replay import RECORDS, SECONDS, synthetic  # noqa: E402

from console.state.events import Record, RunEnded, record_line  # noqa: E402
from remote.wire.events import EpochEnded, StepEnded, TargetReached  # noqa: E402


def long(hours: float) -> Iterator[Record]:
    """The records of so many hours: the 20 minutes again and again, the start only once, steps and epochs going on."""
    rounds = max(1, round(hours * 3600 / SECONDS))
    for number in range(rounds):
        for record in synthetic():
            event = record.event
            if number and record.received_t <= 1_790_000_000.02 and not isinstance(event, StepEnded):
                continue
            if isinstance(event, (RunEnded, TargetReached)) and number < rounds - 1:
                continue
            if isinstance(event, StepEnded):
                event = dataclasses.replace(event, step=event.step + number * 5_000)
            if isinstance(event, EpochEnded):
                event = dataclasses.replace(event, epoch=event.epoch + number * 40)
            later = number * SECONDS
            yield Record(record.received_t + later, record.t + later, event, record.node, record.offset)


def child(path: str) -> None:
    """Prints one row for a log."""
    from console.journal.open_log import fold
    from console.playback.replay import Replay
    from console.tui.gc_pacing import GcPacer

    # As the screen has it: garbage is looked for between two turns of its loop.
    collector = GcPacer()
    collector.start()
    began = time.perf_counter()
    records = fold(path).records
    folded_s = time.perf_counter() - began
    began = time.perf_counter()
    replay = Replay(path)
    read_s = time.perf_counter() - began
    random = Random(5)

    def moment() -> float:
        return replay.start + random.random() * (replay.end - replay.start)

    seeks = []
    for _ in range(200):
        t = moment()
        began = time.perf_counter()
        replay.seek(t)
        seeks.append((time.perf_counter() - began) * 1000)
        collector.tidy()
    steps = []
    for _ in range(200):
        began = time.perf_counter()
        replay.step(-1)
        steps.append((time.perf_counter() - began) * 1000)
        collector.tidy()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seeks.sort()
    steps.sort()
    print(
        f"| {records:,} | {folded_s:.1f} | {read_s:.1f} | {read_s / folded_s:.2f} | {statistics.median(seeks):.0f} | "
        f"{seeks[189]:.0f} | {seeks[-1]:.0f} | {statistics.median(steps):.1f} | {steps[-1]:.0f} | {memory:.0f} |"
    )
    late = []
    done = threading.Event()

    def read() -> None:
        Replay(path)
        done.set()

    threading.Thread(target=read, daemon=True).start()
    while not done.is_set() and len(late) < 2000:
        began = time.perf_counter()
        time.sleep(0.005)
        late.append((time.perf_counter() - began) * 1000 - 5)
        if len(late) % 20 == 0:
            collector.tidy()
    late.sort()
    print(
        f"while it is read in a thread, another thread's turn comes late by: median {statistics.median(late):.1f} ms, "
        f"p99 {late[int(len(late) * 0.99)]:.1f} ms, at most {late[-1]:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[1 / 3, 1, 10])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    print("| records | fold s | read s | ratio | seek ms, median | p95 | most | step back ms, median | most | MB |")
    print("|" + "---|" * 10, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for hours in arguments.hours:
            path = Path(folder) / f"{hours:.2f}.jsonl"
            with path.open("w") as file:
                file.writelines(f"{record_line(record)}\n" for record in long(hours))
            subprocess.run([sys.executable, __file__, "--child", str(path)], check=True)
            path.unlink()
    print(f"{RECORDS:,} records are 20 minutes of 16 nodes with 8 GPUs at 1 Hz")


if __name__ == "__main__":
    main()
