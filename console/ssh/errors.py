"""What can go wrong with a host, from the caller's side: trying again would not help, or it may.

Nothing here needs asyncssh; `console.ssh.foreign` maps its exceptions to these.
"""

from __future__ import annotations


class HostRefused(Exception):
    """The host cannot take part, and trying again would not help; one sentence."""


class WrongHostKey(HostRefused):
    """The host presented another key than the one pinned for it."""


class LoginRefused(HostRefused):
    """The host holds the pinned key and does not let the user in."""


class HostUnreachable(Exception):
    """The host cannot be reached now; one sentence."""


def os_reason(error: OSError) -> str:
    """The operating system's own words for the error, or the name of its class."""
    return error.strerror or str(error) or type(error).__name__
