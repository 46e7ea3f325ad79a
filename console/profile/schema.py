"""A profile: what to rent, how to train, when to stop; TOML in, a frozen value out.

Everything is checked before anything is rented: an unknown key, a wrong type, phases that overlap, a size that cannot
be are one `ProfileError` each, which names the file, the key, the value and what is accepted.
"""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from console import alert_keys, copying, keys, phases, redaction, renting
from console.alert_keys import AlertKeys
from console.redaction import REDACTED
from remote.job import COMPILES, GRADIENT_PRECISIONS, OPTIMIZERS, PRECISIONS, TRAIN_IMAGES, Recipe
from remote.schedule import Phase

PROVIDERS = ("aws", "local", "static")
DATASETS = ("fashion-mnist", "imagefolder", "packed", "shapes")
MARKETS = ("on-demand", "spot", "spot-then-on-demand", "capacity-block", "reservation")
CONNECTS = ("public", "private", "elastic-ip", "bastion")
ON_LOSS = ("end", "replace", "replace-on-demand", "shrink")
METRICS = ("top1", "top5")
DATA_DIR = "~/.fastconsole/data"
"""Where data sets are, unless the profile says; a provider may have a better place."""

WITHOUT_BF16 = ("P100", "T4", "V100")
"""GPUs that train without bf16: NVIDIA's have it from Ampere (2020) on."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
class RunKeys:
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
    run: RunKeys
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


def builtin_folder() -> Path:
    """Where the built-in profiles lie: beside the package in a checkout, inside it when installed."""
    inside = Path(__file__).parent / "builtin_profiles"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "profiles"


def builtin_names() -> list[str]:
    """The built-in profiles' names, sorted."""
    return sorted(path.stem for path in builtin_folder().glob("*.toml"))


def find(name: str) -> Path:
    """The file of a built-in profile's name or of a path.

    Raises:
        ProfileError: there is neither.
    """
    builtin = {path.stem: path for path in builtin_folder().glob("*.toml")}
    if name in builtin:
        return builtin[name]
    if not name.endswith(".toml") and "/" not in name:
        near = difflib.get_close_matches(name, builtin, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ProfileError(
            f"profile {name}: no built-in profile has this name{hint}; there are {', '.join(sorted(builtin))}, "
            "and a profile of your own is a path that ends in .toml"
        )
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: ~user without such a user. ValueError: a null character.
        raise ProfileError(f"profile {name}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(mode):
        raise ProfileError(f"profile {name}: {'is a folder' if stat.S_ISDIR(mode) else 'is no ordinary file'}")
    return path


def load(name: str, overrides: Sequence[str] = ()) -> Profile:
    """The profile of a built-in name or a path, with `overrides` (``section.key=value`` in TOML) laid over it.

    Raises:
        ProfileError: it cannot be read or used; one sentence.
    """
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"profile {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"profile {path}: is not a text file (byte {error.start} is no UTF-8)") from None
    return parse(text, path=path, overrides=overrides)


def parse(text: str, *, path: Path, overrides: Sequence[str] = ()) -> Profile:
    """The profile in a TOML text. Raises ProfileError."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # tomllib lets two of Python's own through: a number of thousands of digits, and brackets without end.
        raise ProfileError(f"profile {path}: is not TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    try:
        return _profile(table, path, text, tuple(overrides))
    except keys.Mistake as wrong:
        raise ProfileError(f"profile {path}: {wrong}") from None


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    key = key.strip()
    parts = key.split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise ProfileError(
            f"--set {redaction.shown_override(override)}: write SECTION.KEY=VALUE, for example --set run.seed=7"
        )
    if key == "run.env":
        raise ProfileError("--set run.env: set each variable by itself, --set run.env.NAME=VALUE")
    parsed = _toml_value(value)
    if parts[:2] == ["run", "env"] and not isinstance(parsed, str):
        # An environment holds texts: OMP_NUM_THREADS=2 is one too.
        parsed = value.strip()
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            why = " (phases are changed in the profile's file)" if part == "phase" else ""
            raise ProfileError(f"--set {redaction.shown_override(override)}: {part} holds no keys{why}")
    table[parts[-1]] = parsed


def _toml_value(text: str) -> Any:
    """The value that the text is in TOML, or the text itself, so that a path needs no quotes on the command line."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return table["value"] if len(table) == 1 else text.strip()


def _profile(table: Mapping[str, Any], path: Path, text: str, overrides: tuple[str, ...]) -> Profile:
    keys.known(table, ("fleet", "budget", "run", "data", "phase", "record", "alerts"), "")
    for section in ("fleet", "run", "data"):
        if section not in table:
            raise keys.Mistake(f"has no [{section}] section")
    alerts = _alerts(keys.table(table, "alerts") if "alerts" in table else {})
    run_table = dict(keys.table(table, "run"))
    if isinstance(run_table.get("env"), dict):
        _check_env(run_table["env"])
    target = run_table.pop("target", None)
    run = keys.section(RunKeys, run_table, "run", skip=("target",))
    if target is not None:
        if not isinstance(target, dict):
            raise keys.Mistake(f'run.target is {keys.shown(target)}; accepted is {{ metric = "top5", value = 0.93 }}')
        run = replace(run, target=keys.section(Target, target, "run.target"))
    record_table = dict(keys.table(table, "record")) if "record" in table else None
    record = None
    if record_table is not None:
        curve = _curve(record_table.pop("curve", []))
        record = replace(keys.section(RaceRecord, record_table, "record", skip=("curve",)), curve=curve)
    fleet_table = keys.table(table, "fleet")
    if fleet_table.get("provider") == "static" and isinstance(fleet_table.get("hosts"), list):
        fleet_table = {"nodes": len(fleet_table["hosts"]), **fleet_table}
    profile = Profile(
        name=path.stem,
        path=path,
        text=redaction.redacted(text),
        overrides=tuple(redaction.shown_override(override) for override in overrides),
        fleet=keys.section(Fleet, fleet_table, "fleet"),
        budget=keys.section(Budget, keys.table(table, "budget") if "budget" in table else {}, "budget"),
        run=run,
        data=keys.section(Data, keys.table(table, "data"), "data"),
        phases=phases.parse(table.get("phase", [])),
        record=record,
        alerts=alerts,
    )
    _check(profile)
    return profile


def _check_env(env: Mapping[str, Any]) -> None:
    """Names and types of `run.env`, in words that show no value: it may be a secret."""
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise keys.Mistake(f"run.env has {keys.shown(name)}; accepted are names of letters, digits and _")
        if not isinstance(value, str):
            raise keys.Mistake(f"run.env.{name} is no text; accepted is a text in quotes")
        if "\0" in value:
            raise keys.Mistake(f"run.env.{name} holds a null character, which no environment can")


def _alerts(table: Mapping[str, Any]) -> AlertKeys:
    try:
        return alert_keys.parse(table, REDACTED)
    except ValueError as mistake:
        raise keys.Mistake(str(mistake)) from None


def _curve(points: object) -> tuple[Mark, ...]:
    accepted = "[[hours, top1, top5], ...] with accuracies as fractions"
    if not isinstance(points, list):
        raise keys.Mistake(f"record.curve is {keys.shown(points)}; accepted is {accepted}")
    marks = []
    for point in points:
        good = isinstance(point, list) and len(point) == 3 and all(type(value) in (int, float) for value in point)
        if not good or not 0 <= point[0] < 1e6 or not 0 <= point[1] <= 1 or not 0 <= point[2] <= 1:
            raise keys.Mistake(f"record.curve has {keys.shown(point)}; accepted is {accepted}")
        marks.append(Mark(elapsed_s=point[0] * 3600.0, top1=float(point[1]), top5=float(point[2])))
    return tuple(marks)


def _check(profile: Profile) -> None:
    fleet, run, data, budget = profile.fleet, profile.run, profile.data, profile.budget
    keys.inside(fleet.provider, str, lambda v: v in PROVIDERS, "fleet.provider", " or ".join(PROVIDERS))
    keys.inside(fleet.market, str, lambda v: v in MARKETS, "fleet.market", " or ".join(MARKETS))
    keys.inside(fleet.connect, str, lambda v: v in CONNECTS, "fleet.connect", " or ".join(CONNECTS))
    keys.inside(fleet.on_loss, str, lambda v: v in ON_LOSS, "fleet.on_loss", " or ".join(ON_LOSS))
    keys.inside(fleet.ssh_port, int, lambda v: 1 <= v <= 65535, "fleet.ssh_port", "1 to 65535")
    keys.inside(fleet.volume_gib, int, lambda v: 8 <= v <= 65536, "fleet.volume_gib", "8 to 65536 GiB")
    keys.inside(fleet.nodes, int, lambda v: 1 <= v <= 1024, "fleet.nodes", "1 to 1024")
    keys.inside(run.nproc_per_node, int, lambda v: 1 <= v <= 64, "run.nproc_per_node", "1 to 64")
    keys.inside(run.seed, int, lambda v: 0 <= v < 2**32, "run.seed", "0 to 4294967295")
    keys.inside(run.max_restarts, int, lambda v: 0 <= v <= 100, "run.max_restarts", "0 to 100")
    keys.inside(run.checkpoint_epochs, int, lambda v: 1 <= v <= 10_000, "run.checkpoint_epochs", "1 to 10000")
    last = profile.phases[-1].end_epoch - 1
    keys.inside(run.eval_from, int, lambda v: 0 <= v <= last, "run.eval_from", f"0 to the last epoch, {last}")
    keys.inside(run.momentum, float, lambda v: 0 <= v < 1, "run.momentum", "0 up to but not 1")
    keys.inside(run.weight_decay, float, lambda v: 0 <= v < 1, "run.weight_decay", "0 up to but not 1")
    keys.inside(run.label_smoothing, float, lambda v: 0 <= v < 1, "run.label_smoothing", "0 up to but not 1")
    _check_learning(profile)
    keys.inside(data.dataset, str, lambda v: v in DATASETS, "data.dataset", " or ".join(DATASETS))
    for mistake in copying.mistakes(data.dataset, data.dir if data.dir != DATA_DIR else None, data.stage_from):
        raise keys.Mistake(mistake)
    keys.inside(data.loader_workers, int, lambda v: 0 <= v <= 256, "data.loader_workers", "0 to 256")
    keys.inside(budget.warn_at, float, lambda v: 0 < v <= 1, "budget.warn_at", "above 0, up to 1")
    keys.inside(
        budget.lease_minutes, float, lambda v: 0.2 <= v <= 10_080, "budget.lease_minutes", "0.2 to 10080 minutes"
    )
    for key, price in (
        ("fleet.usd_per_h", fleet.usd_per_h),
        ("fleet.usd_per_h_on_demand", fleet.usd_per_h_on_demand),
        ("budget.max_usd", budget.max_usd),
    ):
        if price is not None:
            keys.inside(price, float, lambda v: 0 < v < 1e7, key, "dollars, above 0")
    for key, port in (("fleet.base_port", fleet.base_port), ("run.rdzv_port", run.rdzv_port)):
        if port is not None:
            keys.inside(port, int, lambda v: 1 <= v <= 65535, key, "1 to 65535")
    if fleet.base_port is not None and fleet.base_port + fleet.nodes > 65536:
        raise keys.Mistake(
            f"fleet.base_port is {fleet.base_port}; with {fleet.nodes} nodes at most {65536 - fleet.nodes}"
        )
    if run.target is not None:
        keys.inside(run.target.metric, str, lambda v: v in METRICS, "run.target.metric", " or ".join(METRICS))
        keys.inside(
            run.target.value,
            float,
            lambda v: 0 < v <= 1,
            "run.target.value",
            "a fraction, above 0 up to 1 (0.93, not 93)",
        )
    if run.max_steps is not None:
        keys.inside(run.max_steps, int, lambda v: v >= 1, "run.max_steps", "1 or more")
    if data.train_images is not None:
        keys.inside(data.train_images, int, lambda v: v >= 1, "data.train_images", "1 or more")
    if profile.record is not None:
        for key, figure in (
            ("record.minutes_to_target", profile.record.minutes_to_target),
            ("record.usd_to_target", profile.record.usd_to_target),
        ):
            if figure is not None:
                keys.inside(figure, float, lambda v: v > 0, key, "a number above 0")
        last, number = profile.phases[-1].end_epoch, profile.record.epochs_to_target
        if number is not None:
            keys.inside(
                number, int, lambda v: 1 <= v <= last, "record.epochs_to_target", f"1 to the profile's {last} epochs"
            )
    if fleet.provider == "static":
        if not fleet.hosts:
            raise keys.Mistake('fleet.hosts is missing; provider static takes hosts = ["user@host", ...]')
        if fleet.nodes > len(fleet.hosts):
            raise keys.Mistake(f"fleet.nodes is {fleet.nodes} but fleet.hosts names {len(fleet.hosts)}")
        for host in fleet.hosts:
            if not renting.HOST.fullmatch(host):
                raise keys.Mistake(f"fleet.hosts has {keys.shown(host)}; accepted is [user@]host[:port]")
    elif fleet.hosts:
        raise keys.Mistake(f"fleet.hosts is set, but provider {fleet.provider} makes its own hosts")
    if fleet.provider == "aws":
        for mistake in renting.mistakes(fleet, run):
            raise keys.Mistake(mistake)
    images = profile.train_images
    for number, phase in enumerate(profile.phases):
        batch = phase.batch_size_per_gpu * profile.world_size
        if images is not None and batch > images:
            raise keys.Mistake(
                f"phase {number + 1}: batch_size_per_gpu is {phase.batch_size_per_gpu}, a global batch of {batch:,} "
                f"on {profile.world_size} ranks, and {data.dataset} has {images:,} training images to fill it; "
                f"at most {images // profile.world_size} fit"
            )
        group = run.batch_norm_group
        if group is not None and (group < 2 or phase.batch_size_per_gpu % group):
            raise keys.Mistake(
                f"run.batch_norm_group is {group}; it has to divide phase {number + 1}'s batch_size_per_gpu "
                f"({phase.batch_size_per_gpu}) and be 2 or more"
            )


def _check_learning(profile: Profile) -> None:
    """What `[run]` says of the optimiser and the precision."""
    run = profile.run
    for key, word, words in (
        ("run.optimizer", run.optimizer, OPTIMIZERS),
        ("run.precision", run.precision, PRECISIONS),
        ("run.gradient_precision", run.gradient_precision, GRADIENT_PRECISIONS),
        ("run.compile", run.compile, COMPILES),
    ):
        if word not in words:
            raise keys.Mistake(f"{key} is {keys.shown(word)}; accepted is {' or '.join(words)}")
    keys.inside(run.trust_coefficient, float, lambda v: 0 < v <= 1, "run.trust_coefficient", "above 0, up to 1")
    keys.inside(run.ema_decay, float, lambda v: 0 <= v < 1, "run.ema_decay", "0 up to but not 1")
    keys.inside(run.ema_every, int, lambda v: 1 <= v <= 10_000, "run.ema_every", "1 to 10000 steps")
    for key, word in (("run.precision", run.precision), ("run.gradient_precision", run.gradient_precision)):
        if word == "bf16" and run.accelerator in WITHOUT_BF16:
            raise keys.Mistake(f"{key} is 'bf16', which a {run.accelerator} has not; accepted is fp16 or fp32 there")
    momenta = [run.momentum, *(one for phase in profile.phases if (one := phase.momentum_start) is not None)]
    if run.nesterov and min(momenta) == 0:
        raise keys.Mistake("run.nesterov is true, and a momentum is 0; Nesterov's look ahead needs one above 0")
