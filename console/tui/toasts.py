"""What calls a person to the screen: a toast and the terminal's bell, once for each alert that is raised."""

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
"""Toasts of one moment; of more alerts the rest are counted in one."""
_SHOWN_S: Final = {CRITICAL: 12.0, INFO: 4.0}


class Toasts:
    """Remembers only whether the bell is muted."""

    def __init__(self) -> None:
        self.muted = False

    def show(self, app: App[int], before: Moment, moment: Moment) -> None:
        """Tells what was raised between two moments; not what was there at first, nor of a past that is looked at."""
        run = moment.run
        if moment.play is not None or before.run.created is None or before.play is not None:
            return
        raised = alerts_since(before.run, run)
        if not raised:
            return
        keys = recorded.alerts(run.created.profile_text if run.created else "")
        told = [alert for alert in raised if alert.kind not in keys.mute]
        for alert in told[:_AT_ONCE]:
            severity = "error" if alert.severity == CRITICAL else "information" if alert.severity == INFO else "warning"
            app.notify(
                Content(sentence(alert)).markup,
                title=Content(clean(alert.kind)).markup,
                severity=severity,  # type: ignore[arg-type]
                timeout=_SHOWN_S.get(alert.severity, 6.0),
            )
        if len(told) > _AT_ONCE:
            app.notify(f"{len(told) - _AT_ONCE} alerts more: 5 shows them.", severity="warning", timeout=6)
        if keys.bell and not self.muted and any(alert.severity != INFO for alert in told):
            app.bell()


def sentence(alert: Alert) -> str:
    """The alert with whom it is about, unless it says so itself."""
    about = "" if alert.rank is not None and alert.node is None else who(alert)
    if alert.rank is not None and alert.node is not None:
        about = f"node {alert.node}"
    return f"{about}: {clean(alert.text)[:300]}" if about else clean(alert.text)[:300]
