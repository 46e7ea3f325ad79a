"""The copy of the data set to a host, in words. Pure."""

from __future__ import annotations

from typing import Final

from console.format import amount, duration, part_of
from remote.wire.events import StagingProgressed

_WAITS = {
    "list": "looks what is there",
    "wait": "another node that shares its folder copies it",
    "renew": "waits for the laptop: its addresses have expired",
}

_LONGEST_S: Final = 359_999.0
"""99:59:59; past that a damaged figure speaks."""


def words(said: StagingProgressed) -> str:
    """``1.2 of 8.4 GB, 310 MB/s, 0:23 left``; or what it waits for."""
    if said.activity in _WAITS:
        return _WAITS[said.activity]
    parts = [part_of(said.done_bytes, said.total_bytes)]
    if said.activity == "verify":
        parts.append("verifies what is there")
    if said.bytes_per_s is not None:
        parts.append(f"{amount(said.bytes_per_s)}/s")
    if said.left_s is not None:
        parts.append(f"{duration(min(said.left_s, _LONGEST_S))} left")
    return ", ".join(parts)
