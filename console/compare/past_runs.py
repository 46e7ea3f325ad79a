"""Past runs, from this laptop's run directories or from any log, for the screen to compare with. Reads files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from console.compare import curves, race
from console.compare.comparison import Past
from console.journal import open_log
from console.journal.directory import all_runs

FOUND: Final = 200
"""The newest so many are offered; any other by its path."""


@dataclass(frozen=True, slots=True)
class Found:
    """A run that could be compared with."""

    path: str
    name: str
    """Its id."""
    when: str
    """When its journal last grew, by the laptop's calendar."""
    size_bytes: int


def found() -> tuple[Found, ...]:
    """The runs on this laptop that have a journal, the newest first. Reads none of them."""
    seen = []
    for directory in all_runs():
        try:
            stat = directory.journal.stat()
        except OSError:
            continue
        when = f"{datetime.fromtimestamp(stat.st_mtime):%d %b %H:%M}"
        seen.append((stat.st_mtime, Found(str(directory.journal), directory.run_id, when, stat.st_size)))
    return tuple(run for _, run in sorted(seen, key=lambda pair: -pair[0])[:FOUND])


def load(path: str) -> Past:
    """The run in a log: a run's id, its directory, or a log of any form that a replay reads.

    Keeps its curves and nothing else of it.

    Raises:
        LogError: (a ValueError) it cannot be read, is not a log, or holds nothing to compare with; in one sentence.
    """
    where = Path(path).expanduser()
    for directory in all_runs():
        if path == directory.run_id or where == directory.path:
            where = directory.journal
    run = open_log.fold(where)
    name = run.run_id or where.name
    if not run.epochs and not len(run.points):
        raise open_log.LogError(f"{where}: the run took no step, so there is nothing to compare with")
    return Past(str(where), curves.trace(run, name), race.of_run(run, name))
