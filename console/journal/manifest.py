"""A run's manifest: what only consoles witness of a run, as lines of its journal, left on every rented host.

A host's journal tells of the agent and the training, but not which profile the run has, what was rented when and at
which price, what the operator ordered, which budget holds now. A console on another laptop, which has only the hosts,
begins its journal with it. Secrets were left out when the journal was written. `FILE` keeps an older name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from console.state.events import (
    BudgetMoved,
    Damaged,
    GangRestarting,
    HostLost,
    InstanceStarted,
    InstanceStopped,
    NodeDropped,
    NodeReplaced,
    OperatorCommanded,
    PriceQuoted,
    Record,
    RunContinued,
    RunCreated,
    Unknown,
    parse_run_line,
)

FILE: Final = "charter.jsonl"
KINDS: Final = (
    RunCreated,
    RunContinued,
    BudgetMoved,
    InstanceStarted,
    InstanceStopped,
    PriceQuoted,
    NodeReplaced,
    NodeDropped,
    HostLost,
    GangRestarting,
    OperatorCommanded,
)
"""What the state of a run cannot do without; all else that a console witnesses is for reading only."""


def belongs(record: Record) -> bool:
    """True for what is in a manifest."""
    return record.offset is None and isinstance(record.event, KINDS)


def digest(line: str) -> str:
    """The hash by which a manifest's first line is known."""
    return hashlib.sha256(line.encode()).hexdigest()


def first_line(path: Path) -> str:
    """The first line of a journal; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.readline().decode("utf-8", "replace").rstrip("\n")
    except OSError:
        return ""


def read(text: str) -> list[Record]:
    """The records of a manifest, or of a journal; other lines are skipped."""
    records = []
    for line in text.splitlines():
        try:
            record = parse_run_line(line)
        except (Damaged, Unknown):
            continue
        if belongs(record):
            records.append(record)
    return records
