"""A run that goes on takes the steps of one that never stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gang
import pytest
import torch

from remote.rank_env import RankEnv
from remote.train import checkpoint, restore
from remote.wire.control import ControlRequest
from remote.wire.events import (
    CheckpointFailed,
    CheckpointLoaded,
    CheckpointSaved,
    EpochEnded,
    LogPrinted,
    Paused,
    RankFailed,
    StepEnded,
    TrainingEnded,
)
from remote.wire.journal import Journal
from remote.wire.layout import JOURNAL

TRAIN, VAL = 40, 14


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), TRAIN, VAL)


def change_of_ranks(folder: Path) -> str:
    """What was said of it; once."""
    [said] = [line.text for line in gang.said(folder, LogPrinted) if " instead of " in line.text]
    return said


def losses(folder: Path) -> dict[int, float]:
    """Loss by step; the later word holds where a step was taken again."""
    return {step.step: step.loss for step in gang.said(folder, StepEnded)}


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    """3 epochs of 4 steps by one, two and four ranks, made when they are asked for: 12 steps with a batch of 12."""
    made: dict[int, Path] = {}

    def by(ranks: int) -> Path:
        if ranks not in made:
            made[ranks] = tmp_path_factory.mktemp("whole")
            assert gang.run(gang.recipe(pictures, batch=12 // ranks, epochs=3), made[ranks], ranks) == [0] * ranks
        return made[ranks] / "0"

    return by


def test_from_any_step_on_the_losses_are_the_same_bit_for_bit(pictures, whole, tmp_path):
    recipe = gang.recipe(pictures, batch=6, epochs=3)
    stops = (1, 6, 8, 11)  # the first step, in the middle of an epoch, at the end of one, before the last
    for stop in stops:
        assert gang.run(replace(recipe, max_steps=stop), tmp_path, 2) == [0, 0]
    assert gang.run(recipe, tmp_path, 2) == [0, 0]
    said = gang.said(tmp_path / "0", StepEnded)
    assert [step.step for step in said] == list(range(1, 13))
    assert losses(tmp_path / "0") == losses(whole(2))
    assert [one.step for one in gang.said(tmp_path / "0", CheckpointLoaded)] == list(stops)
    ours, theirs = (gang.said(folder, EpochEnded) for folder in (tmp_path / "0", whole(2)))
    assert [(one.top1, one.train_loss) for one in ours] == [(one.top1, one.train_loss) for one in theirs]
    # And after the last there is nothing left to do.
    assert gang.run(recipe, tmp_path, 2) == [0, 0]
    assert len(gang.said(tmp_path / "0", StepEnded)) == 12
    assert gang.said(tmp_path / "0", TrainingEnded)[-1].reason == "finished"


@pytest.mark.parametrize(("before", "after"), [(2, 1), (4, 2), (1, 2)])
def test_another_number_of_ranks_goes_on_with_the_same_global_batch(pictures, whole, tmp_path, before, after):
    group = 6 if before == 1 else None  # one rank that normalises as two do, so that the two can take over
    recipe = gang.recipe(pictures, batch=12 // before, epochs=3, batch_norm_group=group)
    assert gang.run(replace(recipe, max_steps=6), tmp_path, before) == [0] * before
    assert gang.run(recipe, tmp_path, after) == [0] * after
    uninterrupted = whole(max(before, 2))
    steps, expected = gang.said(tmp_path / "0", StepEnded), gang.said(uninterrupted, StepEnded)
    assert [(step.step, step.epoch, step.epoch_step, step.lr) for step in steps] == [
        (step.step, step.epoch, step.epoch_step, step.lr) for step in expected
    ]
    for step, other in zip(steps, expected, strict=True):
        assert step.loss == pytest.approx(other.loss, rel=2e-3), step.step
    assert "the global batch stays 12 images, and so do the learning rates" in change_of_ranks(tmp_path / "0")
    for one, other in zip(
        gang.said(tmp_path / "0", EpochEnded), gang.said(whole(max(before, 2)), EpochEnded), strict=True
    ):
        assert one.val_images == other.val_images == VAL


def test_a_gang_that_shrinks_before_its_first_checkpoint_has_the_profiles_batch_too(pictures, whole, tmp_path):
    recipe = gang.recipe(pictures, batch=6, epochs=1, world_size=2)
    assert gang.run(recipe, tmp_path, 1) == [0]
    expected = losses(whole(2))
    assert losses(tmp_path / "0") == pytest.approx({step: expected[step] for step in range(1, 5)}, rel=2e-3)


def test_ranks_that_cannot_share_the_batch_say_so(pictures, tmp_path):
    recipe = gang.recipe(pictures, batch=5, epochs=2)
    assert gang.run(replace(recipe, max_steps=5), tmp_path, 2) == [0, 0]
    assert gang.run(recipe, tmp_path, 3) == [0] * 3
    assert change_of_ranks(tmp_path / "0") == (
        "3 ranks instead of 2 cannot share the global batch evenly: 9 instead of 10 images, at the same rates"
    )
    # One step of the second epoch showed 10 pictures; those of 9 that it makes are one, and four more cover the rest.
    assert [(one.epoch, one.epoch_step) for one in gang.said(tmp_path / "0", StepEnded)][4:] == [
        (1, 1), (1, 2), (1, 3), (1, 4), (1, 5),
    ]  # fmt: skip


# --- while a checkpoint is being written -----------------------------------------------------------------------------


def stuck_in(recipe, root: Path, name: str) -> gang.Gang:
    """A gang of one that will hang in writing `name`: a pipe lies in the file's place, and nobody reads it yet."""
    (root / "0").mkdir()
    (root / "0/control.json").write_text('{"paused": true}')
    one = gang.start(recipe, root, 1)
    one.wait_for(Paused)
    (root / "0/checkpoints").mkdir(exist_ok=True)
    os.mkfifo(root / "0/checkpoints" / name)
    one.control(ControlRequest())
    return one


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "read", "loaded"),
    [
        ("step-00000008.pt.new", 0, 4),
        ("step-00000008.pt.new", 1_000_000, 4),
        ("step-00000008.json.new", 0, 4),
        ("step-00000004.pt.new", 1_000_000, None),
    ],
    ids=["before its first byte", "in its middle", "before its sum", "the first of all"],
)
def test_killed_in_a_checkpoint_it_goes_on_from_the_one_before(pictures, whole, tmp_path, name, read, loaded):
    recipe = gang.recipe(pictures, batch=12, epochs=3)
    one = stuck_in(recipe, tmp_path, name)
    folder = tmp_path / "0"
    if read:
        with open(folder / "checkpoints" / name, "rb", buffering=0) as pipe:
            while read > 0:
                read -= len(pipe.read(min(read, 65536)))
            one.ranks[0].kill()
    else:
        until(
            lambda: 9 in losses(folder) and ("json" not in name or (folder / "checkpoints/step-00000008.pt").exists())
        )
        one.ranks[0].kill()
    assert one.join() == [-signal.SIGKILL]
    assert gang.run(recipe, tmp_path, 1) == [0]
    assert [at.step for at in gang.said(folder, CheckpointLoaded)] == ([] if loaded is None else [loaded])
    unsummed = [failed.reason for failed in gang.said(folder, CheckpointFailed)]
    assert unsummed == (["no SHA-256 is recorded beside it"] if "json" in name else [])
    assert losses(folder) == losses(whole(1))
    assert sorted(os.listdir(folder / "checkpoints")) == [
        "step-00000008.json", "step-00000008.pt", "step-00000012.json", "step-00000012.pt",
    ]  # fmt: skip


def test_training_goes_on_beside_a_checkpoint_and_ends_after_it(pictures, whole, tmp_path):
    one = stuck_in(gang.recipe(pictures, batch=12, epochs=3, checkpoint_epochs=2), tmp_path, "step-00000008.pt.new")
    folder = tmp_path / "0"
    until(lambda: 12 in losses(folder))  # the last step, taken while the checkpoint of the eighth cannot be written
    assert not gang.said(folder, CheckpointSaved)
    assert not gang.said(folder, TrainingEnded)
    with open(folder / "checkpoints/step-00000008.pt.new", "rb", buffering=0) as pipe:
        while pipe.read(1 << 20):
            pass
    assert one.join() == [0]
    [failed] = gang.said(folder, CheckpointFailed)
    assert (failed.path, failed.reason) == ("checkpoints/step-00000008.pt", "Invalid argument")  # a pipe has no fsync
    names = [type(event).__name__ for event in gang.events(folder)]
    assert names.index("CheckpointFailed") < names.index("CheckpointSaved") < names.index("TrainingEnded")
    [saved] = gang.said(folder, CheckpointSaved)
    assert saved.step == 12
    assert 0 < saved.wait_s <= saved.save_s
    assert losses(folder) == losses(whole(1))


def test_a_disk_that_hangs_costs_checkpoints_and_no_more_than_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "STUCK_S", 0.2)
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / "checkpoints/step-00000001.pt.new")
    env = RankEnv(rank=0, local_rank=0, world_size=1, device=torch.device("cpu"))
    restorer = restore.Restorer(tmp_path, env, Journal(tmp_path / JOURNAL))
    learnt = {"model": {"weight": torch.ones(100_000)}}
    restorer.save(restore.Position(step=1), {}, learnt, "epoch")
    restorer.save(restore.Position(step=2), {}, learnt, "epoch")
    [failed] = gang.said(tmp_path, CheckpointFailed)
    assert (failed.path, failed.reason) == (
        "checkpoints/step-00000002.pt", "the one before it is still being written after 0.2 s",
    )  # fmt: skip
    with open(tmp_path / "checkpoints/step-00000001.pt.new", "rb") as pipe:
        assert len(pipe.read()) > 400_000
    assert restorer.finish()
    restorer.save(restore.Position(step=3), {}, learnt, "stop")
    assert restorer.finish()
    assert [saved.step for saved in gang.said(tmp_path, CheckpointSaved)] == [3]


def test_a_checkpoint_that_does_not_fit_is_one_sentence(pictures, tmp_path):
    recipe = gang.recipe(pictures, batch=12, epochs=1)
    assert gang.run(replace(recipe, max_steps=2), tmp_path, 1) == [0]
    found = checkpoint.load_newest(tmp_path / "0", lambda path, reason: pytest.fail(reason))
    assert found is not None
    state = checkpoint.unpack(found[1])
    del state["model"]["fc.weight"]
    checkpoint.save(tmp_path / "0", 2, state)
    assert gang.run(recipe, tmp_path, 1) == [1]
    [failed] = gang.said(tmp_path / "0", RankFailed)
    assert failed.message.startswith("the checkpoint of step 2 does not fit this run's model and optimiser: ")
    assert "fc.weight" in failed.message
    assert "Traceback" not in (tmp_path / "0/stderr").read_text()
