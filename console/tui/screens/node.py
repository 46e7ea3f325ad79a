"""One node: everything that is known of it, what happened to it, and its part of the log."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.tui.moment import Moment
from console.tui.widgets.header import Header
from console.tui.widgets.keybar import KeyBar
from console.tui.widgets.log import LogPane
from console.tui.widgets.node_events import NodeEventsPane
from console.tui.widgets.node_facts import FactsPane
from console.tui.widgets.pane import Pane, Toned


class NodeScreen(Toned):
    """Esc goes back; left and right go to the neighbours."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.pop_screen", "back", id="node.back", tooltip="Back to all nodes"),
        Binding("left,h", "neighbour(-1)", "node before", id="node.previous", priority=True, tooltip="The node before"),
        Binding("right,l", "neighbour(1)", "next node", id="node.next", priority=True, tooltip="The next node"),
    ]

    def __init__(self, node: int, moment: Moment) -> None:
        super().__init__()
        self._node = node
        self._moment = moment

    @property
    def node(self) -> int:
        """The node that is shown."""
        return self._node

    def compose(self) -> ComposeResult:
        """The facts over the events and the log."""
        yield Header("header")
        yield FactsPane(self._node, classes="tile")
        yield NodeEventsPane(self._node, classes="tile")
        yield LogPane("log", classes="tile", node=self._node)
        yield KeyBar("keybar")

    def on_mount(self) -> None:
        """Shows the moment in which it was opened, without waiting for the next."""
        self.show(self._moment)

    def show(self, moment: Moment) -> None:
        """Draws the moment."""
        self._moment = moment
        for pane in self.query(Pane):
            pane.moment = moment

    def action_neighbour(self, by: int) -> None:
        """Opens another node in place of this one."""
        count = len(self._moment.run.nodes)
        if count:
            self.app.switch_screen(NodeScreen((self._node + by) % count, self._moment))
