"""What a host is told: the recipe that the trainer follows and the job that the agent runs.

The console makes a `Job` of a checked profile and sends it as JSON. Hosts do not check it again.
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
"""The words that a recipe accepts. The compile modes are torch's; ``reduce-overhead`` uses CUDA graphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train, on any number of ranks.

    A new field that a profile may set has the same name and default in `console.profile.schema` (in `RunSection` or
    `Data`): it is then copied from there.
    """

    model: str
    """``resnet-small`` or a torchvision name such as ``resnet50``."""
    dataset: str
    """``shapes``, ``fashion-mnist``, ``imagefolder`` or ``packed``."""
    data_dir: str
    """Folder of the data set; ``~`` is the host's home folder. With ``imagefolder`` it holds train/ and val/, with
    ``packed`` what `remote.prepare.cli` made."""
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
    """Of LARS: length of a layer's step at a rate of 1, by the length of its weights."""
    ema_decay: float = 0.0
    """Decay per step of the moving average of the weights; 0: none. See `remote.model.ema`."""
    ema_every: int = 5
    """Steps between two updates of the moving average."""
    label_smoothing: float = 0.0
    blurpool: bool = False
    """Blurs before every strided convolution, which changes the architecture; see `remote.model.blurpool`."""
    precision: str = "auto"
    """One of PRECISIONS; see `remote.model.precision`."""
    gradient_precision: str = "fp32"
    """One of GRADIENT_PRECISIONS: the number format of gradients between the ranks."""
    compile: str = "off"
    """``off``, or the mode of torch.compile: one of COMPILES."""
    batch_norm_group: int | None = None
    """Images that share batch statistics on a device (ghost batch norm); None: the whole batch of the device."""
    loader_workers: int = 0
    """Loader processes of a rank, which read ahead; 0: the rank reads its batches itself."""
    checkpoint_epochs: int = 1
    """Epochs between two checkpoints."""
    eval_from: int = 0
    """The first epoch (from 0) that is evaluated; the last one always is."""
    eval_flip: bool = False
    """Evaluate with the mean of the scores of each picture and of its mirror image."""
    world_size: int | None = None
    """Number of ranks that the phases' batch sizes are meant for; None: the number with which the run began."""
    max_steps: int | None = None
    """Finish after so many steps in all; for tests and trials."""

    @property
    def net(self) -> str:
        """The model's name with what changes its architecture: ``resnet50``, ``resnet50+blurpool``."""
        return f"{self.model}+blurpool" if self.blurpool else self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one node's agent runs."""

    run_id: str
    node: int
    """This node's number, from 0."""
    nnodes: int
    nproc_per_node: int
    recipe: Recipe
    address: str
    """The address at which the other nodes reach this node."""
    max_restarts: int = 0
    """How often torchrun may restart the ranks after a crash."""
    env: dict[str, str] = field(default_factory=dict)
    lease_s: float = 0.0
    """The host ends so many seconds after the console last renewed the lease; 0: no lease."""
    lease_end: str = "agent"
    """What ends with the lease: ``agent`` (on a host of the user's own), ``host`` (an embedded host), ``poweroff``."""
    lease_file: str = ""
    """File with the deadline of the host's own power-off timer, see `remote.agent.lease`; empty: it has no timer."""
    stage_from: str = ""
    """What is copied to the recipe's `data_dir` before the ranks start, see `remote.staging.copy`; empty: nothing."""
    metadata_url: str = ""
    """The metadata service that announces a spot interruption; empty: there is none."""
    linger_s: float = 30.0
    """How long an unattended host keeps running after its trainer ended, so that results can be fetched."""
    embedded: int = 0
    """Above 0: this is one of so many embedded hosts on one machine. It counts only its own processes, against its
    share of the cores, and gives each rank one thread."""

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
        """The same job for another node, with that node's address."""
        return replace(self, node=node, address=address)
