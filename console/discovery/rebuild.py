"""Rebuilds a run's journal from its manifest and its hosts' journals, on a laptop that did not drive the run.

The console that drove the run stamped each record on receipt. Here a host's record gets the time at which the host
wrote it, which differs only by the latency and the clocks' offset; so curves, epochs and costs keep their times instead
of all getting the moment at which this laptop attached.
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
    """A host, and the copy of its journal."""

    node: int
    found: HostFound
    path: Path | None
    """A copy of its journal; None if it has none yet."""


def tell(
    path: Path, manifest: Sequence[Record], hosts: Sequence[HostJournal], now: float, last: Sequence[Record]
) -> None:
    """Writes the journal: the manifest's and the hosts' records in the order of time, then the `last`.

    Raises OSError if it cannot be written.
    """
    streams = [
        ((record.received_t, record_line(record)) for record in manifest),
        *(_lines_of(host, manifest, now) for host in hosts),
    ]
    with private_file(path) as file:
        # At equal times the console's own records come first, as they did then.
        for _, line in heapq.merge(*streams, key=lambda timed: timed[0]):
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        for record in last:
            file.write(record_line(record).encode() + b"\n")


def _lines_of(host: HostJournal, manifest: Sequence[Record], now: float) -> Iterator[tuple[float, str]]:
    """The host's lines with their times, after its `HostFound`; none before the host became the node."""
    starts = [
        record.received_t
        for record in manifest
        if isinstance(record.event, RunContinued)
        or (isinstance(record.event, NodeReplaced) and record.node == host.node)
    ]
    received = max([manifest[0].received_t, *starts])
    yield received, record_line(Record(received, received, host.found, host.node))
    if host.path is None:
        return
    size = host.path.stat().st_size
    for line in reader.lines(host.path):
        if isinstance(line, reader.Lost):
            # Skipped: the next line has its own offset.
            continue
        if line.offset + len(line.text) >= size:
            # Incomplete: it will come whole over the channel.
            return
        try:
            record = parse_host_line(line.text, received_t=now, node=host.node, offset=line.offset)
        except (Damaged, Unknown):
            yield received, unread_line(line.text, received_t=received, node=host.node, offset=line.offset)
            continue
        received = max(received, min(record.t, now))
        yield received, record_line(Record(received, record.t, record.event, host.node, line.offset))
