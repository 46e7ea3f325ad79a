"""A run that another console drives, or none: seen through its journal, by somebody who can do nothing to it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from console.journal.fold_log import fold_items
from console.journal.reader import Growing
from console.state.run import Run

READ_EVERY_S: Final = 0.5


class Watched:
    """A `console.playback.source.Source` that only looks on."""

    def __init__(self, journal: Path, title: str) -> None:
        self.run = Run()
        self.title = title
        self.controls: frozenset[str] = frozenset()
        self._journal = Growing(journal)

    def now(self) -> float:
        """The laptop's clock while the run is live, then its end."""
        return time.time() if self.run.live else self.run.ended_t or self.run.last_received_t or 0.0

    async def work(self) -> None:
        """Reads what the journal gains, until cancelled. Raises OSError where it cannot be read."""
        while True:
            while await asyncio.to_thread(self._read_on):
                pass
            await asyncio.sleep(READ_EVERY_S)

    async def command(self, command: str, **arguments: Any) -> None:
        """Refuses. Raises ValueError."""
        raise ValueError("this console only looks on")

    def _read_on(self) -> bool:
        items = self._journal.read()
        if items:
            self.run = fold_items(items, self.run)
        return items is not None
