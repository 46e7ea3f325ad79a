"""The moments of a run that one wants to go back to: what a timeline marks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from console.format import percent
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run
from console.state.status import LAUNCHING
from remote.wire import events as re

PHASE: Final = "phase"
EPOCH: Final = "epoch"
ALERT: Final = "alert"
KEY: Final = "key"
"""What an operator did."""
SPOT: Final = "spot"
RESTART: Final = "restart"
STATUS: Final = "status"
"""The run began to train, or ended."""


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment with a name."""

    t: float
    """Epoch seconds, by the laptop's clock."""
    kind: str
    """One of the constants above."""
    text: str


def between(before: Run, after: Run, record: Record) -> tuple[Marker, ...]:
    """What the record marks, told by the run before and after it; most records mark nothing."""
    event, t = record.event, record.received_t
    if isinstance(event, ce.OperatorCommanded):
        return (Marker(t, KEY, f"{event.command}, by {event.by}" if event.by else event.command),)
    found: list[Marker] = []
    if isinstance(event, re.SpotNoticed):
        found.append(Marker(t, SPOT, f"spot notice: node {record.node}"))
    if after.attempt != before.attempt:
        found.append(Marker(t, RESTART, f"attempt {after.attempt}"))
    if after.phase is not before.phase and after.phase is not None:
        phase = after.phase
        found.append(Marker(t, PHASE, f"phase {phase.phase + 1}: {phase.image_size} px, from epoch {phase.epoch}"))
    if len(after.epochs) > len(before.epochs):
        ended = after.epochs[-1].event
        found.append(Marker(t, EPOCH, f"epoch {ended.epoch} ended: top-5 {percent(ended.top5)}"))
    if (
        after.alerts is not before.alerts
        and after.alerts
        and (not before.alerts or after.alerts[-1] is not before.alerts[-1])
    ):
        alert = after.alerts[-1]
        who = "" if alert.node is None else f", node {alert.node}"
        found.append(Marker(t, ALERT, f"{alert.kind}{who}: {alert.text[:200]}"))
    if after.live != before.live or (before.status == LAUNCHING and after.status != LAUNCHING):
        found.append(Marker(t, STATUS, after.status))
    return tuple(found)
