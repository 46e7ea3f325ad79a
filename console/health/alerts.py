"""Alerts that the console raises by itself: from the run, the time and the check before to what is raised and what is
over. Pure.

Theory. `console.health.symptoms` gives figures; here each has two thresholds and a time (hysteresis). A figure past the
first threshold for `hold_s` raises an alert, which is over when the figure has been past the second for `CALM_S`; in
between nothing changes. So a figure that oscillates about a threshold is one alert and not fifty. Which alerts are open
is in the run, that is, in its journal: a console that attaches to a run continues with those of the one before. What
has not lasted long enough yet is in the `CheckState`, which each check hands to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from console.health.symptoms import CheckContext, Symptom, mean_loss, symptoms
from console.profile.alerts import AlertKeys
from console.state.run import Run, open_alert

CALM_S: Final = 10.0
"""How long a figure has to be right again before its alert is over."""
GAP_S: Final = 10.0
"""After so long without a check (this machine slept) all times count from now: the console was away, and the hosts were
not silent."""


@dataclass(frozen=True, slots=True)
class CheckState:
    """What one check leaves for the next. Times are epoch seconds of this machine's clock."""

    since: float | None = None
    """Since when there has been a check at least every `GAP_S`."""
    last: float = 0.0
    """When the last check was."""
    wrong_since: Mapping[str, float] = field(default_factory=dict)
    """By id, since when the figure is past its first threshold."""
    right_since: Mapping[str, float] = field(default_factory=dict)
    """By id of an open alert, since when its figure is past its second threshold."""
    phase: int | None = None
    phase_step: int = 0
    """The last step before the phase."""
    lowest_loss: float | None = None
    """Of the phase: another phase has images of another size, and so other losses."""


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
class CheckResult:
    """What a check found."""

    state: CheckState
    changes: tuple[Raised | Cleared, ...] = field(default=())


def check(run: Run, now: float, state: CheckState, keys: AlertKeys, disk_free_mib: float | None = None) -> CheckResult:
    """Checks a run at `now`, in epoch seconds. `disk_free_mib`: on this machine's disk; None where unknown."""
    after_gap = state.since is None or not 0 <= now - state.last <= GAP_S
    since = now if after_gap or state.since is None else state.since
    phase = run.phase.phase if run.phase else None
    lowest, phase_step = state.lowest_loss, state.phase_step
    if phase != state.phase:
        lowest, phase_step = None, run.step.step if run.step else 0
    wrong_since: dict[str, float] = {}
    right_since: dict[str, float] = {}
    changes: list[Raised | Cleared] = []
    seen: set[str] = set()

    def calm(alert_id: str, node: int | None) -> None:
        """The figure of an open alert is right: the alert is over where it has been for long enough."""
        begun = now if after_gap else state.right_since.get(alert_id, now)
        if now - begun >= CALM_S:
            changes.append(Cleared(alert_id, node))
        else:
            right_since[alert_id] = begun

    for symptom in symptoms(run, now, CheckContext(since, phase_step, lowest, disk_free_mib)):
        if symptom.kind in keys.mute:
            continue
        seen.add(symptom.id)
        limit, value = keys.limits[symptom.kind], symptom.value
        alert = open_alert(run, symptom.id)
        if value is None:
            continue
        if alert is None:
            if value <= limit.enter if limit.low else value >= limit.enter:
                begun = now if after_gap else state.wrong_since.get(symptom.id, now)
                if now - begun >= limit.hold_s:
                    changes.append(Raised(symptom))
                else:
                    wrong_since[symptom.id] = begun
        elif value >= limit.leave if limit.low else value <= limit.leave:
            calm(alert.id, alert.node)
    own_ids = tuple(f"{kind}:" for kind in keys.limits)
    for alert in run.alerts:
        # There is no such symptom any more: its rank is no longer slow, its node not in the gang.
        if alert.open and alert.id not in seen and alert.id.startswith(own_ids):
            calm(alert.id, alert.node)
    mean = mean_loss(run, phase_step)
    if mean is not None and (lowest is None or mean < lowest):
        lowest = mean
    return CheckResult(CheckState(since, now, wrong_since, right_since, phase, phase_step, lowest), tuple(changes))
