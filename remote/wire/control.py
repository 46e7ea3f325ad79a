"""What the agent asks of the ranks on its node: one small file, replaced whole, that each rank looks at every step.

A file and not a signal: SIGUSR1 ends torchrun and orphans its workers (pytorch's ``--signals-to-handle`` means "shut
down", not "forward"). A look costs one ``stat``; the file is read only when it changed. What a single rank sees here
decides nothing; the ranks agree at a step boundary (see ``remote.train.trainer``), so that all of them act at the same
step.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

CONTROL = "control.json"
"""The file's name in a run's folder on a host."""


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What the console asks of the gang."""

    paused: bool = False
    stop: bool = False
    """Checkpoint at the next step boundary and leave the loop."""
    checkpoint: int = 0
    """How many checkpoints the operator has asked for so far in this attempt."""


def write_request(folder: Path, request: ControlRequest) -> None:
    """Replaces the file atomically. Raises OSError where the disk is full."""
    beside = folder / f"{CONTROL}.{os.getpid()}"
    beside.write_text(json.dumps(asdict(request)))
    beside.replace(folder / CONTROL)


class ControlReader:
    """A rank's view of the file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CONTROL
        self._seen: tuple[int, int] | None = None
        self._request = ControlRequest()

    def read(self) -> ControlRequest:
        """The request in the file; the last one that was read where there is no file or it cannot be read."""
        try:
            stat = os.stat(self._path)
            seen = (stat.st_ino, stat.st_mtime_ns)
            if seen != self._seen:
                self._request = ControlRequest(**json.loads(self._path.read_text()))
                self._seen = seen
        except (OSError, ValueError, TypeError):
            pass
        return self._request
