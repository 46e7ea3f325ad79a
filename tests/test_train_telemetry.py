"""What a rank says of its step, as the laptop hears it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_story import launched, trained

from console.fold.apply import apply
from console.state.events import Record
from remote.wire import events as re


def test_where_a_ranks_time_and_memory_go_is_in_the_state():
    story = launched(nnodes=1, nproc_per_node=2)
    said = re.RankProgressed(
        rank=1, step=3, img_per_s=20.0, step_s=0.5, data_s=0.1, compute_s=0.3, allreduce_s=0.05, optimizer_s=0.02,
        mem_used_mib=900.0, mem_reserved_mib=1200.0, mem_peak_mib=1100.0,
    )  # fmt: skip
    story.hears(0, said)
    other, rank = story.run.nodes[0].ranks
    assert (rank.compute_s, rank.allreduce_s, rank.optimizer_s) == (0.3, 0.05, 0.02)
    assert (rank.mem_used_mib, rank.mem_reserved_mib, rank.mem_peak_mib) == (900.0, 1200.0, 1100.0)
    assert (other.allreduce_s, other.mem_used_mib) == (None, None)


def test_a_checkpoint_has_the_time_that_training_stood_still_for_it():
    story = launched(nnodes=1)
    saved = re.CheckpointSaved(
        step=4, epoch=0, path="checkpoints/a.pt", size_bytes=1, sha256="a", save_s=2.0, reason="epoch", wait_s=0.1
    )
    story.hears(0, saved)
    story.hears(0, replace(saved, step=5, wait_s=None))
    assert [(one.save_s, one.wait_s) for one in story.run.checkpoints] == [(2.0, 0.1), (2.0, None)]


def test_the_share_of_the_devices_peak():
    """ResNet-50 at 24.3 GFLOP a picture, 2,500 pictures a second on each of four GPUs of 989 TFLOP/s."""
    run = trained().run
    assert run.training is not None
    assert run.phase is not None
    assert run.step is not None
    assert run.points[-1].peak_share is None
    step = Record(t=run.last_step_t, received_t=run.last_step_t, node=0, event=replace(run.step, img_per_s=10_000.0))
    on_gpus = replace(run, training=replace(run.training, world_size=4, peak_flops=989e12))
    for flops, share in ((24.3e9, 2500 * 24.3e9 / 989e12), (None, None)):
        told = apply(replace(on_gpus, phase=replace(run.phase, flops_per_image=flops)), step)
        assert told.points[-1].peak_share == (None if share is None else pytest.approx(share))
