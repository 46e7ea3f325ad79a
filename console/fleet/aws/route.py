"""How a laptop reaches an instance's host: from the profile, or on another laptop from the instance's tag."""

from __future__ import annotations

import re
from dataclasses import dataclass

from console.fleet.aws.instances import Instance
from console.profile.schema import CONNECTS, Fleet
from console.ssh.address import HostAddress

_BASTION = re.compile(r"(?:(?P<user>[^@]+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:]+))(?::(?P<port>\d+))?")
OWN = "own"
"""Who may reach the SSH port: the laptops' own addresses, each admitted when its console attaches to the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How the instances of a run are reached."""

    connect: str
    """`console.profile.schema.Fleet.connect`."""
    user: str
    """The image's login user."""
    port: int
    admits: str
    """`OWN`, or the addresses (CIDR) of `fleet.ssh_from`; empty if only the VPC's own addresses are admitted."""
    bastion: str | None = None
    known_hosts: str | None = None
    """The file with the bastion's host key, on this laptop."""
    ssh_config: str | None = None

    @classmethod
    def of(cls, fleet: Fleet) -> Route:
        """The route that the profile describes."""
        return cls(
            connect=fleet.connect,
            user=fleet.user,
            port=fleet.ssh_port,
            admits=fleet.ssh_from or ("" if fleet.connect in ("private", "bastion") else OWN),
            bastion=fleet.bastion,
            known_hosts=fleet.known_hosts,
            ssh_config=fleet.ssh_config,
        )

    def text(self) -> str:
        """The tag's value, for other laptops; files of this laptop are left out."""
        words = {"connect": self.connect, "user": self.user, "port": self.port, "from": self.admits}
        words |= {"bastion": self.bastion} if self.bastion else {}
        return " ".join(f"{name}={value}" for name, value in words.items())

    def host_of(self, instance: Instance) -> str | None:
        """The address by which the laptop reaches the instance; None while it has none."""
        return instance.public_ip if self.connect == "public" else instance.private_ip

    def bastion_address(self) -> HostAddress:
        """The user's own jump host, which ~/.ssh/config and known_hosts describe."""
        match = _BASTION.fullmatch(self.bastion or "")
        assert match is not None, self.bastion
        return HostAddress(
            node=0,
            host=match["v6"] or match["name"],
            port=int(match["port"]) if match["port"] else None,
            username=match["user"],
            known_hosts=self.known_hosts,
            ssh_config=self.ssh_config,
        )


def route_of(text: str) -> Route:
    """The inverse of `Route.text`.

    Raises:
        ValueError: it is not such a text.
    """
    words = dict(word.partition("=")[::2] for word in text.split())
    try:
        route = Route(
            connect=words["connect"],
            user=words["user"],
            port=int(words["port"]),
            admits=words["from"],
            bastion=words.get("bastion"),
        )
    except (KeyError, ValueError):
        raise ValueError(f"{text!r:.100} does not say how a host is reached") from None
    if route.connect not in CONNECTS or (route.connect == "bastion" and not _BASTION.fullmatch(route.bastion or "")):
        raise ValueError(f"{text!r:.100} does not say how a host is reached")
    return route
