"""How long the turns of an event loop are: each callback of asyncio's, timed."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from pathlib import Path
from typing import Any

LEAST_MS = 5.0
"""Shorter turns are not noted."""


def watch(path: Path) -> None:
    """From now on, notes every long turn of this process's event loop in a file, a line of JSON each."""
    file = path.open("a", buffering=1)
    run: Any = asyncio.Handle._run
    collecting = [0.0, 0.0]

    def collected(phase: str, _: object) -> None:
        if phase == "start":
            collecting[0] = time.thread_time()
        else:
            collecting[1] += time.thread_time() - collecting[0]

    gc.callbacks.append(collected)

    def timed(handle: asyncio.Handle) -> None:
        # Processor time of this thread: on a busy machine the clock counts what others took.
        cpu, wall, garbage = time.thread_time(), time.monotonic(), collecting[1]
        run(handle)
        cpu_ms = (time.thread_time() - cpu) * 1000
        if cpu_ms >= LEAST_MS:
            now = time.monotonic()
            note = {
                "t": now,
                "cpu_ms": cpu_ms,
                "wall_ms": (now - wall) * 1000,
                "collecting_ms": (collecting[1] - garbage) * 1000,
                "what": repr(handle)[:300],
            }
            file.write(json.dumps(note) + "\n")

    asyncio.Handle._run = timed  # type: ignore[method-assign]


def longest(path: Path, since: float, until: float) -> dict[str, Any]:
    """The turn that took most processor time between two moments of the monotonic clock."""
    notes = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = [note for note in notes if since <= note["t"] <= until]
    return max(
        found,
        key=lambda note: note["cpu_ms"],
        default={"cpu_ms": 0.0, "wall_ms": 0.0, "collecting_ms": 0.0, "what": "none"},
    )
