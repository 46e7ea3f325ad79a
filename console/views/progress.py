"""What follows from a run and the present moment: cost, time left, who has gone quiet, and how figures are drawn.

Pure: every view takes the run, and ``now`` (epoch seconds, the laptop's clock) where it depends on the moment, because
cost accrues and nodes go quiet with nobody speaking. Unknown is None, and drawn "—". Nothing here is stored; what a
pane cannot get from these functions and `console.state.run` is a field that the state lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.billing.cost import cost_on_demand_to, cost_to
from console.profile.recorded import phase_count
from console.state.run import Run
from console.state.status import TRAINING
from remote.wire.events import EpochEnded

RATE_WINDOW_S = 10.0
"""How far back `img_per_s` looks: long enough to even out a slow step, short enough to follow a phase's change."""


# --- time and progress -----------------------------------------------------------------------------------------------


def elapsed_s(run: Run, now: float) -> float | None:
    """Seconds since the run's first record, until its end where it has one."""
    if run.started_t is None:
        return None
    return max(0.0, (now if run.ended_t is None else run.ended_t) - run.started_t)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the training is."""

    epoch: int | None
    """Epochs ended."""
    epochs: int | None
    """Of the whole schedule."""
    epoch_step: int | None
    steps_per_epoch: int | None
    step: int | None
    total_steps: int | None
    phase: int | None
    """The present phase, from 0."""
    phases: int | None
    """How many the profile has."""
    image_size: int | None
    """Side of the training crop, pixels."""
    fraction: float | None
    """Of the schedule's steps."""


def progress(run: Run) -> Progress:
    """How far the training is, by rank 0's last word."""
    step, training, phase = run.step, run.training, run.phase
    taken = step.step if step else training.start_step if training else None
    total = training.total_steps if training and training.total_steps > 0 else None
    if run.epochs:
        epoch: int | None = run.epochs[-1].event.epoch + 1
        image_size = run.epochs[-1].event.image_size
    else:
        epoch, image_size = (training.start_epoch if training else None), None
    return Progress(
        epoch=epoch,
        epochs=training.total_epochs if training else None,
        epoch_step=step.epoch_step if step else None,
        steps_per_epoch=step.steps_per_epoch if step else phase.steps_per_epoch if phase else None,
        step=taken,
        total_steps=total,
        phase=phase.phase if phase else None,
        phases=phase_count(run.created.profile_text) if run.created else None,
        image_size=phase.image_size if phase else image_size,
        fraction=min(1.0, max(0.0, taken / total)) if taken is not None and total else None,
    )


def img_per_s(run: Run) -> float | None:
    """Images a second of the whole gang over the last ten seconds of steps; None before the first step."""
    points = run.points
    count = len(points)
    if not count:
        return None
    since = points[-1].received_t - RATE_WINDOW_S
    # Harmonic: the steps of a phase have equally many images, so that this is all images over all seconds.
    inverse, taken = 0.0, 0
    for index in range(count - 1, -1, -1):
        point = points[index]
        if point.received_t < since or taken == 1000:
            break
        if point.img_per_s > 0:
            inverse += 1 / point.img_per_s
            taken += 1
    return taken / inverse if inverse else None


def schedule_left_s(run: Run, now: float) -> float | None:
    """Seconds to the schedule's end at the present rate, evaluations included; None while unknown, paused or ended.

    Later phases with larger pictures take longer: a range that counts them is `console.compare.eta.schedule_s`.
    """
    training, step = run.training, run.step
    if run.status != TRAINING or training is None or step is None or run.last_step_t is None:
        return None
    rate = img_per_s(run)
    images = step.img_per_s * step.step_s
    if not rate or images <= 0 or training.total_steps <= 0:
        return None
    step_s = images / rate
    steps_left = max(0, training.total_steps - step.step)
    epochs_left = max(
        0, training.total_epochs - (run.epochs[-1].event.epoch + 1 if run.epochs else training.start_epoch)
    )
    eval_s = next((epoch.event.eval_s for epoch in reversed(run.epochs) if epoch.event.eval_s is not None), 0.0)
    since_s = min(max(0.0, now - run.last_step_t), step_s if steps_left else eval_s)
    left_s = max(0.0, steps_left * step_s + epochs_left * eval_s - since_s)
    # Past thirty years a damaged rate speaks, not the run.
    return left_s if left_s < 1e9 else None


def accuracy(epoch: EpochEnded, metric: str) -> float | None:
    """Its ``top1`` or ``top5``, a fraction; None where it was not evaluated."""
    return epoch.top1 if metric == "top1" else epoch.top5 if metric == "top5" else None


def best(run: Run, metric: str) -> float | None:
    """The best ``top1`` or ``top5`` so far, a fraction."""
    values = (accuracy(epoch.event, metric) for epoch in run.epochs)
    return max((value for value in values if value is not None), default=None)


@dataclass(frozen=True, slots=True)
class Target:
    """The target and when it was reached."""

    metric: str
    value: float
    """A fraction."""
    time_to_target_s: float | None
    """Training seconds until the first evaluation at or over the value; None while not reached."""
    cost_usd: float | None
    """Dollars billed until then, launch included."""
    cost_on_demand_usd: float | None


def target(run: Run) -> Target | None:
    """What the run is to reach and what it took; None where it has no target."""
    created, reached = run.created, run.target
    if created is None or created.target_metric is None or created.target_value is None:
        return None
    metric, value = created.target_metric, created.target_value
    if reached is None:
        return Target(metric, value, None, None, None)
    ends = (epoch.ended_t for epoch in run.epochs if epoch.event.epoch == reached.epoch)
    t = next(ends, run.last_received_t)
    billed = None if t is None else cost_to(run, t)
    on_demand = None if t is None else cost_on_demand_to(run, t)
    return Target(metric, value, reached.elapsed_s, billed, on_demand)
