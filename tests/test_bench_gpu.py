"""The bench for a machine with a GPU, as far as a machine without one can go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench" / "gpu.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing(tmp_path):
    done = run("--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "there is no GPU here" in line
    assert "NVML, nvJPEG" in line
    assert not (tmp_path / "out").exists()


def test_a_dry_run_goes_through_every_part_but_the_compiler(tmp_path):
    done = run("--cpu-dry-run", "--skip", "compiling", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    [path] = tmp_path.glob("*.md")
    assert done.stdout == f"{path}\n"
    assert "a dry run: there is no GPU here" in done.stderr
    text = path.read_text()
    assert "failed:" not in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## The machine",
        "## Pictures a second, ours beside the reference",
        "## What channels_last alone is worth to the reference",
        "## Precisions, ours",
        "## What an optimiser and the mean of the weights cost",
        "## Where the time of a training step goes, by kernel (torch.profiler)",
        "## An all-reduce of ResNet-50's gradients in a world of one: what starting it and copying cost",
        "## What NVML and its GPM say, under load and idle",
        "## JPEG decoding: Pillow at full size and at a half, and nvJPEG, of 500 x 375 px",
        "## What is done beside a step: the trainer's telemetry, and a checkpoint",
    ]
    for row in (
        "| 16 | 4 | train |",
        "| 24 | 4 | evaluation |",
        "| bf16 |",
        "| LARS |",
        "`aten::",
        "| Pillow, one core |",
        "| with it |",
        "| beside |",
    ):
        assert row in text
    assert not list(tmp_path.glob("*.json")) or json.loads(next(tmp_path.glob("*.json")).read_text())


def test_a_part_that_fails_leaves_the_others(tmp_path):
    done = run("--cpu-dry-run", "--model", "resnet-lost", "--out", str(tmp_path), "--skip", "compiling", "nvml")
    assert done.returncode == 1
    text = next(tmp_path.glob("*.md")).read_text()
    assert text.count("failed: ValueError: unknown model 'resnet-lost'") == 6
    assert "| Pillow, one core |" in text
