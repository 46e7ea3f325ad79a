"""A run's curves: what can be drawn, over which axis, thinned to what a plot can show. Pure.

A day's run has 100,000 steps and more, a plot a few hundred dots across, and it is drawn twice a second. So a plot
reads the means over 8, 64, 512, … steps (`console.compare.downsample`) that give it a few entries a dot.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from console.compare.downsample import FACTOR, levels_of
from console.compare.race import Ghost
from console.state.run import Epoch, Point, Run
from console.state.series import Series
from remote.wire.events import EpochEnded

LOSS: Final = "loss"
EVAL_LOSS: Final = "eval loss"
TOP5: Final = "top-5"
TOP1: Final = "top-1"
RATE: Final = "img/s"
LR: Final = "lr"
SHARE: Final = "share of peak"
BY_STEP: Final = (LOSS, RATE, LR, SHARE)
BY_EPOCH: Final = (EVAL_LOSS, TOP5, TOP1)

STEP: Final = "step"
EPOCH: Final = "epoch"
TIME: Final = "time"
AXES: Final = (STEP, EPOCH, TIME)

_OF_POINT: Final[dict[str, Callable[[Point], float | None]]] = {
    LOSS: lambda point: point.loss,
    RATE: lambda point: point.img_per_s or None,
    LR: lambda point: point.lr,
    SHARE: lambda point: point.peak_share,
}
_OF_POINTS: Final[dict[str, Callable[[list[Point]], list[Any]]]] = {
    LOSS: lambda points: [point.loss for point in points],
    RATE: lambda points: [point.img_per_s or None for point in points],
    LR: lambda points: [point.lr for point in points],
    SHARE: lambda points: [point.peak_share for point in points],
}
"""The same of many at once, without a call for each."""
_OF_EPOCH: Final[dict[str, Callable[[EpochEnded], float | None]]] = {
    EVAL_LOSS: lambda epoch: epoch.val_loss,
    TOP5: lambda epoch: epoch.top5,
    TOP1: lambda epoch: epoch.top1,
    LOSS: lambda epoch: epoch.train_loss,
    RATE: lambda epoch: epoch.img_per_s,
}


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What of a run is drawn as curves. Times count from where its training began, pauses left out."""

    name: str
    points: Series[Point]
    epochs: tuple[Epoch, ...]
    began_t: float | None
    """When the first step was received."""
    steps_per_epoch: int | None

    def metrics(self) -> tuple[str, ...]:
        """What of `BY_STEP` and `BY_EPOCH` it has, in the order in which a screen shows them."""
        return tuple(name for name in (LOSS, TOP5, TOP1, RATE, LR, EVAL_LOSS, SHARE) if self.has(name))

    def has(self, metric: str) -> bool:
        """True where it says anything of the metric."""
        of_point, of_epoch = _OF_POINT.get(metric), _OF_EPOCH.get(metric)
        if of_point is not None and len(self.points):
            # The first word of a loss may be missing, and one in the middle; not all three.
            some = (self.points[0], self.points[len(self.points) // 2], self.points[-1])
            if any(of_point(point) is not None for point in some):
                return True
        return of_epoch is not None and any(of_epoch(epoch.event) is not None for epoch in self.epochs)

    def has_axis(self, axis: str) -> bool:
        """True where its values have a position on the axis."""
        return axis != STEP or bool(len(self.points)) or any(epoch.event.step for epoch in self.epochs)


def trace(run: Run, name: str = "") -> Trace:
    """The run's curves; shares all with the run."""
    steps = run.step.steps_per_epoch if run.step else None
    return Trace(name, run.points, run.epochs, run.first_step_t, steps)


def ghost_curve(ghost: Ghost, metric: str) -> tuple[list[float], list[float]]:
    """The ghost's accuracy over seconds of training."""
    said = [(mark.elapsed_s, mark.top1 if metric == TOP1 else mark.top5) for mark in ghost.marks]
    known = [(x, y) for x, y in said if y is not None] if metric in (TOP1, TOP5) else []
    return [x for x, _ in known], [y for _, y in known]


# --- positions on an axis --------------------------------------------------------------------------------------------


class _Axis:
    """Where a trace's points and epochs lie on an axis."""

    def __init__(self, trace: Trace, axis: str) -> None:
        self.axis = axis
        # Between two epochs' ends, known on both scales, the positions are taken as even.
        if axis == TIME:
            self._from = [trace.began_t or 0.0, *(epoch.received_t for epoch in trace.epochs)]
            self._to = [0.0, *(epoch.event.elapsed_s for epoch in trace.epochs)]
            if trace.began_t is None:
                del self._from[0], self._to[0]
            self._slope = 1.0
        else:
            self._from = [0.0, *(float(epoch.event.step) for epoch in trace.epochs)]
            self._to = [0.0, *(float(epoch.event.epoch + 1) for epoch in trace.epochs)]
            self._slope = 1 / (trace.steps_per_epoch or 1)

    def of_point(self, point: Point) -> float:
        """Of a step."""
        if self.axis == STEP:
            return point.step
        return self._between(point.received_t if self.axis == TIME else point.step)

    def of_epoch(self, epoch: Epoch) -> float:
        """Of an epoch's end."""
        if self.axis == TIME:
            return epoch.event.elapsed_s
        return epoch.event.step if self.axis == STEP else epoch.event.epoch + 1

    def _between(self, at: float) -> float:
        known, wanted = self._from, self._to
        index = bisect_right(known, at)
        if index == 0 or index == len(known):
            edge = 0 if index == 0 else -1
            return wanted[edge] + (at - known[edge]) * self._slope if known else at
        low, high = known[index - 1], known[index]
        return wanted[index - 1] + (wanted[index] - wanted[index - 1]) * (at - low) / (high - low)


def extent(trace: Trace, axis: str) -> tuple[float, float] | None:
    """The first and the last position of the trace on the axis; None where it has none."""
    positions: list[float] = []
    on = _Axis(trace, axis)
    if len(trace.points):
        positions += [on.of_point(trace.points[0]), on.of_point(trace.points[-1])]
    if trace.epochs and trace.has_axis(axis):
        positions += [on.of_epoch(trace.epochs[0]), on.of_epoch(trace.epochs[-1])]
    return (min(positions), max(positions)) if positions else None


# --- thinning --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thinned:
    """A curve as it is drawn."""

    xs: Sequence[float]
    ys: Sequence[float]
    steps: int
    """A value is the mean over about so many steps; 1 where it is the step's own."""


def thinned(trace: Trace, metric: str, axis: str, span: tuple[float, float], dots: int) -> Thinned:
    """At most about `dots` values of the metric within `span` of the axis, with a neighbour on either side.

    Steps that share a dot are drawn as their mean.
    """
    on = _Axis(trace, axis)
    of_point = _OF_POINT.get(metric)
    if of_point is None or len(trace.points) < 2 or not trace.has(metric):
        return _of_epochs(trace, metric, on, span)
    points = trace.points
    first = max(0, _index_from(points, on, span[0]) - 1)
    end = min(len(points), _index_from(points, on, span[1]) + 1)
    depth = 0
    while (end - first) > 4 * dots * FACTOR**depth:
        depth += 1
    kept = levels_of(points).levels(metric, depth, _OF_POINTS[metric])
    scale = dots / ((span[1] - span[0]) or 1.0)
    xs: list[float] = []
    ys: list[float] = []
    total, count, bucket, x = 0.0, 0, None, 0.0
    at = first // FACTOR**depth * FACTOR**depth
    while at < end:
        # Behind the last full block of this size there may be smaller ones.
        while depth and at + FACTOR**depth > len(points):
            depth -= 1
        size = FACTOR**depth
        here = on.of_point(points[at + size // 2])
        if depth:
            value, said = kept[depth - 1].sums[at // size], kept[depth - 1].counts[at // size]
        else:
            own = of_point(points[at])
            value, said = (own, 1) if own is not None else (0.0, 0)
        at += size
        if not said:
            continue
        own_bucket = math.floor((here - span[0]) * scale)
        if own_bucket != bucket and count:
            xs.append(x / count)
            ys.append(total / count)
            total, count, x = 0.0, 0, 0.0
        bucket = own_bucket
        total, count, x = total + value, count + said, x + here * said
    if count:
        xs.append(x / count)
        ys.append(total / count)
    merged = len(xs) and len(xs) < 0.9 * (end - first)
    # Counted in steps, not in points: some logs say every fifth only.
    steps = round((points[end - 1].step - points[first].step) / len(xs)) if merged else 1
    return Thinned(xs, ys, max(1, steps))


def _of_epochs(trace: Trace, metric: str, on: _Axis, span: tuple[float, float]) -> Thinned:
    of_epoch = _OF_EPOCH.get(metric)
    if of_epoch is None or not trace.has_axis(on.axis):
        return Thinned((), (), 1)
    said = [(on.of_epoch(epoch), value) for epoch in trace.epochs if (value := of_epoch(epoch.event)) is not None]
    xs = [x for x, _ in said]
    first, end = max(0, bisect_left(xs, span[0]) - 1), bisect_right(xs, span[1]) + 1
    return Thinned(xs[first:end], [y for _, y in said[first:end]], 1)


def _index_from(points: Series[Point], on: _Axis, x: float) -> int:
    """The first point at or behind `x`."""
    low, high = 0, len(points)
    while low < high:
        middle = (low + high) // 2
        if on.of_point(points[middle]) < x:
            low = middle + 1
        else:
            high = middle
    return low


def value_at(trace: Trace, metric: str, axis: str, x: float) -> float | None:
    """The metric at a position: the last one said at or before it; None before the first."""
    on = _Axis(trace, axis)
    of_point, of_epoch = _OF_POINT.get(metric), _OF_EPOCH.get(metric)
    if of_point is not None and len(trace.points) > 1:
        index = _index_from(trace.points, on, x)
        if index < len(trace.points) and on.of_point(trace.points[index]) == x:
            index += 1
        for back in range(index - 1, max(-1, index - 50), -1):
            value = of_point(trace.points[back])
            if value is not None:
                return value
        return None
    if of_epoch is None or not trace.has_axis(axis):
        return None
    for epoch in reversed(trace.epochs):
        if on.of_epoch(epoch) <= x and (value := of_epoch(epoch.event)) is not None:
            return value
    return None
