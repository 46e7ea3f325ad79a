"""The keys of `[run]` and `[[phase]]` that say how a net learns: what is accepted, and the sentence for what is not."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from console.profile.load import load, parse
from console.profile.schema import ProfileError
from remote.wire.job import Job
from remote.wire.schedule import Phase, lr_at, momentum_at, steps_per_epoch

GOOD = """\
# A title.
[fleet]
provider = "local"

[run]
model = "resnet-small"
nesterov = true
optimizer = "lars"

[data]
dataset = "shapes"

[[phase]]
epochs = [0, 4]
image_size = 24
batch_size_per_gpu = 16
lr = [0.4, 0.0]
shape = "cosine"
momentum = [0.98, 0.9]
"""


def parsed(text: str = GOOD, *overrides: str):
    return parse(text, path=Path("mine.toml"), overrides=overrides)


def test_they_come_to_the_recipe_and_through_a_job():
    overrides = (
        "run.trust_coefficient=0.002", "run.ema_decay=0.99", "run.ema_every=3", "run.blurpool=true",
        "run.precision=fp16", "run.gradient_precision=bf16", "run.compile=reduce-overhead",
    )  # fmt: skip
    recipe = parsed(GOOD, *overrides).recipe()
    job = Job(run_id="x", node=0, nnodes=1, nproc_per_node=1, recipe=recipe, address="")
    assert Job.from_json(job.to_json()).recipe == recipe
    assert (recipe.optimizer, recipe.trust_coefficient, recipe.nesterov) == ("lars", 0.002, True)
    assert (recipe.ema_decay, recipe.ema_every, recipe.blurpool, recipe.net) == (0.99, 3, True, "resnet-small+blurpool")
    assert (recipe.precision, recipe.gradient_precision, recipe.compile) == ("fp16", "bf16", "reduce-overhead")
    [phase] = recipe.phases
    assert (phase.shape, phase.momentum_start, phase.momentum_end) == ("cosine", 0.98, 0.9)


def test_a_profile_that_says_none_of_it_trains_as_before():
    text = "\n".join(line for line in GOOD.splitlines() if line.split(" ")[0] not in ("optimizer", "shape", "momentum"))
    recipe = parsed(text).recipe()
    assert (recipe.optimizer, recipe.ema_decay, recipe.net, recipe.precision) == ("sgd", 0.0, "resnet-small", "auto")
    assert (recipe.gradient_precision, recipe.compile) == ("fp32", "off")
    assert (recipe.phases[0].shape, recipe.phases[0].momentum_start) == ("linear", None)


WRONG = {
    "run.optimizer=adam": ("run.optimizer is 'adam'", "sgd or lars"),
    "run.trust_coefficient=0": ("run.trust_coefficient is 0.0", "above 0, up to 1"),
    "run.ema_decay=1": ("run.ema_decay is 1.0", "0 up to but not 1"),
    "run.ema_every=0": ("run.ema_every is 0", "1 to 10000 steps"),
    'run.blurpool="yes"': ("run.blurpool is 'yes'", "true or false"),
    "run.precision=half": ("run.precision is 'half'", "auto or bf16 or fp16 or fp32"),
    "run.gradient_precision=auto": ("run.gradient_precision is 'auto'", "fp32 or bf16 or fp16"),
    "run.compile=on": ("run.compile is 'on'", "off or default or reduce-overhead"),
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_word_is_one_sentence(override):
    with pytest.raises(ProfileError) as wrong:
        parsed(GOOD, override)
    assert str(wrong.value).startswith("profile mine.toml: ")
    for words in WRONG[override]:
        assert words in str(wrong.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"cosine"', '"square"', ("phase 1: shape is 'square'", "linear or cosine")),
        ('"cosine"', "true", ("phase 1: shape is true", "linear or cosine")),
        ("[0.98, 0.9]", "1", ("phase 1: momentum is 1", "0 up to but not 1, or [first, last]")),
        ("[0.98, 0.9]", "[0.9]", ("phase 1: momentum is [0.9]", "[first, last]")),
        ("[0.98, 0.9]", '"high"', ("phase 1: momentum is 'high'",)),
        ("[0.98, 0.9]", "[0.0, 0.9]", ("run.nesterov is true, and a momentum is 0",)),
        ("lr = [0.4, 0.0]", "lr = [0.4]", ("phase 1: lr is [0.4]", "[first, last] for a change")),
    ],
)
def test_a_wrong_phase_is_one_sentence(old, new, words):
    assert GOOD.count(old) == 1
    with pytest.raises(ProfileError) as wrong:
        parsed(GOOD.replace(old, new))
    for part in words:
        assert part in str(wrong.value)


@pytest.mark.parametrize("key", ["precision", "gradient_precision"])
@pytest.mark.parametrize("accelerator", ["V100", "T4"])
def test_bf16_is_asked_of_no_gpu_without_it(key, accelerator):
    words = rf"run.{key} is 'bf16', which a {accelerator} does not have; accepted is fp16 or"
    with pytest.raises(ProfileError, match=words):
        parsed(GOOD, f"run.accelerator={accelerator}", f"run.{key}=bf16")
    assert parsed(GOOD, "run.accelerator=L40S", f"run.{key}=bf16").run.accelerator == "L40S"


def test_a_cosine_is_flat_at_its_ends_and_half_way_in_the_middle():
    falling = Phase(
        start_epoch=0, end_epoch=4, image_size=24, batch_size_per_gpu=8, lr_start=0.4, lr_end=0.1, shape="cosine",
        momentum_start=0.98, momentum_end=0.9,
    )  # fmt: skip
    still = Phase(start_epoch=4, end_epoch=5, image_size=24, batch_size_per_gpu=8, lr_start=0.1, lr_end=0.1)
    phases = (falling, still)
    rates = [lr_at(phases, epoch, step, 100) for epoch in range(4) for step in range(1, 101)]
    assert rates == sorted(rates, reverse=True)
    assert 0.4 - rates[0] < 0.3 / 400 / 10  # a line would have gone a four-hundredth of the way
    assert lr_at(phases, 1, 100, 100) == pytest.approx(0.25)
    assert rates[-1] == pytest.approx(0.1)
    assert [momentum_at(phases, epoch, 100, 100, 0.5) for epoch in range(5)] == pytest.approx(
        [0.96, 0.94, 0.92, 0.9, 0.5]
    )


@pytest.mark.parametrize("name", ["imagenet-16x-p3", "imagenet-8x-p3", "imagenet-4x-p3", "imagenet-1x-p3"])
def test_the_recipes_of_2018_use_what_there_was_in_2018(name):
    recipe = load(name).recipe()
    assert (recipe.optimizer, recipe.nesterov, recipe.ema_decay, recipe.label_smoothing) == ("sgd", False, 0.0, 0.0)
    assert (recipe.blurpool, recipe.compile, recipe.momentum, recipe.weight_decay) == (False, "off", 0.9, 1e-4)
    assert all(phase.shape == "linear" for phase in recipe.phases)
    # fp16 with a scaled loss, and gradients in fp16: the V100 has no bf16.
    assert (recipe.precision, recipe.gradient_precision) == ("fp16", "fp16")
    # Only the announced run's code had another momentum, until its rate first fell.
    momenta = {phase.momentum_start for phase in recipe.phases[:2]}
    assert momenta == ({0.92} if name == "imagenet-16x-p3" else {None})
    assert {phase.momentum_start for phase in recipe.phases[2:]} == {None}


TODAY = ["imagenet-p4d", "imagenet-p5", "imagenet-p4d-1", "imagenet-p5-1", "imagenet-g6e"]


@pytest.mark.parametrize("name", TODAY)
def test_todays_recipes_are_of_one_piece(name):
    profile = load(name)
    recipe, phases = profile.recipe(), profile.phases
    batches = [phase.batch_size_per_gpu * profile.world_size for phase in phases]
    assert recipe.optimizer == ("lars" if max(batches) >= 16_000 else "sgd")
    assert recipe.nesterov
    assert recipe.label_smoothing == 0.1
    assert 0 < recipe.ema_decay < 1
    # Half of what the mean holds is younger than 100 steps of 2,048 pictures.
    assert recipe.ema_decay ** (100 * 2_048 / max(batches)) == pytest.approx(0.5, rel=0.02)
    assert (recipe.blurpool, recipe.precision, recipe.compile) == (False, "auto", "off")
    assert recipe.gradient_precision == ("bf16" if profile.fleet.nodes > 1 else "fp32")
    sizes = [phase.image_size for phase in phases]
    assert sizes[0] == 96
    assert sizes == sorted(sizes)
    assert [phase.rectangular for phase in phases] == [size == 288 for size in sizes]
    *whole, reserve = phases
    for before, after in itertools.pairwise(whole):
        assert before.lr_end == after.lr_start
        assert before.momentum_end == after.momentum_start
    assert whole[-1].lr_end < max(phase.lr_end for phase in phases) / 100
    assert reserve.lr_end <= whole[-1].lr_end


def test_the_recipe_for_128_gpus_is_that_of_its_source():
    """DAWNBench, alibabacloud_resnet50_gn6e_16_machine_tensorflow.json."""
    profile = load("imagenet-p4d")
    epochs = {}
    for phase in profile.phases[:-1]:
        epochs[phase.image_size] = epochs.get(phase.image_size, 0) + phase.end_epoch - phase.start_epoch
    assert epochs == {96: 13, 128: 11, 224: 3, 288: 1}
    assert {phase.batch_size_per_gpu * 128 for phase in profile.phases if phase.image_size < 288} == {32_768}
    images, peak = 1_281_167, 25.0
    rates = [lr_at(profile.phases, epoch, 40, 40) for epoch in range(28)]
    assert max(rates) == rates[13] == peak
    assert rates[6] == pytest.approx(0.2 + 24.8 / 2, rel=1e-3)
    assert rates[20] == pytest.approx(peak - 24.8 / 2, rel=1e-3)
    assert rates[27] == pytest.approx(0.2)
    assert momentum_at(profile.phases, 13, 40, 40, 0.0) == pytest.approx(0.9)
    assert momentum_at(profile.phases, 27, 79, 79, 0.0) == pytest.approx(0.98)
    assert steps_per_epoch(images, 32_768) == 40
    run = profile.run
    assert (run.trust_coefficient, run.weight_decay, run.nesterov, run.label_smoothing) == (0.0008, 1e-4, True, 0.1)
