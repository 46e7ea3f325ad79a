"""What a prediction assumes and has not measured, as sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from console.catalog import throughput
from console.catalog.software import SOFTWARE_OF_2018, SOFTWARE_OF_TODAY
from console.planning.inputs import IMAGENET_IMAGES, UNKNOWN_GBIT_S, UNKNOWN_VCPUS_PER_GPU, Setting
from console.planning.prediction import PhasePrediction

BOOT_S: Final = 180.0
"""From the launch of instances to a trainer's start on them, without the data set, seconds. An assumption."""


def assumptions(setting: Setting, phases: tuple[PhasePrediction, ...], target: str | None) -> Iterator[str]:
    """What the prediction of these phases rests on; `target` says how the target's epoch is known."""
    if target is not None:
        yield target
    yield f"{setting.gpu.gpu}: {setting.gpu.source}."
    yield from _of_2018(setting) if setting.software is SOFTWARE_OF_2018 else _of_today(setting)
    if setting.profile.run.blurpool:
        yield "BlurPool changes the architecture of ResNet-50; the cost of its blurs is not counted."
    if setting.instance is None:
        yield (
            f"Nothing is known of the hosts: {UNKNOWN_VCPUS_PER_GPU} vCPUs a GPU and {UNKNOWN_GBIT_S:.0f} Gbit/s "
            "between them are assumed."
        )
    yield _loading(setting)
    if setting.images != IMAGENET_IMAGES:
        yield f"{setting.val_images:,} validation images are assumed, ImageNet's share."
    yield from _lower_bound(setting, phases)
    if setting.profile.fleet.provider == "aws":
        staged = setting.profile.data.stage_from
        copying = f"the copy of {staged} to every host" if staged else "the data set's way"
        yield f"Before the trainer starts: about {BOOT_S / 60:.0f} minutes for the instances, and {copying}."


def _of_2018(setting: Setting) -> Iterator[str]:
    yield "V100 means the software of 2018 and its stalls, fitted to the runs on 8 and 16 machines of that year."
    if setting.nodes > 1:
        yield (
            f"The ring moves {setting.nic_gb_s * 8:.0f} Gbit/s between hosts and {setting.software.overlap:.0%} of it "
            "runs beside the backward pass (fitted)."
        )
    if setting.profile.record is not None:
        yield "A record's clock may begin later: that of 2018 on 8 machines began after the loaders were built."


def _of_today(setting: Setting) -> Iterator[str]:
    gpu, software = setting.gpu, setting.software
    yield (
        f"A step has a fixed cost of {gpu.step_s * 1e3:.0f} ms, {gpu.launch_s * 1e3:.0f} ms are the least that it "
        f"takes, gradients travel in {setting.profile.run.gradient_precision}, {software.overlap:.0%} of the "
        "all-reduce runs beside the backward pass: assumed, not measured."
    )
    if setting.nodes > 1:
        share = f"{software.network_share:.0%} of the network's rate"
        yield f"The ring moves {setting.nic_gb_s * 8:.0f} Gbit/s between hosts, {share}."
    yield (
        f"Start-up takes {software.startup_s:.0f} s, loaders are warm at every switch, and each new shape of batch "
        f"costs {software.tune_s:.0f} s and {software.tune_steps:.0f} times its computing (cuDNN's search)."
    )


def _loading(setting: Setting) -> str:
    small, large = throughput.COPIES_PX
    copies = f"copies of {small} and {large} px made before the run"
    if setting.software is SOFTWARE_OF_TODAY and setting.profile.data.dataset != "packed":
        copies = "the pictures' files as they are (python -m remote.prepare packs them: it loads faster)"
    return (
        f"Loading: {min(setting.vcpus, setting.workers)} workers a host, {copies}, "
        f"{setting.software.crowd:g} times an idle core's time for a picture."
    )


def _lower_bound(setting: Setting, phases: tuple[PhasePrediction, ...]) -> Iterator[str]:
    """How long computing alone would take at the best rate that anybody published for the GPU."""
    best_img_per_s = setting.gpu.best_img_per_s
    if best_img_per_s is None:
        return
    pixels = sum(phase.epochs * (phase.image_size / throughput.REFERENCE_PX) ** 2 for phase in phases)
    floor_s = pixels * setting.images / (setting.world_size * best_img_per_s)
    yield (
        f"At the best published rate of the chip ({best_img_per_s:,.0f} img/s at {throughput.REFERENCE_PX} px, "
        f"{setting.gpu.best_source}) computing alone would take {floor_s / 60:.1f} minutes."
    )
