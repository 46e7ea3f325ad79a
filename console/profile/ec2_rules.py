"""What a profile may not ask of EC2, as far as is known without asking EC2. Pure.

An instance type that the table does not know is not a mistake: only EC2 can say what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from console.catalog import instance_types
from console.profile.schema import Fleet, RunSection
from console.profile.values import HOST

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}")
_RESERVATION = re.compile(r"cr-[0-9a-f]{8,32}")
_RESERVED = ("capacity-block", "reservation")


def mistakes(fleet: Fleet, run: RunSection) -> Iterator[str]:
    """What is wrong with a profile of provider aws: a sentence each, without the file's name."""
    yield from _regions(fleet)
    yield from _market(fleet)
    yield from _bastion(fleet)
    yield from _instance_type(fleet, run)


def _regions(fleet: Fleet) -> Iterator[str]:
    named = [("fleet.region", fleet.region), *(("fleet.failover_regions", region) for region in fleet.failover_regions)]
    for key, region in named:
        if region is not None and not _REGION.fullmatch(region):
            yield f"{key} is {region!r:.60}; accepted is an AWS region, for example us-east-1"
    if fleet.region is None:
        return
    regions = (fleet.region, *fleet.failover_regions)
    for zone in fleet.zones:
        if not zone.startswith(regions):
            yield f"fleet.zones has {zone!r:.60}, which is not a zone of {' or '.join(regions)}"


def _market(fleet: Fleet) -> Iterator[str]:
    if fleet.market in _RESERVED and fleet.reservation is None:
        yield f"fleet.market is {fleet.market} and fleet.reservation is missing; accepted is its id, cr-..."
    if fleet.reservation is None:
        return
    if fleet.market not in _RESERVED:
        accepted = " or ".join(_RESERVED)
        yield f"fleet.reservation is set, but fleet.market is {fleet.market}; accepted is {accepted}"
    if not _RESERVATION.fullmatch(fleet.reservation):
        yield f"fleet.reservation is {fleet.reservation!r:.60}; accepted is an id, cr-..."


def _bastion(fleet: Fleet) -> Iterator[str]:
    if fleet.connect == "bastion" and fleet.bastion is None:
        yield "fleet.connect is bastion and fleet.bastion is missing; accepted is [user@]host[:port]"
    if fleet.bastion is None:
        return
    if fleet.connect != "bastion":
        yield f"fleet.bastion is set, but fleet.connect is {fleet.connect}; accepted is bastion"
    if not HOST.fullmatch(fleet.bastion):
        yield f"fleet.bastion is {fleet.bastion!r:.60}; accepted is [user@]host[:port]"


def _instance_type(fleet: Fleet, run: RunSection) -> Iterator[str]:
    name = fleet.instance_type
    if name is None:
        yield "fleet.instance_type is missing; provider aws needs an EC2 type, for example p4d.24xlarge"
        return
    if not instance_types.is_name(name):
        near = instance_types.alike(name)
        hint = f" (did you mean {near[0]}?)" if near else ""
        yield f"fleet.instance_type is {name!r:.60}{hint}; accepted is an EC2 type, for example p4d.24xlarge"
    known = instance_types.find(name)
    if known is None:
        return
    if fleet.efa and not known.efa:
        yield f"fleet.efa is true, and {name} has no EFA; remove the key, or choose another type"
    interfaces = known.interfaces(fleet.efa)
    if fleet.connect == "public" and interfaces > 1:
        yield (
            f"fleet.connect is public, and {name} with EFA has {interfaces} network interfaces, to which EC2 gives no "
            "public address; accepted is elastic-ip, bastion or private, or fleet.efa = false"
        )
    if fleet.market == "capacity-block" and not known.capacity_blocks:
        yield f"fleet.market is capacity-block, and EC2 sells no capacity blocks of {name}"
    if run.accelerator != "cpu" and run.nproc_per_node > known.gpus:
        number = f"{known.gpus} GPU{'' if known.gpus == 1 else 's'}"
        yield f"run.nproc_per_node is {run.nproc_per_node}, and {name} has {number}; at most one rank a GPU"
