"""Alerts as one reads them: the open ones first, and what many nodes have at once as one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from console.state.run import CRITICAL, INFO, Alert, Run
from console.views.log import spans

_TOGETHER_S: Final = 10.0
"""What is raised within so long, in the same words, has one cause."""
_ORDER: Final = {CRITICAL: 0, INFO: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One alert, or the same of several nodes: the first of them stands for all."""

    alerts: tuple[Alert, ...]

    @property
    def first(self) -> Alert:
        """The one that stands for all."""
        return self.alerts[0]

    @property
    def open(self) -> bool:
        """True while any of them is open."""
        return any(alert.open for alert in self.alerts)

    @property
    def cleared_t(self) -> float | None:
        """When the last one was over; None while one is open, and for what has no end."""
        ends = [alert.cleared_t for alert in self.alerts if alert.cleared_t is not None]
        return max(ends) if ends and not self.open else None

    @property
    def about(self) -> str:
        """Whom they are about."""
        nodes = {alert.node for alert in self.alerts if alert.node is not None}
        return f"nodes {spans(nodes)}" if len(nodes) > 1 else f"node {min(nodes)}" if nodes else ""


def groups(run: Run) -> list[Group]:
    """The open ones, the worst first; then the others, the newest first."""
    found: list[list[Alert]] = []
    latest: dict[tuple[str, str, bool], list[Alert]] = {}
    for alert in run.alerts:
        key = (alert.kind, alert.text, alert.open)
        group = latest.get(key)
        if group is not None and alert.received_t - group[-1].received_t <= _TOGETHER_S:
            group.append(alert)
        else:
            latest[key] = group = [alert]
            found.append(group)
    # Sorting is stable: within a kind of severity the newest stays first.
    ordered = [Group(tuple(group)) for group in reversed(found)]
    still = sorted((group for group in ordered if group.open), key=lambda group: _ORDER.get(group.first.severity, 1))
    return [*still, *(group for group in ordered if not group.open)]


def open_count(run: Run) -> int:
    """How many are open."""
    return sum(alert.open for alert in run.alerts)
