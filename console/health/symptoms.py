"""What looks wrong about a run at a moment, as figures: who is silent, idle, hot, slow. No memory and no judgement:
whether a figure is an alert, and from when to when, `console.health.alerts` decides.

A symptom that cannot be told now (a host that is silent says nothing of its GPUs) has no figure, and an alert about it
stays as it is; one that is not in the list is over.
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
"""A host that spoke so lately tells how it is."""
_SLOWDOWNS = ("hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")
"""Of NVML's clocks event reasons those that are faults. That a card under load is at its power cap is none."""
_BEHIND_S = 3.0
"""A record takes a moment to come, more where the way or the laptop is busy: so much is no clock that is behind."""
LOSS_STEPS = 30
"""Losses are compared as means of so many steps."""
_EPOCHS = 3
_LOSS_NATS = 0.25
"""A rise of less is noise, whatever its ratio to a loss near 0."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """One figure about one thing."""

    kind: str
    """One of `console.profile.alerts.LIMITS`."""
    id: str
    node: int | None
    value: float | None
    """In the unit of its kind's limits; None where it cannot be told now."""
    text: str
    """What it is and what to do about it, with the figure in it."""
    severity: str = WARNING


@dataclass(frozen=True, slots=True)
class Eyes:
    """What the one who looks knows beyond the run."""

    since: float
    """From when on it has been looking without a gap: silence before that is its own."""
    phase_step: int = 0
    """The last step before this phase."""
    lowest_loss: float | None = None
    """The lowest mean loss of `LOSS_STEPS` steps of this phase so far."""
    disk_free_mib: float | None = None
    """On the laptop's disk, where the journal grows; None where nobody asked."""


def symptoms(run: Run, now: float, eyes: Eyes) -> Iterator[Symptom]:
    """Everything that can be told of the run at the moment."""
    if not run.live or run.created is None:
        return
    for node in run.nodes:
        if node.status in NODE_LIVE:
            silent_s = min(nodes.stale_s(node, now) or 0.0, now - eyes.since)
            yield _stale(node, silent_s)
            fresh = silent_s < _FRESH_S
            yield from _clock(node, fresh)
            yield from _disk(run, node, fresh)
            yield from _throttle(node, fresh)
            yield from _memory(node, fresh)
            yield from _idle(run, node, fresh)
    yield from _stragglers(run)
    yield from _stall(run, now, eyes)
    yield from _loss(run, eyes)
    yield from _behind(run)
    if eyes.disk_free_mib is not None:
        free = _size(eyes.disk_free_mib)
        text = f"this laptop's disk has {free} left for the journal and the checkpoints; free some space"
        yield Symptom("disk", "disk:laptop", None, eyes.disk_free_mib, text, CRITICAL)


def mean_loss(run: Run, after: int) -> float | None:
    """The mean of the last `LOSS_STEPS` losses; None where there are fewer after step `after`, or one is no number."""
    said = [point.loss for point in run.points[-LOSS_STEPS:] if point.loss is not None and point.step > after]
    return sum(said) / LOSS_STEPS if len(said) == LOSS_STEPS else None


def _stale(node: Node, silent_s: float) -> Symptom:
    text = "the host is connected and silent: it is overloaded or cut off; its lease ends it where nobody comes back"
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
    # Embedded hosts share this laptop's disk, of which is told once.
    if free_mib is None or (run.created is not None and run.created.provider == "local"):
        return
    text = f"the host's disk has {_size(free_mib)} left: the next checkpoint may not fit; free some space there"
    yield Symptom("disk", f"disk:{node.node}", node.node, free_mib if fresh else None, text)


def _throttle(node: Node, fresh: bool) -> Iterator[Symptom]:
    said = node.sample.gpu_throttle if node.sample else ()
    slow = [(gpu, reason) for gpu, text in enumerate(said) if (reason := _fault(text))]
    if not said:
        return
    reasons = ", ".join(sorted({reason for _, reason in slow}))
    text = f"{_gpus([gpu for gpu, _ in slow])} below full clocks ({reasons}): look at the host's cooling and power"
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
    """A GPU without work while the gang trains. CPU hosts are not judged: their share of a machine is nobody's own."""
    util = node.sample.gpu_util_pct if node.sample else ()
    said = [(value, gpu) for gpu, value in enumerate(util) if value is not None]
    if not said or node.status != NODE_TRAINING:
        return
    working = run.status == TRAINING and run.evaluation is None and run.first_step is not None
    lowest, _ = min(said)
    idle = [gpu for value, gpu in said if value <= lowest + 5]
    text = f"{_gpus(idle)} at {lowest:.0f} % while the gang trains: the node's screen shows what the ranks wait for"
    yield Symptom("idle", f"idle:{node.node}", node.node, lowest if fresh and working else None, text)


def _stragglers(run: Run) -> Iterator[Symptom]:
    if run.status != TRAINING:
        return
    for one in stragglers.of(run):
        advice = {
            "data": "its loader is slow: more loader_workers, or a faster disk",
            "compute": "its GPU is slow or shared: look at clocks and other processes",
        }.get(one.reason, "look at the node")
        text = f"rank {one.rank} takes {one.ratio:.1f} times as long as the others ({one.reason}): {advice}"
        yield Symptom("straggler", f"straggler:{one.rank}", one.node, one.ratio, text)


def _stall(run: Run, now: float, eyes: Eyes) -> Iterator[Symptom]:
    if run.status != TRAINING or run.last_step is None or run.finished is not None or run.training is None:
        return
    trains = [node for node in run.nodes if node.status == NODE_TRAINING]
    # The steps are rank 0's to tell, and its host may be the one that is not heard.
    silent = any(node.status == NODE_UNREACHABLE for node in run.nodes)
    heard = trains and not silent and all((nodes.stale_s(node, now) or 0.0) < _FRESH_S for node in trains)
    last_t = max([run.last_step, eyes.since, *run.epochs_received[-1:], *(one.since for one in run.stretches[-1:])])
    step_s = run.step.step_s if run.step else 0.0
    # Where a step takes long, a long wait is none: twenty steps' time is taken off.
    value = now - last_t - 20 * step_s
    told = heard and run.evaluation is None
    text = (
        f"no step for {clock(now - last_t)} while all hosts speak: a rank hangs, or waits for one that does; "
        "x stops the run with what is saved, r starts it again after that"
    )
    yield Symptom("stall", "stall:gang", None, value if told else None, text, CRITICAL)


def _loss(run: Run, eyes: Eyes) -> Iterator[Symptom]:
    mean, lowest = mean_loss(run, eyes.phase_step), eyes.lowest_loss
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
    """Accuracy less than the record had shown after as long a training; an early evaluation says little."""
    # Only the profile's own record: to be slower than 2018's 16 machines is no fault of a single GPU.
    if run.created is None or not recorded.has_record(run.created.profile_text):
        return
    record = race.default(run)
    if record is None or len(run.epochs) < _EPOCHS or run.status != TRAINING:
        return
    metric = run.created.target_metric or "top5"
    shown, own = record.shown(metric, run.epochs[-1].elapsed_s), progress.best(run, metric)
    if shown is None or own is None:
        return
    text = (
        f"{metric_name(metric)} is {percent(own)} where {plain(record.name, 60)} had "
        f"{percent(shown)} after as long: the Progress pane shows both curves"
    )
    yield Symptom("behind", "behind:record", None, 100 * (shown - own), text)


def _gpus(places: list[int]) -> str:
    return f"GPU {places[0]}" if len(places) == 1 else "GPUs " + ", ".join(map(str, places))


def _size(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"
