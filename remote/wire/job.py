"""What a host is told: the recipe that the trainer follows and the job that the agent runs.

The console makes a `Job` from a checked profile and sends it as JSON; hosts trust its shape and check nothing twice.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from remote.wire.schedule import Phase

TRAIN_IMAGES = {"fashion-mnist": 60_000, "shapes": 12_960}
"""Training images of the data sets whose size is known before a host has seen them.

Here and not in ``remote.data.shapes``, which needs numpy and Pillow: the laptop has neither.
"""

OPTIMIZERS = ("sgd", "lars")
PRECISIONS = ("auto", "bf16", "fp16", "fp32")
GRADIENT_PRECISIONS = ("fp32", "bf16", "fp16")
COMPILES = ("off", "default", "reduce-overhead")
"""Words of a recipe; the compile modes are torch's, and ``reduce-overhead`` is the one with CUDA graphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train, on any number of ranks."""

    model: str
    """``resnet-small`` or a torchvision name such as ``resnet50``."""
    dataset: str
    """``shapes``, ``fashion-mnist``, ``imagefolder`` or ``packed``."""
    data_dir: str
    """Where the data set is or is made; ``~`` is the host's home. For ``imagefolder``, holds train/ and val/; for
    ``packed``, what `remote.prepare.cli` made."""
    phases: tuple[Phase, ...]
    target_metric: str | None = None
    """``top1`` or ``top5``; None trains all epochs."""
    target_value: float | None = None
    """A fraction."""
    seed: int = 0
    optimizer: str = "sgd"
    """One of OPTIMIZERS; see `remote.model.optimizer`."""
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    trust_coefficient: float = 0.001
    """Of LARS."""
    ema_decay: float = 0.0
    """Of the running mean of the weights, by step; 0: none. See `remote.model.ema`."""
    ema_every: int = 5
    """Steps between two updates of that mean."""
    label_smoothing: float = 0.0
    blurpool: bool = False
    """Blurs before every strided convolution, which changes the architecture; see `remote.model.blurpool`."""
    precision: str = "auto"
    """One of PRECISIONS; see `remote.model.precision`."""
    gradient_precision: str = "fp32"
    """One of GRADIENT_PRECISIONS: in what gradients travel between the ranks."""
    compile: str = "off"
    """``off``, or the mode of torch.compile: one of COMPILES."""
    batch_norm_group: int | None = None
    """Images that share batch statistics on one device (ghost batch norm); None: the device's whole batch."""
    loader_workers: int = 0
    """Loader processes a rank, which read ahead; 0 reads in the rank itself."""
    checkpoint_epochs: int = 1
    """Save after every so many epochs."""
    eval_from: int = 0
    """The first epoch that is evaluated; the last one is in any case."""
    eval_flip: bool = False
    """Evaluate with the mean of each picture's scores and its mirror image's."""
    world_size: int | None = None
    """Ranks that the phases' batch sizes are meant for, however many there are; None: those that the run began with."""
    max_steps: int | None = None
    """Stop, as finished, after so many steps in all; for tests and trials."""

    @property
    def net(self) -> str:
        """The net's name with what changes its architecture: ``resnet50``, ``resnet50+blurpool``."""
        return f"{self.model}+blurpool" if self.blurpool else self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one node's agent runs."""

    run_id: str
    node: int
    """This node's place in the fleet, from 0."""
    nnodes: int
    nproc_per_node: int
    recipe: Recipe
    address: str
    """Where the other nodes reach this one."""
    max_restarts: int = 0
    """How often torchrun may restart the ranks after a crash."""
    env: dict[str, str] = field(default_factory=dict)
    lease_s: float = 0.0
    """The host ends itself so long after the console last moved the lease; 0: no lease."""
    lease_end: str = "agent"
    """What the lease's end ends: ``agent`` (a host that is not ours), ``host`` (an embedded one), ``poweroff``."""
    lease_file: str = ""
    """Where the host's own timer, which powers it off, is told its deadline: see `remote.agent.lease`; empty: it has
    none."""
    stage_from: str = ""
    """What is copied to the recipe's `data_dir` before the gang starts: see `remote.staging.copy`; empty: nothing."""
    metadata_url: str = ""
    """Where the host's metadata service tells of a spot instance's end; empty: there is none."""
    linger_s: float = 30.0
    """How long an unattended host stays after its trainer ended, so that the results can be fetched."""
    embedded: int = 0
    """Above 0: one of so many hosts that share this machine. Counts only its own processes, against its share of the
    cores, and gives each rank one thread."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        recipe = dict(values.pop("recipe"))
        recipe["phases"] = tuple(Phase(**phase) for phase in recipe["phases"])
        return cls(recipe=Recipe(**recipe), **values)

    def at(self, node: int, address: str) -> Job:
        """The same job for another node."""
        return replace(self, node=node, address=address)
