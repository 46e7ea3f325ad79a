"""The panes' names, where one pane is shown at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual import events
from textual.reactive import reactive

from console.tui.draw.ink import Ink, Line, cells, first_that_fits
from console.tui.draw.moment import Moment
from console.tui.widgets.pane import Pane
from console.views.alerts import open_count

NAMES: Final = ("Nodes", "Progress", "Cost", "Log", "Alerts")
"""The panes in the order of their keys."""


class Tabs(Pane, can_focus=False):
    """One line; a click opens a pane."""

    current: reactive[int] = reactive(0, repaint=False, init=False)

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """All names; where they do not fit, numbers and the current name."""
        alerts = open_count(moment.run) if moment.run.live else len(moment.run.alerts)
        names = [f"Alerts {alerts}" if name == "Alerts" and alerts else name for name in NAMES]
        full = tuple(ink for index, name in enumerate(names) for ink in self._tab(index, name, alerts))
        short = tuple(
            ink
            for index, name in enumerate(names)
            for ink in self._tab(index, name if index == self.current else "", alerts)
        )
        return [first_that_fits([full, short], width)], ()

    def _tab(self, index: int, name: str, alerts: int) -> list[Ink]:
        label = f" {index + 1} {name} " if name else f" {index + 1} "
        tone = "chip-accent" if index == self.current else "warn" if index == 4 and alerts else "dim"
        return [(label, tone), (" ", "plain")]

    def watch_current(self) -> None:
        """Marks the current pane."""
        self.redraw()

    async def on_click(self, event: events.Click) -> None:
        """Shows the pane whose name was clicked."""
        end = 0
        for index, (text, _) in enumerate(self._head[0] if self._head else ()):
            end += cells(text)
            if event.x < end:
                await self.run_action(f"screen.pane({index // 2 + 1})")
                return
