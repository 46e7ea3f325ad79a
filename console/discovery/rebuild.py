"""A run's journal, told again from its charter and the journals of its hosts, for a laptop that was not there.

The console that was there stamped each record when it came to it. Here a host's record gets the time at which the host
wrote it, which is the same but for the way and for what the clocks differ by; so curves, epochs and costs lie in time
as they happened, and not all at the moment at which this laptop came.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.atomic_file import private_file
from console.journal import reader
from console.state.events import (
    Damaged,
    HostFound,
    NodeReplaced,
    Record,
    RunContinued,
    Unknown,
    parse_host_line,
    record_line,
    unread_line,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostJournal:
    """What a host has to tell."""

    node: int
    found: HostFound
    path: Path | None
    """A copy of its journal; None where it has none yet."""


def tell(
    path: Path, manifest: Sequence[Record], hosts: Sequence[HostJournal], now: float, last: Sequence[Record]
) -> None:
    """Writes the journal whole: the charter and the hosts' records in the order of time, then the `last`.

    Raises OSError where it cannot be written.
    """
    streams = [
        ((record.received_t, record_line(record)) for record in manifest),
        *(_lines_of(one, manifest, now) for one in hosts),
    ]
    with private_file(path) as file:
        # Of one moment, what a console witnessed comes first, as it did then.
        for _, line in heapq.merge(*streams, key=lambda told: told[0]):
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        for record in last:
            file.write(record_line(record).encode() + b"\n")


def _lines_of(host: HostJournal, manifest: Sequence[Record], now: float) -> Iterator[tuple[float, str]]:
    """The host's lines with their times, after it was found; none lies before the host had its place."""
    places = [
        record.received_t
        for record in manifest
        if isinstance(record.event, RunContinued)
        or (isinstance(record.event, NodeReplaced) and record.node == host.node)
    ]
    received = max([manifest[0].received_t, *places])
    yield received, record_line(Record(received, received, host.found, host.node))
    if host.path is None:
        return
    size = host.path.stat().st_size
    for line in reader.lines(host.path):
        if isinstance(line, reader.Lost):
            # Its bytes are not held, and the offsets of the next lines go on behind it.
            continue
        if line.offset + len(line.text) >= size:
            # Not ended yet: it comes whole over the channel.
            return
        try:
            record = parse_host_line(line.text, received_t=now, node=host.node, offset=line.offset)
        except (Damaged, Unknown):
            yield received, unread_line(line.text, received_t=received, node=host.node, offset=line.offset)
            continue
        received = max(received, min(record.t, now))
        yield received, record_line(Record(received, record.t, record.event, host.node, line.offset))
