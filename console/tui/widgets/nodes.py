"""The whole fleet as one heat map, by any metric, sorted and filtered: rows while they fit, else a dense map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from console.state.run import Run
from console.tui.dialogs.filter import FilterPrompt
from console.tui.draw import marks, node_map, node_order, node_rows
from console.tui.draw.cells import legend
from console.tui.draw.ink import Line, Lines, clean, spread
from console.tui.draw.moment import Moment, on_gpus
from console.tui.widgets.columns import PaneColumns
from console.tui.widgets.pane import Pane
from console.views import filter as filters
from console.views import metrics
from console.views.metrics import Metric, Scale

EXAMPLES = "util<50 & node>8 · status=lost · temp>=80 | throttled · slow · any words"
_LEGEND_FROM = 9
"""Lines from which one is spent on the legend."""


class NodesPane(Pane):
    """The cursor is a node's number; Enter or a second click on it opens the node."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0, -1)", "Up", show=False, id="nodes.up", tooltip="The node above"),
        Binding("down,j", "move(0, 1)", "Down", show=False, id="nodes.down", tooltip="The node below"),
        Binding("left,h", "move(-1, 0)", "Left", show=False, id="nodes.left", tooltip="In the map: the node before"),
        Binding("right,l", "move(1, 0)", "Right", show=False, id="nodes.right", tooltip="In the map: the next node"),
        Binding("pageup", "move(0, -10)", "Ten up", show=False, id="nodes.page_up", tooltip="Ten lines up"),
        Binding("pagedown", "move(0, 10)", "Ten down", show=False, id="nodes.page_down", tooltip="Ten lines down"),
        Binding("enter", "open", "open node", id="nodes.open", tooltip="Everything about the node under the cursor"),
        Binding("m", "metric(1)", "metric", id="nodes.metric", tooltip="The next metric: SM activity, memory, power …"),
        Binding("M,shift+m", "metric(-1)", show=False, id="nodes.metric_before", tooltip="The metric before"),
        Binding("o", "order", "order", id="nodes.order", tooltip="Sort by the next: node, metric, img/s, lag, data …"),
        Binding("O,shift+o", "backwards", show=False, id="nodes.backwards", tooltip="Turn the order round"),
        Binding("v", "view", "map/rows", id="nodes.view", tooltip="A row a node, or a dense map of all"),
        Binding("slash", "filter", "filter", key_display="/", id="nodes.filter", tooltip=f"Filter: {EXAMPLES}"),
        Binding("escape", "unfilter", show=False, id="nodes.unfilter", tooltip="Show all nodes again"),
    ]

    cursor: reactive[int] = reactive(0, repaint=False, init=False)

    class Opened(Message):
        """The operator wants to see this node."""

        def __init__(self, node: int) -> None:
            super().__init__()
            self.node = node

    def __init__(self, name: str, *, classes: str | None = None) -> None:
        """`name` is its id in the stylesheet."""
        super().__init__(name, classes=classes)
        self._metric = "util"
        self._order = "node"
        self._backwards = False
        self._view = ""
        """``rows`` or ``map``; empty: rows while they fit."""
        self._filter = ""
        self._test: filters.Test[node_order.Seen] = lambda _: True
        self._shown_nodes: Sequence[int] = ()
        self._grid: node_map.Grid | None = None
        """Where nodes are, while a map is shown."""
        self._left: int | None = None
        """The node that the cursor had to leave because a filter hides it."""

    # --- drawing ---------------------------------------------------------------------------------------------------

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The legend and the columns' titles, or how far a launch is; then rows, or lines of the map."""
        run = moment.run
        self._grid = None
        if not run.nodes:
            self._shown_nodes = ()
            self.border_title = "1 Nodes"
            return (), [((f" {clean(moment.starting or 'No hosts yet.')}", "dim"),)]
        metric = self._present(run)
        scale = metric.scale(run)
        # While a log stands still nobody speaks, and nobody is quiet.
        troubles = marks.troubles(run, moment.now, clock_runs=moment.play is None or moment.play.playing)
        order = node_order.shown(moment, troubles, self._test, self._order, metric, backwards=self._backwards)
        self._shown_nodes = order
        self.border_title = self._title(run, metric)
        room = self._room(height)
        head = [self._legend(run, troubles, metric, scale, width)] if room >= _LEGEND_FROM else []
        if not order:
            return head, [((f" No node passes {clean(self._filter)} · Esc shows all", "warn"),)]
        rows_fit = len(order) + len(head) + 1 <= room
        if node_rows.launching(run) or self._view == "rows" or (not self._view and rows_fit):
            return self._rows_of(run, troubles, metric, scale, width, head)
        return self._map_of(run, troubles, metric, scale, width, room, head)

    def _rows_of(
        self, run: Run, troubles: marks.Troubles, metric: Metric, scale: Scale, width: int, head: list[Line]
    ) -> tuple[Sequence[Line], Sequence[Line]]:
        columns, order = node_rows.plan(run, metric, scale, width), self._shown_nodes
        if node_rows.launching(run):
            head = node_rows.stages(run, width) if head else []
        rows = Lines(
            len(order),
            lambda place: node_rows.row(run, run.nodes[order[place]], troubles, metric, scale, columns, width),
        )
        return [*head, node_rows.head(run, columns)], rows

    def _map_of(
        self, run: Run, troubles: marks.Troubles, metric: Metric, scale: Scale, width: int, room: int, head: list[Line]
    ) -> tuple[Sequence[Line], Sequence[Line]]:
        order, nodes = self._shown_nodes, run.nodes
        cursor = self.cursor if self.has_focus else None
        about = nodes[self.cursor if self.cursor in order else order[0]]
        head = [*head, node_map.about(run, about, troubles, metric, width)] if head else []
        grid = self._grid = node_map.plan(run, metric, scale, len(order), width, room - len(head))
        lines = -(-len(order) // grid.across)

        def line(place: int) -> Line:
            numbers = order[place * grid.across : (place + 1) * grid.across]
            return node_map.line(run, [nodes[one] for one in numbers], cursor, troubles, metric, scale, grid, width)

        return head, Lines(lines, line)

    def _present(self, run: Run) -> Metric:
        """The metric that was chosen, or utilisation where this fleet does not say it."""
        metric = metrics.metric(self._metric)
        return metric if metric in metrics.known(run) else metrics.metric("util")

    def _room(self, height: int) -> int:
        """Lines that the pane may take: where it is as high as its content, as many as its stylesheet allows."""
        parent = self.parent
        if not self.styles.is_auto_height or not isinstance(parent, PaneColumns):
            return height
        return max(height, parent.room(self) - self.gutter.height)

    def _title(self, run: Run, metric: Metric) -> str:
        count, gpus = len(run.nodes), on_gpus(run)
        what = "hosts, CPU"
        if gpus:
            cells = sum(len(node.sample.gpu_util_pct) if node.sample else 0 for node in run.nodes)
            cells = cells or sum(len(node.agent.gpu_names) if node.agent else 0 for node in run.nodes)
            what = f"hosts, {cells:,} GPUs" if cells else "hosts, GPU"
        title = f"1 Nodes · {count} {what}"
        return Content(" · ".join([title, *self._choices(run, metric)])).markup

    def _choices(self, run: Run, metric: Metric) -> list[str]:
        """What was chosen to be seen, where it is not all, by node."""
        choices: list[str] = []
        if self._order != "node" or self._backwards:
            by = metric.title if self._order == "metric" else self._order
            choices.append(f"by {by}{' ↑' if self._backwards else ''}")
        if self._filter:
            choices.append(f"{len(self._shown_nodes)} of {len(run.nodes)}: {clean(self._filter)}")
        return choices

    def _legend(self, run: Run, troubles: marks.Troubles, metric: Metric, scale: Scale, width: int) -> Line:
        right: Line = ()
        choices = [] if self.styles.border_top[0] else self._choices(run, metric)
        if choices:
            # Without a border there is no title to say it.
            right = ((f"{' · '.join(choices)} ", "accent"),)
        elif troubles.slow and not self._filter:
            slow = sorted(troubles.slow.values(), key=lambda one: -one.excess_s)
            words = ", ".join(f"{one.node} ({one.reason})" for one in slow[:3])
            right = ((f"◂ all wait for node {words}{' …' if len(slow) > 3 else ''} ", "warn"),)
        return spread(((" ", "plain"), *legend(metric, scale)), right, width)

    def marked(self, place: int) -> bool:
        """True for the cursor's row while the pane has the focus."""
        order = self._shown_nodes
        return self._grid is None and self.has_focus and place < len(order) and order[place] == self.cursor

    def after_draw(self) -> None:
        """Keeps the cursor on a node that is shown, and takes it back to where it was once that is shown again."""
        if self._left is not None and self._left in self._shown_nodes:
            self.set_reactive(NodesPane.cursor, self._left)
            self._left = None
        elif self._shown_nodes and self.cursor not in self._shown_nodes:
            self._left = self.cursor if self._left is None else self._left
            self.set_reactive(NodesPane.cursor, self._shown_nodes[0])

    # --- moving ----------------------------------------------------------------------------------------------------

    def action_move(self, across: int, down: int) -> None:
        """Moves the cursor and keeps it in sight; sideways only in a map."""
        order = self._shown_nodes
        if not order:
            return
        at = order.index(self.cursor) if self.cursor in order else 0
        step = down * self._grid.across + across if self._grid is not None else down
        if self._grid is not None and not 0 <= at + step < len(order) and abs(down) == 1:
            return
        self.cursor = order[max(0, min(len(order) - 1, at + step))]

    def watch_cursor(self) -> None:
        """Scrolls no further than needed."""
        self._left = None
        order = self._shown_nodes
        line = order.index(self.cursor) if self.cursor in order else 0
        if self._grid is not None:
            line //= self._grid.across
        room = self.scrollable_content_region.height - len(self._head)
        top = self.scroll_offset.y
        if line < top:
            self.scroll_to(y=line, animate=False)
        elif room > 0 and line >= top + room:
            self.scroll_to(y=line - room + 1, animate=False)
        self.redraw()

    def action_open(self) -> None:
        """Asks for the node's own screen."""
        if self._shown_nodes:
            self.post_message(self.Opened(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """The first click chooses a node, the second opens it."""
        offset = event.get_content_offset(self)
        place = None if offset is None else self.on_line(offset.y)
        if place is None or offset is None:
            return
        if self._grid is not None:
            place = self._grid.place(offset.x, place)
        if place is None or place >= len(self._shown_nodes):
            return
        node = self._shown_nodes[place]
        if node == self.cursor and event.chain > 1:
            self.action_open()
        self.cursor = node

    def on_focus(self) -> None:
        """The cursor's row shows only with the focus."""
        self.redraw()

    def on_blur(self) -> None:
        """See `on_focus`."""
        self.redraw()

    # --- what is shown ---------------------------------------------------------------------------------------------

    def action_metric(self, by: int) -> None:
        """The next metric of those that this fleet says."""
        run = self.moment.run
        keys = [metric.key for metric in metrics.known(run)]
        self._metric = keys[(keys.index(self._present(run).key) + by) % len(keys)]
        self.redraw()

    def action_order(self) -> None:
        """Another order, of those for which this fleet says something."""
        run = self.moment.run
        known = {"node", "metric", "status", *(metric.key for metric in metrics.known(run))} - {self._present(run).key}
        orders = [order for order in node_order.ORDERS if order in known]
        at = orders.index(self._order) if self._order in orders else 0
        self._order = orders[(at + 1) % len(orders)]
        self.redraw()

    def action_backwards(self) -> None:
        """The same order from its other end."""
        self._backwards = not self._backwards
        self.redraw()

    def action_view(self) -> None:
        """From rows to the map, and back."""
        self._view = "rows" if self._grid is not None else "map"
        self.scroll_to(y=0, animate=False)
        self.redraw()
        self.watch_cursor()

    def action_filter(self) -> None:
        """Asks which nodes to show; they show while it is typed."""
        self.app.push_screen(FilterPrompt(self._filter, EXAMPLES, self._judge))

    def action_unfilter(self) -> None:
        """All nodes again."""
        self._judge("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a filter, Esc is the screen's."""
        return bool(self._filter) if action == "unfilter" else True

    def _judge(self, typed: str) -> tuple[str, bool]:
        try:
            test = filters.parse(typed, node_order.FIELDS)
        except filters.Wrong as wrong:
            return str(wrong), False
        self._filter, self._test = typed.strip(), test
        self.redraw()
        self.screen.refresh_bindings()
        return f"{len(self._shown_nodes)} of {len(self.moment.run.nodes)}", True
