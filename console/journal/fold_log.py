"""A log folded to a run, its unreadable lines counted."""

from __future__ import annotations

from collections.abc import Iterable

from console.fold import apply as fold
from console.journal.reader import DAMAGED, UNKNOWN, Lost
from console.state.events import Record
from console.state.run import Run

Item = Record | Lost


def fold_items(items: Iterable[Item], run: Run | None = None) -> Run:
    """The run after the items; a fresh one before where none is given."""
    run = Run() if run is None else run
    apply = fold.apply
    for item in items:
        run = apply(run, item) if item.__class__ is Record else lost(run, item)  # type: ignore[arg-type]
    return run


def lost(run: Run, item: Lost) -> Run:
    """The run with a lost line counted."""
    return fold.lose(run, damaged=item.kind == DAMAGED, unknown=item.kind == UNKNOWN)
