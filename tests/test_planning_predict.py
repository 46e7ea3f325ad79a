"""Predictions: against the runs of 2018, against each other, and what is said where nothing is known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.catalog import throughput
from console.catalog.software import SOFTWARE_OF_2018, SOFTWARE_OF_TODAY
from console.journal.fastai2018_phases import phases_of
from console.journal.open_log import fold, open_log
from console.planning.predict import allreduce_s, predict
from console.planning.prediction import PhasePrediction, Prediction
from console.profile.load import builtin_names, load, parse
from console.profile.schema import Profile, ProfileError
from console.state.events import Record
from remote.data.packed import FULL, side_for
from remote.wire.events import StepEnded
from remote.wire.schedule import total_epochs

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
DEBUG_LOG = DATA / "fastai-2018" / "debug.log"
TABLE_16 = DATA / "dawnbench" / "fastai_resnet50_p3_16_machine_pytorch.tsv"
TABLE_8 = DATA / "dawnbench" / "fastai_resnet50_p3_8_machine_pytorch.tsv"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the logs of 2018 are not part of the project")

# 10 and 15 % are what is promised. The model is better than that, and a change that makes it worse should be seen.
TOTAL_WITHIN = 0.05
PHASE_WITHIN = 0.08


def of(profile: Profile) -> Prediction:
    prediction = predict(profile)
    assert prediction is not None
    return prediction


def profile_of(*phases: str, fleet: str = "", run: str = "", data: str = "") -> Profile:
    """A profile on p4d, with more keys in its sections."""
    return parse(
        f'[fleet]\nprovider = "aws"\nconnect = "private"\ninstance_type = "p4d.24xlarge"\n{fleet}\n'
        f'[run]\nmodel = "resnet50"\nnproc_per_node = 8\naccelerator = "A100"\n{run}\n'
        f'[data]\ndataset = "imagefolder"\ntrain_images = 1281167\n{data}\n' + "".join(phases),
        path=Path("mine.toml"),
    )


def phase_of(first: int = 0, end: int = 2, px: int = 224, batch: int = 128, rectangular: bool = False) -> str:
    return (
        f"[[phase]]\nepochs = [{first}, {end}]\nimage_size = {px}\nbatch_size_per_gpu = {batch}\nlr = 1.0\n"
        f"rectangular = {str(rectangular).lower()}\n"
    )


# --- the runs of 2018 ------------------------------------------------------------------------------------------------


def real_s(log: Path, prediction: Prediction) -> list[float]:
    """What the phases took whose epochs are all in the log."""
    ends = [0.0] + [epoch.event.elapsed_s for epoch in fold(log).epochs]
    marks = [0] + [phase.start_epoch + phase.epochs for phase in prediction.phases]
    return [ends[end] - ends[first] for first, end in pairwise(marks) if end < len(ends)]


@needs_data
def test_the_run_on_16_machines() -> None:
    prediction = of(load("imagenet-16x-p3"))
    real = real_s(TABLE_16, prediction)
    ours = [phase.total_s for phase in prediction.phases][: len(real)]
    # Its clock starts with the process.
    ours[0] += prediction.startup_s
    assert len(real) == 6
    assert ours == pytest.approx(real, rel=PHASE_WITHIN)
    assert prediction.to_target_s == pytest.approx(18.09 * 60, rel=TOTAL_WITHIN)
    # Seconds an epoch in its four kinds of phase, its stalls aside.
    assert [phase.epoch_s for phase in prediction.phases[:4]] == pytest.approx([27.0, 16.3, 36.0, 27.3], rel=0.08)


@needs_data
def test_the_run_on_8_machines() -> None:
    prediction = of(load("imagenet-8x-p3"))
    real = real_s(DEBUG_LOG, prediction)
    assert len(real) == 7
    # Its clock starts after the loaders were built.
    assert [phase.total_s for phase in prediction.phases] == pytest.approx(real, rel=PHASE_WITHIN)
    assert prediction.total_s - prediction.startup_s == pytest.approx(sum(real), rel=TOTAL_WITHIN)
    assert prediction.to_target_s is not None
    assert prediction.to_target_s - prediction.startup_s == pytest.approx(18.88 * 60, rel=TOTAL_WITHIN)


@needs_data
def test_steps_on_8_machines() -> None:
    """In the middle of epochs, between two lines of the log, which stand five steps apart."""
    said = [item for item in open_log(DEBUG_LOG).items() if isinstance(item, Record)]
    steps = [(item.t, item.event) for item in said if isinstance(item.event, StepEnded)]
    for phase in of(load("imagenet-8x-p3")).phases:
        between = [
            (t - before_t) / (step.step - before.step)
            for (before_t, before), (t, step) in pairwise(steps)
            if step.epoch == before.epoch
            and phase.start_epoch <= step.epoch < phase.start_epoch + phase.epochs
            and step.epoch_step < step.steps_per_epoch
        ]
        assert phase.step_s == pytest.approx(median(between), rel=0.03)


def test_what_the_run_on_16_machines_cost_both_ways() -> None:
    profile = load("imagenet-16x-p3")
    seconds = of(profile).to_target_s
    fleet = profile.fleet
    assert seconds is not None
    assert fleet.usd_per_h is not None
    assert fleet.usd_per_h_on_demand is not None
    assert fleet.nodes * fleet.usd_per_h_on_demand * seconds / 3600 == pytest.approx(118.07, rel=TOTAL_WITHIN)
    assert fleet.nodes * fleet.usd_per_h * seconds / 3600 == pytest.approx(35.8, rel=TOTAL_WITHIN)


def test_the_run_on_4_machines_to_which_nothing_is_fitted() -> None:
    """Its epochs in DAWNBench's table; the clock starts after the loaders were built."""
    prediction = of(load("imagenet-4x-p3"))
    ends = {6: 0.06395, 11: 0.10810, 13: 0.12356, 16: 0.18959, 24: 0.34440, 29: 0.49509}
    ours = [prediction.until_s(epoch) - prediction.startup_s for epoch in ends]
    assert ours == pytest.approx([hours * 3600 for hours in ends.values()], rel=TOTAL_WITHIN)
    assert prediction.to_target_epoch == 29


def later(nodes: int, *phases: str) -> Prediction:
    """A recipe of today on V100: what ran it is not the software of 2018."""
    fleet = f'instance_type = "p3.16xlarge"\nnodes = {nodes}'
    text = profile_of(*phases, run="label_smoothing = 0.1").text
    text = text.replace('instance_type = "p4d.24xlarge"', fleet).replace('"A100"', '"V100"')
    return of(parse(text, path=Path("v100.toml")))


@pytest.mark.parametrize(
    ("nodes", "first", "second", "third", "minutes"), [(16, 13, 24, 27, 2.63), (1, 12, 18, 20, 21.63)]
)
def test_the_runs_of_2020_on_v100_to_which_nothing_is_fitted(
    nodes: int, first: int, second: int, third: int, minutes: float
) -> None:
    """Alibaba's two. Their first epoch is as short as the second: a clock without start-up and search for kernels."""
    prediction = later(
        nodes,
        phase_of(0, first, 96, 256),
        phase_of(first, second, 128, 256),
        phase_of(second, third, 224, 256),
        phase_of(third, third + 1, 288, 128, rectangular=True),
    )
    warm_s = sum(phase.train_s + phase.eval_s for phase in prediction.phases)
    assert warm_s == pytest.approx(minutes * 60, rel=0.12)


def test_v100_is_of_2018_where_nothing_in_the_recipe_came_later() -> None:
    plain = load("imagenet-1x-p3")
    assert any("software of 2018" in sentence for sentence in of(plain).assumptions)
    for change in ('run.optimizer="lars"', "run.nesterov=true", "run.label_smoothing=0.1", "run.ema_decay=0.9"):
        since = of(load("imagenet-1x-p3", [change]))
        assert not any("software of 2018" in sentence for sentence in since.assumptions)
        assert since.total_s < 0.7 * of(plain).total_s


def test_steps_and_batches_of_the_recipes_of_2018() -> None:
    table = {
        name: [(phase.image_size, phase.batch, phase.steps_per_epoch) for phase in of(load(name)).phases]
        for name in ("imagenet-16x-p3", "imagenet-8x-p3", "imagenet-4x-p3", "imagenet-1x-p3")
    }
    assert table["imagenet-16x-p3"] == [
        (128, 8_192, 157),
        (128, 16_384, 79),
        (224, 8_192, 157),
        (224, 24_576, 53),
        (224, 24_576, 53),
        (288, 16_384, 79),
        (288, 16_384, 79),
    ]
    assert table["imagenet-8x-p3"] == [(128, 8_192, 157)] + [(128, 16_384, 79)] * 2 + [(224, 8_192, 157)] + [
        (224, 14_336, 90)
    ] * 2 + [(288, 8_192, 157)]
    assert table["imagenet-4x-p3"] == [(128, 8_192, 157)] + [(128, 16_384, 79)] * 2 + [(224, 7_168, 179)] * 3 + [
        (288, 4_096, 313)
    ]
    assert table["imagenet-1x-p3"] == [(128, 4_096, 313)] * 2 + [(224, 1_792, 715)] * 2 + [(288, 1_024, 1252)]


@needs_data
def test_the_recipe_on_8_machines_is_that_of_its_log() -> None:
    ours = load("imagenet-8x-p3").phases
    with DEBUG_LOG.open() as log:
        theirs = phases_of(log.readline())
    assert [replace(phase, lr_start=0.0, lr_end=0.0) for phase in ours] == [
        replace(phase, lr_start=0.0, lr_end=0.0) for phase in theirs
    ]
    assert [(phase.lr_start, phase.lr_end) for phase in ours] == [
        pytest.approx((phase.lr_start, phase.lr_end)) for phase in theirs
    ]


@needs_data
def test_the_record_on_8_machines_is_in_its_table() -> None:
    profile = load("imagenet-8x-p3")
    record = profile.record
    assert record is not None
    rows = {round(epoch.event.elapsed_s): (epoch.event.top1, epoch.event.top5) for epoch in fold(TABLE_8).epochs}
    for mark in record.curve:
        assert (mark.top1, mark.top5) == pytest.approx(rows[round(mark.elapsed_s)], abs=1e-4)
    assert record.epochs_to_target == next(
        place
        for place, epoch in enumerate(fold(TABLE_8).epochs, 1)
        if epoch.event.top5 is not None and epoch.event.top5 >= 0.93
    )


def test_rates_of_4_and_1_machines_rise_and_fall_as_their_code_says() -> None:
    four, one = load("imagenet-4x-p3"), load("imagenet-1x-p3")
    assert [total_epochs(profile.phases) for profile in (four, one)] == [30, 28]
    assert [phase.lr_start for phase in four.phases] == [2.0, 4.0, 4.0, 1.75, 1.75, 0.175, 0.01]
    assert [phase.lr_end for phase in one.phases] == [2.0, 0.25, 0.04375, 0.004375, 0.00025]


def test_without_a_record_the_target_is_taken_at_the_last_size_and_said_so() -> None:
    prediction = of(replace(load("imagenet-4x-p3"), record=None))
    assert prediction.to_target_epoch == 29
    assert any("taken to fall in epoch 29" in sentence for sentence in prediction.assumptions)
    assert of(load("imagenet-1x-p3")).to_target_epoch == 26
    other = profile_of(phase_of(), run='target = { metric = "top1", value = 0.7 }')
    assert (of(other).to_target_epoch, of(other).to_target_s) == (None, None)


def test_a_records_epochs_are_within_the_profile() -> None:
    with pytest.raises(ProfileError, match=r"record\.epochs_to_target is 51; accepted is 1 to the profile's 50 epochs"):
        load("imagenet-16x-p3", ["record.epochs_to_target=51"])
    assert of(load("imagenet-16x-p3", ["record.epochs_to_target=6"])).to_target_epoch == 6


def test_fewer_hosts_of_2018_take_longer_and_none_of_them_is_sixteen_times_as_fast() -> None:
    minutes = [of(load(f"imagenet-{number}x-p3")).total_s / 60 for number in (1, 4, 8)]
    assert minutes == sorted(minutes, reverse=True)
    assert minutes[0] < 8 * minutes[2]


# --- today -----------------------------------------------------------------------------------------------------------


def test_p5_has_assumptions_and_what_matters_most() -> None:
    prediction = of(load("imagenet-p5"))
    assert prediction.world_size == 128
    assert any("not measured" in sentence for sentence in prediction.assumptions)
    assert any("computing alone would take" in sentence for sentence in prediction.assumptions)
    assert len(prediction.sensitivity) >= 2
    weights = [max(abs(one.less_s), abs(one.more_s)) for one in prediction.sensitivity]
    assert weights == sorted(weights, reverse=True)
    assert prediction.sensitivity[0].what == "pictures a second of a GPU"
    assert prediction.sensitivity[0].more_s < 0 < prediction.sensitivity[0].less_s
    start_up = next(one for one in prediction.sensitivity if one.what == "start-up")
    # Start-up takes 30 s, of which a fifth is 6 s.
    assert (start_up.less_s, start_up.more_s) == pytest.approx((-6.0, 6.0))
    # Computing at MLPerf's rates takes 15 s for a recipe of this size on 128 H100; nobody has done it under a minute.
    assert prediction.to_target_s is not None
    assert 60 < prediction.to_target_s < 300


@pytest.mark.parametrize("name", [name for name in builtin_names() if name.startswith("imagenet-")])
def test_every_imagenet_profile_has_a_prediction(name: str) -> None:
    whole(of(load(name)))


def test_the_instances_way_is_billed_and_not_on_the_trainers_clock() -> None:
    rented = of(profile_of(phase_of()))
    assert rented.boot_s > 0
    assert rented.total_s == pytest.approx(rented.startup_s + sum(phase.total_s for phase in rented.phases))


def test_a_run_that_is_cut_off_is_predicted_so_far() -> None:
    steps = of(profile_of(phase_of())).phases[0].steps_per_epoch
    (cut,) = of(profile_of(phase_of(), phase_of(2, 4), run="max_steps = 100")).phases
    assert (cut.steps, cut.epochs, cut.eval_s) == (100, 1, 0)
    first, second = of(profile_of(phase_of(), phase_of(2, 4), run=f"max_steps = {3 * steps}")).phases
    assert (first.steps, second.steps, second.epochs) == (2 * steps, steps, 1)
    assert second.eval_s == pytest.approx(first.eval_s / 2)


def test_what_holds_a_step_up() -> None:
    (plain,) = of(profile_of(phase_of())).phases
    assert (plain.bound, plain.loader_s) == ("compute", 0.0)
    (starved,) = of(profile_of(phase_of(), data="loader_workers = 1")).phases
    assert (starved.bound, starved.compute_s) == ("loader", plain.compute_s)
    assert starved.loader_s > 0
    assert starved.step_s > plain.step_s
    assert of(load("imagenet-16x-p3")).phases[0].bound == "network"


def test_todays_switches_cost_the_new_shapes_and_nothing_else() -> None:
    same = of(profile_of(phase_of(0, 2), phase_of(2, 4), phase_of(4, 6, batch=64)))
    assert same.phases[0].switch_s > 0
    assert same.phases[1].switch_s == 0
    assert 0 < same.phases[2].switch_s < same.phases[0].switch_s


RATES = {
    "pictures a second of a GPU": of(load("imagenet-p5")),
    # The ring over Ethernet is all that these small batches wait for.
    "network bandwidth between hosts": of(load("imagenet-16x-p3")),
    "decoding rate of a host": of(profile_of(phase_of(), data="loader_workers = 1")),
}
COSTS = {
    # A step of 8 pictures takes as long as its kernels take to be launched.
    "fixed cost and launch of a step": of(profile_of(phase_of(batch=8))),
    "search for kernels at a switch": of(profile_of(*(phase_of(n, n + 1, 96 + 8 * n, 256) for n in range(20)))),
    "start-up": of(load("imagenet-p5")),
}


def weight_of(what: str, prediction: Prediction) -> tuple[float, float]:
    """What a fifth less and a fifth more of an input change, in seconds."""
    (weight,) = [weight for weight in prediction.sensitivity if weight.what == what]
    return weight.less_s, weight.more_s


@pytest.mark.parametrize("what", RATES)
def test_a_lower_rate_makes_a_run_longer_and_a_higher_one_shorter(what: str) -> None:
    less_s, more_s = weight_of(what, RATES[what])
    assert more_s < -0.5
    assert less_s > 0.5
    # A time goes with the reciprocal of a rate: 1 / 0.8 is further from 1 than 1 / 1.2.
    assert less_s > -more_s


@pytest.mark.parametrize("what", COSTS)
def test_a_lower_cost_makes_a_run_shorter_and_a_higher_one_longer(what: str) -> None:
    less_s, more_s = weight_of(what, COSTS[what])
    assert less_s < -0.5
    assert more_s > 0.5


@pytest.mark.parametrize(
    ("px", "batch", "shapes"),
    [
        # 50,000 pictures are 6,250 for each of 8 GPUs: full batches, and what is left for the last one.
        (128, 64, (512, 106)),
        (129, 64, (256, 106)),
        (224, 64, (256, 106)),
        (225, 64, (128, 106)),
        # Not smaller than the batch of the training.
        (128, 600, (600, 250)),
        (288, 200, (200, 50)),
    ],
)
def test_the_search_for_kernels_is_for_the_batches_of_the_evaluation_too(
    px: int, batch: int, shapes: tuple[int, int]
) -> None:
    a100 = throughput.find("A100")
    assert a100 is not None
    (phase,) = of(profile_of(phase_of(0, 1, px, batch))).phases
    # For each shape a second and 28 times its computing; forward passes are a third of a step.
    training_s = 1.0 + 28 * batch * a100.image_s(px)
    evaluation_s = sum((1.0 + 28 * shape * a100.image_s(px)) / 3 for shape in shapes)
    assert phase.switch_s == pytest.approx(training_s + evaluation_s)


# --- where too little is known ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "profile",
    [
        load("local"),
        load("local-fashion-mnist"),
        load("imagenet-p5", ['run.model="resnet101"']),
        load("imagenet-p5", ["run.accelerator=TPU"]),
        load("imagenet-p5", ["data.dataset=shapes", "data.train_images=1281167"]),
    ],
    ids=["local", "fashion-mnist", "another model", "another chip", "another data set"],
)
def test_nothing_is_said_where_nothing_is_known(profile: Profile) -> None:
    assert predict(profile) is None


def test_nothing_is_said_of_a_data_set_without_a_size() -> None:
    profile = profile_of(phase_of())
    assert predict(replace(profile, data=replace(profile.data, train_images=None))) is None


def test_a_type_says_its_gpu() -> None:
    profile = profile_of(phase_of())
    unsaid = replace(profile, run=replace(profile.run, accelerator="cpu"))
    assert of(unsaid).gpu == "A100"


def test_hosts_of_an_unknown_type_are_predicted_with_assumptions() -> None:
    text = profile_of(phase_of()).text
    hosts = 'provider = "static"\nhosts = ["a", "b"]'
    static = parse(
        text.replace('provider = "aws"\nconnect = "private"\ninstance_type = "p4d.24xlarge"', hosts),
        path=Path("s.toml"),
    )
    prediction = of(static)
    assert (prediction.nodes, prediction.boot_s) == (2, 0)
    assert any(sentence.startswith("Nothing is known of the hosts") for sentence in prediction.assumptions)
    assert prediction.total_s > of(profile_of(phase_of(), fleet="nodes = 2")).total_s


def test_another_number_of_pictures_has_its_own_validation() -> None:
    profile = profile_of(phase_of())
    fewer = of(replace(profile, data=replace(profile.data, train_images=10_000)))
    assert any(sentence.startswith("390 validation images") for sentence in fewer.assumptions)
    assert fewer.phases[0].eval_s < of(profile).phases[0].eval_s


# --- the ring and the tables -----------------------------------------------------------------------------------------


def test_the_ring() -> None:
    no_hops = replace(SOFTWARE_OF_TODAY, far_hop_s=0.0, near_hop_s=0.0)
    gradients = throughput.GRADIENT_BYTES
    assert allreduce_s(1, 1, 10.0, 100.0, SOFTWARE_OF_TODAY) == 0
    assert allreduce_s(2, 1, 10.0, 100.0, no_hops) == pytest.approx(gradients / 100e9)
    assert allreduce_s(8, 2, 10.0, 100.0, no_hops) == pytest.approx(2 * 15 / 16 * gradients / 10e9)
    assert allreduce_s(8, 2, 1000.0, 100.0, no_hops) == pytest.approx(2 * 15 / 16 * gradients / 100e9)
    # One hop more between hosts and one within a host, there and back, for each of the 25 MB buckets.
    slower = allreduce_s(2, 2, 10.0, 100.0, SOFTWARE_OF_2018) - allreduce_s(
        2, 2, 10.0, 100.0, replace(SOFTWARE_OF_2018, far_hop_s=0.0, near_hop_s=0.0)
    )
    buckets = math.ceil(gradients / 2**20 / 25)
    assert slower == pytest.approx(buckets * (2 * 100e-6 + 4 * 5e-6))


def test_tables_say_the_published_rates() -> None:
    # NVIDIA, 8 V100 in one host, pytorch-18.09: 5,815.8 img/s at batch 256 each, its all-reduce about a millisecond.
    v100 = throughput.find("V100")
    assert v100 is not None
    assert v100.img_per_s(224, 256) == pytest.approx(5815.8 / 8, rel=0.02)
    assert all(row.source and row.link_gb_s > 0 for row in throughput.GPUS.values())
    for name, rate in (("A100", 2078), ("L40S", 1850), ("H100", 0.61 * 7170), ("H200", 0.61 * 7950)):
        row = throughput.find(name)
        assert row is not None
        assert row.img_per_s(224, 256) == pytest.approx(rate, rel=0.001)


@pytest.mark.parametrize("row", throughput.GPUS.values(), ids=lambda row: row.gpu)
def test_a_larger_picture_takes_longer_to_train_and_to_decode(row: throughput.Throughput) -> None:
    sizes = range(8, 2049)
    assert all(row.image_s(small) < row.image_s(large) for small, large in pairwise(sizes))
    decoding = [throughput.decode_s(throughput.copy_px(px), px) for px in sizes]
    assert all(small < large for small, large in pairwise(decoding))
    for packed in (True, False):
        loading = [throughput.load_s(px, packed=packed) for px in sizes]
        assert all(small < large for small, large in pairwise(loading))


def test_plan_knows_which_copy_of_a_packed_set_is_read() -> None:
    for px in range(8, 600):
        assert (throughput.packed_copy_px(px) or FULL) == side_for((*throughput.COPIES_PX, FULL), px)


def test_a_packed_set_is_loaded_sooner_and_where_that_decides_the_run_is_shorter() -> None:
    assert all(throughput.load_s(px, packed=True) < throughput.load_s(px, packed=False) for px in (96, 128, 224, 288))
    packed = load("imagenet-g6e")
    assert packed.data.dataset == "packed"
    few = replace(packed, data=replace(packed.data, loader_workers=2))
    files = replace(few, data=replace(few.data, dataset="imagefolder"))
    by_packed, by_files = predict(few), predict(files)
    assert by_packed is not None
    assert by_files is not None
    assert all(phase.bound == "loader" for phase in by_files.phases)
    assert by_packed.total_s < by_files.total_s
    assert any("the pictures' files as they are" in text for text in by_files.assumptions)
    assert any("copies of 160 and 352 px" in text for text in by_packed.assumptions)


# --- any profile -----------------------------------------------------------------------------------------------------

FLEETS = st.sampled_from(["p3.16xlarge", "p4d.24xlarge", "p5.48xlarge", "g5.48xlarge", "g6e.48xlarge"])
GPUS = {"p3": "V100", "p4d": "A100", "p5": "H100", "g5": "A10G", "g6e": "L40S"}
SIZES = st.integers(32, 512)


def drawn(instance: str, nodes: int, phases: list[tuple[int, int, int]], rectangular: bool) -> Profile:
    ends = list(accumulate(epochs for epochs, _, _ in phases))
    text = [
        phase_of(end - epochs, end, px, batch, rectangular)
        for end, (epochs, px, batch) in zip(ends, phases, strict=True)
    ]
    profile = profile_of(*text, fleet=f"nodes = {nodes}")
    return replace(
        profile,
        fleet=replace(profile.fleet, instance_type=instance),
        run=replace(profile.run, accelerator=GPUS[instance.split(".")[0]]),
    )


def whole(prediction: Prediction) -> None:
    """Asserts that the parts add up, and that each is a time."""
    for phase in prediction.phases:
        assert phase.step_s == pytest.approx(phase.compute_s + phase.allreduce_s + phase.loader_s)
        assert phase.total_s == pytest.approx(phase.train_s + phase.eval_s + phase.checkpoint_s + phase.switch_s)
        assert phase.train_s >= phase.steps * phase.step_s * (1 - 1e-9)
        assert phase.img_per_s == pytest.approx(phase.batch / phase.step_s)
        assert phase.img_per_s_per_gpu == pytest.approx(phase.img_per_s / prediction.world_size)
        parts = (phase.allreduce_s, phase.loader_s, phase.eval_s, phase.checkpoint_s, phase.switch_s)
        assert all(math.isfinite(part) and part >= 0 for part in parts)
        assert all(math.isfinite(part) and part > 0 for part in (phase.compute_s, phase.train_s, phase.img_per_s))
    assert prediction.total_s == pytest.approx(prediction.startup_s + sum(one.total_s for one in prediction.phases))
    assert math.isfinite(prediction.total_s)
    assert prediction.total_s > prediction.startup_s > 0
    last = prediction.phases[-1]
    clock = [prediction.until_s(epochs) for epochs in range(last.start_epoch + last.epochs + 1)]
    assert all(before < after for before, after in pairwise(clock))
    assert (clock[0], clock[-1]) == pytest.approx((prediction.startup_s, prediction.total_s))
    if prediction.to_target_s is not None:
        assert prediction.startup_s < prediction.to_target_s <= prediction.total_s * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    instance=FLEETS,
    nodes=st.integers(1, 64),
    phases=st.lists(st.tuples(st.integers(1, 9), SIZES, st.integers(1, 512)), min_size=1, max_size=6),
    rectangular=st.booleans(),
)
def test_parts_add_up(instance: str, nodes: int, phases: list[tuple[int, int, int]], rectangular: bool) -> None:
    whole(of(drawn(instance, nodes, phases, rectangular)))


def computing_s(phase: PhasePrediction) -> float:
    return phase.steps * phase.compute_s


@settings(max_examples=60, deadline=None)
@given(instance=FLEETS, nodes=st.integers(1, 63), more=st.integers(1, 64), px=SIZES, batch=st.integers(1, 512))
def test_more_nodes_never_compute_longer(instance: str, nodes: int, more: int, px: int, batch: int) -> None:
    (few,) = of(drawn(instance, nodes, [(3, px, batch)], False)).phases
    (many,) = of(drawn(instance, nodes + more, [(3, px, batch)], False)).phases
    assert computing_s(many) <= computing_s(few)
    assert many.compute_s == few.compute_s


@settings(max_examples=60, deadline=None)
@given(
    instance=FLEETS,
    nodes=st.integers(1, 32),
    px=SIZES,
    larger=st.integers(1, 256),
    batch=st.integers(1, 512),
    rectangular=st.booleans(),
)
def test_larger_pictures_are_never_faster(
    instance: str, nodes: int, px: int, larger: int, batch: int, rectangular: bool
) -> None:
    (small,) = of(drawn(instance, nodes, [(3, px, batch)], rectangular)).phases
    (large,) = of(drawn(instance, nodes, [(3, px + larger, batch)], rectangular)).phases
    assert large.step_s >= small.step_s * (1 - 1e-9)
    assert large.train_s >= small.train_s * (1 - 1e-9)
    assert large.eval_s >= small.eval_s * (1 - 1e-9)
