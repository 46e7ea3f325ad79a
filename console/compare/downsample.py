"""Sums of a run's figures over 8, 64, 512, … steps, kept beside its points and grown as points come. Pure.

They hold for every earlier state of the run too, because a `Series` only ever grows; of a series that began as another
did, as after a restart from a checkpoint, what the two share is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import Any, Final

from console.state.run import Point
from console.state.series import Series

_HALVINGS: Final = 3
FACTOR: Final = 2**_HALVINGS
"""How many blocks of one level are one of the next."""


class Level:
    """Sums over blocks of equally many points, and how many values are in each."""

    __slots__ = ("counts", "sums")

    def __init__(self) -> None:
        # Two lists of numbers, and not one of pairs: Python's garbage collector walks pairs.
        self.sums: list[float] = []
        self.counts: list[int] = []


class Levels:
    """The levels of every metric over one growing series."""

    def __init__(self, points: Series[Point]) -> None:
        self.points = points
        self._of: dict[str, list[Level]] = {}

    def is_of(self, points: Series[Point]) -> bool:
        """True where `points` is this series, longer or shorter, or begins as it does."""
        return not len(points) or not len(self.points) or points[0] is self.points[0]

    def follow(self, points: Series[Point]) -> None:
        """Takes the points on; forgets what does not hold for them."""
        if points.shares(self.points):
            self.points = points if len(points) > len(self.points) else self.points
            return
        # Two series that began as one are equal up to somewhere.
        low, high = 0, min(len(points), len(self.points))
        while low < high:
            middle = (low + high) // 2
            if points[middle] is self.points[middle]:
                low = middle + 1
            else:
                high = middle
        for levels in self._of.values():
            for depth, level in enumerate(levels, start=1):
                del level.sums[low // FACTOR**depth :], level.counts[low // FACTOR**depth :]
        self.points = points

    def levels(self, metric: str, depth: int, values_of: Callable[[list[Point]], list[Any]]) -> list[Level]:
        """The first `depth` levels, every full block in them: that at index 0 over blocks of 8 points.

        `values_of`: the metric's values of points, None where one has none.
        """
        levels = self._of.setdefault(metric, [])
        while len(levels) < depth:
            levels.append(Level())
        for index, level in enumerate(levels[:depth]):
            done = len(level.sums) * FACTOR
            if index == 0:
                self._grow(level, values_of(self.points[done : len(self.points) // FACTOR * FACTOR]))
            else:
                below = levels[index - 1]
                end = len(below.sums) // FACTOR * FACTOR
                level.sums += _eighths(below.sums[done:end])
                level.counts += _eighths(below.counts[done:end])
        return levels[:depth]

    def _grow(self, level: Level, values: list[Any]) -> None:
        if None in values:
            level.counts += _eighths([value is not None for value in values])
            values = [0.0 if value is None else value for value in values]
        else:
            level.counts += [FACTOR] * (len(values) // FACTOR)
        level.sums += _eighths(values)


def _eighths(values: list[Any]) -> list[Any]:
    """The sums of eight at a time. By adding halves thrice: a log of ten hours is read all at once."""
    for _ in range(_HALVINGS):
        values = list(map(add, values[::2], values[1::2]))
    return values


_kept: list[Levels] = []
_KEPT: Final = 10
"""The run on the screen and as many beside it as one can tell apart."""


def levels_of(points: Series[Point]) -> Levels:
    """The levels kept for the series; those of a few are."""
    for index, held in enumerate(_kept):
        if held.is_of(points):
            if index:
                _kept.insert(0, _kept.pop(index))
            held.follow(points)
            return held
    made = Levels(points)
    _kept.insert(0, made)
    del _kept[_KEPT:]
    return made
