"""The run's screen: header, panes and keys, over a `Source`."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from console.playback.source import Player
from console.tui import keys
from console.tui.draw.moment import Moment
from console.tui.screens import controls, playback
from console.tui.screens.comparison import ComparisonScreen
from console.tui.screens.controls import Controls
from console.tui.screens.layout import Layout
from console.tui.screens.node import NodeScreen
from console.tui.screens.playback import Playback
from console.tui.widgets.alerts import AlertsPane, AlertStrip, strip_alert
from console.tui.widgets.columns import PaneColumns
from console.tui.widgets.cost import CostPane
from console.tui.widgets.header import Header
from console.tui.widgets.keybar import KeyBar
from console.tui.widgets.log import LogPane
from console.tui.widgets.nodes import NodesPane
from console.tui.widgets.pane import Pane
from console.tui.widgets.progress import ProgressPane
from console.tui.widgets.summary import SummaryPanel
from console.tui.widgets.tabs import Tabs
from console.tui.widgets.timeline import Timeline


class RunScreen(Layout, Controls, Playback, ComparisonScreen):
    """All of a run: its panes, its controls, its clock."""

    # In one list: Textual lets a class's key replace all that its bases have on the same key, and space is on two.
    BINDINGS: ClassVar[list[BindingType]] = [*keys.RUN, *keys.PLAY, *keys.PANES]

    AUTO_FOCUS = "#nodes"

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._composed = False
        self._summary_closed = False
        """The summary panel was closed."""

    def compose(self) -> ComposeResult:
        """Header, panes in two columns, keys."""
        yield Header("header")
        yield AlertStrip("strip")
        yield Timeline("timeline")
        yield SummaryPanel("summary")
        yield Tabs("tabs")
        yield PaneColumns(
            NodesPane("nodes", classes="tile"),
            LogPane("log", classes="tile"),
            ProgressPane("progress", classes="tile"),
            CostPane("cost", classes="tile"),
            AlertsPane("alerts", classes="tile"),
        )
        yield KeyBar("keybar")

    def on_mount(self) -> None:
        """Draws the moment that it was given before it was composed."""
        self._composed = True
        self.show(self.moment)

    def show(self, moment: Moment) -> None:
        """Draws the moment. Called inside the app's `batch_update`."""
        before, self.moment = self.moment, moment
        if not self._composed:
            return
        run = moment.run
        if run.live:
            self._summary_closed = False
        summary = not run.live and not self._summary_closed
        self.query_one("#summary").display = summary
        # The summary panel shows the first failure itself.
        self.query_one("#strip").display = strip_alert(moment) is not None and not summary
        if (before.play is None) != (moment.play is None) or before.controls != moment.controls:
            self.refresh_bindings()
        for pane in self.query(Pane):
            pane.moment = moment
        self.show_clock(moment)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Run keys apply to a live run (a log explains why not), playback keys to a log or to a live run's past."""
        if action in controls.ACTIONS:
            log = isinstance(self.source, Player) and self.source.present is None
            return not self.read_only and not (action == "pause" and log)
        if action in playback.ACTIONS:
            return self.may_play(action)
        return True

    def action_back(self) -> None:
        """Closes the summary panel, then ends the zoom."""
        summary = self.query_one("#summary")
        if summary.display:
            self._summary_closed = True
            summary.display = False
        else:
            self.end_zoom()

    def on_alerts_pane_chosen(self, event: AlertsPane.Chosen) -> None:
        """Opens the alert's node, or seeks to its time."""
        alert = event.alert
        if event.moment or alert.node is None:
            self.seek(alert.received_t, hold=True)
        else:
            self.app.push_screen(NodeScreen(alert.node, self))

    def on_nodes_pane_opened(self, event: NodesPane.Opened) -> None:
        """Opens a node."""
        self.app.push_screen(NodeScreen(event.node, self))
