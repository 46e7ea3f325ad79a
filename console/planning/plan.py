"""What a profile will rent, how long it will take and what that costs: profile × offer × prediction → plan. Pure.

These are the values; `console.planning.make` makes them. A plan with problems cannot be launched as it is, and tells
everything else all the same. What is not known is None. The price of an instance is AWS's own where AWS was asked and
answered, else the one that the profile quotes, else the table's; a `Quote` says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from console.catalog.instance_types import InstanceType, Nearest
from console.catalog.prices import Quote
from console.planning.offer import Offer
from console.planning.prediction import Prediction
from console.profile.schema import Profile

SPOT_MARKETS: Final = ("spot", "spot-then-on-demand")


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A zone in which the fleet could run, in a market."""

    market: str
    region: str
    name: str
    quote: Quote | None
    """Price of one instance there in that market; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What the fleet costs an hour, in dollars."""

    market: str
    nodes: int
    billed: Quote | None
    """Price of one instance as it will be billed; None where that is not known."""
    on_demand: Quote | None
    """Price of one instance on demand."""
    extras_usd_per_h: float
    """Price of all volumes and addresses together."""

    @property
    def billed_usd_per_h(self) -> float | None:
        """All instances with their volumes and addresses, as they will be billed."""
        return None if self.billed is None else self.nodes * self.billed.usd_per_h + self.extras_usd_per_h

    @property
    def on_demand_usd_per_h(self) -> float | None:
        """The same on demand."""
        return None if self.on_demand is None else self.nodes * self.on_demand.usd_per_h + self.extras_usd_per_h

    @property
    def most_usd_per_h(self) -> float | None:
        """What it costs at most: as billed or, where a spot price is not known, on demand, which no spot price passes.

        (EC2 ends a spot instance whose price would pass the on-demand price, where the request names no other.)
        """
        if self.billed is None and self.market in SPOT_MARKETS:
            return self.on_demand_usd_per_h
        return self.billed_usd_per_h


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the whole fleet costs for a time."""

    seconds: float
    billed_usd: float | None
    on_demand_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends the fleet at the latest; times are seconds after its start."""

    budget_usd: float | None
    warn_after_s: float | None
    stop_after_s: float | None
    """When the run saves a checkpoint and stops for its budget."""
    closing_s: float
    """How long before the budget's end that is: for a checkpoint, its fetch and the end of the instances."""
    lease_s: float
    """How long a host keeps running after it last heard from a laptop that is lost."""
    lost_usd: float | None
    """The most that this costs: leases never reach beyond the budget's end."""
    left_s: float
    """When the hosts of a run that was detached on purpose end at the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a profile."""

    profile: Profile
    offer: Offer
    type: InstanceType | None
    """None where nothing is rented, or nothing is known of the type."""
    interfaces: int | None
    """Network interfaces of one instance."""
    addresses: int
    """Public IPv4 addresses of the fleet."""
    zones: tuple[Zone, ...]
    """The zones that nothing known rules out, in the order in which they are tried: market by market, region by region
    as the profile says, in each region the cheapest zone first."""
    price: Price
    instead: tuple[Nearest, ...]
    """The nearest types, where the type cannot be rented; empty where it can."""
    needed_vcpus: int | None
    prediction: Prediction | None
    stage_s: float | None
    """Seconds of the data set's copy to every host, before the trainer starts; None where its size is not known."""
    whole: Cost | None
    """From the instances' start to their end, with all epochs."""
    to_target: Cost | None
    """The same for a run that ends at its target."""
    counted: Cost | None
    """To the target as DAWNBench counts it: the trainer's time at the instances' price, nothing else."""
    record: Cost | None
    """The profile's record as DAWNBench counts it; billed only where the record ran on such a fleet."""
    limits: Limits
    problems: tuple[str, ...] = ()
    """Why it cannot be launched as it is: sentences."""
    warnings: tuple[str, ...] = ()
    """What else one should know before launching: sentences."""

    @property
    def rented(self) -> bool:
        """True if the hosts are EC2 instances."""
        return self.profile.fleet.provider == "aws"

    @property
    def simulated(self) -> bool:
        """True if the price is simulated and nothing is paid."""
        return "simulated" in self.profile.fleet.price_note
