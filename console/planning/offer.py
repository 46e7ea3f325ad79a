"""What AWS said before anything is rented: zones, prices, quotas, a reservation; None where it did not say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from console.catalog.instance_types import InstanceType, Quota
from console.catalog.prices import Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSaid:
    """A quota in a region."""

    market: str
    """``spot`` or ``on-demand``: whose instances count against it."""
    quota: Quota
    held_vcpus: float | None = None
    used_vcpus: int | None = None
    """By instances that are there already and count against the same quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A capacity reservation, or the capacity block that it is of."""

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
    """That offer the type; empty: none does."""
    offered: tuple[str, ...] | None = None
    """Types of the table that the region offers."""
    on_demand: Quote | None = None
    spot: tuple[Quote, ...] | None = None
    """Zone by zone, the cheapest first."""
    quotas: tuple[QuotaSaid, ...] = ()

    def short(self, market: str, needed_vcpus: int | None) -> QuotaSaid | None:
        """The market's quota, where it is known to be too small for so many vCPUs more."""
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
    """It is a packed set, with a checksum for each file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What AWS said of a profile's fleet and of its data set."""

    regions: tuple[Region, ...] = ()
    """The one to rent in and those to fall back on, in their order; empty where none is known."""
    described: InstanceType | None = None
    """What EC2 says of the type, where the table does not know it."""
    reservation: Reservation | None = None
    data_set: DataSet | None = None
    wrong: tuple[str, ...] = ()
    """What AWS, or the list of its regions, said is not there: sentences."""
    silent: tuple[str, ...] = ()
    """What could not be asked or was not answered, and why: sentences."""
    t: float | None = None
    """When it was asked, epoch seconds; None: nobody was."""


def wanted_zones(named: Iterable[str], region: str, zones: Iterable[str]) -> tuple[str, ...]:
    """Those of a region's zones that a profile allows (`fleet.zones`): all, where it names none of the region."""
    here = [zone for zone in named if zone.startswith(region)]
    return tuple(zone for zone in zones if not here or zone in here)
