"""What a run may have at AWS, as far as this laptop knows: on disk before each call that creates something.

Theory. A console can be killed between any two calls, so what a call would create has to be findable without its
answer. Things with names (security group, placement group) are named for the run; an address is found by its tag;
instances are found by the client token, which is written here before the call. A call that is repeated with its token
and exactly its parameters launches nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

ASKED = "asked"
"""The call may have been made; its answer is not known."""
ACCEPTED = "accepted"
"""EC2 launched the instances."""
REFUSED = "refused"
"""EC2 launched nothing."""
ENDED = "ended"
"""Its instances are terminated."""

_STORED_REQUESTS: Final = "orders"
"""What `RunResources.requests` is called in fleet.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """One RunInstances call: all its instances or none."""

    token: str
    """The client token; another zone or market has another."""
    launch: int
    """The number of the launch that it belongs to; the requests of one launch are tried one after the other."""
    region: str
    zone: str
    market: str
    instance_type: str
    nodes: tuple[int, ...]
    """The nodes that its instances become, sorted; the instances take them in the order of their ids."""
    params: Mapping[str, Any]
    """Of the call, without the user data, which holds a key."""
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
        """The request with its instances."""
        assert len(instance_ids) == len(self.nodes), (instance_ids, self.nodes)
        return replace(self, outcome=ACCEPTED, instance_ids=tuple(sorted(instance_ids)))

    def nodes_by_instance(self) -> dict[str, int]:
        """The node of each instance."""
        return dict(zip(self.instance_ids, self.nodes, strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResources:
    """All that a run may have at AWS."""

    account: str = ""
    """The AWS account's id: credentials of another account see nothing of the run."""
    regions: tuple[str, ...] = ()
    """Where something of the run may be."""
    requests: tuple[LaunchRequest, ...] = ()
    """The newest last."""
    base: int = 1
    """The number of the launch that started the run; later ones replace lost instances."""
    ending: bool = False
    """The run's resources are being released: nothing is launched any more."""
    told: tuple[str, ...] = ()
    """Instances whose start is in the journal."""
    host_keys: Mapping[str, str] = field(default_factory=dict)
    """The host key that each instance made itself: it may not be in use yet."""
    served: tuple[str, ...] = ()
    """Instances whose hosts have been pinned and handed to the run."""
    unanswered: Mapping[str, float] = field(default_factory=dict)
    """Calls that may have created something, as ``KIND in REGION``, with the time of the call, epoch seconds."""
    retired: Mapping[str, float] = field(default_factory=dict)
    """Instances that were replaced while they lived, with the time of the replacement."""
    admitted: str | None = None
    """The addresses (CIDR) that the security group lets in, where they are this laptop's own."""
    mark: str = ""
    """By which the instances' tags name this laptop as the last that attached to the run; empty: it launched them."""

    def with_request(self, request: LaunchRequest) -> RunResources:
        """The resources with the request, in place of the one with its token."""
        requests = [request if known.token == request.token else known for known in self.requests]
        if request not in requests:
            requests.append(request)
        return replace(self, requests=tuple(requests))

    def in_region(self, region: str) -> RunResources:
        """The resources, with the region among those where something may be."""
        return self if region in self.regions else replace(self, regions=(*self.regions, region))

    def with_key(self, instance_id: str, host_key: str) -> RunResources:
        """The resources with an instance's own host key."""
        return replace(self, host_keys={**self.host_keys, instance_id: host_key})

    def by_token(self, token: str) -> LaunchRequest:
        """The request with this token, in its present state."""
        return next(request for request in self.requests if request.token == token)

    def by_instance(self, instance_id: str) -> LaunchRequest | None:
        """The request that launched the instance; None where there is none here."""
        return next((request for request in self.requests if instance_id in request.instance_ids), None)

    @property
    def open(self) -> list[LaunchRequest]:
        """Requests whose instances may exist, the newest last."""
        return [request for request in self.requests if request.outcome in (ASKED, ACCEPTED)]

    @property
    def launch(self) -> int:
        """The number of the newest launch; 0 where there was none."""
        return max((request.launch for request in self.requests), default=0)

    def nodes_by_instance(self) -> dict[str, int]:
        """The node of each instance that the run ever had."""
        return {
            instance_id: node for request in self.requests for instance_id, node in request.nodes_by_instance().items()
        }

    def holder(self, node: int) -> str | None:
        """The instance that is the node now: the newest that was handed to the run, or else the newest."""
        had = [
            instance_id
            for request in self.open
            for instance_id, its_node in request.nodes_by_instance().items()
            if its_node == node
        ]
        served = (instance_id for instance_id in reversed(had) if instance_id in self.served)
        return next(served, had[-1] if had else None)

    def to_json(self) -> dict[str, Any]:
        """As `resources_of` reads it."""
        values = asdict(self)
        return {_STORED_REQUESTS if name == "requests" else name: value for name, value in values.items()}


def resources_of(values: Mapping[str, Any]) -> RunResources:
    """The inverse of `RunResources.to_json`; no resources where there is nothing."""
    known = {known.name for known in fields(RunResources)}
    kept = {name: value for name, value in values.items() if name in known}
    for name in ("regions", "told", "served"):
        kept[name] = tuple(kept.get(name, ()))
    kept["requests"] = tuple(
        LaunchRequest(**{**request, "nodes": tuple(request["nodes"]), "instance_ids": tuple(request["instance_ids"])})
        for request in values.get(_STORED_REQUESTS, ())
    )
    return RunResources(**kept)
