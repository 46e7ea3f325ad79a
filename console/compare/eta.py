"""When a run will reach its target, as a range; and when its schedule ends. Pure.

The method, in the order in which it is used. All times are training seconds from the last evaluation on; what has
passed since is taken off.

1. *The schedule bounds it.* Not before the next evaluation, and not after the schedule's end, where the recipe comes to
   its target at all. An epoch to come takes what those of the same image size and batch took (their median without the
   first, 7 % either way; 45 % less where only a first one was seen, which may have stalled). A size that was not seen
   yet takes the nearest one's time by the ratio of the sides to the power of 1 to 2.3, a batch that was not seen up to
   a third less where it is larger and up to a half more where it is smaller; a change of the size may stall for as long
   as the longest stall so far. Source of these bounds: the epochs of the 2018 run on 8 machines (128 px 20-29 s, 224 px
   40-45 s, 288 px 126 s once and then 68-74 s: powers of 0.8 to 2.3 between neighbours; the larger batch took 0.69 and
   0.89 of the smaller one's time).
2. *The recipe's own record*: a profile that says after how many epochs its recipe came to the target will do so within
   an epoch before and a tenth of the epochs (one at least) after that.
3. *The ghost's pace*: what was left for the ghost, when it had shown the accuracy that the run has shown, times 0.55
   to 1.45; only where the two came to that accuracy in times less than a factor of two apart. Calibrated on the two
   runs of 2018 against each other, either way, at each of their 66 evaluations: the true figure lay between 0.59 and
   1.36 (DAWNBench, fastai_resnet50_p3_8_machine_pytorch and _16_machine_). Against a run of other hardware (Alibaba's
   of 2020) it would be wrong by up to four times, hence the factor of two.
4. *Its own curve*, where nothing else is known: at the soonest, the error falls as quickly as it ever did from one
   evaluation to the next; at the latest, the schedule's end.
5. *The schedule alone*, before two evaluations were better than the one before.

No range is given where none of these has enough to go by, as before the first step. A range is not a promise: a recipe
may miss its target.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

from console.compare.race import Ghost, trained_s
from console.profile.recorded import Leg, legs
from console.state.run import Run
from console.state.status import PAUSED, TRAINING
from console.views import progress

_MEASURED: Final = (0.93, 1.07)
_FIRST: Final = 0.55
_POWER: Final = (1.0, 2.3)
_LARGER_BATCH: Final = (0.65, 1.0)
_SMALLER_BATCH: Final = (1.0, 1.5)
_PACE: Final = (0.55, 1.45)
_LIKE: Final = 2.0
"""A ghost this many times slower or quicker to the present accuracy is no guide to the rest."""
_LONGEST_S: Final = 1e9
"""Past thirty years a damaged figure speaks, not the run."""

Span = tuple[float, float]
"""The least and the most seconds."""


@dataclass(frozen=True, slots=True)
class Eta:
    """What is known of the time that is left. Seconds from now."""

    metric: str
    value: float
    """The target, a fraction."""
    low_s: float
    high_s: float | None
    """None where nothing bounds it."""
    basis: str
    """``the recipe's record``, ``the ghost's pace``, ``its own curve`` or ``its schedule``."""


def eta(run: Run, now: float, ghost: Ghost | None = None) -> Eta | None:
    """The range for the target. None where there is no target, it is reached, the run is over, or nothing is known."""
    goal = progress.target(run)
    if goal is None or run.target is not None or run.status not in (TRAINING, PAUSED):
        return None
    best = progress.best(run, goal.metric)
    if best is not None and best >= goal.value:
        return None
    clock = _Clock.of(run)
    since_s = _since_s(run, now)
    done, total = clock.done, clock.total
    if total is not None and done >= total:
        return None
    end = None if total is None else clock.until(total)
    soonest = clock.until(done + 1) or (0.0, 0.0)
    span, basis = _estimate(run, clock, ghost, goal, best)
    if span is None:
        return None
    low, high = max(span[0], soonest[0]), span[1]
    if end is not None:
        high = end[1] if high is None else min(high, end[1])
        low = min(low, end[1])
    if high is not None:
        high = max(high, soonest[1], low)
    low_s, high_s = max(0.0, low - since_s), None if high is None else max(0.0, high - since_s)
    return Eta(goal.metric, goal.value, low_s, high_s, basis) if (high_s or low_s) < _LONGEST_S else None


def schedule_s(run: Run, now: float) -> Span | None:
    """The least and the most seconds from now to the schedule's end; None where it is not known, or the run is over."""
    if run.status not in (TRAINING, PAUSED):
        return None
    clock = _Clock.of(run)
    span = None if clock.total is None else clock.until(clock.total)
    if span is None or span[1] > _LONGEST_S:
        return None
    since_s = _since_s(run, now)
    return max(0.0, span[0] - since_s), max(0.0, span[1] - since_s)


def _estimate(
    run: Run, clock: _Clock, ghost: Ghost | None, goal: progress.Target, best: float | None
) -> tuple[tuple[float, float | None] | None, str]:
    """The range from the last evaluation on by the first method that can say one, and that method's name."""
    known = ghost.epochs_to_target if ghost is not None else None
    if known is not None:
        late = known + max(1, math.ceil(known / 10))
        first, last = clock.until(max(clock.done + 1, known - 1)), clock.until(late)
        if clock.done < late and first is not None and last is not None:
            return (first[0], last[1]), "the recipe's record"
    if best is None:
        return _by_schedule(clock)
    if ghost is not None:
        whole_s, here_s = ghost.target_s(goal.metric, goal.value), ghost.reached_s(goal.metric, best)
        own_s = next(
            epoch.event.elapsed_s for epoch in run.epochs if progress.accuracy(epoch.event, goal.metric) == best
        )
        if whole_s is not None and here_s and own_s and 1 / _LIKE <= own_s / here_s <= _LIKE:
            left_s = whole_s - here_s
            return (left_s * _PACE[0], left_s * _PACE[1]), "the ghost's pace"
    curve = _own_curve(run, clock, goal, best)
    return (curve, "its own curve") if curve is not None else _by_schedule(clock)


def _by_schedule(clock: _Clock) -> tuple[tuple[float, float | None] | None, str]:
    known = clock.total is not None and clock.until(clock.total) is not None
    return ((0.0, None), "its schedule") if known else (None, "")


def _own_curve(run: Run, clock: _Clock, goal: progress.Target, best: float) -> tuple[float, float | None] | None:
    values = [value for epoch in run.epochs if (value := progress.accuracy(epoch.event, goal.metric)) is not None]
    bests = list(accumulate(values, max))
    falls = [math.log((1 - before) / (1 - after)) for before, after in pairwise(bests) if before < 1 and after < 1]
    quickest = max(falls, default=0.0)
    if quickest <= 0 or len(falls) < 2 or goal.value >= 1:
        return None
    epochs = math.log((1 - best) / (1 - goal.value)) / quickest
    soonest = clock.until(clock.done + max(1, math.ceil(epochs)))
    return None if soonest is None else (soonest[0], None)


def _since_s(run: Run, now: float) -> float:
    """Training seconds since the last evaluation's end."""
    trained = trained_s(run, now)
    if trained is None:
        return 0.0
    return max(0.0, trained - (run.epochs[-1].event.elapsed_s if run.epochs else 0.0))


class _Clock:
    """How long epochs take."""

    def __init__(self, run: Run) -> None:
        training = run.training
        self._legs = legs(run.created.profile_text) if run.created else ()
        self.total = training.total_epochs if training and training.total_epochs > 0 else None
        if self.total is None and self._legs:
            self.total = self._legs[-1].end
        start = training.start_epoch if training else 0
        self.done = run.epochs[-1].event.epoch + 1 if run.epochs else start
        self._seen: dict[tuple[int | None, int | None], list[float]] = {}
        self._stall_s = 0.0
        firsts: dict[tuple[int | None, int | None], float] = {}
        before_s, before = 0.0, -1
        for epoch in run.epochs:
            seconds = epoch.event.elapsed_s - before_s
            leg = self._leg(epoch.event.epoch)
            if seconds > 0 and epoch.event.epoch == before + 1:
                kind = leg.kind if leg else (None, None)
                if leg is not None and epoch.event.epoch == leg.start:
                    firsts.setdefault(kind, seconds)
                self._seen.setdefault(kind, []).append(seconds)
            before_s, before = epoch.event.elapsed_s, epoch.event.epoch
        self._firsts = {kind for kind in firsts if len(self._seen[kind]) == 1}
        """Kinds of which only the first epoch was seen, with whatever it had to wait for."""
        for kind, seconds in firsts.items():
            usual = self._seen[kind]
            if len(usual) > 1:
                usual.remove(seconds)
                self._stall_s = max(self._stall_s, seconds - statistics.median(usual))
        self._begun(run)

    @classmethod
    def of(cls, run: Run) -> _Clock:
        """The run's; kept while no epoch has ended and no step was taken."""
        return _clock(run)

    def _begun(self, run: Run) -> None:
        """An epoch of a new kind that has begun says by its steps how long it will take."""
        leg, step, rate = self._leg(self.done), run.step, progress.img_per_s(run)
        kind = leg.kind if leg else (None, None)
        if step is None or not rate or kind in self._seen or step.epoch != self.done:
            return
        images = step.img_per_s * step.step_s
        evaluated = next((epoch.event.eval_s for epoch in reversed(run.epochs) if epoch.event.eval_s is not None), 0.0)
        if images > 0:
            self._seen[kind] = [step.steps_per_epoch * images / rate + evaluated]

    def _leg(self, epoch: int) -> Leg | None:
        for leg in self._legs:
            if leg.start <= epoch < leg.end:
                return leg
        return None

    def _epoch_s(self, leg: Leg | None) -> Span | None:
        kind = leg.kind if leg else (None, None)
        if kind in self._seen:
            usual = statistics.median(self._seen[kind])
            return usual * (_FIRST if kind in self._firsts else _MEASURED[0]), usual * _MEASURED[1]
        size, batch = kind
        if not self._seen or size is None:
            return None
        closest = min(self._seen, key=lambda other: abs(math.log(size / (other[0] or 1))))
        if closest[0] is None:
            return None
        usual, ratio = statistics.median(self._seen[closest]), size / closest[0]
        powers = sorted((ratio ** _POWER[0], ratio ** _POWER[1]))
        other = closest[1] or batch or 1
        factors = (1.0, 1.0) if batch == other else _LARGER_BATCH if (batch or 1) > other else _SMALLER_BATCH
        stalled = _FIRST if closest in self._firsts else 1.0
        return usual * powers[0] * factors[0] * stalled, usual * powers[1] * factors[1]

    def until(self, epoch: int) -> Span | None:
        """The least and the most seconds from the last evaluation until so many epochs have ended."""
        if self.total is not None:
            epoch = min(epoch, self.total)
        low = high = 0.0
        at = self.done
        before = self._leg(at - 1)
        while at < epoch:
            leg = self._leg(at)
            epoch_s = self._epoch_s(leg)
            if epoch_s is None:
                return None
            end = min(epoch, leg.end if leg else next((leg.start for leg in self._legs if leg.start > at), epoch))
            low += epoch_s[0] * (end - at)
            high += epoch_s[1] * (end - at)
            if leg and before and leg.image_size != before.image_size:
                high += self._stall_s
            at, before = end, leg
        return low, high


_kept: list[tuple[Any, Any, _Clock]] = []


def _clock(run: Run) -> _Clock:
    # Screen and header ask for the same run several times a tick.
    key = (
        run.epochs,
        run.step if not run.epochs or run.step is None or run.step.epoch != run.epochs[-1].event.epoch else None,
    )
    for held_epochs, held_step, clock in _kept:
        if held_epochs is key[0] and held_step is key[1]:
            return clock
    clock = _Clock(run)
    _kept.insert(0, (*key, clock))
    del _kept[4:]
    return clock
