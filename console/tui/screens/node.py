"""One node: its facts, its events, and its part of the log."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.tui import keys
from console.tui.draw.moment import Moment
from console.tui.screens import playback
from console.tui.screens.playback import Playback
from console.tui.screens.source_screen import SourceScreen
from console.tui.widgets.header import Header
from console.tui.widgets.keybar import KeyBar
from console.tui.widgets.log import LogPane
from console.tui.widgets.node_events import NodeEventsPane
from console.tui.widgets.node_facts import FactsPane
from console.tui.widgets.pane import Pane
from console.tui.widgets.timeline import Timeline


class NodeScreen(Playback):
    """Esc goes back, left and right switch nodes, the playback keys are those of the run's screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.pop_screen", "back", id="node.back", tooltip="Back to all nodes"),
        Binding("left,h", "neighbour(-1)", "previous node", id="node.previous", priority=True, tooltip="Previous node"),
        Binding("right,l", "neighbour(1)", "next node", id="node.next", priority=True, tooltip="Next node"),
        *keys.PLAY,
    ]

    def __init__(self, node: int, over: SourceScreen) -> None:
        """`over`: the screen below, whose source it shows."""
        super().__init__(read_only=over.read_only)
        self._node = node
        self.source, self.moment, self.compared = over.source, over.moment, over.compared

    @property
    def node(self) -> int:
        """The node that is shown."""
        return self._node

    def compose(self) -> ComposeResult:
        """The facts over the events and the log."""
        yield Header("header")
        yield Timeline("timeline")
        yield FactsPane(self._node, classes="tile")
        yield NodeEventsPane(self._node, classes="tile")
        yield LogPane("log", classes="tile", node=self._node)
        yield KeyBar("keybar")

    def on_mount(self) -> None:
        """Shows the moment at which it was opened."""
        self.show(self.moment)

    def show(self, moment: Moment) -> None:
        """Draws the moment."""
        self.moment = moment
        for pane in self.query(Pane):
            pane.moment = moment
        self.show_clock(moment)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """At the present of a live run few playback keys apply."""
        return self.may_play(action) if action in playback.ACTIONS else True

    def action_neighbour(self, by: int) -> None:
        """Shows the next or the previous node instead."""
        count = len(self.moment.run.nodes)
        if count:
            self.app.switch_screen(NodeScreen((self._node + by) % count, self))
