"""How long a profile's run takes, from a model: seconds for every phase, and why.

Pure: a checked profile in, a `Prediction` out. It knows ResNet-50 on ImageNet-like folders of pictures, on the GPUs of
`console.catalog.throughput`; for anything else the prediction is None.

**A step** of b pictures of s px on each of n GPUs, g on each of N hosts::

    compute    C = max(l, f + b * a(s))            l, f, a(s): console.catalog.throughput
    all-reduce T = 2 (n-1)/n * G / w + k * (2 (N-1) * h_far + (2 (n-1) - 2 (N-1)) * h_near)
    exposed    E = T - o * min(T, 2/3 * max(l, b * a(s)))
    loader     D = b * g * d(s) * q / v
    step       max(C + E, D)

G is the gradients' bytes, w the bus bandwidth of the ring (of a host's network, or of its links where there is one host
only), k the buckets of 25 MB that DDP sends, h what a hop costs between hosts and within one, o the share of the
all-reduce that really runs beside the backward pass (two thirds of the work). d(s) is a core's time for a picture, v
the host's vCPUs, q how much longer it takes with all of them at work. `PhasePrediction` gives C, E and what D adds.

**An epoch** has ``ceil(pictures / (b n))`` such steps; the start of its loader (2018: new workers and the first batch
of each, ``0.85 s + b * d * q``; ours stay); an evaluation of m pictures (start; decoding ``m / N * d * q / v``; forward
passes ``m / n * a(s) / 3``, over 4/3 of the area where it is rectangular; one after the other in 2018, side by side
today); and a pause for the checkpoint.

**A phase** begins with cuDNN's search for its fastest kernels, once for every shape of batch that is new:
``t + 28 * b * a(s)`` for training and a third of that for an evaluation. In 2018 the last batch of an epoch was
smaller, which made a second shape, and a rectangular evaluation has almost as many shapes as batches. Loaders that are
warm cost nothing at a switch, and those of 2018 no more than at the start of any epoch.

**The run** is its start-up and its phases on the trainer's clock, which is what a record counts. Getting the instances
(`BOOT_S`) and bringing the data set to them is billed and comes before: it is not in `total_s`.

The GPUs' figures are in `console.catalog.throughput`, all other constants in `console.catalog.software`; both say where
they are from. V100 on p3 instances is predicted with the software of 2018, all else with that of today
(`console.planning.inputs`). ``bench/predict.py`` shows logs and model side by side. What is assumed and not measured is
listed in `Prediction.assumptions` (`console.planning.assumptions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from console.catalog import throughput
from console.catalog.software import LARGE_PX, Software
from console.planning.assumptions import BOOT_S, assumptions
from console.planning.inputs import IMAGENET_IMAGES, Setting, setting_of
from console.planning.prediction import PhasePrediction, Prediction, Sensitivity, until_s
from console.profile.schema import Profile
from remote.wire.schedule import Phase, steps_per_epoch

BUCKET_BYTES: Final = 25 * 2**20
"""DDP's default."""
BACKWARD_SHARE: Final = 1 - throughput.FORWARD_SHARE
RECTANGLE: Final = 4 / 3
"""Mean area of a rectangular evaluation's pictures by that of the square."""
MOST_SHAPES: Final = 12
"""Shapes of a rectangular evaluation: long sides step by 8 px, and most photographs are 4:3 or 3:2."""
SWING: Final = 0.2
"""By how much of itself `Prediction.sensitivity` changes each input."""
LISTED: Final = 3
"""How many inputs `Prediction.sensitivity` lists."""


def predict(profile: Profile) -> Prediction | None:
    """The prediction for a profile; None where too little is known of the hosts, the model or the data."""
    setting = setting_of(profile)
    if setting is None:
        return None
    phases = tuple(_phases(setting))
    target = _target_epoch(profile)
    return Prediction(
        gpu=setting.gpu.gpu,
        nodes=setting.nodes,
        world_size=setting.world_size,
        phases=phases,
        startup_s=setting.startup_s,
        to_target_epoch=None if target is None else target[0],
        assumptions=tuple(assumptions(setting, phases, None if target is None else target[1])),
        sensitivity=_sensitivity(setting, profile.phases[-1].end_epoch if target is None else target[0]),
        boot_s=BOOT_S if profile.fleet.provider == "aws" else 0.0,
    )


# --- the target -------------------------------------------------------------------------------------------------------


def _target_epoch(profile: Profile) -> tuple[int, str] | None:
    """How many epochs the target takes, and the sentence that says how that is known."""
    record, target, phases = profile.record, profile.run.target, profile.phases
    if target is None or profile.run.max_steps is not None:
        return None
    if record is not None and record.epochs_to_target is not None:
        number = record.epochs_to_target
        return number, f"The target falls in epoch {number}, as in the record ({record.name})."
    last = next((phase for phase in phases if phase.rectangular and phase.image_size > LARGE_PX), None)
    imagenet = profile.train_images == IMAGENET_IMAGES and (target.metric, target.value) == ("top5", 0.93)
    if not imagenet or last is None or last.start_epoch < 16:
        return None
    number = last.start_epoch + 1
    return number, (
        f"The target is taken to fall in epoch {number}, the first at {last.image_size} px with a rectangular "
        "evaluation, as in all three runs of this kind on record (fast.ai 2018 on 16 and on 8 machines, Alibaba 2020); "
        "the whole schedule is the upper bound."
    )


# --- the model -------------------------------------------------------------------------------------------------------


def allreduce_s(
    gpus: int,
    nodes: int,
    nic_gb_s: float,
    link_gb_s: float,
    software: Software,
    gradient_bytes: int = throughput.GRADIENT_BYTES,
) -> float:
    """Seconds of an all-reduce of ResNet-50's gradients in a ring through all GPUs, with nothing else running."""
    ranks = gpus * nodes
    if ranks == 1:
        return 0.0
    bytes_per_s = 1e9 * (min(nic_gb_s, link_gb_s) if nodes > 1 else link_gb_s)
    buckets = -(-gradient_bytes // BUCKET_BYTES)
    far, near = 2 * (nodes - 1), 2 * (ranks - 1) - 2 * (nodes - 1)
    hops_s = buckets * (far * software.far_hop_s + near * software.near_hop_s)
    return 2 * (ranks - 1) / ranks * gradient_bytes / bytes_per_s + hops_s


def _phases(setting: Setting) -> Iterator[PhasePrediction]:
    software = setting.software
    wide = setting.profile.run.gradient_precision == "fp32"
    gradient_bytes = throughput.PARAMETERS * (4 if wide else 2)
    ring_s = allreduce_s(setting.gpus, setting.nodes, setting.nic_gb_s, setting.gpu.link_gb_s, software, gradient_bytes)
    tuned: set[tuple[int, int, str]] = set()
    left = setting.profile.run.max_steps
    for number, phase in enumerate(setting.profile.phases, 1):
        batch = phase.batch_size_per_gpu
        steps = steps_per_epoch(setting.images, batch * setting.world_size)
        taken = (phase.end_epoch - phase.start_epoch) * steps
        if left is not None:
            taken = min(taken, left)
            left -= taken
        if not taken:
            return
        # Only a whole epoch ends with an evaluation, and not one before `eval_from` but for the last.
        begun, whole = -(-taken // steps), taken // steps
        last, eval_from = setting.profile.phases[-1].end_epoch - 1, setting.profile.run.eval_from
        ended = range(phase.start_epoch, phase.start_epoch + whole)
        evaluated = sum(epoch >= eval_from or epoch == last for epoch in ended)
        work_s = setting.work_s(phase.image_size, batch)
        compute_s = setting.compute_s(phase.image_size, batch)
        exposed_s = ring_s - software.overlap * min(ring_s, BACKWARD_SHARE * work_s)
        wait_s = max(0.0, setting.decoded_s(batch * setting.gpus, phase) - compute_s - exposed_s)
        step_s = compute_s + exposed_s + wait_s
        bound = "loader" if wait_s > 0 else "network" if exposed_s > compute_s else "compute"
        epoch_start_s = 0.0
        if software.workers_start_s is not None:
            first_s = batch * setting.decode_s(phase) * max(1.0, setting.workers / setting.vcpus)
            epoch_start_s = software.workers_start_s + first_s
        yield PhasePrediction(
            number=number,
            start_epoch=phase.start_epoch,
            epochs=begun,
            image_size=phase.image_size,
            batch=batch * setting.world_size,
            batch_per_gpu=batch,
            steps_per_epoch=steps,
            steps=taken,
            img_per_s_per_gpu=batch / step_s,
            img_per_s=batch * setting.world_size / step_s,
            step_s=step_s,
            compute_s=compute_s,
            allreduce_s=exposed_s,
            loader_s=wait_s,
            bound=bound,
            train_s=taken * step_s + begun * epoch_start_s,
            eval_s=evaluated * _evaluation_s(setting, phase) + whole * software.epoch_end_s,
            checkpoint_s=whole / setting.profile.run.checkpoint_epochs * software.checkpoint_s,
            switch_s=_switch_s(setting, phase, steps, tuned),
        )


def _evaluation_s(setting: Setting, phase: Phase) -> float:
    """Seconds of one evaluation in the phase."""
    images = -(-setting.val_images // setting.world_size)
    area = RECTANGLE if phase.rectangular else 1.0
    forward_s = images * setting.image_s(phase.image_size) * throughput.FORWARD_SHARE * area
    if setting.profile.run.eval_flip:
        forward_s *= 2
    decoded_s = setting.decoded_s(images * setting.gpus, phase)
    if setting.software.workers_start_s is None:
        return max(forward_s, decoded_s)
    # A GPU's few batches are decoded at the same time, one by each worker, and so come all at once at the end.
    return setting.software.workers_start_s + decoded_s + forward_s


def _switch_s(setting: Setting, phase: Phase, steps: int, tuned: set[tuple[int, int, str]]) -> float:
    """Seconds of the search for kernels, for the shapes of batch that are not in `tuned`; adds them to it."""
    px, batch = phase.image_size, phase.batch_size_per_gpu
    training = [batch]
    if setting.software.partial_batch:
        left = -(-setting.images // setting.world_size) - (steps - 1) * batch
        training.append(left if 0 < left < batch else batch)
    images = -(-setting.val_images // setting.world_size)
    size = max(batch, _evaluation_batch(px))
    batches = -(-images // size)
    if phase.rectangular:
        testing = [(min(size, images), f"rectangle {shape}") for shape in range(min(batches, MOST_SHAPES))]
    else:
        testing = [(number, "square") for number in {min(size, images), images - (batches - 1) * size}]
    shapes = [(number, "train", 1.0) for number in training]
    area = RECTANGLE if phase.rectangular else 1.0
    shapes += [(number, kind, area) for number, kind in testing]
    switch_s = 0.0
    for number, kind, area in shapes:
        if (px, number, kind) in tuned:
            continue
        tuned.add((px, number, kind))
        search_s = setting.software.tune_s + setting.software.tune_steps * number * setting.image_s(px) * area
        if kind != "train":
            search_s *= throughput.FORWARD_SHARE
        elif px > LARGE_PX:
            search_s *= setting.software.tune_large
        switch_s += search_s * setting.tune_cost
    return switch_s


def _evaluation_batch(px: int) -> int:
    """The least that a GPU evaluates at once, in pictures, as in 2018: 512 up to 128 px, 256 up to 224, 128 above."""
    return 512 if px <= 128 else 256 if px <= 224 else 128


# --- sensitivity -----------------------------------------------------------------------------------------------------


def _sensitivity(setting: Setting, epochs: int) -> tuple[Sensitivity, ...]:
    """By how many seconds the run to the end of `epochs` changes with each input; the `LISTED` that weigh most."""
    # For each input the field of the setting, and whether it grows (1) or falls (-1) with the input.
    inputs = {
        "pictures a second of a GPU": ("image_cost", -1),
        "network bandwidth between hosts": ("nic_gb_s", 1),
        "decoding rate of a host": ("decode_cost", -1),
        "fixed cost and launch of a step": ("step_cost", 1),
        "search for kernels at a switch": ("tune_cost", 1),
        "start-up": ("startup_cost", 1),
    }

    def total_s(changed: Setting) -> float:
        return until_s(changed.startup_s, _phases(changed), epochs)

    base_s = total_s(setting)
    found = []
    for what, (name, power) in inputs.items():
        change_s = [
            total_s(replace(setting, **{name: getattr(setting, name) * (1 + swing) ** power})) - base_s
            for swing in (-SWING, SWING)
        ]
        found.append(Sensitivity(what=what, less_s=change_s[0], more_s=change_s[1]))
    found.sort(key=lambda weight: -max(abs(weight.less_s), abs(weight.more_s)))
    return tuple(found[:LISTED])
