"""A toast and the terminal's bell for each alert that is raised."""

from __future__ import annotations

from typing import Final

from textual.app import App
from textual.content import Content

from console.profile import recorded
from console.state.run import CRITICAL, INFO, Alert, alerts_since
from console.tui.draw.ink import clean
from console.tui.draw.moment import Moment
from console.views.log import who

_AT_ONCE: Final = 3
"""Toasts at one moment; further alerts are counted in one more toast."""
_SHOWN_S: Final = {CRITICAL: 12.0, INFO: 4.0}


class Toasts:
    """Shows alerts as toasts; keeps only whether the bell is muted."""

    def __init__(self) -> None:
        self.muted = False

    def show(self, app: App[int], before: Moment, moment: Moment) -> None:
        """Shows the alerts raised between two moments; none at the first moment, none while the past is shown."""
        run = moment.run
        if moment.play is not None or before.run.created is None or before.play is not None:
            return
        raised = alerts_since(before.run, run)
        if not raised:
            return
        keys = recorded.alerts(run.created.profile_text if run.created else "")
        shown = [alert for alert in raised if alert.kind not in keys.mute]
        for alert in shown[:_AT_ONCE]:
            severity = "error" if alert.severity == CRITICAL else "information" if alert.severity == INFO else "warning"
            app.notify(
                Content(sentence(alert)).markup,
                title=Content(clean(alert.kind)).markup,
                severity=severity,  # type: ignore[arg-type]
                timeout=_SHOWN_S.get(alert.severity, 6.0),
            )
        more = len(shown) - _AT_ONCE
        if more > 0:
            app.notify(f"{more} more alert{'s' if more > 1 else ''} (press 5)", severity="warning", timeout=6)
        if keys.bell and not self.muted and any(alert.severity != INFO for alert in shown):
            app.bell()


def sentence(alert: Alert) -> str:
    """The alert's text, with its node or rank unless the text names it."""
    about = "" if alert.rank is not None and alert.node is None else who(alert)
    if alert.rank is not None and alert.node is not None:
        about = f"node {alert.node}"
    return f"{about}: {clean(alert.text)[:300]}" if about else clean(alert.text)[:300]
