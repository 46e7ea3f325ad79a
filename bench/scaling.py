"""Weak scaling of the gang over 1, 2, 4, 8 and 16 embedded hosts: python bench/scaling.py [RANKS ...]

The whole product runs: embedded hosts with an agent each, torchrun's agent, the trainer over gloo, the console. Weak
scaling: each rank takes 32 pictures a step, so the global batch grows with the gang. Figures are medians over the steps
after the first ten, from the run's journal.

It shows the overhead of a gang. The ranks share the machine's C cores, so the pictures a second of the whole gang can
grow up to C ranks and should stay constant beyond. What it loses there is overhead: the all-reduce's copies and sums,
the waiting for the slowest rank, the agents and the console. It does not show how hosts with their own processors scale
over a network; that is `console.planning.predict`'s model, compared with runs on 4, 8 and 16 machines
(bench/predict.py).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RANKS = (1, 2, 4, 8, 16)
BATCH = 32
STEPS = 40
SKIPPED = 10
"""Steps in which connections are made and caches filled."""

PROFILE = f"""\
[fleet]
provider = "local"
[run]
model = "resnet-small"
max_steps = {STEPS}
[data]
dataset = "shapes"
[[phase]]
epochs = [0, 50]
image_size = 32
batch_size_per_gpu = {BATCH}
lr = 0.1
"""


def run(ranks: int, folder: Path) -> list[dict[str, object]]:
    """A run's records."""
    profile = folder / "scaling.toml"
    profile.write_text(PROFILE)
    state = folder / str(ranks)
    env = {**os.environ, "XDG_STATE_HOME": str(state)}
    command = [sys.executable, "-m", "console", str(profile), "--headless", "--nodes", str(ranks)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{ranks} ranks failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    (journal,) = state.glob("fastconsole/runs/*/run.jsonl")
    return [json.loads(line) for line in journal.read_text().splitlines()]


def main(counts: list[int]) -> None:
    """Prints a line a number of ranks."""
    cores = len(os.sched_getaffinity(0))
    print(
        f"{cores} cores, gloo, resnet-small at 32 px, {BATCH} pictures a rank; medians of steps {SKIPPED + 1}–{STEPS}"
    )
    print(" ranks  batch   step ms    img/s   of 2 ranks   waits for data   exposed all-reduce   first step after")
    best = None
    with tempfile.TemporaryDirectory() as folder:
        for ranks in counts:
            lines = run(ranks, Path(folder))
            steps = [one for one in lines if one["event"] == "StepEnded" and int(str(one["step"])) > SKIPPED]
            told = [one for one in lines if one["event"] == "RankProgressed" and int(str(one["step"])) > SKIPPED]
            step_s = statistics.median(float(str(one["step_s"])) for one in steps)
            rate = ranks * BATCH / step_s
            best = rate if ranks == 2 else best
            shares = [share(told, key) for key in ("data_s", "allreduce_s")]
            began = float(str(lines[0]["received"]))
            first_s = next(float(str(one["received"])) for one in lines if one["event"] == "StepEnded") - began
            relative = "" if best is None else f"{rate / best:.0%}"
            print(
                f"{ranks:6} {ranks * BATCH:6,} {step_s * 1e3:9.1f} {rate:8,.0f} {relative:>12} {shares[0]:>16} "
                f"{shares[1]:>20} {first_s:16.1f} s",
                flush=True,
            )


def share(told: list[dict[str, object]], key: str) -> str:
    """Of the ranks' step time, mean over what they said; a dash where they said nothing."""
    said = [(float(str(one[key])), float(str(one["step_s"]))) for one in told if one.get(key) is not None]
    whole = sum(step_s for _, step_s in said)
    return f"{sum(part for part, _ in said) / whole:.0%}" if whole else "—"


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(RANKS))
