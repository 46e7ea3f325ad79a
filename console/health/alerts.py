"""Alerts that the console raises by itself: from the run, the time and what was seen before to what is raised and what
is over. Pure.

Theory. `console.health.symptoms` gives figures; here each has two thresholds and a time. A figure past the first for
`hold_s` raises an alert; it is over when the figure has been past the second for a while; in between nothing changes.
So a figure that dances about a threshold is one alert and not fifty. Which alerts are open is in the run, that is, in
its journal: a console that comes back to a run goes on with those of the one before. What waits for its time is in the
`Watch`, which each look hands to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from console.health.symptoms import Eyes, Symptom, mean_loss, symptoms
from console.profile.alerts import AlertKeys
from console.state.run import Run, open_alert

CALM_S: Final = 10.0
"""So long a figure has to be right again before its alert is over."""
GAP_S: Final = 10.0
"""Who has not looked for so long (the laptop slept) begins to count anew: it was deaf, not the hosts silent."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What one look leaves for the next. Times are epoch seconds of the laptop's clock."""

    since: float | None = None
    """From when on it has been looked without a gap."""
    last: float = 0.0
    """When it was looked last."""
    wrong: Mapping[str, float] = field(default_factory=dict)
    """Since when each figure is past its first threshold, by id."""
    right: Mapping[str, float] = field(default_factory=dict)
    """Since when that of each open alert is past its second."""
    phase: int | None = None
    phase_step: int = 0
    """The last step before the phase."""
    lowest_loss: float | None = None
    """Of the phase: another one has pictures of another size, and losses of their own."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert to raise."""

    symptom: Symptom


@dataclass(frozen=True, slots=True)
class Cleared:
    """An alert that is over."""

    id: str
    node: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a look came to."""

    watch: Watch
    changes: tuple[Raised | Cleared, ...] = field(default=())


def look(run: Run, now: float, watch: Watch, keys: AlertKeys, disk_free_mib: float | None = None) -> Look:
    """Looks once. `disk_free_mib`: on the laptop's disk."""
    deaf = watch.since is None or not 0 <= now - watch.last <= GAP_S
    since = now if deaf or watch.since is None else watch.since
    phase = run.phase.phase if run.phase else None
    lowest, phase_step = watch.lowest_loss, watch.phase_step
    if phase != watch.phase:
        lowest, phase_step = None, run.step.step if run.step else 0
    eyes = Eyes(since, phase_step, lowest, disk_free_mib)
    wrong: dict[str, float] = {}
    right: dict[str, float] = {}
    changes: list[Raised | Cleared] = []
    seen: set[str] = set()
    for symptom in symptoms(run, now, eyes):
        if symptom.kind in keys.mute:
            continue
        seen.add(symptom.id)
        limit, value = keys.limits[symptom.kind], symptom.value
        alert = open_alert(run, symptom.id)
        if value is None:
            continue
        if alert is None:
            if value <= limit.enter if limit.low else value >= limit.enter:
                begun = now if deaf else watch.wrong.get(symptom.id, now)
                if now - begun >= limit.hold_s:
                    changes.append(Raised(symptom))
                else:
                    wrong[symptom.id] = begun
        elif value >= limit.leave if limit.low else value <= limit.leave:
            _calm(alert.id, alert.node, now, now if deaf else watch.right.get(alert.id, now), right, changes)
    ours = tuple(f"{kind}:" for kind in keys.limits)
    for alert in run.alerts:
        # Nothing tells of it any more: its rank is no longer slow, its node not in the gang.
        if alert.open and alert.id not in seen and alert.id.startswith(ours):
            _calm(alert.id, alert.node, now, now if deaf else watch.right.get(alert.id, now), right, changes)
    mean = mean_loss(run, phase_step)
    if mean is not None and (lowest is None or mean < lowest):
        lowest = mean
    return Look(Watch(since, now, wrong, right, phase, phase_step, lowest), tuple(changes))


def _calm(
    alert_id: str, node: int | None, now: float, begun: float, right: dict[str, float], changes: list[Raised | Cleared]
) -> None:
    if now - begun >= CALM_S:
        changes.append(Cleared(alert_id, node))
    else:
        right[alert_id] = begun
