"""The whole fleet as one heat map, by any metric, sorted and filtered: rows while they fit, else a dense map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from console.state.run import Run
from console.tui.draw import marks, node_map, node_order, node_rows
from console.tui.draw.cells import legend
from console.tui.draw.ink import Line, Lines, clean, spread
from console.tui.draw.moment import Moment, on_gpus
from console.tui.widgets.columns import PaneColumns
from console.tui.widgets.list_pane import FilteredPane
from console.views import metrics
from console.views.metrics import Metric, Scale

_LEGEND_FROM = 9
"""Lines from which there is room for the legend."""


class NodesPane(FilteredPane[node_order.Seen]):
    """The cursor is a node's number; Enter or a second click on it opens the node."""

    EXAMPLE = "util<50 & node>8 · status=lost · temp>=80 | throttled · slow · any words"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0, -1)", "Up", show=False, id="nodes.up", tooltip="Node up"),
        Binding("down,j", "move(0, 1)", "Down", show=False, id="nodes.down", tooltip="Node down"),
        Binding("left,h", "move(-1, 0)", "Left", show=False, id="nodes.left", tooltip="Map: node left"),
        Binding("right,l", "move(1, 0)", "Right", show=False, id="nodes.right", tooltip="Map: node right"),
        Binding("pageup", "move(0, -10)", "Ten up", show=False, id="nodes.page_up", tooltip="10 lines up"),
        Binding("pagedown", "move(0, 10)", "Ten down", show=False, id="nodes.page_down", tooltip="10 lines down"),
        Binding("enter", "open", "open node", id="nodes.open", tooltip="Node details"),
        Binding("m", "metric(1)", "metric", id="nodes.metric", tooltip="Next metric: SM activity, memory, power …"),
        Binding("M,shift+m", "metric(-1)", show=False, id="nodes.metric_before", tooltip="Previous metric"),
        Binding("o", "order", "order", id="nodes.order", tooltip="Next sort key: node, metric, img/s, lag, data …"),
        Binding("O,shift+o", "backwards", show=False, id="nodes.backwards", tooltip="Reverse order"),
        Binding("v", "view", "map/rows", id="nodes.view", tooltip="Toggle rows and dense map"),
        Binding("slash", "filter", "filter", key_display="/", id="nodes.filter", tooltip=f"Filter: {EXAMPLE}"),
        Binding("escape", "unfilter", show=False, id="nodes.unfilter", tooltip="Clear filter"),
    ]

    cursor: reactive[int] = reactive(0, repaint=False, init=False)

    class Opened(Message):
        """The operator opened this node."""

        def __init__(self, node: int) -> None:
            super().__init__()
            self.node = node

    def __init__(self, name: str, *, classes: str | None = None) -> None:
        """`name` is its id in the stylesheet."""
        super().__init__(name, node_order.FIELDS, classes=classes)
        self._metric = "util"
        self._order = "node"
        self._backwards = False
        self._view = ""
        """``rows`` or ``map``; empty: rows while they fit."""
        self._shown_nodes: Sequence[int] = ()
        self._grid: node_map.Grid | None = None
        """The map's layout, while it is shown."""
        self._left: int | None = None
        """The node that the cursor left because a filter hides it."""

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
        # While playback is paused no node reports, so none counts as quiet.
        troubles = marks.troubles(run, moment.now, clock_runs=moment.play is None or moment.play.playing)
        order = node_order.shown(moment, troubles, self.test, self._order, metric, backwards=self._backwards)
        self._shown_nodes = order
        self.border_title = self._title(run, metric)
        room = self._room(height)
        head = [self._legend(run, troubles, metric, scale, width)] if room >= _LEGEND_FROM else []
        if not order:
            return head, [((f" No node matches {clean(self.typed)} · Esc clears the filter", "warn"),)]
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
            lambda index: node_rows.row(run, run.nodes[order[index]], troubles, metric, scale, columns, width),
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

        def line(index: int) -> Line:
            numbers = order[index * grid.across : (index + 1) * grid.across]
            return node_map.line(
                run, [nodes[number] for number in numbers], cursor, troubles, metric, scale, grid, width
            )

        return head, Lines(lines, line)

    def _present(self, run: Run) -> Metric:
        """The chosen metric, or utilisation where this fleet does not report it."""
        metric = metrics.metric(self._metric)
        return metric if metric in metrics.known(run) else metrics.metric("util")

    def _room(self, height: int) -> int:
        """Lines that the pane may take: as many as the layout allows where its height follows its content."""
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
        """The order and the filter, where they are not the defaults."""
        choices: list[str] = []
        if self._order != "node" or self._backwards:
            by = metric.title if self._order == "metric" else self._order
            choices.append(f"by {by}{' ↑' if self._backwards else ''}")
        if self.typed:
            choices.append(f"{len(self._shown_nodes)} of {len(run.nodes)}: {clean(self.typed)}")
        return choices

    def _legend(self, run: Run, troubles: marks.Troubles, metric: Metric, scale: Scale, width: int) -> Line:
        right: Line = ()
        choices = [] if self.styles.border_top[0] else self._choices(run, metric)
        if choices:
            # Without a border there is no title to say it.
            right = ((f"{' · '.join(choices)} ", "accent"),)
        elif troubles.slow and not self.typed:
            slow = sorted(troubles.slow.values(), key=lambda straggler: -straggler.excess_s)
            words = ", ".join(f"{straggler.node} ({straggler.reason})" for straggler in slow[:3])
            right = ((f"◂ waiting for node {words}{' …' if len(slow) > 3 else ''} ", "warn"),)
        return spread(((" ", "plain"), *legend(metric, scale)), right, width)

    def marked(self, index: int) -> bool:
        """True for the cursor's row while the pane has the focus; the map marks it itself."""
        return self._grid is None and self.has_focus and self.has_cursor(index)

    def has_cursor(self, row: int) -> bool:
        """True where the cursor is on this one of the shown nodes."""
        return row < len(self._shown_nodes) and self._shown_nodes[row] == self.cursor

    def after_draw(self) -> None:
        """Keeps the cursor on a node that is shown, and returns it to its node once that is shown again."""
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
        """Scrolls the cursor into view."""
        self._left = None
        order = self._shown_nodes
        line = order.index(self.cursor) if self.cursor in order else 0
        if self._grid is not None:
            line //= self._grid.across
        self.scroll_into_view(line, line)
        self.redraw()

    def action_open(self) -> None:
        """Asks for the node's own screen."""
        if self._shown_nodes:
            self.post_message(self.Opened(self.cursor))

    def row_at(self, x: int, line: int) -> int | None:
        """The index among the shown nodes; in the map a line has several."""
        index = line if self._grid is None else self._grid.index_at(x, line)
        return index if index is not None and index < len(self._shown_nodes) else None

    def choose(self, row: int) -> None:
        """Moves the cursor to one of the shown nodes."""
        self.cursor = self._shown_nodes[row]

    # --- what is shown ---------------------------------------------------------------------------------------------

    def action_metric(self, by: int) -> None:
        """The next metric of those that this fleet reports."""
        run = self.moment.run
        keys = [metric.key for metric in metrics.known(run)]
        self._metric = keys[(keys.index(self._present(run).key) + by) % len(keys)]
        self.redraw()

    def action_order(self) -> None:
        """The next sort key of those that this fleet reports."""
        run = self.moment.run
        known = {"node", "metric", "status", *(metric.key for metric in metrics.known(run))} - {self._present(run).key}
        orders = [order for order in node_order.ORDERS if order in known]
        at = orders.index(self._order) if self._order in orders else 0
        self._order = orders[(at + 1) % len(orders)]
        self.redraw()

    def action_backwards(self) -> None:
        """Reverses the order."""
        self._backwards = not self._backwards
        self.redraw()

    def action_view(self) -> None:
        """From rows to the map, and back."""
        self._view = "rows" if self._grid is not None else "map"
        self.scroll_to(y=0, animate=False)
        self.redraw()
        self.watch_cursor()

    def count_found(self) -> str:
        """How many nodes pass the filter, of how many."""
        return f"{len(self._shown_nodes)} of {len(self.moment.run.nodes)}"

    def action_unfilter(self) -> None:
        """Shows all nodes."""
        self.apply_filter("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a filter, Esc is the screen's."""
        return bool(self.typed) if action == "unfilter" else True
