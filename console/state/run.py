"""The state of a run: values, each made from the one before by `console.fold.apply`.

Theory. A run's journal is the truth; the state is what one gets by folding it from the left, live while records come
and later from the file, with the same code, so that both are equal field by field. The fold is pure: it reads no
clock and no file, it never fails on a record that decoded, and what it does not know is None. Times in the state are
of the laptop's clock (``received``) unless a name says otherwise. What depends on the present moment (cost, ETA, which
node has gone quiet) is not here but in `console.views.progress`, which takes ``now``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from console.state import events as ce
from console.state.series import Series
from console.state.status import LAUNCHING, LIVE, NODE_WAITING
from remote.wire import events as re

LOG_LINES: Final = 1000
"""Lines that the state keeps; all of them are in the journal."""
LOG_CHARS: Final = 1 << 20
"""Characters that the kept lines have together: a thousand lines of a flood must not be four megabytes."""
LINE_CHARS: Final = 4096
"""Of a line or an alert. Hosts cut at so many bytes; here it is held for a line that another kind of host sent."""
ALERTS: Final = 200
"""Alerts that the state keeps, the open ones before all others."""

INFO: Final = "info"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
SEVERITIES: Final = (INFO, WARNING, CRITICAL)
LATE_S: Final = 60.0
"""A record that comes so long after it was written tells of a time when no console was there."""
RECENT: Final = 60
"""Samples of a host and words of a rank that are kept whole, a second apart; all of them are in the journal."""
STAGES: Final = 32
QUOTES: Final = 2000
"""Spot prices change a few times a day in each of a handful of zones."""
NODES: Final = 4096
"""More than anyone rents; a bound, so that a damaged number cannot ask for a billion."""


@dataclass(frozen=True, slots=True, eq=False)
class Rank:
    """A rank of the gang on its node."""

    rank: int
    local_rank: int
    device: str
    pid: int
    step: int | None = None
    img_per_s: float | None = None
    step_s: float | None = None
    data_s: float | None = None
    compute_s: float | None = None
    allreduce_s: float | None = None
    """A part of `compute_s`."""
    optimizer_s: float | None = None
    mem_used_mib: float | None = None
    mem_reserved_mib: float | None = None
    mem_peak_mib: float | None = None
    recent: tuple[re.RankProgressed, ...] = ()
    """Its last `RECENT` words, oldest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Billing:
    """One instance's time on the bill: `started_t` to `stopped_t`, epoch seconds; None while it runs."""

    instance_id: str
    started_t: float
    stopped_t: float | None
    usd_per_h: float | None
    usd_per_h_on_demand: float | None
    market: str = ""
    instance_type: str | None = None
    zone: str | None = None
    storage_usd_per_h: float | None = None
    address_usd_per_h: float | None = None
    reason: str = ""
    """Why it is billed no more."""
    taken_back: bool = False
    """EC2 itself took it back."""


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """An Xid that the NVIDIA driver reported."""

    received_t: float
    gpu: int
    xid: int


@dataclass(frozen=True, eq=False)
class Node:
    """A node of the gang, by its rank among them, and the host that holds it."""

    node: int
    status: str = NODE_WAITING
    """One of the ``NODE_`` words of `console.state.status`."""
    since_t: float = 0.0
    """When the status became what it is."""
    reason: str = ""
    """Why it is unreachable, failed, refused or lost."""
    address: str | None = None
    port: int | None = None
    fingerprint: str | None = None
    stage: str = ""
    """The launch stage that it is in, or was in last."""
    stage_done: int = 0
    stage_total: int | None = None
    stage_detail: str = ""
    staging: re.StagingProgressed | None = None
    """How far the copy of the data set to this host is; None where none is made, or it has not begun."""
    staged: re.StagingEnded | None = None
    """What became of that copy; None while it runs."""
    agent: re.AgentStarted | None = None
    ranks: tuple[Rank, ...] = ()
    """Sorted by local rank."""
    sample: re.HostSampled | None = None
    recent: tuple[re.HostSampled, ...] = ()
    """Its last `RECENT` samples, oldest first."""
    util_history: Series[float | None] = field(default_factory=Series)
    """`util_pct` of every sample, oldest first."""
    lease_deadline_t: float | None = None
    """The host's clock."""
    interruption: re.SpotNoticed | None = None
    """EC2 has said that it will take the instance back."""
    replacement: str = ""
    """Another host for this node is ``ordered`` or ``ready``; empty where nobody asked for one."""
    processes: re.ProcessesSampled | None = None
    """The busiest of the run's."""
    faults: tuple[Fault, ...] = ()
    """Of its GPUs, the newest last; a few."""
    billing: tuple[Billing, ...] = ()
    records: int = 0
    """Records that came from this host."""
    last_received_t: float | None = None
    last_offset: int | None = None
    """Of the last record that came from this host's present journal."""
    lag_s: float | None = None
    """How much later by the laptop's clock a record comes than by the host's it was written: the quickest ones count,
    since a way only ever adds to it. Below 0 the host's clock is ahead."""
    restarts: int = 0

    @property
    def util_pct(self) -> float | None:
        """GPU utilisation, mean over the node's GPUs; CPU utilisation where it has none; None before a sample."""
        return utilisation_pct(self.sample)

    @property
    def step(self) -> int | None:
        """The last step that any of its ranks said."""
        return max((rank.step for rank in self.ranks if rank.step is not None), default=None)

    @property
    def img_per_s(self) -> float | None:
        """Images a second of its ranks together."""
        said = [rank.img_per_s for rank in self.ranks if rank.img_per_s is not None]
        return sum(said) if said else None


@dataclass(frozen=True, slots=True, eq=False)
class LogLine:
    """A line that a host printed or that the console says. `received` in epoch seconds."""

    received_t: float
    node: int | None
    rank: int | None
    stream: str
    """stdout, stderr, or ``console`` for what the console itself has to say."""
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Alert:
    """Something that a person should see."""

    received_t: float
    kind: str
    node: int | None
    text: str
    severity: str = WARNING
    """One of `SEVERITIES`."""
    id: str = ""
    """By which its end is known; empty for what has no end, since it happened in a moment."""
    cleared_t: float | None = None
    """When it was over."""
    rank: int | None = None
    """The rank that failed, where one did."""

    @property
    def open(self) -> bool:
        """True while what it tells of lasts."""
        return bool(self.id) and self.cleared_t is None


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """A command to the gang and which nodes have carried it out."""

    id: str
    command: str
    by: str
    received_t: float
    done: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint on a host's disk, and on the laptop's once fetched."""

    step: int
    epoch: int
    node: int | None
    """Whose disk holds it; None where only the laptop has it."""
    path: str
    size_bytes: int
    sha256: str
    fetched: str | None = None
    """Its path in the run directory."""
    save_s: float | None = None
    wait_s: float | None = None
    """The part of `save_s` for which training stood still."""
    fetch_s: float | None = None
    """How long the way to the laptop took."""


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """What the gang does from a moment on, until the next activity begins."""

    cause: str
    """``launch`` until an attempt's first step, ``train``, ``pause``, ``restart`` after a failure, ``end``."""
    since_t: float


@dataclass(frozen=True, slots=True, eq=False)
class BudgetMove:
    """The operator set another budget."""

    received_t: float
    max_usd: float
    by: str


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A step on the curves."""

    step: int
    received_t: float
    loss: float | None
    lr: float
    img_per_s: float
    peak_share: float | None = None
    """Its floating-point operations over those that the devices could have done; None where unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """An epoch that has ended."""

    event: re.EpochEnded
    received_t: float
    """The clock of `Point.received_t`."""
    ended_t: float
    """The same, or the host's clock where the record came late, because no console was there."""


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that is known of a run."""

    created: ce.RunCreated | None = None
    status: str = LAUNCHING
    reason: str = ""
    exit_code: int | None = None
    started_t: float | None = None
    """When the first record was received."""
    ended_t: float | None = None
    last_received_t: float | None = None
    attempt: int = 1
    gang_started: bool = False
    """True once this attempt's trainers were told to start."""
    nodes: tuple[Node, ...] = ()
    stages: tuple[str, ...] = ()
    """Names of the launch stages, in the order in which they were first seen."""
    training: re.TrainingStarted | None = None
    phase: re.PhaseStarted | None = None
    step: re.StepEnded | None = None
    first_step_t: float | None = None
    """When the run's first step was received."""
    last_step_t: float | None = None
    evaluation: re.EvaluationProgressed | None = None
    """While one runs."""
    epochs: tuple[Epoch, ...] = ()
    """Those that have ended, oldest first."""
    target: re.TargetReached | None = None
    finished: re.TrainingEnded | None = None
    points: Series[Point] = field(default_factory=Series)
    paused_since_t: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    """The newest last; a few."""
    commands: tuple[Command, ...] = ()
    """The newest last; a few."""
    log: tuple[LogLine, ...] = ()
    """The newest last; no more than `LOG_LINES`, with no more than `LOG_CHARS` characters."""
    log_chars: int = 0
    """Of the lines kept."""
    log_lines: int = 0
    """How many there have been: the last one kept has this number, from 1."""
    alerts: tuple[Alert, ...] = ()
    """In the order in which they were raised, the open ones and those that are over."""
    alerts_raised: int = 0
    """How many there have been."""
    first_error: Alert | None = None
    """The failure that the others are echoes of, by torchrun's own time of it where it says one."""
    first_error_t: float | None = None
    attached: bool = True
    """False while no console is attached."""
    budget_usd: float | None = None
    """As it stands now."""
    budget_moves: tuple[BudgetMove, ...] = ()
    """The newest last; a few."""
    quotes: tuple[ce.PriceQuoted, ...] = ()
    """What AWS said of prices; the newest last."""
    activities: Series[Activity] = field(default_factory=Series)
    """What the time went to, oldest first."""
    records: int = 0
    damaged: int = 0
    """Lines that were no record."""
    unknown: int = 0
    """Records of an event that this version does not know."""
    dropped: int = 0
    """Records that hosts could not write."""

    @property
    def run_id(self) -> str:
        """The run's id; empty before the first record."""
        return self.created.run_id if self.created else ""

    @property
    def nnodes(self) -> int:
        return len(self.nodes)

    @property
    def world_size(self) -> int | None:
        """Ranks of the gang; None before the first record."""
        if self.training:
            return self.training.world_size
        created = self.created
        if created is None or created.nnodes is None or created.nproc_per_node is None:
            return None
        return created.nnodes * created.nproc_per_node

    @property
    def live(self) -> bool:
        """True until the run has ended."""
        return self.status in LIVE


def utilisation_pct(sample: re.HostSampled | None) -> float | None:
    """Mean GPU utilisation of a sample, or the CPU's on a host without GPUs; None where unknown."""
    if sample is None:
        return None
    said = [value for value in sample.gpu_util_pct if value is not None]
    return sum(said) / len(said) if said else sample.cpu_util_pct if not sample.gpu_util_pct else None


def open_alert(run: Run, id: str) -> Alert | None:  # noqa: A002
    """The open alert with this id; None where there is none."""
    return next((alert for alert in reversed(run.alerts) if alert.id == id and alert.cleared_t is None), None)


def lines_since(before: Run, after: Run) -> tuple[LogLine, ...]:
    """What was logged between two states of a run, oldest first; of a flood the last lines that are kept."""
    count = after.log_lines - before.log_lines
    return after.log[-count:] if count > 0 else ()


def alerts_since(before: Run, after: Run) -> tuple[Alert, ...]:
    """What was raised between two states of a run."""
    count = after.alerts_raised - before.alerts_raised
    return after.alerts[-count:] if count > 0 else ()
