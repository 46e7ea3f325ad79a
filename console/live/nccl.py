"""NCCL settings for rented hosts: those that today's software does not choose by itself. Pure.

Of the many that guides list, only one is needed. aws-ofi-nccl and libfabric choose FI_PROVIDER, NCCL_PROTO and
FI_EFA_USE_DEVICE_RDMA (github.com/aws/aws-ofi-nccl, release notes); over plain sockets NCCL knows Amazon's network
cards and opens as many connections as they need (NCCL, ``src/transport/net_socket.cc``). The timeout of a
collective is set by the trainer (`remote.train.trainer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from console.catalog import instance_types
from console.profile.schema import Profile

SOCKETS: Final = {"NCCL_SOCKET_IFNAME": "en"}
"""Bootstrap over the instance's own interfaces (ens32, enp71s0, ...): beside them a p4d or p5 has dozens of EFA cards
without an address, and an image may have docker0 and virbr0, whose addresses are the same on every host."""


def in_a_job(profile: Profile) -> dict[str, str]:
    """The environment that a job gives its ranks: NCCL's settings, and `run.env`, which overrides them."""
    return {**environment(profile), **profile.run.env}


def environment(profile: Profile) -> Mapping[str, str]:
    """NCCL's settings for a profile's hosts."""
    fleet = profile.fleet
    kind = instance_types.find(fleet.instance_type) if fleet.instance_type else None
    talks = fleet.provider == "aws" and fleet.nodes > 1
    return SOCKETS if talks and kind is not None and kind.gpus and kind.network_cards > 1 else {}
