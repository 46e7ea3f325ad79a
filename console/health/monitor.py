"""The alerts of a live run: checked once a second, recorded, and passed on to the hooks.

What is wrong, `console.health.alerts` says; what it says goes into the store. The hooks are told of every alert,
whoever raised it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from console.health.alerts import CheckState, Raised, check
from console.health.notify import Hooks, Notice
from console.journal.store import RunStore
from console.profile.alerts import AlertKeys
from console.state.events import AlertCleared, AlertRaised, Record
from console.state.run import CRITICAL, INFO, SEVERITIES, WARNING, Alert, Run, alerts_since
from remote.wire.events import LogPrinted

_EVERY_S: Final = 1.0
_LAST_S: Final = 12.0
"""How long the hooks have at the run's end."""


class AlertMonitor:
    """Checks one run."""

    def __init__(self, store: RunStore, keys: AlertKeys, directory: Path) -> None:
        """`directory`: where the journal grows; the free space of its disk is checked too."""
        self._store = store
        self._keys = keys
        self._directory = directory
        self._state = CheckState()
        self._hooks = Hooks(keys, self.log)
        store.observe(self._observe)

    def check(self, now: float) -> None:
        """Checks the run, at most once a second, and records what has changed. `now`: epoch seconds."""
        if 0 <= now - self._state.last < _EVERY_S:
            return
        result = check(self._store.run, now, self._state, self._keys, self._disk_free_mib())
        self._state = result.state
        for change in result.changes:
            if isinstance(change, Raised):
                symptom = change.symptom
                event = AlertRaised(kind=symptom.kind, text=symptom.text, severity=symptom.severity, id=symptom.id)
                self._store.witness(event, symptom.node)
            else:
                self._store.witness(AlertCleared(id=change.id), change.node)

    async def finish(self) -> None:
        """Waits a while for hooks that are still running."""
        await self._hooks.finish(_LAST_S)

    def _disk_free_mib(self) -> float | None:
        try:
            return shutil.disk_usage(self._directory).free / 2**20
        except OSError:
            return None

    def _observe(self, before: Run, after: Run, record: Record | None) -> None:
        if not self._hooks.any:
            return
        if after.alerts is not before.alerts:
            for alert in alerts_since(before, after):
                self._notify(after, alert, "raised", alert.received_t)
            open_before = {alert.id for alert in before.alerts if alert.open}
            for alert in after.alerts:
                if alert.id in open_before and alert.cleared_t is not None and alert.cleared_t == after.last_received_t:
                    self._notify(after, alert, "cleared", alert.cleared_t)
        if before.live and not after.live and "end" not in self._keys.mute:
            severity = INFO if after.exit_code == 0 else CRITICAL
            text = f"{after.status}: {after.reason}"
            self._send(after, "ended", "end", severity, None, after.ended_t or 0.0, text)

    def _notify(self, run: Run, alert: Alert, state: str, t: float) -> None:
        severity = alert.severity if alert.severity in SEVERITIES else WARNING
        if alert.kind not in self._keys.mute and SEVERITIES.index(severity) >= SEVERITIES.index(self._keys.least):
            self._send(run, state, alert.kind, severity, alert.node, t, alert.text)

    def _send(self, run: Run, state: str, kind: str, severity: str, node: int | None, t: float, text: str) -> None:
        profile = run.created.profile if run.created else ""
        self._hooks.send(Notice(run.run_id, profile, state, kind, severity, node, t, text))

    def log(self, sentence: str) -> None:
        """Writes a sentence of the console's own to the log."""
        self._store.witness(LogPrinted(text=sentence, stream="console"))
