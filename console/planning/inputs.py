"""The inputs of a prediction: a profile, and what is known of its hosts, their GPUs and their software. Pure.

V100 on p3 instances, with a recipe of 2018, is predicted with the software of 2018: the runs on record are of that
year. Everything else is predicted with the software of today.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from console.catalog import instance_types, throughput
from console.catalog.instance_types import InstanceType
from console.catalog.software import SOFTWARE_OF_2018, SOFTWARE_OF_TODAY, Software
from console.catalog.throughput import Throughput
from console.profile.schema import Profile
from remote.wire.schedule import Phase

GPU_OF_2018: Final = "V100"
IMAGENET_IMAGES: Final = 1_281_167
IMAGENET_VAL_IMAGES: Final = 50_000
PICTURES: Final = ("imagefolder", "packed")
"""Data sets of JPEG files: how long their decoding takes is known."""
UNKNOWN_GBIT_S: Final = 25.0
"""Network rate of a host whose type is not known."""
UNKNOWN_VCPUS_PER_GPU: Final = 8
"""vCPUs of a host whose type is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A profile, what is known of its hosts, and factors that make an input dearer."""

    profile: Profile
    gpu: Throughput
    software: Software
    instance: InstanceType | None
    """None where the hosts' type is not known."""
    images: int
    """Training images."""
    val_images: int
    vcpus: int
    """vCPUs of one host."""
    nic_gb_s: float
    """Bandwidth of a ring between the hosts, GB/s."""
    image_cost: float = 1.0
    """Factor on the time of a picture. This and the four factors that follow show how much the result depends on each
    input."""
    step_cost: float = 1.0
    decode_cost: float = 1.0
    tune_cost: float = 1.0
    startup_cost: float = 1.0

    @property
    def nodes(self) -> int:
        """Number of hosts."""
        return self.profile.fleet.nodes

    @property
    def gpus(self) -> int:
        """GPUs of one host."""
        return self.profile.run.nproc_per_node

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.profile.world_size

    @property
    def startup_s(self) -> float:
        """Seconds from the trainer's start to the first step, without the search for kernels."""
        return self.software.startup_s * self.startup_cost

    @property
    def workers(self) -> int:
        """Loader processes of one host."""
        asked = self.profile.data.loader_workers or self.software.workers_per_gpu
        return self.vcpus if asked is None else asked * self.gpus

    def image_s(self, px: int) -> float:
        """Seconds that a training step takes for each picture on one GPU."""
        return self.gpu.image_s(px) * self.image_cost

    def work_s(self, px: int, batch: int) -> float:
        """Seconds of the forward and backward passes: the GPU's, or the CPU's to launch them if that is longer."""
        return max(self.gpu.launch_s * self.step_cost, batch * self.image_s(px))

    def compute_s(self, px: int, batch: int) -> float:
        """Seconds of a training step on one GPU; the fixed part is hidden while kernels are launched."""
        least_s = self.gpu.launch_s * self.step_cost
        return max(least_s, self.gpu.step_s * self.step_cost + batch * self.image_s(px))

    def decode_s(self, phase: Phase) -> float:
        """Seconds to load one picture on one of the host's vCPUs, with all of them busy."""
        if self.software is SOFTWARE_OF_2018:
            alone_s = throughput.decode_s(_copy_px_of_2018(phase), phase.image_size)
        else:
            alone_s = throughput.load_s(phase.image_size, packed=self.profile.data.dataset == "packed")
        return alone_s * self.software.crowd * self.decode_cost

    def decoded_s(self, images: int, phase: Phase) -> float:
        """Seconds in which one host's workers load so many pictures."""
        return images * self.decode_s(phase) / min(self.vcpus, self.workers)


def setting_of(profile: Profile) -> Setting | None:
    """The inputs for a profile; None where too little is known of the hosts, the model or the data."""
    fleet, run = profile.fleet, profile.run
    images = profile.train_images
    if fleet.provider == "local" or run.model != throughput.MODEL or profile.data.dataset not in PICTURES:
        return None
    instance = instance_types.find(fleet.instance_type) if fleet.instance_type and fleet.provider == "aws" else None
    gpu = throughput.find(instance.gpu if run.accelerator == "cpu" and instance is not None else run.accelerator)
    if gpu is None or images is None:
        return None
    software = SOFTWARE_OF_TODAY
    if gpu.gpu == GPU_OF_2018:
        gpu, software = (gpu, SOFTWARE_OF_2018) if _of_2018(profile) else (throughput.V100_SINCE, SOFTWARE_OF_TODAY)
    gbit_s = (instance.network_gbit_s if instance else UNKNOWN_GBIT_S) * software.network_share
    efa = instance is not None and instance.efa and fleet.efa is not False
    if not efa and software.flow_gbit_s is not None:
        gbit_s = min(gbit_s, software.flow_gbit_s)
    return Setting(
        profile=profile,
        gpu=gpu,
        software=software,
        instance=instance,
        images=images,
        val_images=max(1, round(images * IMAGENET_VAL_IMAGES / IMAGENET_IMAGES)),
        vcpus=instance.vcpus if instance else UNKNOWN_VCPUS_PER_GPU * run.nproc_per_node,
        nic_gb_s=gbit_s / 8,
    )


def _of_2018(profile: Profile) -> bool:
    """True for a profile of that year's runs: on p3 instances, with nothing in `[run]` that their code did not have."""
    run = profile.run
    later = run.optimizer != "sgd" or run.nesterov or run.label_smoothing > 0 or run.ema_decay > 0
    return (profile.fleet.instance_type or "").startswith("p3.") and not later


def _copy_px_of_2018(phase: Phase) -> int | None:
    """Which copy of the pictures the runs of 2018 read.

    Their recipes raise `min_scale` above 0.08 at 224 px where they read the copies of 352 px (8, 4 and 1 machines), and
    leave it where they read the full size (16 machines).
    """
    copy = throughput.copy_px(phase.image_size)
    return copy if copy == throughput.COPIES_PX[0] or phase.min_scale > 0.08 else None
