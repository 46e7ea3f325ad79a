"""Addresses of hosts. Imports no SSH library: reading a run directory needs none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """Where a node's host is and how it proves itself, whichever provider made it."""

    node: int
    host: str
    """An address, or a name of ~/.ssh/config."""
    port: int | None = None
    username: str | None = None
    host_key: str | None = None
    """The pinned key, one line as in an OpenSSH public key file; None: the user's known_hosts file decides."""
    client_key: str | None = None
    """Path of the private key; None: what ~/.ssh/config and the SSH agent offer."""
    known_hosts: str | None = None
    """Instead of ~/.ssh/known_hosts."""
    ssh_config: str | None = None
    """Instead of ~/.ssh/config."""
    python: str = "python3"
    gang_address: str = ""
    """Where the other nodes reach this one; empty: `host`."""
    jump: HostAddress | None = None
    """The jump host, whose one SSH connection all hosts behind it share."""

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


def address_of(values: dict[str, Any]) -> HostAddress:
    """The inverse of `dataclasses.asdict`. Raises TypeError where the values are not an address's."""
    jump = values.get("jump")
    return HostAddress(**{**values, "jump": address_of(jump) if jump is not None else None})
