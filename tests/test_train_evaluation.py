"""When a run is evaluated, and how."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import gang
import numpy as np
import pytest
import torch
from run_story import trained
from test_planning_predict import of, phase_of, profile_of

from console.profile.schema import ProfileError
from console.reports import export, story
from console.views import progress
from remote.data.batch_plan import Request
from remote.data.batch_reader import Reader
from remote.data.datasets import open_sources
from remote.model import learner, resnet
from remote.train import checkpoint
from remote.wire.events import EpochEnded, EvaluationProgressed, LogPrinted, TargetReached, TrainingEnded

TRAIN, VAL = 21, 15


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), TRAIN, VAL)


def test_epochs_before_eval_from_are_not_evaluated_and_the_last_one_is(pictures, tmp_path):
    recipe = gang.recipe(
        pictures, batch=7, epochs=4, eval_from=2, target_metric="top5", target_value=0.001, checkpoint_epochs=9
    )
    assert gang.run(recipe, tmp_path / "two", 1) == [0]
    epochs = gang.said(tmp_path / "two/0", EpochEnded)
    assert [(one.epoch, one.top5 is None, one.val_images, one.eval_s is None) for one in epochs] == [
        (0, True, None, True), (1, True, None, True), (2, False, VAL, False),
    ]  # fmt: skip
    assert all(one.train_loss is not None and one.img_per_s is not None for one in epochs)
    [reached] = gang.said(tmp_path / "two/0", TargetReached)  # that any evaluation would reach, and none did before
    assert reached.epoch == 2

    assert gang.run(replace(recipe, eval_from=9, target_metric=None), tmp_path / "last", 1) == [0]
    assert [one.top5 is None for one in gang.said(tmp_path / "last/0", EpochEnded)] == [True, True, True, False]
    assert {one.epoch for one in gang.said(tmp_path / "last/0", EvaluationProgressed)} == {3}
    assert gang.said(tmp_path / "last/0", TrainingEnded)[0].reason == "finished"


def test_a_picture_and_its_mirror_image_count_together(pictures, tmp_path):
    recipe = gang.recipe(pictures, batch=7, epochs=1, eval_flip=True)
    assert gang.run(recipe, tmp_path, 2) == [0, 0]
    [epoch] = gang.said(tmp_path / "0", EpochEnded)
    once, twice = by_hand(pictures, tmp_path / "0")
    assert (epoch.val_loss, epoch.top1, epoch.top5) == tuple(pytest.approx(one, rel=1e-5) for one in twice)
    assert once[0] != pytest.approx(twice[0], rel=1e-5)
    assert epoch.val_images == VAL
    assert any("mirror image" in line.text for line in gang.said(tmp_path / "0", LogPrinted))


def by_hand(pictures: Path, folder: Path) -> list[tuple[float, float, float]]:
    """Loss, top-1 and top-5 of the saved net over pictures as they are, and with their mirror images."""
    found = checkpoint.load_newest(folder, lambda path, reason: pytest.fail(reason))
    assert found is not None
    model = resnet.build("resnet-small", gang.CLASSES)
    model.load_state_dict(checkpoint.unpack(found[1])["model"])
    model.eval()
    _, validation = open_sources(gang.recipe(pictures, batch=7), lambda done, total: None)
    request = Request(np.arange(VAL), 16, 16)
    pixels, labels = Reader(validation, 0).batch(request, lambda index, text: pytest.fail(text))
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) * 255 for numbers in (learner.MEAN, learner.STD))
    inputs = (pixels.permute(0, 3, 1, 2).float() - mean) / std
    answers = []
    with torch.inference_mode():
        plain, mirrored = model(inputs), model(inputs.flip(3))
    for scores in (plain, (plain + mirrored) / 2):
        hits = scores.topk(5).indices == labels[:, None]
        loss = torch.nn.functional.cross_entropy(scores, labels)
        answers.append((loss.item(), hits[:, 0].float().mean().item(), hits.any(1).float().mean().item()))
    return answers


def test_an_epoch_that_was_not_evaluated_is_drawn_as_unknown():
    run = trained(epochs=3).run
    first, *rest = run.epochs
    best = progress.best(run, "top5")
    unknown = replace(first.event, top1=None, top5=None, val_loss=None, val_images=None)
    run = replace(run, epochs=(replace(first, event=unknown), *rest))
    assert progress.best(run, "top5") == best
    [row] = [line for line in story.story(run).splitlines() if line.startswith("    0 ")]
    assert row.count("—") == 2
    out = io.StringIO()
    export.write_tsv(run, out)
    assert out.getvalue().splitlines()[1].endswith("\t\t")


def test_a_plan_counts_the_evaluations_that_there_will_be():
    phases = phase_of(0, 6), phase_of(6, 8)
    every, few, both = (of(profile_of(*phases, run=keys)) for keys in ("", "eval_from = 3", "eval_flip = true"))
    kept_s = [phase.eval_s for phase in every.phases]
    assert kept_s[0] / 2 < few.phases[0].eval_s < kept_s[0] * 0.6  # the end of an epoch takes its time all the same
    assert few.phases[1].eval_s == kept_s[1]
    assert both.phases[0].eval_s >= kept_s[0]
    last = of(profile_of(*phases, run="eval_from = 7"))
    assert last.phases[0].eval_s < 0.1 * kept_s[0]
    assert last.phases[1].eval_s > 0.5 * kept_s[1] - 0.001


@pytest.mark.parametrize("value", ["-1", "2", "true", "1.5"])
def test_a_wrong_eval_from_is_one_sentence(value):
    with pytest.raises(ProfileError, match=r"run\.eval_from is"):
        profile_of(phase_of(), run=f"eval_from = {value}")
