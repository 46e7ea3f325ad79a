"""TODO docstring: console/billing/accounts.py."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from console.state.events import PriceQuoted
from console.state.run import Billing

MINIMUM_BILLED_S: Final = 60.0


HOUR_S: Final = 3600.0


SPOT: Final = "spot"


ON_DEMAND: Final = "on-demand"


UNIT: Final = 10**9 * 3_600_000
"""A dollar, in the whole numbers that amounts are counted in: billionths of a dollar an hour, times milliseconds."""


_HIGHEST_USD_PER_H: Final = 1e6


_LATEST_T: Final = 1e11
"""Prices and times beyond these are damage, and unknown."""


_MINUTE_MS: Final = round(MINIMUM_BILLED_S * 1000)


_HOUR_MS: Final = round(HOUR_S * 1000)


@dataclass(frozen=True, slots=True)
class _Account:
    """An instance's prices, in billionths of a dollar an hour, and times, in milliseconds."""

    start_ms: int
    stop_ms: int | None
    steps: tuple[tuple[int, int], ...] | None
    """Billed price from so long after the start on; empty where nothing is charged, None where unknown."""
    on_demand: int | None
    storage: int
    address: int

    def charged_ms(self, t_ms: int) -> int:
        """How much of its time is charged until the moment: a minute at least."""
        if t_ms < self.start_ms:
            return 0
        end = t_ms if self.stop_ms is None else min(t_ms, self.stop_ms)
        return max(end - self.start_ms, _MINUTE_MS)

    def compute(self, t_ms: int) -> int | None:
        """The amount for the instance itself until the moment."""
        if self.steps is None:
            return None
        charged, owed = self.charged_ms(t_ms), 0
        for place, (begin, rate) in enumerate(self.steps):
            end = self.steps[place + 1][0] if place + 1 < len(self.steps) else charged
            owed += rate * max(0, min(end, charged) - begin)
        return owed


_Quotes = dict[tuple[str | None, str], list[tuple[int, int, str | None]]]
"""By instance type and market: from when (ms), the price, and in which zone (None: in all), by time; of two from one
moment the newer is last."""


def _by_time(quotes: Iterable[PriceQuoted]) -> _Quotes:
    index: _Quotes = {}
    for quote in sorted(quotes, key=lambda quote: quote.effective_t):
        effective_ms, rate = _ms(quote.effective_t), _rate(quote.usd_per_h)
        if effective_ms is not None and rate is not None:
            index.setdefault((quote.instance_type, quote.market), []).append((effective_ms, rate, quote.zone))
    return index


def _account(billing: Billing, quotes: _Quotes) -> _Account:
    start_ms, stop_ms = _ms(billing.started_t), None if billing.stopped_t is None else _ms(billing.stopped_t)
    extras = _rate(billing.storage_usd_per_h) or 0, _rate(billing.address_usd_per_h) or 0
    if start_ms is None:
        return _Account(0, None, None, None, *extras)
    on_demand = _on_demand(billing, start_ms, quotes)
    price = _rate(billing.usd_per_h)
    steps: tuple[tuple[int, int], ...] | None = None if price is None else ((0, price),)
    if billing.market == SPOT:
        lived = None if stop_ms is None else stop_ms - start_ms
        free = billing.taken_back and lived is not None and lived < _HOUR_MS
        steps = () if free else _spot_steps(billing, start_ms, price, quotes)
    elif billing.market == ON_DEMAND and price is None and on_demand is not None:
        steps = ((0, on_demand),)
    return _Account(start_ms, stop_ms, steps, on_demand, *extras)


def _on_demand(billing: Billing, start_ms: int, quotes: _Quotes) -> int | None:
    own = _rate(billing.usd_per_h_on_demand)
    known = quotes.get((billing.instance_type, ON_DEMAND))
    if own is not None or not known:
        return own
    # A price that was looked up after the start has the date of the look: it held before, too.
    return known[max(0, bisect_right(known, start_ms, key=lambda quote: quote[0]) - 1)][1]


def _spot_steps(
    billing: Billing, start_ms: int, price: int | None, quotes: _Quotes
) -> tuple[tuple[int, int], ...] | None:
    """The price of each hour of the instance that has another one than the hour before."""
    known = quotes.get((billing.instance_type, SPOT), [])
    # What the instance itself was said to cost at its start is newer than any quote from before.
    later = 0 if price is None else bisect_right(known, start_ms, key=lambda quote: quote[0])
    steps: dict[int, int] = {} if price is None else {0: price}
    for effective_ms, rate, zone in known[later:]:
        if zone is None or zone == billing.zone:
            hours = max(0, -((start_ms - effective_ms) // _HOUR_MS))
            steps[hours * _HOUR_MS] = rate
    return tuple(sorted(steps.items())) if 0 in steps else None


def _ms(t: float) -> int | None:
    return round(t * 1000) if 0 <= t <= _LATEST_T else None


def _rate(usd_per_h: float | None) -> int | None:
    return round(usd_per_h * 10**9) if usd_per_h is not None and 0 <= usd_per_h <= _HIGHEST_USD_PER_H else None


def _usd(amount: int | None) -> float | None:
    # The quotient of two whole numbers is rounded once.
    return None if amount is None else amount / UNIT


# --- all of them -----------------------------------------------------------------------------------------------------


class _Curve:
    """An amount over time, and what it grows by an hour."""

    __slots__ = ("_base", "_hourly", "_slope", "_times")

    def __init__(self, turns: dict[int, list[int]]) -> None:
        """`turns`: at a moment in ms, what is added to the amount, to its growth a ms, and to the price an hour."""
        self._times = sorted(turns)
        self._base: list[int] = []
        self._slope: list[int] = []
        self._hourly: list[int] = []
        base = slope = hourly = before = 0
        for time in self._times:
            jump, steeper, dearer = turns[time]
            base += slope * (time - before) + jump
            slope, hourly, before = slope + steeper, hourly + dearer, time
            self._base.append(base)
            self._slope.append(slope)
            self._hourly.append(hourly)

    @classmethod
    def of(cls, turns: dict[int, list[int]] | None) -> _Curve | None:
        """The curve of turns that may be unknown."""
        return None if turns is None else cls(turns)

    def at(self, t_ms: int) -> tuple[int, int]:
        """The amount until the moment and the price an hour at it."""
        place = bisect_right(self._times, t_ms) - 1
        if place < 0:
            return 0, 0
        return self._base[place] + self._slope[place] * (t_ms - self._times[place]), self._hourly[place]


def _turns(accounts: dict[_Account, int], *, on_demand: bool, owed: bool = True) -> dict[int, list[int]] | None:
    """The turns of the bill; None where the price of any instance is unknown: part of a bill is no bill.

    What is `owed` has an instance's first minute from its first second on; what is used climbs evenly from there, and
    what is left of a minute that was not used up comes with the end.
    """
    turns: dict[int, list[int]] = {}

    def turn(at_ms: int, jump: int, steeper: int, dearer: int) -> None:
        held = turns.setdefault(at_ms, [0, 0, 0])
        held[0] += jump
        held[1] += steeper
        held[2] += dearer

    for account, count in accounts.items():
        steps = account.steps if not on_demand else None if account.on_demand is None else ((0, account.on_demand),)
        if steps is None:
            return None
        begin, more = account.start_ms, account.storage + account.address
        lives = None if account.stop_ms is None else max(0, account.stop_ms - begin)
        rates = [(after, rate + more) for after, rate in steps] or [(0, more)]
        rate = rates[0][1] * count
        turn(begin, rate * _MINUTE_MS if owed else 0, 0 if owed else rate, rate)
        if lives is None or lives > _MINUTE_MS:
            if owed:
                turn(begin + _MINUTE_MS, 0, rate, 0)
            for after, next_rate in rates[1:]:
                if lives is not None and after >= lives:
                    break
                turn(begin + after, 0, next_rate * count - rate, next_rate * count - rate)
                rate = next_rate * count
            if lives is not None:
                turn(begin + lives, 0, -rate, -rate)
        elif owed:
            turn(begin + lives, 0, 0, -rate)
        else:
            turn(begin + lives, rate * (_MINUTE_MS - lives), -rate, -rate)
    return turns
