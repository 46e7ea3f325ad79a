"""Events of one node: alerts, commands and billing, the newest first."""

from __future__ import annotations

from collections.abc import Sequence

from console.format import clock
from console.state.run import Run
from console.tui.draw.ink import Ink, Line, clean, fit
from console.tui.draw.moment import Moment
from console.tui.widgets.pane import Pane


class NodeEventsPane(Pane):
    """A line for each event."""

    def __init__(self, node: int, *, classes: str) -> None:
        super().__init__("events", classes=classes)
        self._node = node

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """A clock, a kind, a sentence."""
        events = events_of(moment.run, self._node)
        self.border_title = f"Events of node {self._node}"
        if not events:
            return (), [((" No events yet.", "dim"),)]
        started = moment.run.started_t or 0.0
        rows: list[Line] = []
        for received, kind, text, tone in events:
            inks: list[Ink] = [(f" {clock(received - started)} ", "faint"), (fit(clean(kind), 9) + " ", tone)]
            rows.append((*inks, (fit(clean(text), max(1, width - 12 - len(inks[0][0]))).rstrip(), "plain")))
        return (), rows


def events_of(run: Run, number: int) -> list[tuple[float, str, str, str]]:
    """(time received, kind, text, tone), the newest first."""
    if number >= len(run.nodes):
        return []
    node = run.nodes[number]
    found = [(alert.received_t, alert.kind, alert.text, "warn") for alert in run.alerts if alert.node == number]
    for command in run.commands:
        if number in command.refused:
            found.append((command.received_t, "command", f"{command.by}: {command.command} refused", "bad"))
        elif number in command.done:
            found.append((command.received_t, "command", f"{command.by}: {command.command} done", "accent"))
    for bill in node.billing:
        found.append((bill.started_t, "billing", f"{bill.instance_id} started", "dim"))
        if bill.stopped_t is not None:
            found.append((bill.stopped_t, "billing", f"{bill.instance_id} stopped: {bill.reason or '—'}", "dim"))
    return sorted(found, key=lambda event: -event[0])
