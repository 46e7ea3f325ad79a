"""What can be shown of every GPU and every rank of a fleet: one table, for the heat map, its legend, sort and filter.

A metric gives a value for each slot of a node: a GPU, or the rank on it, or the processors of a host without GPUs.
Unknown is None. Where a value is good, doubtful or bad is a `Scale`'s to say, which may depend on the fleet: a clock is
slow beside the others' clocks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from console.state.run import Node, Rank, Run
from remote.wire.events import HostSampled, Numbers, RankProgressed

HEATS: Final = 10
"""Steps of a ramp of colours."""

THROTTLES: Final = ("free", "power cap", "thermal", "hardware")
"""Why a GPU's clocks are held back, by how much it matters. A power cap is how big cards are run; the others mean heat,
a bad supply or a fault. After NVML's clocks event reasons, of which idling and clocks that someone set are no fault."""
_THROTTLE: Final = {
    "sw_power_cap": 1,
    "board_limit": 1,
    "reliability": 1,
    "sync_boost": 1,
    "sw_thermal_slowdown": 2,
    "hw_thermal_slowdown": 3,
    "hw_power_brake_slowdown": 3,
    "hw_slowdown": 3,
}


@dataclass(frozen=True, slots=True)
class Scale:
    """From where to where values are drawn, and from where on they are a warning or bad."""

    low: float
    high: float
    warn: float | None = None
    bad: float | None = None

    def step(self, value: float) -> int:
        """The step of the ramp, 0 to 9."""
        span = self.high - self.low
        return max(0, min(HEATS - 1, int((value - self.low) * HEATS / span))) if span > 0 else 0

    def share(self, value: float) -> float:
        """Where between low and high, 0 to 1."""
        span = self.high - self.low
        return max(0.0, min(1.0, (value - self.low) / span)) if span > 0 else 0.0

    def level(self, value: float) -> str:
        """``bad``, ``warn``, or nothing."""
        if self.bad is not None and value >= self.bad:
            return "bad"
        return "warn" if self.warn is not None and value >= self.warn else ""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of every slot."""

    key: str
    """As it is typed in a filter."""
    title: str
    unit: str
    of: Callable[[Run, Node], Sequence[float | None]]
    """A value for each slot."""
    whole: Callable[[Sequence[float]], float]
    """The node's value from those that are known: a mean, a sum, or the worst."""
    past: Callable[[Node, int], list[float | None]]
    """The node's last so many values, oldest first, a second apart."""
    scale: Callable[[Run], Scale]
    worst_first: int = 1
    """1 where much is bad, -1 where little is."""

    def of_node(self, run: Run, node: Node) -> float | None:
        """The node's value."""
        said = [value for value in self.of(run, node) if value is not None]
        return self.whole(said) if said else None

    def known(self, run: Run) -> bool:
        """True where any node says it."""
        return any(value is not None for node in run.nodes for value in self.of(run, node))


def known(run: Run) -> tuple[Metric, ...]:
    """What this fleet can show now: utilisation always, the others where any node says them."""
    return _known(run)


@lru_cache(maxsize=2)
def _known(run: Run) -> tuple[Metric, ...]:
    return tuple(metric for metric in METRICS if metric.key == "util" or metric.known(run))


def metric(key: str) -> Metric:
    """The metric of that key; utilisation where there is none."""
    return _BY_KEY.get(key, METRICS[0])


def said(metric: Metric, value: float | None) -> str:
    """The value as it is drawn, without its unit; "—" where unknown."""
    if value is None or not math.isfinite(value):
        return "—"
    if metric.key == "throttle":
        return THROTTLES[max(0, min(3, int(value)))]
    return f"{value:,.0f}"


# --- what a sample says ----------------------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _sampled(
    read: Callable[[HostSampled], Sequence[float | None]], whole: Callable[[Sequence[float]], float]
) -> tuple[Callable[[Run, Node], Sequence[float | None]], Callable[[Node, int], list[float | None]]]:
    def of(run: Run, node: Node) -> Sequence[float | None]:
        return read(node.sample) if node.sample is not None else ()

    def past(node: Node, count: int) -> list[float | None]:
        values: list[float | None] = []
        for sample in node.recent[-count:] if count > 0 else ():
            known = [value for value in read(sample) if value is not None]
            values.append(whole(known) if known else None)
        return values

    return of, past


def _util_pct(sample: HostSampled) -> Numbers:
    return sample.gpu_util_pct or (sample.cpu_util_pct,)


def _mem_pct(sample: HostSampled) -> Numbers:
    if not sample.gpu_util_pct:
        return (_share_pct(sample.mem_used_mib, sample.mem_total_mib),)
    return tuple(map(_share_pct, sample.gpu_mem_used_mib, sample.gpu_mem_total_mib))


def _share_pct(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole or whole < 0 else 100 * part / whole


def _throttle(sample: HostSampled) -> Numbers:
    return tuple(map(throttle_level, sample.gpu_throttle))


def throttle_level(reasons: str | None) -> int | None:
    """0 to 3, an index of `THROTTLES`; what this version does not know counts as a fault."""
    if reasons is None:
        return None
    harmless = ("", "gpu_idle", "applications_clocks_setting", "display_clocks_setting")
    return max((0 if reason in harmless else _THROTTLE.get(reason, 3) for reason in reasons.split("+")), default=0)


# --- what ranks say --------------------------------------------------------------------------------------------------

Word = Rank | RankProgressed


def _ranked(
    read: Callable[[Word], float | None], whole: Callable[[Sequence[float]], float]
) -> tuple[Callable[[Run, Node], Sequence[float | None]], Callable[[Node, int], list[float | None]]]:
    def of(run: Run, node: Node) -> Sequence[float | None]:
        return _placed(node, read)

    def past(node: Node, count: int) -> list[float | None]:
        columns = [rank.recent[-count:] for rank in node.ranks if rank.recent] if count > 0 else []
        length = min(map(len, columns), default=0)
        values: list[float | None] = []
        for back in range(length, 0, -1):
            known = [value for column in columns if (value := read(column[-back])) is not None]
            values.append(whole(known) if known else None)
        return values

    return of, past


def _placed(node: Node, read: Callable[[Rank], float | None]) -> list[float | None]:
    """A value for each local rank, which is the GPU's index too."""
    length = max(len(node.sample.gpu_util_pct) if node.sample else 0, len(node.ranks))
    values: list[float | None] = [None] * length
    for rank in node.ranks:
        if 0 <= rank.local_rank < length:
            values[rank.local_rank] = read(rank)
    return values


def _data_pct(word: Word) -> float | None:
    return _share_pct(word.data_s, word.step_s)


def _allreduce_pct(word: Word) -> float | None:
    return _share_pct(word.allreduce_s, word.step_s)


@lru_cache(maxsize=2)
def front(run: Run) -> int | None:
    """The step of the rank that is furthest."""
    return max((step for node in run.nodes if (step := node.step) is not None), default=None)


def _lag(run: Run, node: Node) -> Sequence[float | None]:
    first = front(run)
    return _placed(node, lambda rank: None if rank.step is None or first is None else float(first - rank.step))


def _lag_past(node: Node, count: int) -> list[float | None]:
    return []


# --- scales ----------------------------------------------------------------------------------------------------------


def _fixed(low: float, high: float, warn: float | None = None, bad: float | None = None) -> Callable[[Run], Scale]:
    scale = Scale(low, high, warn, bad)
    return lambda run: scale


def _to_the_most(key: str) -> Callable[[Run], Scale]:
    """From 0 to the fleet's greatest value, rounded up to two figures, so that it does not move all the time."""

    @lru_cache(maxsize=2)
    def scale(run: Run) -> Scale:
        shown = _BY_KEY[key]
        most = max((value for node in run.nodes for value in shown.of(run, node) if value is not None), default=0.0)
        return Scale(0, _round_up(most))

    return scale


def _round_up(value: float) -> float:
    if not 0 < value < 1e15:
        return 1.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(math.ceil(value / unit) * unit)


@lru_cache(maxsize=2)
def _watts(run: Run) -> Scale:
    limits = [
        watts for node in run.nodes if node.sample for watts in node.sample.gpu_power_limit_w if watts is not None
    ]
    return Scale(0, max(limits)) if limits and max(limits) > 0 else _most_watts(run)


_most_watts: Final = _to_the_most("power")


@lru_cache(maxsize=2)
def _steps(run: Run) -> Scale:
    """Ranks speak once a second, each at its own moment: who is a second's steps behind may be level with others."""
    seconds = [rank.step_s for node in run.nodes for rank in node.ranks if rank.step_s]
    step_s = statistics.median(seconds) if seconds else 1.0
    a_second = 1 / step_s if step_s > 0 else 1.0
    warn = max(2.0, math.ceil(2.5 * a_second))
    return Scale(0, 5 * warn, warn, 5 * warn)


def _sampled_metric(
    key: str,
    title: str,
    unit: str,
    read: Callable[[HostSampled], Sequence[float | None]],
    scale: Callable[[Run], Scale],
    whole: Callable[[Sequence[float]], float] = _mean,
    worst_first: int = 1,
) -> Metric:
    of, past = _sampled(read, whole)
    return Metric(key, title, unit, of, whole, past, scale, worst_first)


def _ranked_metric(
    key: str,
    title: str,
    unit: str,
    read: Callable[[Word], float | None],
    scale: Callable[[Run], Scale],
    whole: Callable[[Sequence[float]], float],
    worst_first: int = 1,
) -> Metric:
    of, past = _ranked(read, whole)
    return Metric(key, title, unit, of, whole, past, scale, worst_first)


_PCT: Final = _fixed(0, 100)

METRICS: Final = (
    _sampled_metric("util", "utilisation", "%", _util_pct, _PCT, worst_first=-1),
    _sampled_metric("sm", "SM activity", "%", lambda sample: sample.gpu_sm_util_pct, _PCT, worst_first=-1),
    _sampled_metric("tensor", "tensor activity", "%", lambda sample: sample.gpu_tensor_util_pct, _PCT, worst_first=-1),
    _sampled_metric("mem", "memory", "%", _mem_pct, _fixed(0, 100, 95, 99), max),
    _sampled_metric("bw", "memory bandwidth", "%", lambda sample: sample.gpu_mem_bw_util_pct, _PCT, worst_first=-1),
    _sampled_metric("power", "power", "W", lambda sample: sample.gpu_power_w, _watts, sum),
    # Data-centre cards slow down by themselves between 85 and 92 °C (nvidia-smi -q: "GPU Slowdown Temp").
    _sampled_metric("temp", "temperature", "°C", lambda sample: sample.gpu_temp_c, _fixed(30, 95, 80, 86), max),
    _sampled_metric(
        "clock", "SM clock", "MHz", lambda sample: sample.gpu_sm_clock_mhz, _to_the_most("clock"), worst_first=-1
    ),
    _sampled_metric("throttle", "throttling", "", _throttle, _fixed(0, 3, 2, 3), max),
    _ranked_metric("img", "img/s", "img/s", lambda word: word.img_per_s, _to_the_most("img"), sum, worst_first=-1),
    _ranked_metric("data", "data wait", "%", _data_pct, _fixed(0, 60, 20, 40), max),
    _ranked_metric("wait", "all-reduce wait", "%", _allreduce_pct, _fixed(0, 60, 30, 50), _mean),
    Metric("lag", "steps behind", "", _lag, max, _lag_past, _steps),
)
"""In the order in which a key goes through them."""

_BY_KEY: Final = {each.key: each for each in METRICS}
