"""A host's lease: the deadline at which it ends itself unless a console moves it.

The agent keeps it, and where the host has a timer of its own (a rented one: a service of root's that powers it off),
tells that timer too: by replacing a small file that holds a whole number of seconds on the scale of /proc/uptime. The
timer's deadline lies `GRACE_S` after the agent's, so that the agent can end in order; if the agent dies, it stands.

Standard library only.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

GRACE_S = 30.0
"""Between the agent's deadline and the timer's: ten seconds for a checkpoint, four for the gang's end
(`remote.agent.daemon`), five until the timer looks, and as many again on a host that is short of breath."""

HORIZON_S = 12 * 3600.0
"""The timer is told of no later deadline: it takes none beyond thirteen hours. A longer lease is told bit by bit."""


class Lease:
    """The deadline, on a clock that no correction moves."""

    def __init__(self, timer: str, horizon_s: float = HORIZON_S) -> None:
        """No deadline yet. `timer`: the timer's file, empty where there is none."""
        self._timer = Path(timer) if timer else None
        self._horizon_s = horizon_s
        self._deadline: float | None = None
        self._told = float("-inf")
        """When the timer was last told, whether or not it could be."""

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    @property
    def deadline_t(self) -> float:
        """The deadline in epoch seconds, as this host's clock stands now."""
        assert self._deadline is not None
        return time.time() + self._deadline - time.monotonic()

    @property
    def passed(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def move(self, seconds: float) -> bool:
        """Sets the deadline to so long from now; False where the host's timer could not be told."""
        self._deadline = time.monotonic() + seconds
        return self._tell_deadline()

    def keep(self) -> None:
        """To be called now and then: tells the timer the next bit of a long lease."""
        cut = self._deadline is not None and self._deadline > self._told + self._horizon_s
        if cut and time.monotonic() > self._told + self._horizon_s / 12:
            self._tell_deadline()

    def _tell_deadline(self) -> bool:
        left_s = self.left_s
        assert left_s is not None
        self._told = time.monotonic()
        return self._timer is None or self._tell(min(left_s, self._horizon_s) + GRACE_S)

    def end_now(self) -> bool:
        """Has the host's timer power it off at once; False where there is none, or it cannot be told."""
        return self._timer is not None and self._tell(0.0)

    def _tell(self, seconds: float) -> bool:
        assert self._timer is not None
        beside = self._timer.with_name(f"{self._timer.name}.{os.getpid()}")
        try:
            uptime_s = float(Path("/proc/uptime").read_text().split()[0])
            # The folder is the timer's: where it is missing, so is the timer.
            beside.write_text(f"{math.ceil(uptime_s + seconds) if seconds else 0}\n")
            beside.replace(self._timer)
        except OSError:
            return False
        return True
