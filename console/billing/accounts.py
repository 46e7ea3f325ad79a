"""The arithmetic of the ledger: an instance's account, and the bill of all accounts as a function of time. Pure.

Everything here is in whole numbers, times in milliseconds and amounts in `UNIT`; the rules that it follows are told in
`console.billing.ledger`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from console.state.events import PriceQuoted
from console.state.run import Billing

MINIMUM_BILLED_S: Final = 60.0
"""The least that EC2 bills of an instance."""
HOUR_S: Final = 3600.0
SPOT: Final = "spot"
ON_DEMAND: Final = "on-demand"
UNIT: Final = 10**9 * 3_600_000
"""A dollar, in the whole numbers that amounts are counted in: billionths of a dollar an hour, times milliseconds."""
LATEST_T: Final = 1e11
_HIGHEST_USD_PER_H: Final = 1e6
"""Times and prices beyond these are damaged records, and count as unknown."""
_MINUTE_MS: Final = round(MINIMUM_BILLED_S * 1000)
_HOUR_MS: Final = round(HOUR_S * 1000)


@dataclass(frozen=True, slots=True)
class Account:
    """One instance: its prices in billionths of a dollar an hour, its times in milliseconds."""

    start_ms: int
    stop_ms: int | None
    steps: tuple[tuple[int, int], ...] | None
    """Each time after the start at which the billed price changes, with the price from there on. Empty: nothing is
    charged; None: the price is unknown."""
    on_demand: int | None
    """The on-demand price; None where it is unknown."""
    storage: int
    address: int

    def charged_ms(self, t_ms: int) -> int:
        """How much of its time is charged until `t_ms`: a minute at least once it has started."""
        if t_ms < self.start_ms:
            return 0
        end = t_ms if self.stop_ms is None else min(t_ms, self.stop_ms)
        return max(end - self.start_ms, _MINUTE_MS)

    def compute(self, t_ms: int) -> int | None:
        """The amount for the instance itself until `t_ms`, without volumes and addresses; None where unknown."""
        if self.steps is None:
            return None
        charged, owed = self.charged_ms(t_ms), 0
        for index, (begin, rate) in enumerate(self.steps):
            end = self.steps[index + 1][0] if index + 1 < len(self.steps) else charged
            owed += rate * max(0, min(end, charged) - begin)
        return owed


Quotes = dict[tuple[str | None, str], list[tuple[int, int, str | None]]]
"""For each instance type and market the quotes in order of time: since when (ms), the price, the zone (None: all). Of
two that hold from the same moment the newer is last."""


def quotes_by_time(quotes: Iterable[PriceQuoted]) -> Quotes:
    """The quotes as `account_of` looks them up; damaged ones are left out."""
    index: Quotes = {}
    for quote in sorted(quotes, key=lambda quote: quote.effective_t):
        effective_ms, rate = _ms(quote.effective_t), _rate(quote.usd_per_h)
        if effective_ms is not None and rate is not None:
            index.setdefault((quote.instance_type, quote.market), []).append((effective_ms, rate, quote.zone))
    return index


def account_of(billing: Billing, quotes: Quotes) -> Account:
    """The account of an instance, its prices taken from what is said of it and else from the quotes."""
    start_ms, stop_ms = _ms(billing.started_t), None if billing.stopped_t is None else _ms(billing.stopped_t)
    extras = _rate(billing.storage_usd_per_h) or 0, _rate(billing.address_usd_per_h) or 0
    if start_ms is None:
        return Account(0, None, None, None, *extras)
    on_demand = _on_demand(billing, start_ms, quotes)
    price = _rate(billing.usd_per_h)
    steps: tuple[tuple[int, int], ...] | None = None if price is None else ((0, price),)
    if billing.market == SPOT:
        lived = None if stop_ms is None else stop_ms - start_ms
        free = billing.taken_back and lived is not None and lived < _HOUR_MS
        steps = () if free else _spot_steps(billing, start_ms, price, quotes)
    elif billing.market == ON_DEMAND and price is None and on_demand is not None:
        steps = ((0, on_demand),)
    return Account(start_ms, stop_ms, steps, on_demand, *extras)


def _on_demand(billing: Billing, start_ms: int, quotes: Quotes) -> int | None:
    own = _rate(billing.usd_per_h_on_demand)
    known = quotes.get((billing.instance_type, ON_DEMAND))
    if own is not None or not known:
        return own
    # A price that was looked up after the start is dated at the look-up: it held before, too.
    return known[max(0, bisect_right(known, start_ms, key=lambda quote: quote[0]) - 1)][1]


def _spot_steps(
    billing: Billing, start_ms: int, price: int | None, quotes: Quotes
) -> tuple[tuple[int, int], ...] | None:
    """The price at the start, and at each hour of the instance that has another price than the hour before."""
    known = quotes.get((billing.instance_type, SPOT), [])
    # The price at the start, where the instance states it, is newer than any quote from before.
    later = 0 if price is None else bisect_right(known, start_ms, key=lambda quote: quote[0])
    steps: dict[int, int] = {} if price is None else {0: price}
    for effective_ms, rate, zone in known[later:]:
        if zone is None or zone == billing.zone:
            hours = max(0, -((start_ms - effective_ms) // _HOUR_MS))
            steps[hours * _HOUR_MS] = rate
    return tuple(sorted(steps.items())) if 0 in steps else None


def _ms(t: float) -> int | None:
    return round(t * 1000) if 0 <= t <= LATEST_T else None


def _rate(usd_per_h: float | None) -> int | None:
    return round(usd_per_h * 10**9) if usd_per_h is not None and 0 <= usd_per_h <= _HIGHEST_USD_PER_H else None


def usd(amount: int | None) -> float | None:
    """The amount in dollars."""
    # The quotient of two whole numbers is rounded once.
    return None if amount is None else amount / UNIT


# --- the bill of all accounts ----------------------------------------------------------------------------------------


class Curve:
    """An amount as a function of time, piecewise linear with jumps, and the price an hour at each moment."""

    __slots__ = ("_base", "_hourly", "_slope", "_times")

    def __init__(self, points: dict[int, list[int]]) -> None:
        """`points`: at a moment in ms, what is added to the amount, to its growth a ms, and to the price an hour."""
        self._times = sorted(points)
        self._base: list[int] = []
        self._slope: list[int] = []
        self._hourly: list[int] = []
        base = slope = hourly = before = 0
        for time in self._times:
            jump, steeper, dearer = points[time]
            base += slope * (time - before) + jump
            slope, hourly, before = slope + steeper, hourly + dearer, time
            self._base.append(base)
            self._slope.append(slope)
            self._hourly.append(hourly)

    @classmethod
    def of(cls, points: dict[int, list[int]] | None) -> Curve | None:
        """The curve through `breakpoints`; None where these are unknown."""
        return None if points is None else cls(points)

    def at(self, t_ms: int) -> tuple[int, int]:
        """The amount until `t_ms`, and the price an hour at that moment."""
        index = bisect_right(self._times, t_ms) - 1
        if index < 0:
            return 0, 0
        return self._base[index] + self._slope[index] * (t_ms - self._times[index]), self._hourly[index]


def breakpoints(accounts: dict[Account, int], *, on_demand: bool, owed: bool = True) -> dict[int, list[int]] | None:
    """The points of the bill's `Curve`; None where the price of any instance is unknown, since a part is not the bill.

    Args:
        accounts: with how many instances have each.
        on_demand: at the on-demand price instead of the billed one.
        owed: the first minute of an instance is owed as a whole from its first second on. Else the amount grows evenly
            with the time used, and the rest of a minute that was not used up is added at the instance's end.
    """
    points: dict[int, list[int]] = {}

    def turn(at_ms: int, jump: int, steeper: int, dearer: int) -> None:
        held = points.setdefault(at_ms, [0, 0, 0])
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
    return points
