"""The tags that tell another laptop an instance's host key, how to reach it, and which run it belongs to.

The console that pinned the host writes them. Only those who may write tags in the account are trusted with this:
another laptop does not connect to a host without them, and accepts a run's first record only with the tag's hash.
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
"""A mark of the laptop that attached to the run last; missing while that is the one that launched it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIdentity:
    """How an instance's host proves itself and is reached, and which run it belongs to."""

    host_key: str
    """The public host key that its host generated for the run, one line as in an OpenSSH public key file."""
    route: Route
    manifest_sha256: str
    """SHA-256 of the run's first record, with which the manifest begins; empty if the run has none."""

    def tags(self) -> dict[str, str]:
        """The tags to write; a key of ed25519 takes 80 of the 256 characters that a value may have."""
        return {HOST_KEY_TAG: self.host_key, LOGIN_TAG: self.route.text(), MANIFEST_TAG: self.manifest_sha256}


def identity_of(instance: Instance) -> HostIdentity | None:
    """The identity in an instance's tags; None if they are incomplete."""
    tags = instance.tags
    try:
        return HostIdentity(
            host_key=tags[HOST_KEY_TAG], route=route_of(tags[LOGIN_TAG]), manifest_sha256=tags[MANIFEST_TAG]
        )
    except (KeyError, ValueError):
        return None
