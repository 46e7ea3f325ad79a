"""A host's lease: the deadline at which it ends itself unless a console moves it.

The agent keeps it. A rented host also has a timer, a service of root's that powers the host off. The agent moves the
timer's deadline by replacing a small file, which holds a whole number of seconds on the scale of /proc/uptime. The
timer's deadline is `GRACE_S` after the agent's, so that the agent can end in order; it holds if the agent dies.

Standard library only.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

GRACE_S = 30.0
"""Between the agent's deadline and the timer's: ten seconds for a checkpoint, four for the gang's end
(`remote.agent.daemon`), five until the timer looks, and as many again on an overloaded host."""

HORIZON_S = 12 * 3600.0
"""The latest deadline that is written to the timer, which refuses more than thirteen hours. A longer lease is written
again and again."""


class Lease:
    """The deadline, on the monotonic clock."""

    def __init__(self, timer: str, horizon_s: float = HORIZON_S) -> None:
        """Without a deadline at first. `timer`: path of the timer's file, empty where there is none."""
        self._timer = Path(timer) if timer else None
        self._horizon_s = horizon_s
        self._deadline: float | None = None
        self._told = float("-inf")
        """When the timer's file was last written, or failed to be."""

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    @property
    def deadline_t(self) -> float:
        """The deadline in epoch seconds, by this host's clock as it is now."""
        assert self._deadline is not None
        return time.time() + self._deadline - time.monotonic()

    @property
    def passed(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def move(self, seconds: float) -> bool:
        """Sets the deadline to `seconds` from now; False where the timer's file could not be written."""
        self._deadline = time.monotonic() + seconds
        return self._tell_deadline()

    def keep(self) -> None:
        """To be called often: moves the timer's deadline towards that of a long lease."""
        cut = self._deadline is not None and self._deadline > self._told + self._horizon_s
        if cut and time.monotonic() > self._told + self._horizon_s / 12:
            self._tell_deadline()

    def _tell_deadline(self) -> bool:
        left_s = self.left_s
        assert left_s is not None
        self._told = time.monotonic()
        return self._timer is None or self._tell(min(left_s, self._horizon_s) + GRACE_S)

    def end_now(self) -> bool:
        """Has the timer power the host off at once; False where there is none, or its file cannot be written."""
        return self._timer is not None and self._tell(0.0)

    def _tell(self, seconds: float) -> bool:
        assert self._timer is not None
        beside = self._timer.with_name(f"{self._timer.name}.{os.getpid()}")
        try:
            uptime_s = float(Path("/proc/uptime").read_text().split()[0])
            # The timer makes the folder: where it is missing, so is the timer.
            beside.write_text(f"{math.ceil(uptime_s + seconds) if seconds else 0}\n")
            beside.replace(self._timer)
        except OSError:
            return False
        return True
