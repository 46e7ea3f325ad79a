"""The ledger: from what EC2 says of instances and prices to dollars. Pure.

Theory. The state holds, for each instance, when it started and stopped as EC2 states it (`console.state.run.Billing`),
and what AWS said of prices (`console.state.events.PriceQuoted`). From these the bill until any moment is a function of
the moment alone: it jumps by a minute's price where an instance starts, stays for that minute, and then grows evenly
until the instance stops or its price changes. This function is computed once for a set of instances and quotes (`Bill`)
and then costs a bisection per question: the screen asks twice a second for a thousand instances, and an export for
every epoch. Inside, amounts are whole numbers (`console.billing.accounts.UNIT`), so that a bill is exactly the sum of
its lines and half a cent is half a cent.

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
- A capacity block is paid when it is bought, and a capacity reservation whether it is used or not: a run cannot know
  either price, so the billed price is unknown unless the profile quotes one.
- The on-demand equivalent is the same time at the on-demand price, volumes and addresses included. An on-demand price
  changes once in years and holds for an instance's life here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from console.billing.accounts import LATEST_T, UNIT, Account, Curve, account_of, breakpoints, quotes_by_time, usd
from console.state.events import PriceQuoted
from console.state.run import Billing, Run

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
    """Compute, storage and address together; None where the price of the instance is unknown."""
    on_demand_usd: float | None
    reason: str
    """Why it ended; empty while it runs."""
    taken_back: bool


@dataclass(frozen=True, slots=True)
class Spent:
    """Dollars for a part of a run; None where the price of any instance is unknown."""

    billed_usd: float | None
    on_demand_usd: float | None


class Bill:
    """The bill of a set of instances at any moment."""

    def __init__(self, instances: Iterable[tuple[int, Billing]], quotes: tuple[PriceQuoted, ...]) -> None:
        """`instances`: each instance's node and its times and prices."""
        self._instances = tuple(instances)
        by_time = quotes_by_time(quotes)
        # Most instances of a fleet are billed alike: their prices are looked up once.
        known: dict[tuple[object, ...], Account] = {}
        self._accounts: list[Account] = []
        alike: dict[Account, int] = {}
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
                account = known[key] = account_of(billing, by_time)
            self._accounts.append(account)
            alike[account] = alike.get(account, 0) + 1
        self._alike = alike
        self._billed = Curve.of(breakpoints(alike, on_demand=False))
        self._on_demand = Curve.of(breakpoints(alike, on_demand=True))
        self._used: tuple[Curve | None, Curve | None] | None = None

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
        """What the time between two moments costs, by the seconds of it in which instances ran.

        Here the first minute of an instance is spread evenly over that minute; the rest of one that was not used up is
        in the instance's last second. So the parts of a run add up to its bill once the run is over.
        """
        if self._used is None:
            self._used = (
                Curve.of(breakpoints(self._alike, on_demand=False, owed=False)),
                Curve.of(breakpoints(self._alike, on_demand=True, owed=False)),
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


def _asked(curve: Curve | None, t: float) -> tuple[float | None, float | None]:
    if curve is None:
        return None, None
    amount, hourly = curve.at(_clipped_ms(t))
    return amount / UNIT, hourly / 10**9


def _clipped_ms(t: float) -> int:
    return round(min(max(t, 0.0), LATEST_T) * 1000)


def _line(node: int, billing: Billing, account: Account, t_ms: int) -> Line:
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
        compute_usd=usd(compute),
        storage_usd=None if billing.storage_usd_per_h is None else usd(storage),
        address_usd=None if billing.address_usd_per_h is None else usd(address),
        billed_usd=None if compute is None else usd(compute + more),
        on_demand_usd=None if account.on_demand is None else usd(account.on_demand * charged + more),
        reason=billing.reason,
        taken_back=billing.taken_back,
    )


_kept: list[tuple[tuple[tuple[Billing, ...], ...], tuple[PriceQuoted, ...], Bill]] = []
_KEPT: Final = 4
"""A screen, a policy and a replay that moves back and forth ask about few sets of instances at a time."""


def bill(run: Run) -> Bill:
    """The run's bill, computed anew only when an instance or a quote is new or has changed."""
    billings, quotes = tuple([node.billing for node in run.nodes]), run.quotes
    for index, (held_billings, held_quotes, held) in enumerate(_kept):
        # Billings compare by identity, so this is cheap.
        if held_quotes is quotes and held_billings == billings:
            if index:
                _kept.insert(0, _kept.pop(index))
            return held
    made = Bill(((node, billing) for node, of_node in enumerate(billings) for billing in of_node), quotes)
    _kept.insert(0, (billings, quotes, made))
    del _kept[_KEPT:]
    return made
