"""The sections of a profile: every key with its type, its default, what it accepts and what it means.

A profile says what to rent, how to train and when to stop. It is written in TOML and read by `console.profile.load`.
Everything is checked before anything is rented; whatever is wrong is one `ProfileError` that names the file, the key,
the value and what is accepted.

The docstring below a field is the key's documentation: ``docs/profile.md`` is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from console.profile.alerts import AlertKeys
from console.profile.values import bounds, form, words
from remote.wire.job import COMPILES, GRADIENT_PRECISIONS, OPTIMIZERS, PRECISIONS, TRAIN_IMAGES, Recipe
from remote.wire.schedule import Phase

CONNECTS: Final = ("public", "private", "elastic-ip", "bastion")
"""The ways from this machine to the instances."""
DATA_DIR: Final = "~/.fastconsole/data"
"""Where data sets are, unless the profile or the provider says otherwise."""
_USD: Final = bounds(above=0, below=10_000_000, unit="dollars")
_PORT: Final = bounds(1, 65535)
_SHARE: Final = bounds(0, below=1)


class ProfileError(ValueError):
    """A profile that cannot be used, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """`[fleet]`: the hosts, and where they come from."""

    provider: str = field(metadata=words("aws", "local", "static"))
    """Where the hosts come from: ``aws`` rents EC2 instances, ``local`` runs embedded hosts on this machine, ``static``
    uses hosts of your own that are named in `hosts`."""
    nodes: int = field(default=1, metadata=bounds(1, 1024))
    """Number of hosts. With provider ``static`` the default is the number of `hosts`."""
    instance_type: str | None = None
    """EC2 instance type of every host, for example ``p4d.24xlarge``. Required with provider ``aws``."""
    region: str | None = None
    """AWS region to rent in. Default: the region of your AWS configuration."""
    failover_regions: tuple[str, ...] = ()
    """AWS regions to try, in this order, when no zone of `region` has the capacity."""
    zones: tuple[str, ...] = ()
    """The only availability zones to try, for example ``us-east-1b``. Default: all zones that offer the type."""
    market: str = field(
        default="on-demand",
        metadata=words("on-demand", "spot", "spot-then-on-demand", "capacity-block", "reservation"),
    )
    """How the instances are bought. ``spot-then-on-demand`` tries spot in every zone first."""
    reservation: str | None = None
    """Id (``cr-...``) of the capacity block or capacity reservation. Required where `market` is one of the two."""
    connect: str = field(default="public", metadata=words(*CONNECTS))
    """How this machine reaches the instances: each at its public address, each at its private address (through a VPN or
    from inside the VPC), through an Elastic IP on node 0, or through a host of your own (`bastion`)."""
    bastion: str | None = None
    """The host in between, ``[user@]host[:port]``, or a name of ~/.ssh/config. Required where `connect` is
    ``bastion``."""
    image: str | None = None
    """Machine image: an id (``ami-...``) or the name of a public SSM parameter. Default: the newest AWS Deep Learning
    AMI with PyTorch."""
    user: str = "ubuntu"
    """Login user of the image; needs passwordless sudo."""
    ssh_port: int = field(default=22, metadata=_PORT)
    """Port of the image's SSH server."""
    ssh_from: str | None = None
    """Address range (CIDR) that may reach the SSH port. Default: this machine's public address only."""
    subnets: tuple[str, ...] = ()
    """Ids of the subnets to launch into. Default: the default subnets of the default VPC."""
    volume_gib: int = field(default=200, metadata=bounds(8, 65536, unit="GiB"))
    """Size of each instance's root volume (gp3), in GiB."""
    efa: bool | None = None
    """Whether the instances get EFA network interfaces. Default: yes, where the type has them."""
    placement_group: bool = True
    """Launch the instances in a cluster placement group, if there is more than one."""
    on_loss: str = field(default="end", metadata=words("end", "replace", "replace-on-demand", "shrink"))
    """What happens when a host is lost (spot interruption, hardware fault), with providers ``aws`` and ``local``:
    ``end`` ends the run, ``replace`` launches a new host in the same market, ``replace-on-demand`` launches one on
    demand, ``shrink`` continues with fewer nodes."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """AWS tags of your own for everything that the run creates."""
    usd_per_h: float | None = field(default=None, metadata=_USD)
    """Price of one host as billed, in dollars per hour. Default: the price that AWS states."""
    usd_per_h_on_demand: float | None = field(default=None, metadata=_USD)
    """On-demand price of one host, in dollars per hour; the price that DAWNBench counts. Default: the price that AWS
    states."""
    price_note: str = ""
    """Where the two prices are from, and of which day. ``simulated`` marks prices that nobody pays."""
    hosts: tuple[str, ...] = ()
    """The hosts of provider ``static``: each ``[user@]host[:port]``, or a name of ~/.ssh/config."""
    identity_file: str | None = None
    """Private key to log in to `hosts` with. Default: what ~/.ssh/config and the SSH agent offer."""
    known_hosts: str | None = None
    """File with the host keys of `hosts`. Default: ~/.ssh/known_hosts."""
    ssh_config: str | None = None
    """SSH configuration to use for `hosts`. Default: ~/.ssh/config."""
    base_port: int | None = field(default=None, metadata=_PORT)
    """First of the ports on 127.0.0.1 that the embedded hosts of provider ``local`` listen on, one port each. Default:
    any free ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`[budget]`: what the run may cost, and how long hosts run without a console."""

    max_usd: float | None = field(default=None, metadata=_USD)
    """The most that the run may cost, in dollars. The run stops early enough for a checkpoint. Default: no limit."""
    warn_at: float = field(default=0.8, metadata=bounds(above=0, high=1))
    """Share of `max_usd` at which the console warns."""
    lease_minutes: float = field(default=60.0, metadata=bounds(0.2, 10_080, unit="minutes"))
    """How long a host keeps running after it last heard from a console, in minutes; then it saves a checkpoint and
    ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`[run] target`: the run ends at the first evaluation that reaches it."""

    metric: str = field(metadata=words("top1", "top5"))
    """Which accuracy counts."""
    value: float = field(metadata=bounds(above=0, high=1, unit="as a fraction (0.93, not 93)"))
    """The accuracy to reach, as a fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSection:
    """`[run]`: what runs on the hosts, and how the model is trained.

    Fields that `remote.wire.job.Recipe` has under the same name go into the recipe as they are.
    """

    model: str
    """The network: ``resnet-small``, or a torchvision model such as ``resnet50``."""
    target: Target | None = field(default=None, metadata=form('{ metric = "top5", value = 0.93 }'))
    """End the run at the first evaluation with this accuracy. Default: train all epochs."""
    nproc_per_node: int = field(default=1, metadata=bounds(1, 64))
    """Ranks on each host: its number of GPUs; on CPUs usually 1."""
    accelerator: str = "cpu"
    """The hosts' GPU, for example ``A100``, or ``cpu``."""
    python: str = "python3"
    """Python interpreter on the hosts, with PyTorch installed. Provider ``local`` uses the console's own."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for the ranks. Values that may be secrets are redacted in the journal."""
    max_restarts: int = field(default=1, metadata=bounds(0, 100))
    """How often the ranks are restarted from the last checkpoint after a crash."""
    rdzv_port: int | None = field(default=None, metadata=_PORT)
    """Port of torchrun's rendezvous on node 0. Default: any free port."""
    seed: int = field(default=0, metadata=bounds(0, 2**32 - 1))
    """Seed of the weights and of the order of the images."""
    optimizer: str = field(default="sgd", metadata=words(*OPTIMIZERS))
    """``sgd`` is SGD with momentum; ``lars`` is for global batches of about 16,000 and more (You et al. 2017)."""
    momentum: float = field(default=0.9, metadata=_SHARE)
    """Momentum of the optimizer. A phase may have its own."""
    nesterov: bool = False
    """Use Nesterov momentum."""
    weight_decay: float = field(default=1e-4, metadata=_SHARE)
    """Weight decay of matrices and filters. Batch norm parameters and biases are not decayed."""
    trust_coefficient: float = field(default=0.001, metadata=bounds(above=0, high=1))
    """Trust coefficient of ``lars``: the length of a layer's update at a learning rate of 1, as a share of the length
    of its weights."""
    ema_decay: float = field(default=0.0, metadata=_SHARE)
    """Decay per step of the moving average of the weights, which is then evaluated instead of the weights. 0: no
    average."""
    ema_every: int = field(default=5, metadata=bounds(1, 10_000, unit="steps"))
    """Steps between two updates of the moving average."""
    label_smoothing: float = field(default=0.0, metadata=_SHARE)
    """Share of the label that is spread evenly over all classes."""
    blurpool: bool = False
    """Blur before every strided convolution (Zhang 2019). Changes the architecture, which the run's log says."""
    precision: str = field(default="auto", metadata=words(*PRECISIONS))
    """Number format of the computation: ``fp16`` (with loss scaling), ``bf16`` or ``fp32``. ``auto`` takes bf16 where
    the GPU has it, else fp16, and fp32 on a CPU."""
    gradient_precision: str = field(default="fp32", metadata=words(*GRADIENT_PRECISIONS))
    """Number format of the gradients on the network; ``bf16`` and ``fp16`` halve the traffic."""
    compile: str = field(default="off", metadata=words(*COMPILES))
    """Mode of torch.compile; ``reduce-overhead`` uses CUDA graphs. Every image size is compiled anew: measure with
    bench/gpu.py first."""
    batch_norm_group: int | None = field(default=None, metadata=bounds(2))
    """Images that share batch statistics on a GPU (ghost batch norm); has to divide every `batch_size_per_gpu`.
    Default: all images of the GPU's batch."""
    checkpoint_epochs: int = field(default=1, metadata=bounds(1, 10_000))
    """Epochs between two checkpoints."""
    eval_from: int = field(default=0, metadata=bounds(0))
    """First epoch (counted from 0) that is evaluated; the last epoch is always evaluated. The target cannot be reached
    before."""
    eval_flip: bool = False
    """Evaluate each image and its mirror image and average the scores; takes twice the time."""
    max_steps: int | None = field(default=None, metadata=bounds(1))
    """Stop after this many steps in all. Default: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """`[data]`: the data set.

    Fields that `remote.wire.job.Recipe` has under the same name go into the recipe as they are.
    """

    dataset: str = field(metadata=words("fashion-mnist", "imagefolder", "packed", "shapes"))
    """``shapes`` is generated on the hosts; ``fashion-mnist`` is the real data set; ``imagefolder`` is a folder with
    train/ and val/, each with a folder per class; ``packed`` is what ``python -m remote.prepare`` made of one."""
    dir: str = DATA_DIR
    """Folder of the data set on every host; ``~`` is the login user's home folder."""
    stage_from: str | None = None
    """Copy the data set to `dir` on every host before training: from ``s3://bucket/prefix`` or from a folder that every
    host sees. Default: no copy."""
    loader_workers: int = field(default=0, metadata=bounds(0, 256))
    """Data loader processes for each rank. 0: the rank loads its own batches."""
    train_images: int | None = field(default=None, metadata=bounds(1))
    """Number of training images; used by ``fastconsole plan``. Default: known for ``shapes`` and ``fashion-mnist``
    only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point of a record's curve."""

    elapsed_s: float
    top1: float
    top5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceRecord:
    """`[record]`: a run on record, to compare this run with."""

    name: str
    """Name of the record, as the screen shows it."""
    source: str = ""
    """Where its figures were published."""
    minutes_to_target: float | None = field(default=None, metadata=bounds(above=0, unit="minutes"))
    """Training time to the target, in minutes."""
    usd_to_target: float | None = field(default=None, metadata=bounds(above=0, unit="dollars"))
    """On-demand cost to the target, in dollars."""
    epochs_to_target: int | None = field(default=None, metadata=bounds(1))
    """Epochs to the target; only where this profile's schedule is the record's."""
    curve: tuple[Mark, ...] = field(
        default=(), metadata=form("[[hours, top1, top5], ...] with accuracies as fractions")
    )
    """Accuracy over time: ``[[hours, top1, top5], ...]``, accuracies as fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A checked profile."""

    name: str
    path: Path
    text: str
    """The file, verbatim except for values that may be secrets."""
    overrides: tuple[str, ...]
    fleet: Fleet
    budget: Budget
    run: RunSection
    data: Data
    phases: tuple[Phase, ...]
    record: RaceRecord | None = None
    alerts: AlertKeys = field(default_factory=AlertKeys)

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.fleet.nodes * self.run.nproc_per_node

    @property
    def train_images(self) -> int | None:
        """Training images, where known before a host has seen them."""
        return self.data.train_images or TRAIN_IMAGES.get(self.data.dataset)

    def recipe(self, data_dir: str | None = None) -> Recipe:
        """What the trainer needs; `data_dir` replaces `data.dir`."""
        target = self.run.target
        values: dict[str, Any] = {
            "data_dir": data_dir or self.data.dir,
            "phases": self.phases,
            "target_metric": target.metric if target else None,
            "target_value": target.value if target else None,
            "world_size": self.world_size,
        }
        for key in fields(Recipe):
            if key.name not in values:
                section = self.run if hasattr(self.run, key.name) else self.data
                values[key.name] = getattr(section, key.name)
        return Recipe(**values)
