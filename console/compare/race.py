"""The ghost of a record: another run's accuracy over its training time, and a run's lead over it. Pure.

Two clocks are compared, each from its own training's start (`EpochEnded.elapsed_s`: launch and pauses left out). At the
accuracy that the run has shown last, the ghost's time less the run's is the lead in seconds; what each had cost by
then, as on-demand dollars (the figure that DAWNBench counts), is the lead in money.

An accuracy goes up and down from epoch to epoch; what counts is the best so far. A ghost that knows every epoch had an
accuracy when an evaluation showed it. A record of a few marks is joined by straight lines between its bests.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from console.billing import cost
from console.format import duration, money
from console.profile import recorded
from console.state.run import Run
from console.views import progress

if TYPE_CHECKING:
    from console.profile.schema import RaceRecord

RECORD_PROFILE: Final = "imagenet-16x-p3"
"""The built-in profile whose `[record]` a run on ImageNet races by default: 2018's 16 machines."""
IMAGENET: Final = 1_281_167
"""Training images of ImageNet (ILSVRC 2012)."""


@dataclass(frozen=True, slots=True)
class GhostMark:
    """What the ghost had shown at a moment."""

    elapsed_s: float
    top1: float | None
    top5: float | None
    """Fractions."""
    usd: float | None
    """On-demand dollars until then."""


@dataclass(frozen=True, slots=True, eq=False)
class Ghost:
    """A run to race against."""

    name: str
    source: str
    """Where its figures are from."""
    marks: tuple[GhostMark, ...]
    """Ascending in time."""
    every_epoch: bool
    """A mark for each evaluation that there was, so that nothing lies between two of them."""
    epochs_to_target: int | None = None
    """How many epochs it took to the target, where the run that races it has the same recipe."""
    to_target_s: float | None = None
    """Training seconds to its target, where they are stated."""

    def reached_s(self, metric: str, value: float) -> float | None:
        """Training seconds until the ghost had shown so much; None where it never did."""
        times, bests = _bests(self, metric)
        index = bisect_left(bests, value - 1e-9)
        if index == len(bests):
            return None
        if self.every_epoch or index == 0:
            return times[index]
        share = (value - bests[index - 1]) / (bests[index] - bests[index - 1])
        return times[index - 1] + (times[index] - times[index - 1]) * max(0.0, share)

    def target_s(self, metric: str, value: float) -> float | None:
        """Training seconds until the evaluation that reached a target, as stated where it is; None if none did."""
        reached_s = self.reached_s(metric, value)
        if reached_s is None or self.to_target_s is None:
            return reached_s
        # What is stated is the time of the evaluation after the last mark below it.
        return max(reached_s, self.to_target_s) if value > _bests(self, metric)[1][-2] else reached_s

    def shown(self, metric: str, elapsed_s: float) -> float | None:
        """The best that the ghost had shown after so many training seconds, a fraction; None before its first mark."""
        times, bests = _bests(self, metric)
        index = bisect_right(times, elapsed_s) - 1
        if self.every_epoch or index < 0 or index + 1 == len(times):
            return bests[index] if index >= 0 and len(times) > 1 else None
        share = (elapsed_s - times[index]) / (times[index + 1] - times[index])
        return bests[index] + (bests[index + 1] - bests[index]) * share

    def usd_at(self, elapsed_s: float) -> float | None:
        """On-demand dollars until so many training seconds; past its end, as if it had continued."""
        known = [(mark.elapsed_s, mark.usd) for mark in self.marks if mark.usd is not None]
        if not known:
            return None
        index = bisect_left(known, (elapsed_s, 0.0))
        if index == 0:
            # What was paid before training began is not spread over it.
            return known[0][1] if self.every_epoch else known[0][1] * elapsed_s / (known[0][0] or 1.0)
        t, usd = known[min(index, len(known) - 1)]
        before_t, before_usd = known[min(index, len(known) - 1) - 1] if len(known) > 1 else (0.0, 0.0)
        return before_usd + (usd - before_usd) * (elapsed_s - before_t) / ((t - before_t) or 1.0)

    @property
    def length_s(self) -> float:
        """Training seconds until its last mark."""
        return self.marks[-1].elapsed_s if self.marks else 0.0


@lru_cache(maxsize=32)
def _bests(ghost: Ghost, metric: str) -> tuple[list[float], list[float]]:
    """When each new best was shown, and the bests, rising; from nothing at the start."""
    times, bests = [0.0], [0.0]
    for mark in ghost.marks:
        value = mark.top1 if metric == "top1" else mark.top5
        if value is not None and value > bests[-1]:
            if mark.elapsed_s <= times[-1]:
                times[-1], bests[-1] = mark.elapsed_s, value
            else:
                times.append(mark.elapsed_s)
                bests.append(value)
    return times, bests


# --- where ghosts come from ------------------------------------------------------------------------------------------


def of_record(record: RaceRecord) -> Ghost | None:
    """The ghost of a profile's `[record]`; None where it has no curve."""
    if not record.curve:
        return None
    usd_per_s = None
    if record.usd_to_target is not None and record.minutes_to_target is not None:
        usd_per_s = record.usd_to_target / (record.minutes_to_target * 60)
    marks = tuple(
        GhostMark(mark.elapsed_s, mark.top1, mark.top5, None if usd_per_s is None else mark.elapsed_s * usd_per_s)
        for mark in sorted(record.curve, key=lambda mark: mark.elapsed_s)
    )
    to_target_s = None if record.minutes_to_target is None else record.minutes_to_target * 60
    return Ghost(record.name, record.source, marks, False, record.epochs_to_target, to_target_s)


def of_run(run: Run, name: str) -> Ghost | None:
    """The ghost of a run that was; None where it evaluated nothing."""
    marks = tuple(
        GhostMark(epoch.event.elapsed_s, epoch.event.top1, epoch.event.top5, cost.cost_on_demand_to(run, epoch.ended_t))
        for epoch in run.epochs
    )
    return Ghost(name, "a run of this laptop", marks, True) if marks else None


def default(run: Run) -> Ghost | None:
    """The record that the run's profile names; for one that names none and trains on ImageNet, 2018's."""
    created = run.created
    if created is None:
        return None
    own = _own(created.profile_text)
    if own is not None:
        return own
    return record_2018() if _on_imagenet(run) else None


def _on_imagenet(run: Run) -> bool:
    created, training = run.created, run.training
    if training is not None:
        return training.train_images == IMAGENET
    # The logs of others that can be read are of ImageNet, all of them; they name no version of this program.
    return created is not None and not created.version and created.target_metric == "top5"


@lru_cache(maxsize=4)
def _own(profile_text: str) -> Ghost | None:
    record = recorded.record(profile_text)
    return None if record is None else of_record(record)


@lru_cache(maxsize=1)
def record_2018() -> Ghost | None:
    """fast.ai's and DIU's 16 machines: 93 % top-5 in 18.09 minutes, $118.07 on demand (DAWNBench)."""
    from console.profile.load import load
    from console.profile.schema import ProfileError

    try:
        record = load(RECORD_PROFILE).record
    except ProfileError:
        return None
    made = None if record is None else of_record(record)
    # Its recipe is that of the profile, not of whoever races it.
    return None if made is None else replace(made, epochs_to_target=None)


# --- the race --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Race:
    """How a run stands against a ghost."""

    ghost: str
    metric: str
    accuracy: float
    """The run's best, or its target once that is reached: where the two are compared. A fraction."""
    own_s: float
    """Training seconds until the run had shown it."""
    ahead_s: float | None
    """Seconds by which the run was sooner; negative where it was later. None where the ghost never came so far."""
    ahead_usd: float | None
    """On-demand dollars by which the run had cost less; None where either is unknown."""
    shown: float | None
    """What the ghost had shown in the time that the run has trained now, a fraction."""
    lead: float | None
    """The run's best less that."""
    ahead_epoch_s: float | None
    """Seconds ahead at the same number of epochs, for a ghost that knows them all."""
    over: bool
    """The run has reached its target, so that the race is decided."""


def trained_s(run: Run, now: float) -> float | None:
    """Seconds of training so far, pauses left out; None before the first step."""
    until = now if run.live else min(now, run.ended_t or now)
    if run.paused_since_t is not None:
        until = min(until, run.paused_since_t)
    if run.finished is not None:
        return run.finished.elapsed_s
    if run.epochs:
        # Of a log that has ended nothing came after its last epoch that was training.
        return run.epochs[-1].event.elapsed_s + (max(0.0, until - run.epochs[-1].ended_t) if run.live else 0.0)
    return None if run.first_step_t is None else max(0.0, until - run.first_step_t)


def race(run: Run, ghost: Ghost, now: float) -> Race | None:
    """Where the run stands against the ghost; None before its first evaluation."""
    goal = progress.target(run)
    metric = goal.metric if goal is not None else "top5"
    best: float | None = None
    own_s, index = 0.0, 0
    for number, epoch in enumerate(run.epochs):
        value = epoch.event.top1 if metric == "top1" else epoch.event.top5
        if value is not None and (best is None or value > best):
            best, own_s, index = value, epoch.event.elapsed_s, number
        if goal is not None and best is not None and best >= goal.value:
            break
    if best is None:
        return None
    over = goal is not None and best >= goal.value
    accuracy = goal.value if goal is not None and over else best
    theirs_s = ghost.target_s(metric, accuracy) if over else ghost.reached_s(metric, accuracy)
    usd = cost.cost_on_demand_to(run, run.epochs[index].ended_t)
    theirs_usd = None if theirs_s is None else ghost.usd_at(theirs_s)
    trained = own_s if over else trained_s(run, now)
    shown = None if trained is None else ghost.shown(metric, trained)
    last = len(run.epochs) - 1
    same = ghost.marks[last].elapsed_s if ghost.every_epoch and last < len(ghost.marks) else None
    return Race(
        ghost=ghost.name,
        metric=metric,
        accuracy=accuracy,
        own_s=own_s,
        ahead_s=None if theirs_s is None else theirs_s - own_s,
        ahead_usd=None if usd is None or theirs_usd is None else theirs_usd - usd,
        shown=shown,
        lead=None if shown is None else best - shown,
        ahead_epoch_s=None if same is None else same - run.epochs[last].event.elapsed_s,
        over=over,
    )


def lead_in_words(seconds: float) -> str:
    """A lead in time: ``2:10 ahead``, ``0:47 behind``, ``level``."""
    whole = round(abs(seconds))
    if not whole:
        return "level"
    return f"{duration(whole)} {'ahead' if seconds > 0 else 'behind'}"


def money_in_words(usd: float) -> str:
    """A lead in money: ``$56.44 less``, ``$3.10 more``, ``the same``."""
    words = money(abs(usd))
    return "the same cost" if words == "$0.00" else f"{words} {'less' if usd > 0 else 'more'}"
