"""A profile: what to rent, how to train, when to stop; TOML in, a frozen value out.

Everything is checked before anything is rented: an unknown key, a wrong type, phases that overlap, a size that cannot
be are one `ProfileError` each, which names the file, the key, the value and what is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from console.profile.alerts import AlertKeys
from remote.wire.job import TRAIN_IMAGES, Recipe
from remote.wire.schedule import Phase

PROVIDERS = ("aws", "local", "static")
DATASETS = ("fashion-mnist", "imagefolder", "packed", "shapes")
MARKETS = ("on-demand", "spot", "spot-then-on-demand", "capacity-block", "reservation")
CONNECTS = ("public", "private", "elastic-ip", "bastion")
ON_LOSS = ("end", "replace", "replace-on-demand", "shrink")
METRICS = ("top1", "top5")
DATA_DIR = "~/.fastconsole/data"
"""Where data sets are, unless the profile says; a provider may have a better place."""


class ProfileError(ValueError):
    """A profile that cannot be used, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """`[fleet]`: the hosts."""

    provider: str
    nodes: int = 1
    instance_type: str | None = None
    region: str | None = None
    """`aws`: where the instances are rented; by default the region of the user's AWS set-up."""
    failover_regions: tuple[str, ...] = ()
    """`aws`: tried in this order where no zone of `region` has the capacity."""
    zones: tuple[str, ...] = ()
    """`aws`: the only availability zones to try, for example ``us-east-1b``; by default all that offer the type."""
    market: str = "on-demand"
    reservation: str | None = None
    """`aws`: the id of the capacity block (``cr-...``) or capacity reservation that `market` names."""
    connect: str = "public"
    """`aws`: how the laptop reaches the instances: each by its public address, by its private one (a VPN, or from
    inside the VPC), through an Elastic IP on node 0, or through a host of the user's own (`bastion`)."""
    bastion: str | None = None
    """`aws`, connect bastion: ``[user@]host[:port]``, as ~/.ssh/config and known_hosts know it."""
    image: str | None = None
    """`aws`: ``ami-...`` or the name of an SSM public parameter; by default AWS's newest deep learning image."""
    user: str = "ubuntu"
    """`aws`: the image's login user, who may use sudo."""
    ssh_port: int = 22
    """`aws`: where the image's SSH server listens."""
    ssh_from: str | None = None
    """`aws`: the addresses (CIDR) that may reach port 22; by default this laptop's public address alone."""
    subnets: tuple[str, ...] = ()
    """`aws`: ids of the subnets to launch into; by default the default subnets of the default VPC."""
    volume_gib: int = 200
    """`aws`: size of the root volume (gp3)."""
    efa: bool | None = None
    """`aws`: EFA network interfaces; by default wherever the type has them."""
    placement_group: bool = True
    """`aws`: a cluster placement group, where there is more than one node."""
    on_loss: str = "end"
    """`aws`, `local`: what becomes of the run when a host is lost (a spot interruption, a fault): it ends, a new one of
    the same market takes the place, one on demand does, or the gang goes on with fewer nodes."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """`aws`: tags of the user's own on all that is made."""
    usd_per_h: float | None = None
    """Quoted price of one instance as billed, dollars an hour."""
    usd_per_h_on_demand: float | None = None
    """The same on demand; what DAWNBench counts."""
    price_note: str = ""
    """Where the quote is from and of which day; `local` says simulated."""
    hosts: tuple[str, ...] = ()
    """`static`: ``[user@]host[:port]`` each, or names that ~/.ssh/config knows."""
    identity_file: str | None = None
    """`static`: the private key to log in with; by default what ~/.ssh/config and the SSH agent offer."""
    known_hosts: str | None = None
    """`static`: the file with the hosts' pinned keys; by default ~/.ssh/known_hosts."""
    ssh_config: str | None = None
    """`static`: instead of ~/.ssh/config."""
    base_port: int | None = None
    """`local`: the first of as many ports on 127.0.0.1 as there are nodes; by default any free ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`[budget]`: what may be spent."""

    max_usd: float | None = None
    warn_at: float = 0.8
    """The share of `max_usd` at which to warn."""
    lease_minutes: float = 60.0
    """How long a host lives on after it last heard from a console."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`[run] target`: the run ends at the first evaluation that reaches it."""

    metric: str
    value: float
    """A fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSection:
    """`[run]`: what runs on the hosts, and how the model is trained."""

    model: str
    target: Target | None = None
    nproc_per_node: int = 1
    """Ranks a node: its GPUs, or 1 on a CPU."""
    accelerator: str = "cpu"
    python: str = "python3"
    """The hosts' Python, with torch; `local` uses the console's own."""
    env: Mapping[str, str] = field(default_factory=dict)
    max_restarts: int = 1
    """How often torchrun may restart the gang from its last checkpoint after a rank crashed."""
    rdzv_port: int | None = None
    """Where node 0 holds the rendezvous; by default any port that is free there."""
    seed: int = 0
    optimizer: str = "sgd"
    """``sgd`` (with momentum), or ``lars`` for global batches from about 16,000 on (You et al. 2017)."""
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    """Of matrices and filters; vectors (batch norm, biases) never decay."""
    trust_coefficient: float = 0.001
    """`lars`: the length of a layer's step, as a share of its weights' length, at a rate of 1."""
    ema_decay: float = 0.0
    """Of a running mean of the weights, by step, which is what is evaluated; 0: the weights themselves are."""
    ema_every: int = 5
    """Steps between two updates of that mean."""
    label_smoothing: float = 0.0
    blurpool: bool = False
    """A blur before every strided convolution (Zhang 2019). It changes the architecture, and the run's log says so."""
    precision: str = "auto"
    """What the net computes in: ``bf16``, ``fp16`` (with a scaled loss), ``fp32``; ``auto`` is the first that the GPU
    has, and fp32 on a CPU."""
    gradient_precision: str = "fp32"
    """What gradients are sent in between the ranks: ``fp32``, or half as many bytes with ``bf16`` or ``fp16``."""
    compile: str = "off"
    """``off``, or torch.compile's mode: ``default``, or ``reduce-overhead`` (CUDA graphs). Each size of picture
    compiles anew, so measure it with bench/gpu.py before."""
    batch_norm_group: int | None = None
    """Images that share batch statistics on one GPU (ghost batch norm); by default all of its batch."""
    checkpoint_epochs: int = 1
    eval_from: int = 0
    """The first epoch (from 0) that is evaluated; the last one is in any case. No target is reached before."""
    eval_flip: bool = False
    """Evaluate each picture and its mirror image, and take the mean of their scores; twice the time."""
    max_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """`[data]`: what it is trained on."""

    dataset: str
    dir: str = DATA_DIR
    stage_from: str | None = None
    """``s3://bucket/prefix``, or a folder that every host sees: copied to `dir` on each host before the gang starts."""
    loader_workers: int = 0
    train_images: int | None = None
    """For planning, where the data set is not one that the product knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point of the curve to race against."""

    elapsed_s: float
    top1: float
    top5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceRecord:
    """`[record]`: the run to race against."""

    name: str
    source: str = ""
    minutes_to_target: float | None = None
    usd_to_target: float | None = None
    epochs_to_target: int | None = None
    """How many epochs it took, where this profile's recipe is that run's."""
    curve: tuple[Mark, ...] = ()
    """Written as ``[[hours, top1, top5], ...]``, accuracies as fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A checked profile."""

    name: str
    path: Path
    text: str
    """The file, verbatim but for environment values that are not named as safe."""
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
        """Ranks of the gang."""
        return self.fleet.nodes * self.run.nproc_per_node

    @property
    def train_images(self) -> int | None:
        """Training images, where known before a host has seen them."""
        return self.data.train_images or TRAIN_IMAGES.get(self.data.dataset)

    def recipe(self, data_dir: str | None = None) -> Recipe:
        """What the trainer needs of it."""
        run, target = self.run, self.run.target
        return Recipe(
            model=run.model,
            dataset=self.data.dataset,
            data_dir=data_dir or self.data.dir,
            phases=self.phases,
            target_metric=target.metric if target else None,
            target_value=target.value if target else None,
            seed=run.seed,
            optimizer=run.optimizer,
            momentum=run.momentum,
            nesterov=run.nesterov,
            weight_decay=run.weight_decay,
            trust_coefficient=run.trust_coefficient,
            ema_decay=run.ema_decay,
            ema_every=run.ema_every,
            label_smoothing=run.label_smoothing,
            blurpool=run.blurpool,
            precision=run.precision,
            gradient_precision=run.gradient_precision,
            compile=run.compile,
            batch_norm_group=run.batch_norm_group,
            loader_workers=self.data.loader_workers,
            checkpoint_epochs=run.checkpoint_epochs,
            eval_from=run.eval_from,
            eval_flip=run.eval_flip,
            world_size=self.world_size,
            max_steps=run.max_steps,
        )
