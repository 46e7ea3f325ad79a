"""The ledger: from what EC2 says of instances and prices to dollars.

Theory. The state holds, for each instance, when it started and stopped as EC2 states it (`console.state.Billing`), and
what AWS said of prices (`console.events.PriceQuoted`). From these the bill until any moment is a function of the moment
alone: it jumps by a minute's price where an instance starts, stays for that minute, and climbs evenly until the
instance stops or its price changes. Such a function is worked out once for a set of instances and quotes (`Bill`) and
then costs a bisection a question, because the screen asks twice a second for a thousand instances, and an export for
every epoch. Inside, amounts are whole numbers (`UNIT`), so that a bill is the sum of its lines exactly and a half cent
is half a cent.

The rules, and where they are from:

- Linux instances are billed by the second, a minute at least, from each start, and only while they run
  (docs.aws.amazon.com/AWSEC2/latest/UserGuide, "On-Demand Instances"; volumes likewise since October 2017:
  aws.amazon.com/blogs/aws/new-per-second-billing-for-ec2-instances-and-ebs-volumes). Public IPv4 addresses are treated
  like volumes.
- "You pay the Spot price that's in effect at the beginning of each instance-hour for your running instance. If Spot
  price changes after you launch the instance, the new price is charged against the instance usage for the subsequent
  hour." (aws.amazon.com/ec2/faqs, "What price will I pay for a Spot Instance?") Hours count from the instance's start.
- A spot instance that EC2 itself takes back within its first hour is not charged; after it, for the seconds used. One
  that is ended by its user is charged for the seconds used. Volumes and addresses are charged either way
  (docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-for-interrupted-spot-instances.html; Linux other than SUSE).
- A capacity block is paid when it is bought and a capacity reservation whether it is used or not: neither is a run's to
  know, so their billed price is unknown unless the profile quotes one.
- The on-demand equivalent is the same time at the on-demand price, volumes and addresses included. An on-demand price
  changes once in years and holds for an instance's life here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from console.events import PriceQuoted
from console.state import Billing, Run

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


def cents(usd: float) -> int:
    """Dollars in whole cents, half a cent up."""
    # The shortest decimal that means this float: 1.005 is a half cent, though its binary value lies just below.
    return int((Decimal(repr(usd)) * 100).to_integral_value(ROUND_HALF_UP))


# --- an instance -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One instance's time on the bill."""

    node: int
    instance_id: str
    instance_type: str | None
    market: str
    zone: str | None
    from_t: float
    to_t: float | None
    """None while it runs."""
    billed_s: float
    """Seconds that are charged; 0 where EC2 took a spot instance back within its first hour."""
    compute_usd: float | None
    storage_usd: float | None
    """None where the price of its volumes is unknown; such volumes are in no total."""
    address_usd: float | None
    billed_usd: float | None
    """All of it; None where the price of the instance is unknown."""
    on_demand_usd: float | None
    reason: str
    """Why it ended; empty while it runs."""
    taken_back: bool


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


@dataclass(frozen=True, slots=True)
class Spent:
    """Dollars of a part of the run; None where the price of any instance is unknown."""

    billed_usd: float | None
    on_demand_usd: float | None


class Bill:
    """The bill of a set of instances until any moment."""

    def __init__(self, instances: Iterable[tuple[int, Billing]], quotes: tuple[PriceQuoted, ...]) -> None:
        """`instances`: each with its node."""
        self._instances = tuple(instances)
        by_time = _by_time(quotes)
        # Most instances of a fleet are billed alike: their prices are looked for once.
        known: dict[tuple[object, ...], _Account] = {}
        self._accounts: list[_Account] = []
        alike: dict[_Account, int] = {}
        for _, billing in self._instances:
            key = (
                billing.started_t,
                billing.stopped_t,
                billing.usd_per_h,
                billing.usd_per_h_on_demand,
                billing.market,
                billing.instance_type,
                billing.zone,
                billing.storage_usd_per_h,
                billing.address_usd_per_h,
                billing.taken_back,
            )
            account = known.get(key)
            if account is None:
                account = known[key] = _account(billing, by_time)
            self._accounts.append(account)
            alike[account] = alike.get(account, 0) + 1
        self._alike = alike
        self._billed = _Curve.of(_turns(alike, on_demand=False))
        self._on_demand = _Curve.of(_turns(alike, on_demand=True))
        self._used: tuple[_Curve | None, _Curve | None] | None = None

    @property
    def billings(self) -> tuple[Billing, ...]:
        """The instances in the order of `lines`."""
        return tuple(billing for _, billing in self._instances)

    def billed(self, t: float) -> tuple[float | None, float | None]:
        """Dollars until `t`, epoch seconds, and dollars an hour at that moment."""
        return _asked(self._billed, t)

    def on_demand(self, t: float) -> tuple[float | None, float | None]:
        """The same, had all instances been on demand."""
        return _asked(self._on_demand, t)

    def between(self, from_t: float, to_t: float) -> Spent:
        """What the time between two moments costs: by the seconds of it in which instances ran.

        The first minute, which is owed at once, is spread over itself here; of one that was not used up, the rest is in
        the instance's last second. So the parts of a run add up to its bill when it is over.
        """
        if self._used is None:
            self._used = (
                _Curve.of(_turns(self._alike, on_demand=False, owed=False)),
                _Curve.of(_turns(self._alike, on_demand=True, owed=False)),
            )
        billed, on_demand = (
            None if curve is None else (curve.at(_clipped_ms(to_t))[0] - curve.at(_clipped_ms(from_t))[0]) / UNIT
            for curve in self._used
        )
        return Spent(billed, on_demand)

    def lines(self, t: float) -> tuple[Line, ...]:
        """The bill instance by instance."""
        t_ms = _clipped_ms(t)
        return tuple(
            _line(node, billing, account, t_ms)
            for (node, billing), account in zip(self._instances, self._accounts, strict=True)
        )


def _asked(curve: _Curve | None, t: float) -> tuple[float | None, float | None]:
    if curve is None:
        return None, None
    amount, hourly = curve.at(_clipped_ms(t))
    return amount / UNIT, hourly / 10**9


def _clipped_ms(t: float) -> int:
    return round(min(max(t, 0.0), _LATEST_T) * 1000)


def _line(node: int, billing: Billing, account: _Account, t_ms: int) -> Line:
    charged, compute = account.charged_ms(t_ms), account.compute(t_ms)
    storage, address = account.storage * charged, account.address * charged
    more = storage + address
    return Line(
        node=node,
        instance_id=billing.instance_id,
        instance_type=billing.instance_type,
        market=billing.market,
        zone=billing.zone,
        from_t=billing.started_t,
        to_t=billing.stopped_t,
        billed_s=0.0 if account.steps == () else charged / 1000,
        compute_usd=_usd(compute),
        storage_usd=None if billing.storage_usd_per_h is None else _usd(storage),
        address_usd=None if billing.address_usd_per_h is None else _usd(address),
        billed_usd=None if compute is None else _usd(compute + more),
        on_demand_usd=None if account.on_demand is None else _usd(account.on_demand * charged + more),
        reason=billing.reason,
        taken_back=billing.taken_back,
    )


_kept: list[tuple[tuple[tuple[Billing, ...], ...], tuple[PriceQuoted, ...], Bill]] = []
_KEPT: Final = 4
"""A screen, a policy and a replay that goes back and forth ask about few sets of instances at a time."""


def bill(run: Run) -> Bill:
    """The run's bill, worked out anew only when an instance or a quote has come or changed."""
    billings, quotes = tuple([node.billing for node in run.nodes]), run.quotes
    for place, (held_billings, held_quotes, held) in enumerate(_kept):
        # Billings compare by identity: this is a walk over pointers.
        if held_quotes is quotes and held_billings == billings:
            if place:
                _kept.insert(0, _kept.pop(place))
            return held
    made = Bill(((node, one) for node, some in enumerate(billings) for one in some), quotes)
    _kept.insert(0, (billings, quotes, made))
    del _kept[_KEPT:]
    return made
