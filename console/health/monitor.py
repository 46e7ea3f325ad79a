"""The one who looks after a live run for its operator.

Once a second it asks `console.health.alerts` what is wrong and writes that into the book; of every alert, whoever
raised it, it has the hooks told.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from console.health.alerts import Raised, Watch, look
from console.health.notify import Hooks, Notice
from console.journal.store import RunStore
from console.profile.alerts import AlertKeys
from console.state.events import AlertCleared, AlertRaised, Record
from console.state.run import CRITICAL, INFO, SEVERITIES, WARNING, Alert, Run, alerts_since
from remote.wire.events import LogPrinted

_EVERY_S: Final = 1.0
_LAST_S: Final = 12.0
"""How long the hooks have for the run's end."""


class AlertMonitor:
    """Looks at one book."""

    def __init__(self, store: RunStore, keys: AlertKeys, directory: Path) -> None:
        """`directory`: where the journal grows."""
        self._store = store
        self._keys = keys
        self._directory = directory
        self._watch = Watch()
        self._hooks = Hooks(keys, self.tell)
        store.observe(self._observe)

    def look(self, now: float) -> None:
        """Looks, at most once a second."""
        if 0 <= now - self._watch.last < _EVERY_S:
            return
        seen = look(self._store.run, now, self._watch, self._keys, self._disk_free_mib())
        self._watch = seen.watch
        for change in seen.changes:
            if isinstance(change, Raised):
                one = change.symptom
                event = AlertRaised(kind=one.kind, text=one.text, severity=one.severity, id=one.id)
                self._store.witness(event, one.node)
            else:
                self._store.witness(AlertCleared(id=change.id), change.node)

    async def finish(self) -> None:
        """Waits a while for those who are being told."""
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
                self._pass_on(after, alert, "raised", alert.received)
            open_before = {alert.id for alert in before.alerts if alert.open}
            for alert in after.alerts:
                if alert.id in open_before and alert.cleared is not None and alert.cleared == after.last_received:
                    self._pass_on(after, alert, "cleared", alert.cleared)
        if before.live and not after.live and "end" not in self._keys.mute:
            severity = INFO if after.exit_code == 0 else CRITICAL
            text = f"{after.status}: {after.reason}"
            self._send(after, "ended", "end", severity, None, after.ended or 0.0, text)

    def _pass_on(self, run: Run, alert: Alert, what: str, t: float) -> None:
        severity = alert.severity if alert.severity in SEVERITIES else WARNING
        if alert.kind not in self._keys.mute and SEVERITIES.index(severity) >= SEVERITIES.index(self._keys.least):
            self._send(run, what, alert.kind, severity, alert.node, t, alert.text)

    def _send(self, run: Run, what: str, kind: str, severity: str, node: int | None, t: float, text: str) -> None:
        profile = run.created.profile if run.created else ""
        self._hooks.send(Notice(run.run_id, profile, what, kind, severity, node, t, text))

    def tell(self, sentence: str) -> None:
        """A sentence of the console's own in the log."""
        self._store.witness(LogPrinted(text=sentence, stream="console"))
