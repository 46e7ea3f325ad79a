"""The recipes of 2018 against the log of the run on 8 machines, line by line. The log is not part of the project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.profile.load import load
from remote.wire.schedule import image_size_at, lr_at, phase_index, steps_per_epoch

LOG = Path(__file__).parent.parent.parent / "shared" / "data" / "fastai-2018" / "debug.log"
needs_log = pytest.mark.skipif(not LOG.exists(), reason="the log of 2018 is not part of the project")

IMAGES = 1_281_167


@dataclass(frozen=True)
class Said:
    """A step's line, and what the log had said by then."""

    epoch: int
    step: int
    steps: int
    image_size: int
    batch_size: int
    train_folder: str
    rates: tuple[float, ...]
    """Said since the step's line before it: at the first step of an epoch and at its last."""


def logged() -> Iterator[Said]:
    image_size = batch_size = 0
    folder, rates = "", []
    for line in LOG.read_text().splitlines():
        if found := re.match(r"Image size: (\d+)", line):
            image_size = int(found[1])
        elif found := re.search(r"Batch size(?: changed)?: (\d+)", line):
            batch_size = int(found[1])
        elif found := re.match(r"Train Directory: (\S+)", line):
            folder = found[1]
        elif found := re.search(r"Changing LR from \S+ to (\S+)$", line):
            rates.append(float(found[1]))
        elif found := re.search(r"Epoch: \[(\d+)\]\[(\d+)/(\d+)\]", line):
            epoch, step, steps = map(int, found.groups())
            yield Said(epoch, step, steps, image_size, batch_size, folder, tuple(rates))
            rates = []


@needs_log
def test_image_sizes_batches_and_steps_are_the_profiles_at_every_logged_step():
    profile = load("imagenet-8x-p3")
    steps = list(logged())
    assert len(steps) == 888
    for said in steps:
        phase = profile.phases[phase_index(profile.phases, said.epoch)]
        assert said.image_size == image_size_at(profile.phases, said.epoch), said
        assert said.batch_size == phase.batch_size_per_gpu, said
        assert said.steps == steps_per_epoch(IMAGES, phase.batch_size_per_gpu * profile.world_size), said
        # Which copies of the pictures: the profile's comments name them.
        assert ("/160/" in said.train_folder, "/352/" in said.train_folder) == (
            said.image_size == 128,
            said.image_size == 224,
        )
    assert {said.epoch for said in steps} == set(range(37))


@needs_log
def test_rates_are_the_profiles_wherever_the_log_says_one():
    """It says them at an epoch's first and last step, where they differ from the step before: to the last digit."""
    phases = load("imagenet-8x-p3").phases
    compared, before, constant = 0, None, 0
    for said in logged():
        first = before is None or before.epoch != said.epoch
        for number, rate in enumerate(said.rates):
            step = 1 if first and number == 0 else said.steps
            assert step == 1 or said.step == said.steps
            assert rate == pytest.approx(lr_at(phases, said.epoch, step, said.steps), rel=1e-14), said
            compared += 1
        if first and not said.rates:
            # Silence: the rate is what it was.
            assert before is not None
            old = lr_at(phases, before.epoch, before.steps, before.steps)
            assert lr_at(phases, said.epoch, 1, said.steps) == pytest.approx(old, rel=1e-14)
            constant += 1
        before = said
    assert (compared, constant) == (59, 7)


@needs_log
def test_what_else_its_first_line_says_is_the_profiles():
    words = LOG.read_text().splitlines()[0]
    recipe = load("imagenet-8x-p3").recipe()
    for said in (f"momentum={recipe.momentum}", f"weight_decay={recipe.weight_decay}", "fp16=True", "no_bn_wd=True"):
        assert said in words
    assert recipe.precision == "fp16"
    assert all(phase.momentum_start is None for phase in recipe.phases)


def test_sixteen_machines_batches_and_steps_are_those_of_the_tables():
    """Epochs, batch of a GPU and of all 128, steps an epoch: the announced run's (diux-dev/cluster at 729fb6c)."""
    table = {
        (0, 6): (64, 8_192, 157), (6, 16): (128, 16_384, 79), (16, 19): (64, 8_192, 157), (19, 31): (192, 24_576, 53),
        (31, 37): (192, 24_576, 53), (37, 38): (128, 16_384, 79), (38, 50): (128, 16_384, 79),
    }  # fmt: skip
    profile = load("imagenet-16x-p3")
    assert profile.world_size == 128
    ours = {}
    for phase in profile.phases:
        batch = phase.batch_size_per_gpu
        steps = steps_per_epoch(IMAGES, batch * profile.world_size)
        ours[phase.start_epoch, phase.end_epoch] = (batch, batch * profile.world_size, steps)
    assert ours == table
