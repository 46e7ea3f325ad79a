"""The trainer by real gangs: one process a rank, gloo between them."""

from __future__ import annotations

import math
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import gang
import numpy as np
import pytest
import torch

from remote.model import learner, optimizer, resnet
from remote.train import checkpoint
from remote.wire.control import ControlRequest
from remote.wire.events import (
    CheckpointFailed,
    CheckpointLoaded,
    CheckpointSaved,
    EpochEnded,
    LogPrinted,
    Paused,
    PhaseStarted,
    RankFailed,
    RankStarted,
    Resumed,
    StageProgressed,
    StepEnded,
    TargetReached,
    TrainingEnded,
    TrainingStarted,
)
from remote.wire.job import Job
from remote.wire.schedule import lr_at

TRAIN, VAL = 50, 23


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), TRAIN, VAL)


def losses(folder: Path) -> dict[int, float]:
    """Loss by step; a step that was said twice fails."""
    steps = gang.said(folder, StepEnded)
    assert len({step.step for step in steps}) == len(steps)
    return {step.step: step.loss for step in steps}


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """An uninterrupted run of 3 epochs of 5 steps. Three ranks, since the order of a sum of two cannot matter."""
    root = tmp_path_factory.mktemp("whole")
    assert gang.run(gang.recipe(folder, batch=4, epochs=3), root, 3) == [0] * 3
    return root / "0"


def test_a_whole_run_says_what_happened(whole, folder):
    recipe = gang.recipe(folder, batch=4, epochs=3)
    [started] = gang.said(whole, TrainingStarted)
    assert (started.world_size, started.train_images, started.val_images) == (3, TRAIN, VAL)
    assert (started.total_epochs, started.total_steps, started.start_step) == (3, 15, 0)
    steps = gang.said(whole, StepEnded)
    assert [step.step for step in steps] == list(range(1, 16))
    assert [(step.epoch, step.epoch_step) for step in steps] == [(e, s) for e in range(3) for s in range(1, 6)]
    assert [step.lr for step in steps] == [lr_at(recipe.phases, step.epoch, step.epoch_step, 5) for step in steps]
    assert [(p.phase, p.epoch, p.global_batch_size) for p in gang.said(whole, PhaseStarted)] == [(0, 0, 12), (1, 1, 12)]
    epochs = gang.said(whole, EpochEnded)
    assert [(epoch.epoch, epoch.step, epoch.image_size) for epoch in epochs] == [(0, 5, 16), (1, 10, 24), (2, 15, 24)]
    for epoch in epochs:
        mean = sum(step.loss for step in steps if step.epoch == epoch.epoch) / 5
        assert epoch.train_loss == pytest.approx(mean, rel=1e-6)
        assert epoch.val_images == VAL
    saved = gang.said(whole, CheckpointSaved)
    assert [(one.step, one.epoch, one.reason) for one in saved] == [(5, 1, "epoch"), (10, 2, "epoch"), (15, 3, "epoch")]
    [ended] = gang.said(whole, TrainingEnded)
    assert (ended.step, ended.epoch, ended.reason) == (15, 2, "finished")
    assert ended.elapsed_s >= epochs[-1].elapsed_s > epochs[0].elapsed_s > 0
    # A step is said after its loss is known, and never after the evaluation that follows it.
    order = [type(event).__name__ for event in gang.events(whole)]
    assert order.index("EpochEnded") > [i for i, name in enumerate(order) if name == "StepEnded"][4]
    stages = {stage.stage for stage in gang.said(whole, StageProgressed)}
    assert stages == {"data", "process group", "model"}
    other = whole.parent / "1"
    assert gang.said(other, RankStarted)[0].rank == 1
    assert not gang.said(other, StepEnded)


def test_one_rank_and_four_follow_the_same_losses(folder, tmp_path):
    one = gang.recipe(folder, batch=12, batch_norm_group=3)
    four = gang.recipe(folder, batch=3)
    assert gang.run(one, tmp_path / "one", 1) == [0]
    assert gang.run(four, tmp_path / "four", 4) == [0] * 4
    alone, together = losses(tmp_path / "one/0"), losses(tmp_path / "four/0")
    assert alone.keys() == together.keys() == set(range(1, 11))
    for step, loss in alone.items():
        assert together[step] == pytest.approx(loss, rel=2e-4), step
    for a, b in zip(*(gang.said(tmp_path / name, EpochEnded) for name in ("one/0", "four/0")), strict=True):
        assert (a.top1, a.top5) == (b.top1, b.top5)
        # Rectangular batches are other ones with another number of ranks; square ones are the same pictures.
        assert b.val_loss == pytest.approx(a.val_loss, rel=1e-3 if a.epoch == 0 else 0.1)


def test_three_ranks_evaluate_every_picture_once(folder, tmp_path):
    """Top-1 of an untrained net whose answer is known: the share of one class among the 23."""
    recipe = gang.recipe(folder, batch=4, epochs=1, max_steps=5, weight_decay=0.0)
    still = tuple(replace(phase, lr_start=0.0, lr_end=0.0) for phase in recipe.phases)
    assert gang.run(replace(recipe, phases=still), tmp_path, 3) == [0] * 3
    [epoch] = gang.said(tmp_path / "0", EpochEnded)
    assert epoch.val_images == VAL
    assert epoch.top1 * VAL == pytest.approx(round(epoch.top1 * VAL))
    assert epoch.top5 * VAL == pytest.approx(round(epoch.top5 * VAL))
    [alone] = _evaluated_alone(folder, tmp_path / "0")
    assert epoch.top1 == pytest.approx(alone[0])
    assert epoch.top5 == pytest.approx(alone[1])


def _evaluated_alone(data_dir: Path, folder: Path) -> list[tuple[float, float]]:
    from remote.data.batch_plan import Request
    from remote.data.batch_reader import Reader
    from remote.data.datasets import open_sources

    found = checkpoint.load_newest(folder, lambda path, reason: pytest.fail(reason))
    assert found is not None
    model = resnet.build("resnet-small", gang.CLASSES)
    model.load_state_dict(checkpoint.unpack(found[1])["model"])
    model.eval()
    _, validation = open_sources(gang.recipe(data_dir, batch=4), lambda done, total: None)
    pixels, labels = Reader(validation, 0).batch(Request(np.arange(VAL), 16, 16), lambda index, text: pytest.fail(text))
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) * 255 for numbers in (learner.MEAN, learner.STD))
    with torch.inference_mode():
        scores = model((pixels.permute(0, 3, 1, 2).float() - mean) / std)
    hits = scores.topk(5).indices == labels[:, None]
    return [(hits[:, 0].float().mean().item(), hits.any(1).float().mean().item())]


def test_pause_and_resume_lose_and_repeat_no_step(folder, whole, tmp_path):
    gang_ = gang.start(gang.recipe(folder, batch=4, epochs=3), tmp_path, 3)
    gang_.wait_for(StepEnded)
    gang_.control(ControlRequest(paused=True))
    for rank in (0, 1, 2):
        gang_.wait_for(Paused, rank)
    steps = len(losses(tmp_path / "0"))
    time.sleep(1.5)
    assert len(losses(tmp_path / "0")) == steps
    gang_.control(ControlRequest(paused=True, checkpoint=1))  # also in a pause
    gang_.wait_for(CheckpointSaved)
    gang_.control(ControlRequest(checkpoint=1))
    assert gang_.join() == [0] * 3
    pauses = [gang.said(tmp_path / rank, Paused)[0] for rank in ("0", "1", "2")]
    resumes = [gang.said(tmp_path / rank, Resumed)[0] for rank in ("0", "1", "2")]
    assert len({event.step for event in pauses + resumes}) == 1  # the same boundary on both
    assert all(1.5 < event.paused_s < 20 for event in resumes)
    assert losses(tmp_path / "0") == losses(whole)
    assert [one.reason for one in gang.said(tmp_path / "0", CheckpointSaved)].count("operator") == 1
    [ended] = gang.said(tmp_path / "0", TrainingEnded)
    first, last = gang.said(tmp_path / "0", StepEnded)[0], gang.said(tmp_path / "0", EpochEnded)[-1]
    assert last.elapsed_s < ended.elapsed_s + 0.01
    assert first.step == 1


def test_stop_and_run_again_is_the_uninterrupted_run_bit_for_bit(folder, whole, tmp_path):
    recipe = gang.recipe(folder, batch=4, epochs=3)
    assert gang.run(replace(recipe, max_steps=3), tmp_path, 3) == [0] * 3  # in the middle of an epoch
    assert gang.said(tmp_path / "0", CheckpointSaved)[-1].step == 3

    # Then by the operator's stop. A request that is there before the first step stops the run after two.
    (tmp_path / "1/control.json").write_text('{"stop": true}')
    assert gang.run(recipe, tmp_path, 3) == [0] * 3
    (tmp_path / "1/control.json").unlink()
    assert [end.reason for end in gang.said(tmp_path / "0", TrainingEnded)] == ["finished", "stopped"]
    assert gang.said(tmp_path / "0", CheckpointSaved)[-1].reason == "stop"

    # And to the end, the checkpoint now on the node of the other rank.
    (tmp_path / "0/checkpoints").rename(tmp_path / "1/checkpoints")
    assert gang.run(recipe, tmp_path, 3) == [0] * 3
    assert [one.step for one in gang.said(tmp_path / "0", CheckpointLoaded)] == [3]
    assert [one.step for one in gang.said(tmp_path / "1", CheckpointLoaded)] == [5]
    assert losses(tmp_path / "0") == losses(whole)
    resumed, uninterrupted = (gang.said(run, EpochEnded) for run in (tmp_path / "0", whole))
    assert len(resumed) == len(uninterrupted)
    for a, b in zip(resumed, uninterrupted, strict=True):
        assert (a.epoch, a.step, a.top1, a.top5) == (b.epoch, b.step, b.top1, b.top5)
        assert a.train_loss == b.train_loss
        assert a.val_loss == pytest.approx(b.val_loss, rel=1e-5)
    times = [epoch.elapsed_s for epoch in resumed]
    assert times == sorted(times)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(folder, whole, tmp_path):
    recipe = gang.recipe(folder, batch=4, epochs=3)
    assert gang.run(replace(recipe, max_steps=10), tmp_path, 3) == [0] * 3
    newest = tmp_path / "0/checkpoints/step-00000010.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    for rank in ("0", "1", "2"):
        (tmp_path / rank / "journal.jsonl").unlink()
    assert gang.run(recipe, tmp_path, 3) == [0] * 3
    [failed] = gang.said(tmp_path / "0", CheckpointFailed)
    assert failed.path == "checkpoints/step-00000010.pt"
    assert [one.step for one in gang.said(tmp_path / "0", CheckpointLoaded)] == [5]
    after = {step: loss for step, loss in losses(whole).items() if step > 5}
    assert losses(tmp_path / "0") == after


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(folder, tmp_path):
    recipe = gang.recipe(folder, batch=6)
    assert gang.run(recipe, tmp_path, 1, file_limit_bytes=200_000) == [0]  # a checkpoint has 2.7 MB
    assert [failed.reason for failed in gang.said(tmp_path / "0", CheckpointFailed)] == ["File too large"] * 2
    assert [end.reason for end in gang.said(tmp_path / "0", TrainingEnded)] == ["finished"]
    assert os.listdir(tmp_path / "0/checkpoints") == []


def test_the_run_stops_at_the_first_evaluation_that_reaches_the_target(folder, tmp_path):
    recipe = gang.recipe(folder, batch=6, epochs=40, target_metric="top1", target_value=0.6)
    assert gang.run(recipe, tmp_path, 2) == [0, 0]
    epochs = gang.said(tmp_path / "0", EpochEnded)
    [reached] = gang.said(tmp_path / "0", TargetReached)
    assert [epoch.top1 >= 0.6 for epoch in epochs] == [False] * (len(epochs) - 1) + [True]
    assert (reached.epoch, reached.step, reached.value) == (epochs[-1].epoch, epochs[-1].step, epochs[-1].top1)
    assert [end.reason for end in gang.said(tmp_path / "0", TrainingEnded)] == ["target"]
    assert gang.said(tmp_path / "0", CheckpointSaved)[-1].step == reached.step


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch": 30}, "global batch of 60 images (30 on each of 2 ranks) is bigger than the data set imagefolder "
                        "with its 50 training images"),
        ({"batch": 6, "batch_norm_group": 4}, "batch_norm_group 4 does not divide batch_size_per_gpu 6"),
        ({"batch": 6, "model": "resnet51"}, "unknown model 'resnet51'"),
        ({"batch": 6, "dataset": "fashion-mnist"}, "Fashion-MNIST"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(folder, tmp_path, changes, sentence):
    if changes.get("dataset") == "fashion-mnist":
        (tmp_path / "bad").mkdir()
        for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
            (tmp_path / "bad" / name).write_bytes(b"no idx")
        recipe = gang.recipe(tmp_path / "bad", **changes)
        sentence = "train-images-idx3-ubyte is not a whole idx file"
    else:
        recipe = gang.recipe(folder, **changes)
    assert gang.run(recipe, tmp_path, 2) == [1, 1]
    for rank in ("0", "1"):
        [failed] = gang.said(tmp_path / rank, RankFailed)
        assert sentence in failed.message
        stderr = (tmp_path / rank / "stderr").read_text()
        assert sentence in stderr
        assert stderr.count("\n") == 1
        assert "Traceback" not in stderr


def test_a_checkpoint_of_another_net_is_named(folder, tmp_path):
    other = gang.picture_folder(tmp_path / "other", train=24, val=VAL)
    for split in ("train", "val"):
        (other / split / "class-9").mkdir()
        shutil.copy(other / split / "class-0/0000.jpg", other / split / "class-9")
    assert gang.run(gang.recipe(folder, batch=6, epochs=1, max_steps=1), tmp_path, 1) == [0]
    assert gang.run(gang.recipe(other, batch=6, epochs=1, max_steps=2), tmp_path, 1) == [1]
    [failed] = gang.said(tmp_path / "0", RankFailed)
    assert "is of resnet-small on imagefolder with 7 classes" in failed.message
    assert "the run is of resnet-small on imagefolder with 8 classes" in failed.message


def test_a_killed_rank_ends_the_others_with_a_sentence(folder, tmp_path):
    gang_ = gang.start(gang.recipe(folder, batch=6, epochs=200), tmp_path, 3)
    gang_.wait_for(StepEnded)
    gang_.ranks[1].kill()
    assert gang_.join(30) == [1, -signal.SIGKILL, 1]
    for rank in ("0", "2"):
        assert "lost the other ranks" in gang.said(tmp_path / rank, RankFailed)[0].message
        assert "Traceback" not in (tmp_path / rank / "stderr").read_text()


def test_sigterm_ends_a_rank_at_once(folder, tmp_path):
    gang_ = gang.start(gang.recipe(folder, batch=6, epochs=200), tmp_path, 1)
    gang_.wait_for(StepEnded)
    os.kill(gang_.ranks[0].pid, signal.SIGTERM)
    assert gang_.join(2) == [-signal.SIGTERM]


def test_by_hand_under_torchrun(folder, tmp_path):
    job = Job(
        run_id="hand", node=0, nnodes=1, nproc_per_node=2, address="127.0.0.1", embedded=True,
        recipe=gang.recipe(folder, batch=6, epochs=1, max_steps=2),
    )  # fmt: skip
    (tmp_path / "job.json").write_text(job.to_json())
    arguments = [
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "remote.train",
        str(tmp_path / "job.json"),
        str(tmp_path),
    ]
    code, said = gang.torchrun(arguments, tmp_path)
    assert code == 0, said
    assert len(losses(tmp_path)) == 2
    assert len(gang.said(tmp_path, RankStarted)) == 2


def test_grouped_normalisation_is_that_of_several_devices():
    torch.manual_seed(1)
    features = torch.randn(12, 5, 6, 6)
    grouped = resnet.GroupedBatchNorm2d(5)
    grouped.group = 4
    devices = [torch.nn.BatchNorm2d(5) for _ in range(3)]
    for _ in range(3):
        out = grouped(features)
        parts = [device(part) for device, part in zip(devices, features.split(4), strict=True)]
    assert torch.allclose(out, torch.cat(parts), atol=1e-6)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(device, name) for device in devices]).mean(0)
        assert torch.allclose(getattr(grouped, name), mean, atol=1e-6)
    grouped.eval()
    assert torch.allclose(grouped(features[:2]), (features[:2] - grouped.running_mean.view(1, -1, 1, 1))
                          / (grouped.running_var.view(1, -1, 1, 1) + 1e-5).sqrt(), atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("name", ["resnet-small", "resnet18", "resnet50"])
def test_models_start_as_in_2018(name):
    model = resnet.build(name, classes=11)
    blocks = [module for module in model.modules() if type(module).__name__ in resnet.LAST_NORM]
    assert blocks
    for block in blocks:
        assert not getattr(block, resnet.LAST_NORM[type(block).__name__]).weight.any()
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.1)
    decayed, plain = optimizer.parameter_groups(model, 5e-5)
    norms = {id(p) for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    assert norms <= {id(parameter) for parameter in plain["params"]}
    assert plain["weight_decay"] == 0
    assert decayed["weight_decay"] == 5e-5
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))


def test_a_loss_that_is_no_number_is_said_as_unknown(folder, tmp_path):
    recipe = gang.recipe(folder, batch=6, epochs=1)
    wild = tuple(replace(phase, lr_start=1e12, lr_end=1e12) for phase in recipe.phases)
    assert gang.run(replace(recipe, phases=wild, momentum=0.99), tmp_path, 1) == [0]
    said = losses(tmp_path / "0")
    assert len(said) == 9
    assert said[1] is not None
    assert math.isfinite(said[1])
    assert said[9] is None
    assert gang.said(tmp_path / "0", TrainingEnded)[0].reason == "finished"


def test_an_unreadable_picture_is_named_and_replaced(tmp_path):
    root = gang.picture_folder(tmp_path / "data", train=14, val=8)
    bad = sorted(root.glob("train/*/*.jpg"))[3]
    bad.write_bytes(bad.read_bytes()[:40])
    assert gang.run(gang.recipe(root, batch=14, epochs=1), tmp_path, 1) == [0]
    [line] = [said for said in gang.said(tmp_path / "0", LogPrinted) if said.stream == "stderr"]
    assert str(bad) in line.text
    assert len(losses(tmp_path / "0")) == 1
