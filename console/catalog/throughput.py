"""How fast a GPU trains ResNet-50: tables by GPU, with the source of every figure.

Pure. A training step of b pictures of s px takes ``step_s + b * image_s(s)``: a fixed cost (the optimiser, what the
ranks agree on) and a cost a picture, which goes with the number of pixels; and it takes at least `launch_s`, in which
the CPU launches its kernels. Rates are for mixed precision (fp16 or bf16) with the pictures already on the device; the
network and the loader are left to `console.planning.predict`.

What is measured, published or only estimated stands in each row's `source`:

- V100 is the software of 2018 (PyTorch 0.4 and 1.0 nightlies), fitted by ``bench/predict.py`` to the log of fast.ai's
  run on 8 machines (steps of five combinations of size and batch), the epoch times of its run on 16, and NVIDIA's own
  figure for 8 V100 in one host in September 2018 (727 img/s a GPU at batch 256, container pytorch-18.09, README of
  NVIDIA/DeepLearningExamples). Later software trains at 1,040 to 1,200 img/s on the same chip (`V100_SINCE`), of which
  the lower is taken: Alibaba's runs of 2020 on 8 and 128 V100 are the check (``bench/predict.py``). The newest PyTorch
  has no wheels for it (they begin at sm_75).
- A100 is what NVIDIA publishes for PyTorch on 8 of them (16,621 img/s, container 21.03, the same README), which is 0.61
  of MLPerf's 3,380 img/s a GPU (MXNet). H100 and H200 are taken at the same share of MLPerf's 7,170 and 7,950.
- L40S is the lower of the published 1,850 to 2,200 img/s.
- The others are estimates: training a ResNet is bound by the memory's bandwidth, and A100 (1,555 GB/s) and H100
  (3,350 GB/s) come to 1.3 img/s for each GB/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final

MODEL: Final = "resnet50"
"""The model that the tables are for."""
PARAMETERS: Final = 25_557_032
"""Parameters of ResNet-50."""
GRADIENT_BYTES: Final = PARAMETERS * 2
"""Gradients of ResNet-50 at two bytes each: fp16 in 2018, bf16 in today's profiles for several hosts."""
FORWARD_SHARE: Final = 1 / 3
"""Share of the forward pass in a step's work; the rest is the backward pass. NVIDIA's inference rate of 2018 (2,697
img/s) says 0.31."""
REFERENCE_PX: Final = 224
REFERENCE_BATCH: Final = 256
"""Published rates are for about this image size and batch size."""
IMG_PER_GB: Final = 1.3
"""Estimate: pictures a second for each GB/s of memory bandwidth."""
MLPERF_SHARE: Final = 0.61
"""PyTorch's rate divided by MLPerf's, both on 8 A100."""
STEP_S: Final = 0.004
"""The fixed cost of a step with today's software (a fused optimiser). An assumption, not a measurement."""
LAUNCH_S: Final = 0.018
"""How long one of today's CPUs takes to launch the kernels of a step, without CUDA graphs.

An estimate: a forward pass of one picture took 12.8 ms on a DGX-1 (NVIDIA's README of 2021, mixed precision), the whole
step is three times that, and today's CPUs are twice as fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What is known of one GPU."""

    gpu: str
    """As `run.accelerator` of a profile names it."""
    image_s_by_px: Mapping[int, float]
    """Seconds a picture of a training step at large batch, by the picture's side."""
    step_s: float
    """Fixed cost of a training step, seconds."""
    launch_s: float
    """The least that a training step takes, seconds; 0 where `step_s` includes it."""
    link_gb_s: float
    """Bus bandwidth of an all-reduce among the GPUs of one host, GB/s: 0.8 of NVLink's nominal rate each way, or the
    rate over PCIe."""
    source: str
    """The source of the rate, in one sentence."""
    best_img_per_s: float | None = None
    """The best published rate at 224 px, by any software."""
    best_source: str = ""

    def image_s(self, px: int) -> float:
        """Seconds that a training step takes for each picture: per pixel as in the table, linear between its sizes."""
        sizes = sorted(self.image_s_by_px)
        inside = min(max(px, sizes[0]), sizes[-1])
        per_pixel = self.image_s_by_px[sizes[0]] / sizes[0] ** 2
        for low, high in pairwise(sizes):
            if low <= inside <= high:
                first, last = self.image_s_by_px[low] / low**2, self.image_s_by_px[high] / high**2
                per_pixel = first + (last - first) * (inside - low) / (high - low)
        return per_pixel * px**2

    def img_per_s(self, px: int, batch: int) -> float:
        """Pictures a second that one GPU trains alone."""
        return batch / max(self.launch_s, self.step_s + batch * self.image_s(px))


def _published(gpu: str, rate: float, link_gb_s: float, source: str, best: float | None = None) -> Throughput:
    image_s = 1 / rate - STEP_S / REFERENCE_BATCH
    return Throughput(
        gpu=gpu,
        image_s_by_px=MappingProxyType({REFERENCE_PX: image_s}),
        step_s=STEP_S,
        launch_s=LAUNCH_S,
        link_gb_s=link_gb_s,
        source=source,
        best_img_per_s=best,
        best_source="MLPerf training" if best else "",
    )


def _estimated(gpu: str, memory_gb_s: float, link_gb_s: float) -> Throughput:
    rate = IMG_PER_GB * memory_gb_s
    source = (
        f"{rate:,.0f} img/s at {REFERENCE_PX} px is an estimate from the memory's {memory_gb_s:,.0f} GB/s, "
        "not a measurement"
    )
    return _published(gpu, rate, link_gb_s, source)


def _of_mlperf(gpu: str, best: float, link_gb_s: float) -> Throughput:
    rate = MLPERF_SHARE * best
    source = (
        f"{rate:,.0f} img/s at {REFERENCE_PX} px is {MLPERF_SHARE} of MLPerf's {best:,.0f}, "
        "the share that PyTorch reaches on A100; not measured here"
    )
    return _published(gpu, rate, link_gb_s, source, best)


_ROWS: Final = (
    Throughput(
        gpu="V100",
        image_s_by_px=MappingProxyType({128: 0.418e-3, 224: 1.211e-3, 288: 2.200e-3}),
        step_s=0.0425,
        launch_s=0.0,
        link_gb_s=120.0,
        source="the steps of the runs of 2018 on 8 and 16 machines, and NVIDIA's figure for one host of that year",
        best_img_per_s=1200.0,
        best_source="NVIDIA, PyTorch, 2021",
    ),
    _published("A100", 2078.0, 240.0, "2,078 img/s at 224 px is NVIDIA's figure for PyTorch on 8 A100 (21.03)", 3380.0),
    _of_mlperf("H100", 7170.0, 360.0),
    _of_mlperf("H200", 7950.0, 360.0),
    _published("L40S", 1850.0, 12.0, "1,850 img/s at 224 px is the lower of the published figures for PyTorch"),
    _estimated("T4", 320.0, 6.0),
    _estimated("A10G", 600.0, 12.0),
    _estimated("L4", 300.0, 12.0),
    _estimated("B200", 8000.0, 720.0),
    _estimated("B300", 8000.0, 720.0),
    _estimated("RTX PRO 6000", 1597.0, 24.0),
)
V100_SINCE: Final = _published(
    "V100", 1040.0, 120.0, "1,040 img/s at 224 px is the lower of the figures published since 2018", 1200.0
)
"""A V100 with later software; the row in `GPUS` is for the software of 2018."""
GPUS: Final[Mapping[str, Throughput]] = MappingProxyType({row.gpu: row for row in _ROWS})
"""Every row, by the GPU's name."""


def find(accelerator: str) -> Throughput | None:
    """The row of a GPU; None where it is not known."""
    return GPUS.get(accelerator)


# --- decoding --------------------------------------------------------------------------------------------------------

COPIES_PX: Final = (160, 352)
"""Short sides of the smaller copies of a data set that are made before a run; beside them there is the full size."""
CROP_ROOM: Final = 1.25
"""How much larger a copy's short side is than the crop: 160 px serve a crop of 128 px, 352 px a crop of 281."""
_DECODE_S: Final[Mapping[int | None, tuple[float, float]]] = MappingProxyType(
    {160: (0.33e-3, 4.6e-9), 352: (1.17e-3, 4.6e-9), None: (1.19e-3, 10.7e-9)}
)
"""For each copy (None: full size, 500 x 375 px) the seconds that one core takes for a picture: fixed, and a pixel.

Pillow's decode, random crop and resize of JPEG files of quality 90, one process on an AMD EPYC core: 0.40 ms from 160
to 128 px, 1.40 from 352 to 224, 1.73 from full size to 224, 2.08 to 288.
"""


def copy_px(image_size: int) -> int | None:
    """Which copy serves a crop of this side; None: the full size."""
    return next((px for px in COPIES_PX if image_size * CROP_ROOM <= px), None)


def decode_s(copy: int | None, image_size: int) -> float:
    """Seconds of one core to make a training crop from a picture of that copy, as Pillow does it."""
    fixed, per_pixel = _DECODE_S[copy]
    return fixed + per_pixel * image_size**2


PACKED_ROOM: Final = 1.14
"""The same of a packed set: `remote.data.packed.ENOUGH`."""


def packed_copy_px(image_size: int) -> int | None:
    """Which copy of a packed set `remote.data.packed.side_for` takes for a crop of this side; None: the full size."""
    return next((px for px in COPIES_PX if PACKED_ROOM * image_size - 1 <= px), None)


_LOADER_S: Final[Mapping[int | None, tuple[float, float]]] = MappingProxyType(
    {160: (0.31e-3, 5.4e-9), 352: (0.68e-3, 7.3e-9), None: (0.72e-3, 8.8e-9)}
)
"""As `_DECODE_S`, for `remote.data.loader`: by the copy of a packed set; None: files of some 500 x 375 px, packed or
not.

Fitted within 10 % to ``bench/loader.py`` (2026-11-25, one AMD EPYC core): packed 0.36 ms at 96 px, 0.39 at 128, 0.86 at
160, 0.99 at 224, 1.28 at 288; the files 0.91 ms at 128 px, 1.19 at 224, 1.45 at 288.
"""


def load_s(image_size: int, *, packed: bool) -> float:
    """Seconds of one core to make a training crop with `remote.data.loader`, from a packed set or from the files."""
    fixed, per_pixel = _LOADER_S[packed_copy_px(image_size) if packed else None]
    return fixed + per_pixel * image_size**2
