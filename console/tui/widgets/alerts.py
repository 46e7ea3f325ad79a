"""What a person should see: the alerts so far, the first failure on top."""

from __future__ import annotations

from collections.abc import Sequence

from console import views
from console.state import Alert, Run
from console.tui.ink import Ink, Line, clean, fit, spread, wrap
from console.tui.moment import Moment
from console.tui.widgets.pane import Pane

RECENT_S = 60.0
"""How long an alert stays in the strip."""


class AlertsPane(Pane):
    """All alerts, the newest first."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The first failure in full, then a line an alert."""
        run = moment.run
        self.border_title = f"5 Alerts · {len(run.alerts)}" if run.alerts else "5 Alerts"
        if not run.alerts:
            lost = _losses(run)
            return (), lost or [((" Nothing to report.", "dim"),)]
        lines: list[Line] = []
        if run.first_error is not None:
            lines.append((("▌ first failure: ", "bad"), (_who(run.first_error), "strong")))
            lines += [(("▌ ", "bad"), (part, "plain")) for part in wrap(clean(run.first_error.text), max(8, width - 3))]
        for alert in reversed(run.alerts):
            since = views.clock(max(0.0, alert.received - (run.started or 0.0)))
            inks: list[Ink] = [
                (f" {since} ", "faint"),
                (f"{clean(alert.kind)} ", "warn"),
                (f"{_who(alert)} ", "strong"),
            ]
            room = width - sum(len(text) for text, _ in inks)
            lines.append((*inks, (fit(clean(alert.text), max(1, room)), "plain")))
        return (), lines + _losses(run)


class AlertStrip(Pane, can_focus=False):
    """One line under the header while there is something to say."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The failure that ended the run, else the newest alert while it is fresh."""
        alert = strip_alert(moment)
        if alert is None:
            return [()], ()
        run = moment.run
        first = alert is run.first_error
        text = f"{_who(alert)}: {clean(alert.text)}" if _who(alert) else clean(alert.text)
        start: Line = (
            (" ✗ first failure  " if first else " ! ", "chip-bad" if first else "chip-warn"),
            (f" {text}", "strong"),
        )
        more = f"{len(run.alerts)} alerts · 5 shows them " if len(run.alerts) > 1 else "5 shows it "
        cut = fit(f" {text}", max(1, width - len(start[0][0]) - len(more) - 1)) if width > 60 else f" {text}"
        return [spread((start[0], (cut.rstrip(), "strong")), ((more, "dim"),), width)], ()


def strip_alert(moment: Moment) -> Alert | None:
    """The alert that the strip shows; None where it has nothing to say."""
    run = moment.run
    if run.first_error is not None and (not run.live or _fresh(run.first_error, moment.now)):
        return run.first_error
    if run.alerts and run.live and _fresh(run.alerts[-1], moment.now):
        return run.alerts[-1]
    return None


def _fresh(alert: Alert, now: float) -> bool:
    return now - alert.received < RECENT_S


def _who(alert: Alert) -> str:
    return "" if alert.node is None else f"node {alert.node}"


def _losses(run: Run) -> list[Line]:
    said = [
        (run.damaged, "damaged lines were passed over"),
        (run.unknown, "records are of a newer version"),
        (run.dropped, "records were lost on full disks"),
    ]
    return [((f" {views.count(count)} {text}", "dim"),) for count, text in said if count]
