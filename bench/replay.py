"""How long `--replay LOG --format json` takes on a log of 20 minutes of 16 nodes with 8 GPUs, 25,000 records at 1 Hz.

The log is made here, from nothing but this file. Every time is of a fresh process, start of the interpreter included,
and the best and the median of several are shown, next to the floor of what any reader in Python must do: start, and
parse each line as JSON. Goal: 1.0 s and 150 MB at most.

    python bench/replay.py [--runs 5] [--keep LOG]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from console.state.events import Record, RunCreated, RunEnded, record_line  # noqa: E402
from remote.wire.codec import Event  # noqa: E402
from remote.wire.events import (  # noqa: E402
    AgentStarted,
    EpochEnded,
    HostSampled,
    RankStarted,
    StepEnded,
    TargetReached,
    TrainingStarted,
)

NODES, GPUS, SECONDS, RECORDS = 16, 8, 1200, 25_000
START_T = 1_790_000_000.0


def synthetic() -> Iterator[Record]:
    """The log's records: a sample of every node each second, and as many steps as make up the number."""
    random = Random(16)
    offsets = [0] * NODES

    def heard(t: float, node: int, event: Event) -> Record:
        offsets[node] += 700
        return Record(t + 0.02, t, event, node, offsets[node])

    yield Record(
        START_T,
        START_T,
        RunCreated(
            schema=1, run_id="synthetic", version="0", profile="imagenet-16x-p3", profile_text="", provider="aws",
            nnodes=NODES, nproc_per_node=GPUS, target_metric="top5", target_value=0.93, usd_per_h=7.344,
            usd_per_h_on_demand=24.48, price_note="simulated",
        ),
    )  # fmt: skip
    for node in range(NODES):
        yield heard(
            START_T, node,
            AgentStarted(
                run_id="synthetic", pid=1, hostname=f"node-{node}", boot_id="0", python="3.11", torch="2", cpus=64,
                mem_total_mib=488_000.0, disk_free_mib=1e6, gpu_names=("V100",) * GPUS, free_port=29_500,
            ),
        )  # fmt: skip
        for rank in range(GPUS):
            started = RankStarted(
                rank=node * GPUS + rank, local_rank=rank, world_size=NODES * GPUS, pid=rank, device=f"cuda:{rank}"
            )
            yield heard(START_T, node, started)
    yield heard(
        START_T, 0,
        TrainingStarted(
            world_size=NODES * GPUS, model="resnet50", parameters=25_557_032, classes=1000, train_images=1_281_167,
            val_images=50_000, total_epochs=40, total_steps=5_600, start_step=0, start_epoch=0,
        ),
    )  # fmt: skip
    fixed = 1 + NODES * (1 + GPUS) + 1 + SECONDS * NODES + 40 + 2
    steps, step = RECORDS - fixed, 0
    for second in range(SECONDS):
        t = START_T + second
        for node in range(NODES):
            yield heard(
                t, node,
                HostSampled(
                    cpu_util_pct=round(random.uniform(20, 60), 1),
                    mem_used_mib=round(random.uniform(90_000, 120_000), 1),
                    mem_total_mib=488_000.0,
                    gpu_util_pct=tuple(float(random.randint(85, 100)) for _ in range(GPUS)),
                    gpu_mem_used_mib=tuple(round(random.uniform(14_000, 15_900), 1) for _ in range(GPUS)),
                    gpu_mem_total_mib=(16_160.0,) * GPUS,
                    gpu_power_w=tuple(round(random.uniform(220, 300), 2) for _ in range(GPUS)),
                    gpu_temp_c=tuple(float(random.randint(50, 75)) for _ in range(GPUS)),
                    gpu_sm_clock_mhz=(1530.0,) * GPUS,
                ),
            )  # fmt: skip
        while step < steps * (second + 1) // SECONDS:
            step += 1
            yield heard(
                t + 0.5, 0,
                StepEnded(
                    step=step, epoch=second // 30, epoch_step=1, steps_per_epoch=140, loss=7 - second / 200,
                    lr=0.5, step_s=0.2, data_s=0.01, img_per_s=80_000.0,
                ),
            )  # fmt: skip
        if second % 30 == 29:
            epoch = second // 30
            yield heard(
                t + 0.9, 0,
                EpochEnded(
                    epoch=epoch, step=step, elapsed_s=second + 1.0, top1=0.7 * epoch / 39, top5=0.931 * epoch / 39,
                    train_loss=2.0, img_per_s=80_000.0, image_size=128,
                ),
            )  # fmt: skip
    end = START_T + SECONDS
    reached = TargetReached(metric="top5", value=0.931, target=0.93, epoch=39, step=step, elapsed_s=float(SECONDS))
    yield heard(end, 0, reached)
    yield Record(end, end, RunEnded(status="reached", exit_code=0, reason="top-5 93.1 %"))


OURS = (
    "import sys; from pathlib import Path; from console.reports.export import write; "
    "from console.journal.open_log import open_log; "
    "write(open_log(Path(sys.argv[1])), 'json', sys.stdout)"
)
FLOOR = "import json, sys\nfor line in open(sys.argv[1], 'rb'): json.loads(line)"
START = "pass"


def timed(code: list[str], log: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one fresh process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *code, str(log)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{code} ended with {process.returncode}"
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Makes the log, times, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="write the log here and leave it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = options.keep or Path(folder) / "synthetic.jsonl"
        # Line by line: the peak of a child process counts from that of this one at the fork.
        made = 0
        with log.open("w") as file:
            for record in synthetic():
                file.write(record_line(record) + "\n")
                made += 1
        sizes = f"{made:,} records, {log.stat().st_size / 1e6:.1f} MB"
        assert made == RECORDS, sizes
        rows = {
            "interpreter alone": ["-c", START],
            "floor: json.loads of each line": ["-c", FLOOR],
            "export: read, fold, JSON": ["-c", OURS],
        }
        if (ROOT / "console" / "__main__.py").exists():
            rows["fastconsole --replay LOG --format json"] = ["-m", "console", "--format", "json", "--replay"]
        print(f"{sizes}; {options.runs} runs each, interleaved\n")
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
        for _ in range(options.runs):
            for name, code in rows.items():
                times[name].append(timed(code, log))
    floor_s = min(seconds for seconds, _ in times["floor: json.loads of each line"])
    print(f"{'':40} {'best s':>8} {'median s':>9} {'peak MiB':>9} {'× floor':>8}")
    for name, measured in times.items():
        best_s = min(seconds for seconds, _ in measured)
        median_s = statistics.median(seconds for seconds, _ in measured)
        print(f"{name:40} {best_s:8.3f} {median_s:9.3f} {max(mib for _, mib in measured):9.0f} {best_s / floor_s:8.2f}")


if __name__ == "__main__":
    main()
