"""The leases of a run's hosts: how long they live on without another message from a console.

They are moved now and then while a console drives the run, at once where the budget's end moves or a host comes, and
once more when the console leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from console.billing import budget
from console.state.run import Run

_MOVES: Final = 6
"""How often a lease is moved within its own length, so that a few lost messages end no host."""
_SLACK_S: Final = 2.0
"""Clocks and rounding move the budget's end by less; only a dearer fleet moves it by more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What the hosts were told of their leases, and what it followed from."""

    told_t: float = 0.0
    """When, in epoch seconds."""
    deadline_t: float = 0.0
    """Until when they live on, in epoch seconds."""
    budget_usd: float | None = None
    nodes: frozenset[int] = frozenset()
    """Those whose channel was open, so that they could be told."""

    def differs(self, told: Lease, every_s: float) -> bool:
        """True if the hosts must be told again: time has passed, the budget is another one or ends earlier, or a host
        has come that was not told."""
        return (
            abs(self.told_t - told.told_t) > every_s
            or self.budget_usd != told.budget_usd
            or self.deadline_t < told.deadline_t - _SLACK_S
            or not self.nodes <= told.nodes
        )


class Leases:
    """The leases of a run, as its hosts were told of them last."""

    def __init__(self, lease_minutes: float, send: Callable[[dict[str, Any]], None]) -> None:
        """`lease_minutes`: how long hosts live on while a console drives them; `send`: to every host that is linked."""
        self._lease_minutes = lease_minutes
        self._send = send
        self._told = Lease()

    def hold(self, run: Run, now: float, nodes: frozenset[int]) -> None:
        """Moves the leases where they must be moved. `nodes`: those that can be told."""
        seconds = budget.lease_s(run, now, self._lease_minutes)
        lease = Lease(now, now + seconds, run.budget_usd, nodes)
        if lease.differs(self._told, self._lease_minutes * 60 / _MOVES):
            self._told = lease
            self._move(seconds, attended=True)

    def leave_unattended(self, run: Run, now: float) -> None:
        """Lets the hosts live on without a console, until the budget is used up at the latest."""
        self._move(budget.lease_s(run, now, budget.UNATTENDED_S / 60), attended=False)

    def _move(self, seconds: float, *, attended: bool) -> None:
        self._send({"id": "lease", "command": "lease", "seconds": seconds, "attended": attended})
