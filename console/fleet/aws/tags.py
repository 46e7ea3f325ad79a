"""What an instance's tags tell a laptop that did not launch it: its host's key, the way there, what its run is.

The console that pinned the host writes them. Whoever may write tags in the account is trusted with this, and nobody
else: a host without them is not connected to from elsewhere, and a run's first record is taken only as the tag has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.fleet.aws.instances import Instance
from console.fleet.aws.route import Route, route_of

HOST_KEY_TAG = "fastconsole:host-key"
LOGIN_TAG = "fastconsole:login"
MANIFEST_TAG = "fastconsole:charter"
"""SHA-256 of the run's first record: see `console.journal.manifest`."""
MARK_TAG = "fastconsole:console"
"""A mark of the laptop that came to the run last; none while that is the one that launched it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIdentity:
    """An instance's papers."""

    host_key: str
    """The public key that its host made for the run, one line as in an OpenSSH public key file."""
    route: Route
    manifest_sha256: str
    """SHA-256 of the run's first record; empty where the run has none."""

    def tags(self) -> dict[str, str]:
        """The tags to write; a key of ed25519 takes 80 of the 256 characters that a value may have."""
        return {HOST_KEY_TAG: self.host_key, LOGIN_TAG: self.route.text(), MANIFEST_TAG: self.manifest_sha256}


def identity_of(instance: Instance) -> HostIdentity | None:
    """The papers of an instance; None where they are not complete."""
    tags = instance.tags
    try:
        return HostIdentity(
            host_key=tags[HOST_KEY_TAG], route=route_of(tags[LOGIN_TAG]), manifest_sha256=tags[MANIFEST_TAG]
        )
    except (KeyError, ValueError):
        return None
