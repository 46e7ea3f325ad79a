"""What AWS said before anything is rented: zones, prices, quotas, a reservation. None: AWS did not say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from console.catalog.instance_types import InstanceType, Quota
from console.catalog.prices import Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSaid:
    """A quota in a region, as AWS states it."""

    market: str
    """``spot`` or ``on-demand``: the market whose instances count against it."""
    quota: Quota
    held_vcpus: float | None = None
    used_vcpus: int | None = None
    """vCPUs of the instances that count against it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A capacity reservation, or the reservation of a capacity block."""

    id: str
    instance_type: str
    zone: str
    state: str
    """As EC2 says: ``active``, ``scheduled``, ``expired``, ..."""
    available: int
    """Instances that may still be launched into it."""
    start_t: float | None = None
    end_t: float | None = None
    """When EC2 ends the instances in it, epoch seconds; None where it has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What one region offers of an instance type."""

    name: str
    zones: tuple[str, ...] | None = None
    """The zones that offer the type; empty: none does."""
    offered: tuple[str, ...] | None = None
    """The types of the table that the region offers."""
    on_demand: Quote | None = None
    spot: tuple[Quote, ...] | None = None
    """The spot price of each zone, the cheapest first."""
    quotas: tuple[QuotaSaid, ...] = ()

    def short(self, market: str, needed_vcpus: int | None) -> QuotaSaid | None:
        """The market's quota if it is known to be too small for so many more vCPUs, else None."""
        for said in self.quotas:
            if said.market == market and said.held_vcpus is not None and needed_vcpus is not None:
                return said if needed_vcpus + (said.used_vcpus or 0) > said.held_vcpus else None
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """What is copied to every host from S3."""

    objects: int
    total_bytes: int
    packed: bool
    """True for a packed data set, which has a checksum for each file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What AWS said about a profile's fleet and about its data set."""

    regions: tuple[Region, ...] = ()
    """The region to rent in and those to fall back on, in this order; empty where none is known."""
    described: InstanceType | None = None
    """What EC2 says of the type, where the table does not know it."""
    reservation: Reservation | None = None
    data_set: DataSet | None = None
    wrong: tuple[str, ...] = ()
    """What does not exist, as AWS or the list of its regions says: sentences."""
    silent: tuple[str, ...] = ()
    """What could not be asked, or was not answered, and why: sentences."""
    t: float | None = None
    """When AWS was asked, epoch seconds; None where it was not."""


def wanted_zones(named: Iterable[str], region: str, zones: Iterable[str]) -> tuple[str, ...]:
    """The zones of a region that a profile allows (`fleet.zones`): all of them if it names none of the region."""
    here = [zone for zone in named if zone.startswith(region)]
    return tuple(zone for zone in zones if not here or zone in here)
