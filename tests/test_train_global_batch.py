"""The global batch in gangs of other sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote.train.global_batch import fitted, pieces
from remote.wire.schedule import Phase

PHASE = Phase(start_epoch=0, end_epoch=2, image_size=16, batch_size_per_gpu=12, lr_start=0.1, lr_end=0.2)
LATER = replace(PHASE, start_epoch=2, end_epoch=3, batch_size_per_gpu=6)


def test_the_gang_that_was_meant_changes_nothing():
    assert fitted([PHASE, LATER], 4, 4) == ((PHASE, LATER), None)


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4), (2, 1), (6, 4), (1, 3)])
def test_the_global_batch_stays_where_it_can(before, after):
    phases, said = fitted([PHASE, LATER], before, after)
    assert [phase.batch_size_per_gpu * after for phase in phases] == [12 * before, 6 * before]
    assert [replace(phase, batch_size_per_gpu=0) for phase in phases] == [
        replace(phase, batch_size_per_gpu=0) for phase in (PHASE, LATER)
    ]
    assert said is not None
    assert f"instead of {before}: the global batch stays {12 * before}, then {6 * before} images" in said


def test_where_it_cannot_the_change_is_one_sentence():
    phases, said = fitted([PHASE, LATER], 4, 5)
    assert [phase.batch_size_per_gpu for phase in phases] == [10, 5]
    assert said == (
        "5 ranks instead of 4 cannot share the global batch evenly: 50 instead of 48, 25 instead of 24 images, "
        "at the same rates"
    )


def test_groups_of_batch_norm_stay_whole():
    [phase], said = fitted([PHASE], 4, 3, group=4)
    assert (phase.batch_size_per_gpu, said is not None and "stays 48" in said) == (16, True)
    [phase], said = fitted([PHASE], 4, 5, group=4)
    assert phase.batch_size_per_gpu == 8  # 9.6 would be nearest
    assert said is not None
    assert "40 instead of 48" in said


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 8))
def test_pieces_are_few_equal_and_whole(groups, at_most, group):
    images = groups * group
    sizes = pieces(images, at_most, group)
    assert sum(sizes) == images
    assert all(size % group == 0 and 0 < size <= max(at_most, group) for size in sizes)
    assert max(sizes) - min(sizes) <= group
    assert len(sizes) == -(-groups // max(at_most // group, 1))


def test_what_several_ranks_had_becomes_as_many_pieces():
    assert pieces(12, 12) == [12]
    assert pieces(24, 12) == [12, 12]
    assert pieces(7, 4) == [3, 4]
