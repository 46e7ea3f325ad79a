from __future__ import annotations

import pytest

from remote.wire.schedule import Phase, image_size_at, lr_at, phase_index, steps_per_epoch, total_epochs, total_steps

PHASES = (
    Phase(start_epoch=0, end_epoch=2, image_size=24, batch_size_per_gpu=8, lr_start=0.2, lr_end=1.0),
    Phase(start_epoch=2, end_epoch=5, image_size=32, batch_size_per_gpu=4, lr_start=1.0, lr_end=0.1),
)


def test_the_rate_is_that_of_the_steps_end():
    assert lr_at(PHASES, 0, 1, 10) == pytest.approx(0.2 + 0.8 / 20)
    assert lr_at(PHASES, 1, 10, 10) == pytest.approx(1.0)
    assert lr_at(PHASES, 2, 1, 10) == pytest.approx(1.0 - 0.9 / 30)
    assert lr_at(PHASES, 4, 10, 10) == pytest.approx(0.1)


def test_the_2018_run_of_eight_machines():
    """The first of 157 steps of a rise from 1.92 to 3.84 over 6 epochs, as its log has it."""
    phases = [Phase(start_epoch=0, end_epoch=6, image_size=128, batch_size_per_gpu=128, lr_start=1.92, lr_end=3.84)]
    assert lr_at(phases, 0, 1, 157) == pytest.approx(1.9220382165605096)


def test_phases_hold_their_epochs_and_no_others():
    assert [phase_index(PHASES, epoch) for epoch in range(5)] == [0, 0, 1, 1, 1]
    assert image_size_at(PHASES, 1) == 24
    assert image_size_at(PHASES, 2) == 32
    with pytest.raises(IndexError, match="no phase holds epoch 5"):
        phase_index(PHASES, 5)


def test_steps():
    assert steps_per_epoch(100, 25) == 4
    assert steps_per_epoch(101, 25) == 5
    assert total_epochs(PHASES) == 5
    assert total_steps(PHASES, images=100, world_size=2) == 2 * 7 + 3 * 13
