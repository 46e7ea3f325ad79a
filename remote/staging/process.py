"""The process that copies the data set (`remote.staging.copy`), as the agent sees it.

Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from remote.wire.events import LogPrinted, StagingEnded
from remote.wire.job import Job
from remote.wire.journal import Journal

DONE, REFUSED = 0, 3
"""Exit statuses of a copy that has reported its own end in the journal."""
_TRIES = 3
"""How often it is started where a signal ends it, such as the kernel's when memory runs out."""


class Copier:
    """Starts the copy, and reports its end where it could not do so itself."""

    def __init__(self, folder: Path, job: Job, journal: Journal) -> None:
        self._folder = folder
        self._job = job
        self._journal = journal
        self._process: subprocess.Popen[bytes] | None = None
        self._tries = 0

    def start(self) -> None:
        """Starts the copy, where the job asks for one; the kernel kills it when this process ends."""
        if not self._job.stage_from:
            return
        self._tries += 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", "remote.staging", str(self._folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self._job.env},
        )

    def watch(self) -> None:
        """To be called often: starts the copy again or reports its end, where a signal or an error ended it."""
        process = self._process
        if process is None or process.poll() is None:
            return
        code = process.returncode
        if code in (DONE, REFUSED):
            self._process = None
        elif code < 0 and self._tries < _TRIES:
            text = f"the copy of the data set was ended by signal {-code}; it is started again"
            self._journal.emit(LogPrinted(text=text, stream="stderr"))
            self.start()
        else:
            how = f"by signal {-code}" if code < 0 else f"with exit status {code}; {self._folder}/agent.log says more"
            ended = StagingEnded(source=self._job.stage_from, ok=False, reason=f"the copy of the data set ended {how}")
            if self._journal.emit(ended):
                self._process = None

    def end(self) -> None:
        """Kills the copy; what was copied stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
