"""No stall where the pictures change their size: four ranks, each with a loader process, four phases."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from statistics import median

import gang
import numpy as np
from PIL import Image

from remote.wire.events import StepEnded
from remote.wire.schedule import Phase

RANKS, BATCH, STEPS = 4, 8, 5
SIZES = (40, 56, 48, 64)


def heavy_folder(root: Path) -> Path:
    """Pictures that take some 5 ms to decode: a batch takes less than a step of the net, so the loader gets ahead."""
    rng = np.random.default_rng(1)
    for split, count in (("train", RANKS * BATCH * STEPS), ("val", RANKS * BATCH)):
        for number in range(count):
            path = root / split / f"class-{number % gang.CLASSES}" / f"{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number < gang.CLASSES:
                pixels = rng.integers(0, 256, (400, 600, 3), np.uint8)
                Image.fromarray(pixels).save(path, quality=80)
            else:
                os.link(root / split / f"class-{number % gang.CLASSES}" / f"{number % gang.CLASSES:04d}.jpg", path)
    return root


def test_the_step_at_a_switch_is_a_step_like_another(tmp_path):
    phases = tuple(
        Phase(
            start_epoch=number, end_epoch=number + 1, image_size=size, batch_size_per_gpu=BATCH, lr_start=0.1,
            lr_end=0.1, rectangular=number == len(SIZES) - 1,
        )
        for number, size in enumerate(SIZES)
    )  # fmt: skip
    recipe = replace(gang.recipe(heavy_folder(tmp_path / "data"), BATCH), phases=phases, loader_workers=1)
    assert gang.run(recipe, tmp_path, RANKS) == [0] * RANKS
    steps = gang.said(tmp_path / "0", StepEnded)
    assert len(steps) == STEPS * len(SIZES)
    ratios, waits = [], []
    for number in range(1, len(SIZES)):
        first, *rest = steps[number * STEPS : (number + 1) * STEPS]
        usual = median(step.step_s for step in rest)
        ratios.append(first.step_s / usual)
        waits.append(first.data_s / usual)
    # A loader that began anew at the switch would have its processes to start and the first batch to decode.
    assert max(waits) < 0.25, (waits, ratios)
    # Somebody else's work on the machine may hit one step of the three.
    assert median(ratios) <= 2, (waits, ratios)
