"""Who is waited for: the ranks that make all others wait at each step, and why."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from console.state.run import Rank, Run
from remote.wire.events import RankProgressed


@dataclass(frozen=True, slots=True)
class Straggler:
    """A rank for which the others wait."""

    node: int
    rank: int
    reason: str
    """``data`` (it waits for its loader), ``compute``, or ``network`` (its all-reduce takes longer than others')."""
    ratio: float
    """Its seconds over the median rank's."""
    excess_s: float = 0.0
    """Its seconds a step beyond the median rank's: about what it costs every other rank."""


def of(run: Run) -> tuple[Straggler, ...]:
    """Ranks for which the others wait, the slowest first.

    A gang steps together, so a step takes all ranks equally long, and the rank that is waited for is the one that has
    the most to do and waits least in the all-reduce; those that wait longest there are its victims. So a rank's own
    seconds count: for data, and for compute less the exposed all-reduce, where it is told. A rank is slow where one of
    them is over 1.5 times the median and over a fifth of its step. Where neither is, and yet it is in the all-reduce
    for over 1.5 times the median and a fifth of its step, while it came to it no earlier than the others, it is the
    network.
    """
    return _of(run)


@lru_cache(maxsize=2)
def _of(run: Run) -> tuple[Straggler, ...]:
    ranks = [(node.node, rank) for node in run.nodes for rank in node.ranks if rank.step_s is not None]
    found: dict[int, Straggler] = {}
    parts = [(node, rank, *_lately(rank)) for node, rank in ranks]
    data = _slower([(node, rank, step, seconds) for node, rank, step, seconds, _, _ in parts], "data")
    compute = _slower([(node, rank, step, seconds) for node, rank, step, _, seconds, _ in parts], "compute")
    busy = {rank.rank: (data_s or 0.0) + (own_s or 0.0) for _, rank, _, data_s, own_s, _ in parts}
    waits = [wait for *_, wait in parts if wait is not None]
    median_wait_s = statistics.median(waits) if waits else 0.0
    for slow in (*data, *compute):
        wait = next((wait for _, rank, *_, wait in parts if rank.rank == slow.rank), None)
        if wait is not None and wait > median_wait_s:
            # It waits for somebody itself: what it lost was over before the others came.
            continue
        if slow.rank not in found or slow.excess_s > found[slow.rank].excess_s:
            found[slow.rank] = slow
    median_busy_s = statistics.median(busy.values()) if busy else 0.0
    for slow in _slower([(node, rank, step, wait) for node, rank, step, _, _, wait in parts], "network"):
        if busy[slow.rank] >= 0.95 * median_busy_s:
            found.setdefault(slow.rank, slow)
    return tuple(sorted(found.values(), key=lambda slow: -slow.excess_s))


LATELY: Final = 5
"""Words of a rank over which its seconds are evened out: one late file makes nobody a straggler."""


def _lately(rank: Rank) -> tuple[float, float | None, float | None, float | None]:
    """Seconds a step over its last few words: the step, for data, for its own computing, exposed all-reduce."""
    words = rank.recent[-LATELY:]
    if len(words) < 2:
        return rank.step_s or 0.0, rank.data_s, own_compute_s(rank), rank.allreduce_s
    return (
        sum(word.step_s for word in words) / len(words),
        sum(word.data_s for word in words) / len(words),
        _mean([own_compute_s(word) for word in words]),
        _mean([word.allreduce_s for word in words]),
    )


def _slower(said: list[tuple[int, Rank, float, float | None]], reason: str) -> list[Straggler]:
    known = [seconds for *_, seconds in said if seconds is not None]
    if len(known) < 2:
        return []
    # Under a millisecond the median is noise, and zero would make a ratio of nothing.
    median_s = max(statistics.median(known), 0.001)
    return [
        Straggler(node, rank.rank, reason, seconds / median_s, seconds - median_s)
        for node, rank, step_s, seconds in said
        if seconds is not None and seconds > 1.5 * median_s and seconds > 0.2 * step_s
    ]


def own_compute_s(rank: Rank | RankProgressed) -> float | None:
    """Seconds a step in which the rank itself computed: without the exposed all-reduce, where it is told."""
    return None if rank.compute_s is None else max(0.0, rank.compute_s - (rank.allreduce_s or 0.0))


def _mean(values: Sequence[float | None]) -> float | None:
    said = [value for value in values if value is not None]
    return sum(said) / len(said) if said else None
