"""TODO docstring: console/live/leases.py."""

from __future__ import annotations

from dataclasses import dataclass

_UNATTENDED_MINUTES = 12 * 60.0
"""The longest that hosts go on without a console where no budget says less."""


_LEASE_SLACK_S = 2.0
"""Clocks and rounding move the budget's end by less; only a dearer fleet moves it by more."""


@dataclass(frozen=True, slots=True)
class _Lease:
    """What the hosts were told of their leases, and what it followed from."""

    told_t: float = 0.0
    deadline_t: float = 0.0
    budget_usd: float | None = None
    nodes: frozenset[int] = frozenset()
    """Those that could be told."""

    def differs(self, told: _Lease, every_s: float) -> bool:
        """True if the hosts must be told anew: time has passed, there is another budget or an earlier end of it, or a
        host has come that was not told."""
        return (
            abs(self.told_t - told.told_t) > every_s
            or self.budget_usd != told.budget_usd
            or self.deadline_t < told.deadline_t - _LEASE_SLACK_S
            or not self.nodes <= told.nodes
        )
