"""What looks wrong about a run at a moment, as figures: what is silent, idle, hot or slow. Pure and without memory:
whether a figure is an alert, and from when to when, `console.health.alerts` decides.

A symptom that cannot be measured now (a silent host reports nothing of its GPUs) has no figure, and an alert about it
stays as it is. An alert whose symptom is not in the list is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from console.compare import race
from console.format import clock, metric_name, percent, plain
from console.profile import recorded
from console.state.run import CRITICAL, WARNING, Node, Run
from console.state.status import NODE_LIVE, NODE_TRAINING, NODE_UNREACHABLE, TRAINING
from console.views import nodes, progress, stragglers

_FRESH_S = 5.0
"""The samples of a host that was heard so recently are current."""
_SLOWDOWNS = ("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
"""Those of NVML's clocks event reasons that are faults. A card under load that is at its power cap is healthy."""
_BEHIND_S = 3.0
"""A record takes a moment to arrive, more where the network or this machine is busy: so much delay does not mean that
the host's clock is behind."""
LOSS_STEPS = 30
"""Losses are compared as means over so many steps."""
_EPOCHS = 3
"""Before that an accuracy behind the record says little."""
_LOSS_NATS = 0.25
"""A rise of less is noise, whatever its ratio to a loss near 0."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """A figure about a node, a rank or the run, in which something can be wrong."""

    kind: str
    """One of `console.profile.alerts.LIMITS`."""
    id: str
    node: int | None
    value: float | None
    """In the unit of its kind's limits; None where it cannot be measured now."""
    text: str
    """What it is and what to do about it, with the figure in it."""
    severity: str = WARNING


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check knows beyond the run."""

    since: float
    """Since when the run has been checked without a gap, epoch seconds: silence before that says nothing of a host."""
    phase_step: int = 0
    """The last step before the present phase."""
    lowest_loss: float | None = None
    """The lowest mean loss over `LOSS_STEPS` steps of this phase so far."""
    disk_free_mib: float | None = None
    """On this machine's disk, where the journal grows; None where unknown."""


def symptoms(run: Run, now: float, context: CheckContext) -> Iterator[Symptom]:
    """All symptoms of the run at `now`, in epoch seconds."""
    if not run.live or run.created is None:
        return
    for node in run.nodes:
        if node.status in NODE_LIVE:
            silent_s = min(nodes.stale_s(node, now) or 0.0, now - context.since)
            yield _stale(node, silent_s)
            fresh = silent_s < _FRESH_S
            yield from _clock(node, fresh)
            yield from _disk(run, node, fresh)
            yield from _throttle(node, fresh)
            yield from _memory(node, fresh)
            yield from _idle(run, node, fresh)
    yield from _stragglers(run)
    yield from _stall(run, now, context)
    yield from _loss(run, context)
    yield from _behind(run)
    if context.disk_free_mib is not None:
        free = _size(context.disk_free_mib)
        text = f"this laptop's disk has {free} left for the journal and the checkpoints; free some space"
        yield Symptom("disk", "disk:laptop", None, context.disk_free_mib, text, CRITICAL)


def mean_loss(run: Run, after: int) -> float | None:
    """The mean of the last `LOSS_STEPS` losses; None where there are fewer after step `after`, or one is
    not a number."""
    losses = [point.loss for point in run.points[-LOSS_STEPS:] if point.loss is not None and point.step > after]
    return sum(losses) / LOSS_STEPS if len(losses) == LOSS_STEPS else None


def _stale(node: Node, silent_s: float) -> Symptom:
    text = "the host is connected and silent: it is overloaded or cut off; its lease ends it if no console reaches it"
    return Symptom("stale", f"stale:{node.node}", node.node, silent_s, text)


def _clock(node: Node, fresh: bool) -> Iterator[Symptom]:
    if node.lag_s is None:
        return
    ahead = node.lag_s < 0
    value = -node.lag_s if ahead else max(0.0, node.lag_s - _BEHIND_S)
    text = (
        f"the host's clock is {abs(node.lag_s):.0f} s {'ahead of' if ahead else 'behind'} this laptop's: leases and "
        "times of failures are off by as much; start chrony there, or here"
    )
    yield Symptom("clock", f"clock:{node.node}", node.node, value if fresh else None, text)


def _disk(run: Run, node: Node, fresh: bool) -> Iterator[Symptom]:
    sample = node.sample
    free_mib = sample.disk_free_mib if sample else None
    # Embedded hosts share this machine's disk, which has a symptom of its own.
    if free_mib is None or (run.created is not None and run.created.provider == "local"):
        return
    text = f"the host's disk has {_size(free_mib)} left: the next checkpoint may not fit; free some space there"
    yield Symptom("disk", f"disk:{node.node}", node.node, free_mib if fresh else None, text)


def _throttle(node: Node, fresh: bool) -> Iterator[Symptom]:
    reported = node.sample.gpu_throttle if node.sample else ()
    slow = [(gpu, reason) for gpu, text in enumerate(reported) if (reason := _fault(text))]
    if not reported:
        return
    reasons = ", ".join(sorted({reason for _, reason in slow}))
    text = f"{_gpus([gpu for gpu, _ in slow])} below full clocks ({reasons}): check the host's cooling and power"
    yield Symptom("throttle", f"throttle:{node.node}", node.node, float(len(slow)) if fresh else None, text)


def _fault(text: str | None) -> str:
    return next((reason for reason in (text or "").split("+") if reason in _SLOWDOWNS), "")


def _memory(node: Node, fresh: bool) -> Iterator[Symptom]:
    sample = node.sample
    if sample is None:
        return
    remaps, errors = sample.gpu_row_remap, sample.gpu_ecc_uncorrected
    bad = {gpu: remap for gpu, remap in enumerate(remaps) if remap}
    for gpu, count in enumerate(errors):
        if count:
            bad.setdefault(gpu, f"{count:.0f} uncorrectable errors")
    if not remaps and not errors:
        return
    what = ", ".join(f"GPU {gpu}: {_remap(text)}" for gpu, text in bad.items())
    severity = CRITICAL if "failed" in bad.values() else WARNING
    text = f"memory faults ({what}); results may be wrong: replace the host, or reset the card when the run is over"
    yield Symptom("memory", f"memory:{node.node}", node.node, float(len(bad)) if fresh else None, text, severity)


def _remap(text: str) -> str:
    return {"pending": "a row waits for a reset", "failed": "no spare row is left"}.get(text, text)


def _idle(run: Run, node: Node, fresh: bool) -> Iterator[Symptom]:
    """A GPU without work while the gang trains. CPU hosts are left out: they may share their machine with others."""
    util = node.sample.gpu_util_pct if node.sample else ()
    known = [(value, gpu) for gpu, value in enumerate(util) if value is not None]
    if not known or node.status != NODE_TRAINING:
        return
    working = run.status == TRAINING and run.evaluation is None and run.first_step_t is not None
    lowest, _ = min(known)
    idle = [gpu for value, gpu in known if value <= lowest + 5]
    text = f"{_gpus(idle)} at {lowest:.0f} % while the gang trains: the node's screen shows what the ranks wait for"
    yield Symptom("idle", f"idle:{node.node}", node.node, lowest if fresh and working else None, text)


def _stragglers(run: Run) -> Iterator[Symptom]:
    if run.status != TRAINING:
        return
    for straggler in stragglers.of(run):
        advice = {
            "data": "its loader is slow: more loader_workers, or a faster disk",
            "compute": "its GPU is slow or shared: check its clocks and other processes",
        }.get(straggler.reason, "check the node")
        slow = f"rank {straggler.rank} takes {straggler.ratio:.1f} times as long as the others ({straggler.reason})"
        yield Symptom("straggler", f"straggler:{straggler.rank}", straggler.node, straggler.ratio, f"{slow}: {advice}")


def _stall(run: Run, now: float, context: CheckContext) -> Iterator[Symptom]:
    if run.status != TRAINING or run.last_step_t is None or run.finished is not None or run.training is None:
        return
    training = [node for node in run.nodes if node.status == NODE_TRAINING]
    # Rank 0 reports the steps, and its host may be the unreachable one.
    silent = any(node.status == NODE_UNREACHABLE for node in run.nodes)
    heard = training and not silent and all((nodes.stale_s(node, now) or 0.0) < _FRESH_S for node in training)
    last_t = max(
        [
            run.last_step_t,
            context.since,
            *(epoch.received_t for epoch in run.epochs[-1:]),
            *(activity.since_t for activity in run.activities[-1:]),
        ]
    )
    step_s = run.step.step_s if run.step else 0.0
    # Where steps are slow, a long wait is normal: the time of twenty steps is taken off.
    value = now - last_t - 20 * step_s
    known = heard and run.evaluation is None
    text = (
        f"no step for {clock(now - last_t)} while all hosts report: a rank hangs, or waits for one that does; "
        "x stops the run at its last checkpoint, r resumes it after that"
    )
    yield Symptom("stall", "stall:gang", None, value if known else None, text, CRITICAL)


def _loss(run: Run, context: CheckContext) -> Iterator[Symptom]:
    mean, lowest = mean_loss(run, context.phase_step), context.lowest_loss
    if mean is None or lowest is None or run.status != TRAINING:
        yield Symptom("loss", "loss:rising", None, None, "")
        return
    value = mean / lowest if lowest > 0 and mean - lowest > _LOSS_NATS else 1.0
    text = (
        f"the loss rises: {mean:.3f} over the last {LOSS_STEPS} steps, {lowest:.3f} at its lowest; the learning rate "
        "may be too high for this phase"
    )
    yield Symptom("loss", "loss:rising", None, value, text)


def _behind(run: Run) -> Iterator[Symptom]:
    """Accuracy below what the record had shown after the same training time; an early evaluation says little."""
    # Only the profile's own record: a single GPU is expected to be slower than the 16 machines of 2018.
    if run.created is None or not recorded.has_record(run.created.profile_text):
        return
    record = race.default(run)
    if record is None or len(run.epochs) < _EPOCHS or run.status != TRAINING:
        return
    metric = run.created.target_metric or "top5"
    shown, own = record.shown(metric, run.epochs[-1].event.elapsed_s), progress.best(run, metric)
    if shown is None or own is None:
        return
    text = (
        f"{metric_name(metric)} is {percent(own)} where {plain(record.name, 60)} had "
        f"{percent(shown)} after as long: the Progress pane shows both curves"
    )
    yield Symptom("behind", "behind:record", None, 100 * (shown - own), text)


def _gpus(indices: list[int]) -> str:
    return f"GPU {indices[0]}" if len(indices) == 1 else "GPUs " + ", ".join(map(str, indices))


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
