"""TODO docstring: console/views/staging.py."""

from __future__ import annotations

from console.format import _of, amount
from remote.wire.events import StagingProgressed

_WAITS = {
    "list": "looks what is there",
    "wait": "another node that shares its folder copies it",
    "renew": "waits for the laptop: its addresses have expired",
}


def words(said: StagingProgressed) -> str:
    """``1.2 of 8.4 GB, 310 MB/s, 0:23 left``; or what it waits for."""
    if said.activity in _WAITS:
        return _WAITS[said.activity]
    parts = [_of(said.done_bytes, said.total_bytes)]
    if said.activity == "verify":
        parts.append("verifies what is there")
    if said.bytes_per_s is not None:
        parts.append(f"{amount(said.bytes_per_s)}/s")
    if said.left_s is not None:
        left = int(min(said.left_s, 359_999))
        hours, rest = divmod(left, 3600)
        parts.append(f"{hours}:{rest // 60:02}:{rest % 60:02} left" if hours else f"{rest // 60}:{rest % 60:02} left")
    return ", ".join(parts)
