"""The state of a run, and the one way in which it changes: ``apply(run, record) -> run``.

Theory. A run's journal is the truth; the state is what one gets by folding it from the left, live while records come
and later from the file, with the same code, so that both are equal field by field. The fold is pure: it reads no
clock and no file, it never fails on a record that decoded, and what it does not know is None. Times in the state are
of the laptop's clock (``received``) unless a name says otherwise. What depends on the present moment (cost, ETA, which
node has gone quiet) is not here but in `console.views`, which takes ``now``.

A new fact is a new event: a dataclass in ``events``, one arm here, one test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from console import events as ce
from console import xids
from console.events import Record
from console.series import Series
from remote import events as re

LAUNCHING: Final = "launching"
TRAINING: Final = "training"
PAUSED: Final = "paused"
STOPPING: Final = "stopping"
REACHED: Final = "reached"
FINISHED: Final = "finished"
MISSED: Final = "missed"
STOPPED: Final = "stopped"
FAILED: Final = "failed"
OVER_BUDGET: Final = "over budget"
UNREACHABLE: Final = "unreachable"

LIVE: Final = (LAUNCHING, TRAINING, PAUSED, STOPPING)
ENDED: Final = (REACHED, FINISHED, MISSED, STOPPED, FAILED, OVER_BUDGET, UNREACHABLE)

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
_ECHO_S: Final = 86_400.0
"""Added to the time of a failure that followed another: clocks of hosts differ by more than a gang takes to fall."""
_LAG_SHARE: Final = 0.02
"""Of a host's delay, how much of a record that came later than the quickest is taken over: a minute's worth of them."""
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

    received: float
    gpu: int
    xid: int


@dataclass(frozen=True, eq=False)
class Node:
    """A place in the gang and the host that holds it."""

    node: int
    status: str = "waiting"
    """waiting, launching, connected, training, paused, done, unreachable, failed, refused, lost, dropped."""
    since: float = 0.0
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
    """What became of that copy; None while it goes on."""
    agent: re.AgentStarted | None = None
    ranks: tuple[Rank, ...] = ()
    """Sorted by local rank."""
    sample: re.HostSampled | None = None
    recent: tuple[re.HostSampled, ...] = ()
    """Its last `RECENT` samples, oldest first."""
    util_history: Series[float | None] = field(default_factory=Series)
    """`util_pct` of each sample, oldest first."""
    util_sum: float = 0.0
    util_count: int = 0
    lease_deadline_t: float | None = None
    """The host's clock."""
    interruption: re.SpotNoticed | None = None
    """EC2 has said that it will take the instance back."""
    replacement: str = ""
    """Another host for this place is ``ordered`` or ``ready``; empty where nobody asked for one."""
    processes: re.ProcessesSampled | None = None
    """The busiest of the run's."""
    faults: tuple[Fault, ...] = ()
    """Of its GPUs, the newest last; a few."""
    billing: tuple[Billing, ...] = ()
    records: int = 0
    """Records that came from this host."""
    last_received: float | None = None
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

    received: float
    node: int | None
    rank: int | None
    stream: str
    """stdout, stderr, or ``console`` for what the console itself has to say."""
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Alert:
    """Something that a person should see."""

    received: float
    kind: str
    node: int | None
    text: str
    severity: str = WARNING
    """One of `SEVERITIES`."""
    id: str = ""
    """By which its end is known; empty for what has no end, since it happened in a moment."""
    cleared: float | None = None
    """When it was over."""
    rank: int | None = None
    """The rank that failed, where one did."""

    @property
    def open(self) -> bool:
        """True while what it tells of goes on."""
        return bool(self.id) and self.cleared is None


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """A command to the gang and which nodes have carried it out."""

    id: str
    command: str
    by: str
    received: float
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
class Stretch:
    """What the gang does from a moment on, until the next stretch begins."""

    cause: str
    """``launch`` until an attempt's first step, ``train``, ``pause``, ``restart`` after a failure, ``end``."""
    since: float


@dataclass(frozen=True, slots=True, eq=False)
class BudgetMove:
    """The operator set another budget."""

    received: float
    max_usd: float
    by: str


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A step on the curves."""

    step: int
    received: float
    loss: float | None
    lr: float
    img_per_s: float
    peak_share: float | None = None
    """Its floating-point operations over those that the devices could have done; None where unknown."""


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that is known of a run."""

    created: ce.RunCreated | None = None
    status: str = LAUNCHING
    reason: str = ""
    exit_code: int | None = None
    started: float | None = None
    """When the first record was received."""
    ended: float | None = None
    last_received: float | None = None
    attempt: int = 1
    gang_started: bool = False
    """True once this attempt's trainers were told to start."""
    nodes: tuple[Node, ...] = ()
    stages: tuple[str, ...] = ()
    """Names of the launch stages, in the order in which they were first seen."""
    training: re.TrainingStarted | None = None
    phase: re.PhaseStarted | None = None
    step: re.StepEnded | None = None
    first_step: float | None = None
    """When the run's first step was received."""
    last_step: float | None = None
    evaluation: re.EvaluationProgressed | None = None
    """While one runs."""
    epochs: tuple[re.EpochEnded, ...] = ()
    epochs_received: tuple[float, ...] = ()
    epochs_t: tuple[float, ...] = ()
    """When each ended: by its host's clock where the record came late, because no console was there."""
    target: re.TargetReached | None = None
    finished: re.TrainingEnded | None = None
    points: Series[Point] = field(default_factory=Series)
    paused_since: float | None = None
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
    stretches: Series[Stretch] = field(default_factory=Series)
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


def apply(run: Run, record: Record) -> Run:
    """The run after the record. Pure, and total over all records that decode."""
    node = record.node
    if node is not None and node >= len(run.nodes):
        if run.created is not None or node >= NODES:
            # A record from a node that the run does not have: the line was damaged in a way that JSON cannot tell.
            return _changed(run, damaged=run.damaged + 1)
        # The first line is lost, and with it how many nodes there are: those that speak are there.
        run = _changed(run, nodes=(*run.nodes, *(Node(more) for more in range(len(run.nodes), node + 1))))
    received = record.received
    run = _changed(
        run,
        records=run.records + 1,
        started=received if run.started is None else run.started,
        last_received=received,
    )
    if node is not None and record.offset is not None:
        place = run.nodes[node]
        lag_s, late_s = place.lag_s, received - record.t
        if lag_s is None or late_s < lag_s:
            lag_s = late_s
        else:
            lag_s += (late_s - lag_s) * _LAG_SHARE
        run = _node(
            run, node, records=place.records + 1, last_received=received, last_offset=record.offset, lag_s=lag_s
        )
    arm = _ARMS.get(record.event.__class__)
    return arm(run, record, record.event) if arm else run


def lose(run: Run, *, damaged: int = 0, unknown: int = 0) -> Run:
    """The run with lines counted that could not be read."""
    return _changed(run, damaged=run.damaged + damaged, unknown=run.unknown + unknown)


V = TypeVar("V", Run, Node)


def _changed(value: V, **changes: Any) -> V:
    """`dataclasses.replace` for the two values that change with every record, in a tenth of its time.

    They have a ``__dict__`` and no slots for this: copying it is one call, where `replace` passes forty arguments.
    """
    changed = object.__new__(value.__class__)
    held = changed.__dict__
    held.update(value.__dict__)
    held.update(changes)
    return changed


def _node(run: Run, node: int, **changes: Any) -> Run:
    nodes = list(run.nodes)
    if changes.get("status", nodes[node].status) != nodes[node].status:
        changes["since"] = run.last_received
    nodes[node] = _changed(nodes[node], **changes)
    return _changed(run, nodes=tuple(nodes))


def _alert(
    run: Run,
    record: Record,
    kind: str,
    text: str,
    severity: str = WARNING,
    id: str = "",  # noqa: A002
    *,
    rank: int | None = None,
) -> Run:
    """The run with an alert; with an `id`, an open one, and the same run where that is open already."""
    if id and open_alert(run, id) is not None:
        return run
    alert = Alert(record.received, kind, record.node, text[:LINE_CHARS], severity, id, rank=rank)
    alerts = run.alerts
    if len(alerts) >= ALERTS:
        # The oldest one that is over goes; where all are open, the oldest.
        gone = next((place for place, one in enumerate(alerts) if not one.open), 0)
        alerts = alerts[:gone] + alerts[gone + 1 :]
    run = _changed(run, alerts=(*alerts, alert), alerts_raised=run.alerts_raised + 1)
    return _log(run, record, text)


def open_alert(run: Run, id: str) -> Alert | None:  # noqa: A002
    """The open alert with this id; None where there is none."""
    return next((alert for alert in reversed(run.alerts) if alert.id == id and alert.cleared is None), None)


def alerts_since(before: Run, after: Run) -> tuple[Alert, ...]:
    """What was raised between two states of a run."""
    count = after.alerts_raised - before.alerts_raised
    return after.alerts[-count:] if count > 0 else ()


def _clear(run: Run, record: Record, over: Callable[[Alert], bool]) -> Run:
    """The run in which the open alerts are over for which that holds."""
    if not any(alert.open and over(alert) for alert in run.alerts):
        return run
    cleared = record.received
    return _changed(
        run,
        alerts=tuple(replace(alert, cleared=cleared) if alert.open and over(alert) else alert for alert in run.alerts),
    )


def _log(run: Run, record: Record, text: str, *, rank: int | None = None, stream: str = "console") -> Run:
    line = LogLine(record.received, record.node, rank, stream, text[:LINE_CHARS])
    log = (*run.log[-LOG_LINES + 1 :], line)
    chars = run.log_chars + len(line.text) - (len(run.log[0].text) if len(run.log) >= LOG_LINES else 0)
    if chars > LOG_CHARS:
        gone = 0
        while chars > LOG_CHARS:
            chars -= len(log[gone].text)
            gone += 1
        log = log[gone:]
    return _changed(run, log=log, log_chars=chars, log_lines=run.log_lines + 1)


def _when(record: Record) -> float:
    """When it happened, by the laptop's clock; by the host's where the record came late."""
    late = record.offset is not None and record.received - record.t > LATE_S
    return record.t if late else record.received


def _turn(run: Run, cause: str, since: float) -> Run:
    """The run with a stretch of another cause begun, not before the present one did."""
    stretches = run.stretches
    last = stretches[-1] if len(stretches) else None
    if last is None:
        return _changed(run, stretches=stretches.append(Stretch(cause, since)))
    if last.cause == cause:
        return run
    since = max(since, last.since)
    if cause == "restart" and last.cause == "end":
        # The gang had left its loop to be started again, and not for good.
        return _changed(run, stretches=Series([*stretches[:-1], Stretch(cause, last.since)]))
    return _changed(run, stretches=stretches.append(Stretch(cause, since)))


def _fell(run: Run, record: Record) -> Run:
    """The run whose gang will start again: since its last step, nothing came of its time."""
    last = run.stretches[-1] if len(run.stretches) else None
    if last is not None and last.cause == "launch":
        return run
    since = run.last_step if last is not None and last.cause == "train" else None
    return _turn(run, "restart", _when(record) if since is None else min(since, _when(record)))


E = TypeVar("E", bound=re.Event)
_ARMS: dict[type[re.Event], Callable[[Run, Record, Any], Run]] = {}


def _arm(kind: type[E]) -> Callable[[Callable[[Run, Record, E], Run]], Callable[[Run, Record, E], Run]]:
    def register(function: Callable[[Run, Record, E], Run]) -> Callable[[Run, Record, E], Run]:
        _ARMS[kind] = function
        return function

    return register


# --- the run ---------------------------------------------------------------------------------------------------------


@_arm(ce.RunCreated)
def _created(run: Run, record: Record, event: ce.RunCreated) -> Run:
    nodes = run.nodes or tuple(Node(node) for node in range(max(0, min(event.nnodes or 0, NODES))))
    return _turn(_changed(run, created=event, nodes=nodes, budget_usd=event.budget_usd), "launch", record.received)


@_arm(ce.RunContinued)
def _continued(run: Run, record: Record, event: ce.RunContinued) -> Run:
    # New hosts: what belonged to the old ones goes; the curves, the bill and the counts stay.
    nodes = tuple(_fresh(run, node) for node in run.nodes)
    run = _clear(run, record, lambda alert: True)
    for node in run.nodes:
        run = _without_disk(run, node.node)
    run = _changed(
        run,
        nodes=nodes,
        status=LAUNCHING,
        reason="",
        exit_code=None,
        ended=None,
        attempt=event.attempt,
        gang_started=False,
        training=None,
        commands=(),
        evaluation=None,
        finished=None,
        paused_since=None,
        first_error=None,
        first_error_t=None,
        attached=True,
    )
    where = "from the beginning" if event.step is None else f"after step {event.step}"
    run = _turn(run, "launch", record.received)
    return _log(run, record, f"the run goes on {where} (attempt {event.attempt})")


@_arm(ce.RunEnded)
def _ended(run: Run, record: Record, event: ce.RunEnded) -> Run:
    run = _changed(
        run,
        status=event.status,
        exit_code=event.exit_code,
        reason=event.reason,
        ended=record.received,
        paused_since=None,
    )
    run = _clear(run, record, lambda alert: True)
    trains = len(run.stretches) > 0 and run.stretches[-1].cause == "train"
    run = _turn(run, "end", run.last_step if trains and run.last_step is not None else record.received)
    return _log(run, record, f"{event.status}: {event.reason}")


@_arm(ce.ConsoleAttached)
def _attached(run: Run, record: Record, event: ce.ConsoleAttached) -> Run:
    # What the console before had asked its provider for, nobody waits for any more.
    nodes = tuple(_changed(node, replacement="") if node.replacement else node for node in run.nodes)
    return _log(_changed(run, attached=True, nodes=nodes), record, "a console attached")


@_arm(ce.ConsoleDetached)
def _detached(run: Run, record: Record, event: ce.ConsoleDetached) -> Run:
    return _log(_changed(run, attached=False), record, "the console detached; the run goes on")


@_arm(ce.AlertRaised)
def _alerted(run: Run, record: Record, event: ce.AlertRaised) -> Run:
    return _alert(run, record, event.kind, event.text, event.severity, event.id)


@_arm(ce.AlertCleared)
def _alert_cleared(run: Run, record: Record, event: ce.AlertCleared) -> Run:
    alert = open_alert(run, event.id)
    if alert is None:
        return run
    run = _clear(run, record, lambda one: one is alert)
    lasted_s = max(0.0, record.received - alert.received)
    return _log(run, record, f"over after {lasted_s:.0f} s: {alert.text}")


@_arm(ce.OperatorCommanded)
def _commanded(run: Run, record: Record, event: ce.OperatorCommanded) -> Run:
    command = Command(event.id, event.command, event.by, record.received)
    run = _changed(run, commands=(*run.commands[-19:], command))
    if event.command == "start":
        run = _changed(run, gang_started=True)
    elif event.command in ("stop", "terminate") and run.live:
        run = _changed(run, status=STOPPING)
    return _log(run, record, f"{event.by}: {event.command}")


@_arm(re.CommandDone)
def _command_done(run: Run, record: Record, event: re.CommandDone) -> Run:
    node = record.node
    if node is None:
        return run
    commands = tuple(
        command
        if command.id != event.id
        else replace(command, done=(*command.done, node))
        if event.ok
        else replace(command, refused=(*command.refused, node))
        for command in run.commands
    )
    run = _changed(run, commands=commands)
    if event.ok:
        return run
    if event.command == "start":
        run = _node(run, node, status="refused", reason=event.detail)
    return _alert(run, record, "command", f"{event.command} was refused: {event.detail}")


# --- hosts -----------------------------------------------------------------------------------------------------------


def _on_node(run: Run, record: Record, **changes: Any) -> Run:
    return run if record.node is None else _node(run, record.node, **changes)


@_arm(ce.InstanceStarted)
def _instance_started(run: Run, record: Record, event: ce.InstanceStarted) -> Run:
    if record.node is None:
        return run
    billing = Billing(
        event.instance_id,
        event.started_t,
        None,
        event.usd_per_h,
        event.usd_per_h_on_demand,
        event.market,
        event.instance_type,
        event.zone,
        event.storage_usd_per_h,
        event.address_usd_per_h,
    )
    held = run.nodes[record.node].billing
    if any(one.instance_id == billing.instance_id and one.started_t == billing.started_t for one in held):
        # Said again, by a console that came back to the run: the same time is on the bill once.
        return run
    # The same instance begins anew: it has stopped in between, though nobody saw it.
    held = tuple(
        replace(one, stopped_t=billing.started_t)
        if one.instance_id == billing.instance_id and one.stopped_t is None
        else one
        for one in held
    )
    return _node(run, record.node, billing=(*held, billing))


@_arm(ce.ReplacementOrdered)
def _replacement_ordered(run: Run, record: Record, event: ce.ReplacementOrdered) -> Run:
    run = _on_node(run, record, replacement="ordered")
    return _alert(run, record, "host", f"another host is asked for: {event.reason}")


@_arm(ce.ReplacementReady)
def _replacement_ready(run: Run, record: Record, event: ce.ReplacementReady) -> Run:
    return _log(_on_node(run, record, replacement="ready"), record, f"another host is there: {event.address}")


@_arm(ce.NodeReplaced)
def _node_replaced(run: Run, record: Record, event: ce.NodeReplaced) -> Run:
    if record.node is None:
        return run
    place = record.node
    run = _log(_without_disk(run, place), record, f"another host takes its place: {event.reason}")
    run = _clear(run, record, lambda alert: alert.node == place)
    return _changed(run, nodes=(*run.nodes[:place], _fresh(run, run.nodes[place]), *run.nodes[place + 1 :]))


def _without_disk(run: Run, node: int) -> Run:
    """The run's checkpoints after the node's disk is gone: those that are on the laptop are left."""
    checkpoints = tuple(
        replace(one, node=None) if one.node == node else one
        for one in run.checkpoints
        if one.node != node or one.fetched
    )
    return _changed(run, checkpoints=checkpoints)


def _fresh(run: Run, node: Node) -> Node:
    """The node without what belonged to its host; the bill and the counts stay."""
    return Node(
        node.node,
        since=run.last_received or 0.0,
        billing=node.billing,
        records=node.records,
        util_history=node.util_history,
        util_sum=node.util_sum,
        util_count=node.util_count,
    )


@_arm(ce.NodeDropped)
def _node_dropped(run: Run, record: Record, event: ce.NodeDropped) -> Run:
    if record.node is None:
        return run
    run = _node(_without_disk(run, record.node), record.node, status="dropped", reason=event.reason, ranks=())
    run = _clear(run, record, lambda alert: alert.node == record.node)
    return _alert(run, record, "host", f"the gang goes on without it: {event.reason}")


@_arm(ce.GangRestarting)
def _gang_restarting(run: Run, record: Record, event: ce.GangRestarting) -> Run:
    nodes = tuple(
        # What the trainers of the gang that fell said counts no more; who has no host yet, or none any more, stays so.
        _changed(
            node,
            status="connected",
            reason="",
            ranks=(),
            since=record.received,
            stage="",
            stage_done=0,
            stage_total=None,
            stage_detail="",
        )
        if node.agent is not None and node.status in ("connected", "training", "paused", "done", "failed")
        else node
        for node in run.nodes
    )
    run = _changed(
        run,
        nodes=nodes,
        status=LAUNCHING if run.live else run.status,
        stages=(),
        attempt=run.attempt + 1,
        gang_started=False,
        training=None,
        finished=None,
        commands=(),
        evaluation=None,
        paused_since=None,
        first_error=None,
        first_error_t=None,
    )
    run = _fell(run, record)
    return _alert(run, record, "gang", f"the gang starts again from its last checkpoint: {event.reason}")


@_arm(ce.PriceQuoted)
def _price_quoted(run: Run, record: Record, event: ce.PriceQuoted) -> Run:
    return _changed(run, quotes=(*run.quotes[-QUOTES + 1 :], event))


@_arm(ce.BudgetMoved)
def _budget_moved(run: Run, record: Record, event: ce.BudgetMoved) -> Run:
    move = BudgetMove(record.received, event.max_usd, event.by)
    run = _changed(run, budget_usd=event.max_usd, budget_moves=(*run.budget_moves[-99:], move))
    return _log(run, record, f"{event.by}: the budget is now ${event.max_usd:,.2f}")


@_arm(re.SpotNoticed)
def _spot_noticed(run: Run, record: Record, event: re.SpotNoticed) -> Run:
    if record.node is None or run.nodes[record.node].interruption is not None:
        return run
    run = _node(run, record.node, interruption=event)
    text = f"EC2 takes the spot instance back ({event.action}) in about two minutes"
    return _alert(run, record, "spot", text, CRITICAL, f"spot:{record.node}")


@_arm(re.RebalanceRecommended)
def _rebalance_recommended(run: Run, record: Record, event: re.RebalanceRecommended) -> Run:
    return _alert(run, record, "spot", "EC2 sees a higher risk that it takes the spot instance back", INFO)


@_arm(ce.InstanceStopped)
def _instance_stopped(run: Run, record: Record, event: ce.InstanceStopped) -> Run:
    if record.node is None:
        return run
    billing = tuple(
        replace(one, stopped_t=event.stopped_t, reason=event.reason, taken_back=event.taken_back)
        if one.instance_id == event.instance_id and one.stopped_t is None
        else one
        for one in run.nodes[record.node].billing
    )
    return _node(run, record.node, billing=billing)


@_arm(ce.HostFound)
def _host_found(run: Run, record: Record, event: ce.HostFound) -> Run:
    return _on_node(
        run,
        record,
        status="launching",
        reason="",
        address=event.address,
        port=event.port,
        fingerprint=event.fingerprint,
        last_offset=None,
    )


@_arm(ce.HostConnected)
def _host_connected(run: Run, record: Record, event: ce.HostConnected) -> Run:
    if record.node is None:
        return run
    node = run.nodes[record.node]
    run = _clear(run, record, lambda alert: alert.id == f"unreachable:{record.node}")
    if node.status == "unreachable":
        status = "training" if node.ranks else "connected"
        run = _log(run, record, "reachable again")
        return _node(run, record.node, status=status, reason="")
    return _node(run, record.node, status="connected" if node.status in ("waiting", "launching") else node.status)


@_arm(ce.HostUnreachable)
def _host_unreachable(run: Run, record: Record, event: ce.HostUnreachable) -> Run:
    # A trainer's end stands, whatever becomes of its host: were it forgotten, the run would wait for it for ever.
    if record.node is None or run.nodes[record.node].status in ("lost", "refused", "done", "failed"):
        return run
    first = run.nodes[record.node].status != "unreachable"
    run = _node(run, record.node, status="unreachable", reason=event.reason)
    if not first:
        return run
    return _alert(run, record, "host", f"unreachable: {event.reason}", WARNING, f"unreachable:{record.node}")


@_arm(ce.HostLost)
def _host_lost(run: Run, record: Record, event: ce.HostLost) -> Run:
    run = _on_node(run, record, status="lost", reason=event.reason)
    run = _clear(run, record, lambda alert: alert.node is not None and alert.node == record.node)
    return _failure(run, record, "host", f"lost: {event.reason}", record.t)


@_arm(ce.HostRefused)
def _host_refused(run: Run, record: Record, event: ce.HostRefused) -> Run:
    return _alert(_on_node(run, record, status="refused", reason=event.reason), record, "host", event.reason, CRITICAL)


@_arm(re.AgentStarted)
def _agent_started(run: Run, record: Record, event: re.AgentStarted) -> Run:
    # Another agent looks at the data set anew.
    return _on_node(run, record, agent=event, status="connected", reason="", staging=None, staged=None)


@_arm(re.AgentDied)
def _agent_died(run: Run, record: Record, event: re.AgentDied) -> Run:
    reason = f"the agent (pid {event.pid}) died"
    run = _on_node(run, record, status="failed", reason=reason, agent=None)
    return _failure(run, record, "host", reason, record.t)


@_arm(re.StageProgressed)
def _stage(run: Run, record: Record, event: re.StageProgressed) -> Run:
    if record.node is None:
        return run
    status = run.nodes[record.node].status
    if event.stage not in run.stages and len(run.stages) < STAGES:
        run = _changed(run, stages=(*run.stages, event.stage))
    return _node(
        run,
        record.node,
        status="launching" if status == "waiting" else status,
        stage=event.stage,
        stage_done=event.done,
        stage_total=event.total,
        stage_detail=event.detail,
    )


@_arm(re.StagingProgressed)
def _staging_progressed(run: Run, record: Record, event: re.StagingProgressed) -> Run:
    if record.node is None or run.nodes[record.node].staged is not None:
        return run
    run = _staging(run, record.node, event.done_bytes, event.total_bytes, staging=event)
    return _log(run, record, f"{event.detail}; it is tried again") if event.detail else run


@_arm(re.StagingEnded)
def _staging_ended(run: Run, record: Record, event: re.StagingEnded) -> Run:
    if record.node is None:
        return run
    if not event.ok:
        run = _node(run, record.node, status="failed", reason=event.reason, staged=event)
        return _failure(run, record, "data", event.reason, record.t)
    return _staging(run, record.node, 1, 1, staged=event)


def _staging(run: Run, node: int, done: int, total: int | None, **changes: Any) -> Run:
    """The run with a node in the stage in which the data set is copied to it."""
    if "stage" not in run.stages and len(run.stages) < STAGES:
        run = _changed(run, stages=(*run.stages, "stage"))
    # All bytes are there before the last of them are checked and named.
    if total is not None and "staged" not in changes:
        done = min(done, max(0, total - 1))
    return _node(run, node, stage="stage", stage_done=done, stage_total=total, stage_detail="", **changes)


@_arm(re.HostSampled)
def _sampled(run: Run, record: Record, event: re.HostSampled) -> Run:
    if record.node is None:
        return run
    node = run.nodes[record.node]
    util = utilisation_pct(event)
    return _node(
        run,
        record.node,
        sample=event,
        recent=(*node.recent[1 - RECENT :], event),
        util_history=node.util_history.append(util),
        util_sum=node.util_sum + (util or 0.0),
        util_count=node.util_count + (util is not None),
    )


@_arm(re.ProcessesSampled)
def _processes_sampled(run: Run, record: Record, event: re.ProcessesSampled) -> Run:
    return _on_node(run, record, processes=event)


@_arm(re.XidReported)
def _xid_reported(run: Run, record: Record, event: re.XidReported) -> Run:
    if record.node is None:
        return run
    fault = Fault(record.received, event.gpu, event.xid)
    run = _node(run, record.node, faults=(*run.nodes[record.node].faults[-31:], fault))
    text = f"GPU {event.gpu}: the driver reports Xid {event.xid}: {xids.meaning(event.xid)}"
    return _alert(run, record, "gpu", text, CRITICAL if event.xid in xids.GRAVE else WARNING)


@_arm(re.LeaseMoved)
def _lease_moved(run: Run, record: Record, event: re.LeaseMoved) -> Run:
    return _on_node(run, record, lease_deadline_t=event.deadline_t)


@_arm(re.LeaseExpired)
def _lease_expired(run: Run, record: Record, event: re.LeaseExpired) -> Run:
    text = "the host's lease ran out and no console had moved it: the host ends itself"
    return _alert(run, record, "lease", text, CRITICAL)


@_arm(re.RecordsDropped)
def _records_dropped(run: Run, record: Record, event: re.RecordsDropped) -> Run:
    run = _changed(run, dropped=run.dropped + event.count)
    return _alert(run, record, "disk", f"{event.count} records could not be written on the host: {event.reason}")


@_arm(re.LogPrinted)
def _log_printed(run: Run, record: Record, event: re.LogPrinted) -> Run:
    rank = event.rank
    if rank is None and event.local_rank is not None and record.node is not None:
        ranks = run.nodes[record.node].ranks
        rank = next((one.rank for one in ranks if one.local_rank == event.local_rank), None)
    return _log(run, record, event.text, rank=rank, stream=event.stream)


# --- the gang --------------------------------------------------------------------------------------------------------


@_arm(re.TrainerStarted)
def _trainer_started(run: Run, record: Record, event: re.TrainerStarted) -> Run:
    return _on_node(run, record, ranks=(), status="connected", reason="")


@_arm(re.RankStarted)
def _rank_started(run: Run, record: Record, event: re.RankStarted) -> Run:
    if record.node is None:
        return run
    rank = Rank(event.rank, event.local_rank, event.device, event.pid)
    others = (other for other in run.nodes[record.node].ranks if other.local_rank != rank.local_rank)
    ranks = tuple(sorted((*others, rank), key=lambda one: one.local_rank))
    return _node(run, record.node, ranks=ranks, status="training")


@_arm(re.RankProgressed)
def _rank_progressed(run: Run, record: Record, event: re.RankProgressed) -> Run:
    if record.node is None:
        return run
    ranks = tuple(
        replace(
            rank,
            step=event.step,
            img_per_s=event.img_per_s,
            step_s=event.step_s,
            data_s=event.data_s,
            compute_s=event.compute_s,
            allreduce_s=event.allreduce_s,
            optimizer_s=event.optimizer_s,
            mem_used_mib=event.mem_used_mib,
            mem_reserved_mib=event.mem_reserved_mib,
            mem_peak_mib=event.mem_peak_mib,
            recent=(*rank.recent[1 - RECENT :], event),
        )
        if rank.rank == event.rank
        else rank
        for rank in run.nodes[record.node].ranks
    )
    return _node(run, record.node, ranks=ranks)


@_arm(re.RankFailed)
def _rank_failed(run: Run, record: Record, event: re.RankFailed) -> Run:
    who = "a rank" if event.rank is None else f"rank {event.rank}"
    failed_t = event.t_failed if event.t_failed is not None else record.t
    return _failure(run, record, "rank", f"{who} failed: {event.message}", failed_t, event.rank, echo=event.echo)


def _failure(
    run: Run, record: Record, kind: str, text: str, t: float, rank: int | None = None, *, echo: bool = False
) -> Run:
    """An alert which is the first failure of the gang unless another one was before it."""
    run = _alert(run, record, kind, text, CRITICAL, rank=rank)
    if echo:
        t += _ECHO_S
    if run.first_error_t is None or t < run.first_error_t:
        run = _changed(run, first_error=run.alerts[-1], first_error_t=t)
    return run


@_arm(re.TrainerRestarted)
def _trainer_restarted(run: Run, record: Record, event: re.TrainerRestarted) -> Run:
    run = _fell(_on_node(run, record, restarts=event.restart, ranks=()), record)
    return _log(
        run,
        record,
        f"the gang restarts from the last checkpoint ({event.restart}/{event.max_restarts}): {event.reason}",
    )


@_arm(re.TrainerEnded)
def _trainer_ended(run: Run, record: Record, event: re.TrainerEnded) -> Run:
    if event.outcome == "failed":
        return _on_node(run, record, status="failed", reason=event.reason)
    return _on_node(run, record, status="done", reason=event.reason)


# --- training --------------------------------------------------------------------------------------------------------


@_arm(re.TrainingStarted)
def _training_started(run: Run, record: Record, event: re.TrainingStarted) -> Run:
    points = run.points
    if len(points) and points[-1].step > event.start_step:
        # The checkpoint is older than the last step seen: those steps are taken again.
        points = Series(point for point in points if point.step <= event.start_step)
    kept = sum(epoch.step <= event.start_step for epoch in run.epochs)
    return _changed(
        run,
        training=event,
        status=TRAINING if run.live and run.status != STOPPING else run.status,
        points=points,
        epochs=run.epochs[:kept],
        epochs_received=run.epochs_received[:kept],
        epochs_t=run.epochs_t[:kept],
        first_error=None,
        first_error_t=None,
        evaluation=None,
        paused_since=None,
    )


@_arm(re.PhaseStarted)
def _phase_started(run: Run, record: Record, event: re.PhaseStarted) -> Run:
    return _changed(run, phase=event)


@_arm(re.StepEnded)
def _step_ended(run: Run, record: Record, event: re.StepEnded) -> Run:
    point = Point(event.step, record.received, event.loss, event.lr, event.img_per_s, _peak_share(run, event))
    nan = event.loss is None and run.step is not None and run.step.loss is not None
    run = _changed(
        run,
        # Also where the line that said so is lost, or the log is of a kind that has no such line.
        status=TRAINING if run.status == LAUNCHING else run.status,
        step=event,
        points=run.points.append(point),
        first_step=record.received if run.first_step is None else run.first_step,
        last_step=record.received,
    )
    if not len(run.stretches) or run.stretches[-1].cause not in ("train", "end"):
        run = _turn(run, "train", _when(record))
    if nan:
        text = f"the loss of step {event.step} is not a number; what is learnt since the last checkpoint may be lost"
        return _alert(run, record, "loss", text, CRITICAL, "nan")
    # `None` may be the form of a foreign log that tells no loss.
    return run if event.loss is None else _clear(run, record, lambda alert: alert.id == "nan")


def _peak_share(run: Run, event: re.StepEnded) -> float | None:
    """The model's own operations, forward and backward, over the data sheet's of all the gang's GPUs: model FLOPs
    utilisation (MFU; Chowdhery et al. 2022, "PaLM", appendix B)."""
    training, phase = run.training, run.phase
    if training is None or phase is None or not phase.flops_per_image or not training.peak_flops:
        return None
    return event.img_per_s * phase.flops_per_image / (training.peak_flops * max(1, training.world_size))


@_arm(re.EvaluationProgressed)
def _evaluation_progressed(run: Run, record: Record, event: re.EvaluationProgressed) -> Run:
    return _changed(run, evaluation=event)


@_arm(re.EpochEnded)
def _epoch_ended(run: Run, record: Record, event: re.EpochEnded) -> Run:
    return _changed(
        run,
        status=TRAINING if run.status == LAUNCHING else run.status,
        epochs=(*run.epochs, event),
        epochs_received=(*run.epochs_received, record.received),
        epochs_t=(*run.epochs_t, _when(record)),
        evaluation=None,
    )


@_arm(re.TargetReached)
def _target_reached(run: Run, record: Record, event: re.TargetReached) -> Run:
    return _changed(run, target=event)


@_arm(re.TrainingEnded)
def _training_ended(run: Run, record: Record, event: re.TrainingEnded) -> Run:
    return _turn(_changed(run, finished=event, evaluation=None), "end", _when(record))


@_arm(re.Paused)
def _paused(run: Run, record: Record, event: re.Paused) -> Run:
    run = _on_node(run, record, status="paused")
    if event.rank != 0 or not run.live:
        return run
    run = _turn(_changed(run, status=PAUSED, paused_since=record.received), "pause", _when(record))
    return _log(run, record, f"paused after step {event.step}")


@_arm(re.Resumed)
def _resumed(run: Run, record: Record, event: re.Resumed) -> Run:
    run = _on_node(run, record, status="training")
    if event.rank != 0:
        return run
    run = _changed(run, status=TRAINING if run.status == PAUSED else run.status, paused_since=None)
    if len(run.stretches) and run.stretches[-1].cause == "pause":
        run = _turn(run, "train", _when(record))
    return _log(run, record, f"resumed after {event.paused_s:.1f} s")


@_arm(re.CheckpointSaved)
def _checkpoint_saved(run: Run, record: Record, event: re.CheckpointSaved) -> Run:
    if record.node is None:
        return run
    saved = Checkpoint(
        step=event.step,
        epoch=event.epoch,
        node=record.node,
        path=event.path,
        size_bytes=event.size_bytes,
        sha256=event.sha256,
        save_s=event.save_s,
        wait_s=event.wait_s,
    )
    run = _changed(run, checkpoints=(*run.checkpoints[-3:], saved))
    return run if event.reason == "epoch" else _log(run, record, f"checkpoint of step {event.step} saved")


@_arm(re.CheckpointFailed)
def _checkpoint_failed(run: Run, record: Record, event: re.CheckpointFailed) -> Run:
    return _alert(run, record, "checkpoint", f"{event.path}: {event.reason}")


@_arm(re.CheckpointLoaded)
def _checkpoint_loaded(run: Run, record: Record, event: re.CheckpointLoaded) -> Run:
    return _log(run, record, f"goes on from the checkpoint of step {event.step}")


@_arm(ce.CheckpointFetched)
def _checkpoint_fetched(run: Run, record: Record, event: ce.CheckpointFetched) -> Run:
    checkpoints = tuple(
        replace(one, fetched=event.path, fetch_s=event.fetch_s) if one.step == event.step else one
        for one in run.checkpoints
    )
    return _log(_changed(run, checkpoints=checkpoints), record, f"checkpoint of step {event.step} fetched")
