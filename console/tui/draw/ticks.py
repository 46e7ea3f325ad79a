"""Round numbers for the axes of a chart: steps of 1, 2, 5; of a clock; of powers of ten. Pure."""

from __future__ import annotations

import math
from typing import Final


def ticks(low: float, high: float, wanted: int, *, whole: bool = False) -> list[float]:
    """Round numbers within the bounds, about so many: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low or wanted < 1:
        return []
    grain = 10.0 ** math.floor(math.log10((high - low) / wanted))
    step = next(grain * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (grain * factor) <= wanted)
    step = max(step, 1.0) if whole else step
    return _multiples(low, high, step)


_CLOCK: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def clock_ticks(low: float, high: float, wanted: int) -> list[float]:
    """The same for seconds: whole minutes, quarters of an hour, hours."""
    fits = [step for step in _CLOCK if (high - low) / step <= max(1, wanted)]
    return _multiples(low, high, float(fits[0])) if fits else ticks(low, high, wanted)


def log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers within positive bounds for a log scale: 1, 2 and 5 times powers of ten, or the powers alone."""
    if not high > low > 0:
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        made = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in made if low <= value <= high]
        if len(inside) <= wanted:
            return inside
    return inside[:: -(-len(inside) // max(1, wanted))]


def _multiples(low: float, high: float, step: float) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    return [round(multiple * step, 12) for multiple in range(first, math.floor(high / step + 1e-9) + 1)]


def round_bounds(low: float, high: float) -> tuple[float, float]:
    """The bounds moved out to round numbers, so that a growing curve changes its scale only now and then."""
    if not high > low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    grain = 10.0 ** math.floor(math.log10(high - low)) / 2
    return math.floor(low / grain + 1e-9) * grain, math.ceil(high / grain - 1e-9) * grain
