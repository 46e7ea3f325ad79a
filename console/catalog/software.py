"""What training costs beside the GPU's computing, by the software of a time: constants of `console.planning.predict`.

Pure. There are two sets of constants.

- 2018: the software of that year's records. Fitted to the log of fast.ai's run on 8 machines and the epoch times of its
  run on 16; nothing is fitted to its run on 4 (``bench/predict.py`` shows all three). The network's bandwidth is not
  fitted: it is what EC2 allows a single TCP flow between two instances of a placement group (10 Gbit/s, EC2 User Guide,
  "Amazon EC2 instance network bandwidth").
- today: this project's trainer. Assumptions, unless a bench of the project has measured them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LARGE_PX: Final = 256
"""Above this size cuDNN's search took longer in 2018, and a rectangular evaluation marks the end of a recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """The constants of the model for the software of a time."""

    name: str
    flow_gbit_s: float | None
    """The most that a ring moves between two hosts over TCP; None: limited by the network only."""
    network_share: float
    """Share of the network's nominal rate that the ring gets."""
    far_hop_s: float
    """Latency of a hop of the ring between hosts."""
    near_hop_s: float
    """Latency of a hop within a host."""
    overlap: float
    """Share of the all-reduce that overlaps with the backward pass without slowing it."""
    crowd: float
    """How many times as long a picture takes to load, with all vCPUs busy, as on the one core of
    `console.catalog.throughput`."""
    workers_per_gpu: int | None
    """Loader processes of a GPU, where the profile does not set them; None: one for each vCPU."""
    workers_start_s: float | None
    """Time to start them at every epoch and evaluation; None: they keep running and have the next batches ready."""
    tune_s: float
    """cuDNN's search for a new shape of batch takes this and `tune_steps` times the shape's computing."""
    tune_steps: float
    tune_large: float
    """How many times as long the search takes above `LARGE_PX`."""
    partial_batch: bool
    """True if the last batch of an epoch is smaller than the others."""
    epoch_end_s: float
    """Logging, metrics and agreement at the end of an epoch."""
    checkpoint_s: float
    """How long training pauses for a checkpoint."""
    startup_s: float
    """From the trainer's start to the first step, without the search for kernels."""


SOFTWARE_OF_2018: Final = Software(
    name="2018",
    flow_gbit_s=10.0,
    network_share=0.8,
    far_hop_s=100e-6,
    near_hop_s=5e-6,
    overlap=0.3,
    crowd=9.5,
    workers_per_gpu=8,
    workers_start_s=0.85,
    tune_s=3.0,
    tune_steps=28.0,
    # At 288 px the 16 GB were nearly full (one of 16 machines ran out at this switch): the search took twice as long.
    tune_large=2.0,
    partial_batch=True,
    epoch_end_s=0.15,
    checkpoint_s=0.0,
    # The log of 8 machines: 4 s process group, 6 s model, 16 s loaders; and 10 s of imports before its first line.
    startup_s=36.4,
)
SOFTWARE_OF_TODAY: Final = Software(
    name="today",
    flow_gbit_s=None,
    network_share=0.8,
    far_hop_s=20e-6,
    near_hop_s=2e-6,
    overlap=0.8,
    crowd=2.0,
    workers_per_gpu=None,
    workers_start_s=None,
    tune_s=1.0,
    tune_steps=28.0,
    tune_large=1.0,
    partial_batch=False,
    epoch_end_s=0.1,
    checkpoint_s=0.15,
    startup_s=30.0,
)
