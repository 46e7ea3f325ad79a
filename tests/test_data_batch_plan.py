"""Which pictures at which step: the same in any gang, each once in an evaluation."""

from __future__ import annotations

from itertools import chain

import gang
import numpy as np
import pytest

from remote.data.batch_plan import Request, training_plan, validation_plan
from remote.wire.schedule import Phase, steps_per_epoch


def shown(plan: list[Request]) -> list[tuple[int, int, int, int, float]]:
    """Each picture with all that its crop depends on."""
    return [(int(index), one.height, one.width, one.epoch, one.min_scale) for one in plan for index in one.pictures]


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_a_step_shows_the_same_pictures_in_any_gang(tmp_path, world_size):
    alone = list(training_plan(gang.recipe(tmp_path, batch=12), 50, 0, 1, 0, 0))
    recipe = gang.recipe(tmp_path, batch=12 // world_size)
    ranks = [list(training_plan(recipe, 50, rank, world_size, 0, 0)) for rank in range(world_size)]
    together = [shown(list(parts)) for parts in zip(*ranks, strict=True)]
    assert together == [shown([one]) for one in alone]


def test_an_epoch_shows_every_picture_in_whole_batches(tmp_path):
    plan = list(training_plan(gang.recipe(tmp_path, batch=12), 50, 0, 1, 0, 0))
    steps = steps_per_epoch(50, 12)
    assert len(plan) == 2 * steps
    assert all(len(batch) == 12 for batch in plan)
    first, second = ([row[0] for row in shown(part)] for part in (plan[:steps], plan[steps:]))
    assert set(first) == set(range(50))
    assert first[50:] == first[:10]
    assert first[:50] != second[:50]


def test_a_plan_that_begins_in_the_middle_is_the_end_of_the_whole_one(tmp_path):
    recipe = gang.recipe(tmp_path, batch=6)
    whole = list(training_plan(recipe, 50, 1, 2, 0, 0))
    assert shown(list(training_plan(recipe, 50, 1, 2, 0, 3))) == shown(whole[3:])
    assert shown(list(training_plan(recipe, 50, 1, 2, 1, 2))) == shown(whole[5 + 2 :])


@pytest.mark.parametrize("rectangular", [False, True])
@pytest.mark.parametrize("images", [1, 7, 23, 64])
@pytest.mark.parametrize("world_size", [1, 3, 16])
def test_an_evaluation_counts_every_picture_once(images, world_size, rectangular):
    phase = Phase(
        start_epoch=0, end_epoch=1, image_size=32, batch_size_per_gpu=4, lr_start=1, lr_end=1, rectangular=rectangular
    )
    ratios = np.exp(np.random.default_rng(1).uniform(-0.8, 0.8, images))
    plans = [validation_plan(phase, images, ratios, rank, world_size) for rank in range(world_size)]
    batches = list(chain(*plans))
    assert sorted(row[0] for row in shown(batches)) == list(range(images))
    assert all(1 <= len(batch) <= 4 for batch in batches)
    for batch in batches:
        short, long = sorted((batch.height, batch.width))
        assert short == 32
        assert long % 8 == 0
        assert rectangular or long == 32
    if rectangular and images == 64:
        assert len({batch.width for batch in batches}) > 3
