"""TODO docstring: remote/agent/trainer.py."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _must_be_free(port: int) -> None:
    """Raises ValueError where the rendezvous could not be held on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ValueError(f"port {port}, for the rendezvous, cannot be used: {error.strerror}") from None
