"""The lock that says whether an agent is alive: the kernel releases it when the agent ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from remote.wire.layout import LOCK


def take_lock(folder: Path) -> int | None:
    """The agent's lock as an open descriptor, or None while a living agent holds it."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
