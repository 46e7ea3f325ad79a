"""What a run may have at AWS, as far as this laptop knows: on disk before each call that makes something.

Theory. A console can be killed between any two calls, so what a call would make has to be findable without its answer.
Things with names (security group, placement group) are named for the run; an address is found by its tag; instances are
found by the client token that was written here before they were asked for. A call that is made again with its token
and exactly its parameters launches nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

ASKED = "asked"
"""The call may have been made; nobody knows its answer."""
ACCEPTED = "accepted"
"""EC2 launched the instances."""
REFUSED = "refused"
"""EC2 launched nothing."""
ENDED = "ended"
"""Its instances are terminated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """One RunInstances call: all its instances or none."""

    token: str
    """The client token; another zone or market has another."""
    launch: int
    """Which launch of the run it belongs to; the orders of one launch are tried one after the other."""
    region: str
    zone: str
    market: str
    instance_type: str
    nodes: tuple[int, ...]
    """The places that its instances take, sorted; the instances take them in the order of their ids."""
    params: Mapping[str, Any]
    """Of the call, but for the user-data, which holds a key."""
    user_data: str
    """Name of the file of the run directory that holds it."""
    bootstrap_key: str
    """The public host key that the instances boot with, one line as in an OpenSSH public key file."""
    asked_t: float
    """When it was written here, epoch seconds: just before the call."""
    outcome: str = ASKED
    instance_ids: tuple[str, ...] = ()
    """In the order of `nodes`, once accepted."""

    def accepted(self, instance_ids: list[str]) -> LaunchRequest:
        """The order with its instances."""
        assert len(instance_ids) == len(self.nodes), (instance_ids, self.nodes)
        return replace(self, outcome=ACCEPTED, instance_ids=tuple(sorted(instance_ids)))

    def places(self) -> dict[str, int]:
        """The node of each instance."""
        return dict(zip(self.instance_ids, self.nodes, strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResources:
    """All that a run may have at AWS."""

    account: str = ""
    """The AWS account's id: other credentials see nothing of the run."""
    regions: tuple[str, ...] = ()
    """Where something of the run may be."""
    orders: tuple[LaunchRequest, ...] = ()
    """The newest last."""
    base: int = 1
    """The launch that brought the run up; later ones replace lost instances."""
    ending: bool = False
    """What the run has is being given back: nothing is launched for it any more."""
    told: tuple[str, ...] = ()
    """Instances whose start is in the journal."""
    host_keys: Mapping[str, str] = field(default_factory=dict)
    """The host key that each instance made itself: it may not be in place yet."""
    served: tuple[str, ...] = ()
    """Instances whose hosts have been pinned to them and handed on."""
    unanswered: Mapping[str, float] = field(default_factory=dict)
    """What was asked for and may be there, as ``KIND in REGION``, with when it was asked for, epoch seconds."""
    retired: Mapping[str, float] = field(default_factory=dict)
    """Instances whose place another one took while they lived, with when it did."""
    admitted: str | None = None
    """The addresses (CIDR) that the security group lets in, where they are this laptop's own."""
    mark: str = ""
    """By which the instances' tags name this laptop as the last that came to the run; empty: it launched them."""

    def order(self, order: LaunchRequest) -> RunResources:
        """The claim with the order in it, in place of the one with its token."""
        orders = [order if one.token == order.token else one for one in self.orders]
        if order not in orders:
            orders.append(order)
        return replace(self, orders=tuple(orders))

    def in_region(self, region: str) -> RunResources:
        """The claim, with the region among those where something may be."""
        return self if region in self.regions else replace(self, regions=(*self.regions, region))

    def with_key(self, instance_id: str, host_key: str) -> RunResources:
        """The claim with an instance's own host key."""
        return replace(self, host_keys={**self.host_keys, instance_id: host_key})

    def by_token(self, token: str) -> LaunchRequest:
        """The order with this token, as it stands."""
        return next(order for order in self.orders if order.token == token)

    def by_instance(self, instance_id: str) -> LaunchRequest | None:
        """The order that the instance came with; None for one that is not in the claim."""
        return next((order for order in self.orders if instance_id in order.instance_ids), None)

    @property
    def open(self) -> list[LaunchRequest]:
        """Orders whose instances may exist, the newest last."""
        return [order for order in self.orders if order.outcome in (ASKED, ACCEPTED)]

    @property
    def launch(self) -> int:
        """The number of the newest launch; 0 where there was none."""
        return max((order.launch for order in self.orders), default=0)

    def places(self) -> dict[str, int]:
        """The node of each instance that the run ever had."""
        return {one: node for order in self.orders for one, node in order.places().items()}

    def holder(self, node: int) -> str | None:
        """The instance that holds the node's place: the newest that was handed on, or the newest; None without one."""
        had = [one for order in self.open for one, place in order.places().items() if place == node]
        return next((one for one in reversed(had) if one in self.served), had[-1] if had else None)

    def to_json(self) -> dict[str, Any]:
        """As `claim_of` reads it."""
        return asdict(self)


def claim_of(values: Mapping[str, Any]) -> RunResources:
    """What `RunResources.to_json` made; an empty claim where there is nothing."""
    known = {one.name for one in fields(RunResources)}
    kept = {name: value for name, value in values.items() if name in known}
    for name in ("regions", "told", "served"):
        kept[name] = tuple(kept.get(name, ()))
    kept["orders"] = tuple(
        LaunchRequest(**{**order, "nodes": tuple(order["nodes"]), "instance_ids": tuple(order["instance_ids"])})
        for order in kept.get("orders", ())
    )
    return RunResources(**kept)
