"""The heat map: every processor of every node as a cell, and beside it what the node is doing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from console import state, views
from console.state import Node, Run
from console.tui import marks
from console.tui.ink import Ink, Line, bar, cells, clean, fit, flow, heat, right, spark, width_of
from console.tui.moment import Moment, address, on_gpus
from console.tui.widgets.pane import Pane

QUIET_S = 5.0
"""A node that should speak and has not for so long is marked."""


class NodesPane(Pane):
    """A row a node. The cursor is a node's number; Enter or a click on it opens the node."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", "Up", show=False, id="nodes.up", tooltip="The node above"),
        Binding("down,j", "cursor(1)", "Down", show=False, id="nodes.down", tooltip="The node below"),
        Binding("pageup", "cursor(-10)", "Ten up", show=False, id="nodes.page_up", tooltip="Ten nodes up"),
        Binding("pagedown", "cursor(10)", "Ten down", show=False, id="nodes.page_down", tooltip="Ten nodes down"),
        Binding("enter", "open", "Open node", id="nodes.open", tooltip="Everything about the node under the cursor"),
    ]

    cursor: reactive[int] = reactive(0, repaint=False, init=False)

    class Opened(Message):
        """The operator wants to see this node."""

        def __init__(self, node: int) -> None:
            super().__init__()
            self.node = node

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """Column titles, or while launching how far each stage is; then a row a node."""
        run = moment.run
        self.border_title = _title(run)
        if not run.nodes:
            text = moment.starting or "No hosts yet."
            return (), [((f" {clean(text)}", "dim"),)]
        columns = _columns(run, width)
        slow = {one.node: one for one in reversed(views.stragglers(run))} if run.live else {}
        # While a log stands still nobody speaks, and nobody is quiet.
        clock_runs = moment.play is None or moment.play.playing
        quiet = set(views.quiet(run, moment.now, QUIET_S)) if clock_runs else set()
        doomed = views.interruptions(run, moment.now)
        rows: list[Line] = []
        for node in run.nodes:
            note: Ink = ("", "plain")
            if node.node in doomed:
                note = (f"! gone in {views.clock(doomed[node.node])}{_replacement(node)}", "bad")
            elif node.node in quiet:
                note = (f"! quiet {views.clock(views.stale_s(node, moment.now))}", "warn")
            elif node.node in slow and node.status == "training":
                one = slow[node.node]
                note = (f"◂ {one.ratio:.1f}× slower: {one.reason}", "warn")
            rows.append(_row(node, columns, width, note, run.status == state.LAUNCHING and not node.ranks))
        return _head(run, columns, width, height), rows

    def marked(self, place: int) -> bool:
        """True for the cursor's row while the pane has the focus."""
        return place == self.cursor and self.has_focus

    def after_draw(self) -> None:
        """Keeps the cursor on a node that exists."""
        if self.cursor >= len(self.moment.run.nodes):
            self.set_reactive(NodesPane.cursor, max(0, len(self.moment.run.nodes) - 1))

    def action_cursor(self, by: int) -> None:
        """Moves the cursor and keeps it in sight."""
        self.cursor = max(0, min(len(self.moment.run.nodes) - 1, self.cursor + by))

    def watch_cursor(self) -> None:
        """Scrolls no further than needed."""
        room = self.scrollable_content_region.height - len(self._head)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif room > 0 and self.cursor >= top + room:
            self.scroll_to(y=self.cursor - room + 1, animate=False)
        self.redraw()

    def action_open(self) -> None:
        """Asks for the node's own screen."""
        if self.moment.run.nodes:
            self.post_message(self.Opened(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """The first click chooses a node, the second opens it."""
        offset = event.get_content_offset(self)
        place = None if offset is None else self.on_line(offset.y)
        if place is None:
            return
        if place == self.cursor and event.chain > 1:
            self.action_open()
        self.cursor = place

    def on_focus(self) -> None:
        """The cursor's row shows only with the focus."""
        self.redraw()

    def on_blur(self) -> None:
        """See `on_focus`."""
        self.redraw()


@dataclass(frozen=True, slots=True)
class _Columns:
    index: int
    address: int
    """0 where there is no room."""
    processors: int
    """The most of any node; 1 where CPUs are shown."""
    cell: int
    gpus: bool
    tail: tuple[tuple[str, int], ...]
    """Further columns with their widths: ``util``, ``mem``, ``step``, ``img/s``."""

    @property
    def map_width(self) -> int:
        return self.processors * self.cell


def _title(run: Run) -> str:
    if not run.nodes:
        return "1 Nodes"
    if not on_gpus(run):
        return f"1 Nodes · {len(run.nodes)} hosts, CPU"
    count = sum(_processors(node) for node in run.nodes)
    return f"1 Nodes · {len(run.nodes)} hosts, {count} GPUs" if count else f"1 Nodes · {len(run.nodes)} hosts, GPU"


def _processors(node: Node) -> int:
    if node.sample is not None and node.sample.gpu_util_pct:
        return len(node.sample.gpu_util_pct)
    return len(node.agent.gpu_names) if node.agent else 0


def _columns(run: Run, width: int) -> _Columns:
    gpus = on_gpus(run)
    most = max((_processors(node) for node in run.nodes), default=0) if gpus else 1
    if gpus and not most:
        most = (run.created.nproc_per_node if run.created else None) or 1
    index = max(2, len(str(len(run.nodes) - 1)))
    address_width = max((len(clean(address(node))) for node in run.nodes if node.address is not None), default=0)
    tail = [("util", 5), ("mem", 6), ("step", 6), ("img/s", 7)]
    fixed = 4 + index + 1
    cell = 4 if gpus and most <= 8 else 2 if gpus else 24
    # Give up, in this order: numbers in the cells, addresses, memory, images, the step.
    sizes = [size for size in ((4, 3, 2, 1) if gpus else (24, 16, 10, 6)) if size <= cell]
    plan = [(sizes[0], address_width), (sizes[min(1, len(sizes) - 1)], address_width)]
    plan += [(size, 0) for size in sizes]
    for wide, shown in plan:
        taken = fixed + (shown + 2 if shown else 0) + most * wide + sum(size for _, size in tail)
        if taken + 2 <= width:
            return _Columns(index, shown, most, wide, gpus, tuple(tail))
    cell = plan[-1][0]
    room = width - fixed - most * cell
    while tail and sum(size for _, size in tail) > room:
        tail.pop(next((place for place, (name, _) in enumerate(tail) if name in ("mem", "img/s")), -1))
    return _Columns(index, 0, most, cell, gpus, tuple(tail))


def _head(run: Run, columns: _Columns, width: int, height: int) -> list[Line]:
    inks: list[Ink] = [(" " * 3 + right("#", columns.index) + " ", "dim")]
    if columns.address:
        inks.append((fit("host", columns.address + 2), "dim"))
    if run.status != state.LAUNCHING or any(node.ranks for node in run.nodes):
        inks.append((fit("GPU" if columns.gpus else "CPU", columns.map_width), "dim"))
        inks += [(right(name, size), "dim") for name, size in columns.tail]
    else:
        inks.append(("stage", "dim"))
    lines: list[Line] = [tuple(inks)]
    if run.status == state.LAUNCHING and height > 6:
        lines = [((" ", "plain"), *line) for line in flow(map(_stage, views.stages(run)), width - 2)][:3] + lines
    return lines


def _stage(stage: views.Stage) -> Line:
    done = stage.nodes_done >= stage.nodes
    tone = "good" if done else "accent" if stage.detail or stage.nodes_done else "dim"
    return ((f"{clean(stage.name)} {stage.nodes_done}/{stage.nodes}", tone),)


def _replacement(node: Node) -> str:
    return {"ordered": ", another asked", "ready": ", another ready"}.get(node.replacement, "")


def _row(node: Node, columns: _Columns, width: int, note: Ink, launching: bool) -> Line:
    mark, tone = marks.node_mark(node.status)
    inks: list[Ink] = [(f" {mark} ", tone), (right(str(node.node), columns.index + 1) + " ", "plain")]
    if columns.address:
        inks.append((fit(clean(address(node)), columns.address + 2), "dim"))
    if node.status in marks.BROKEN:
        text = f"{node.status}: {clean(node.reason)}" if node.reason else node.status
        inks.append((f"{text}{_replacement(node)}", tone))
        return _cut(inks, width)
    if launching or node.status in ("waiting", "launching"):
        return _cut([*inks, *_launching(node, width - width_of(tuple(inks)))], width)
    inks += _cells(node, columns)
    tail = list(columns.tail)
    room = width - width_of(tuple(inks))
    while note[0] and tail and room - sum(size for _, size in tail) < cells(note[0]) + 2:
        tail.pop()
    inks += [(right(_figure(node, name), size), "plain" if name == "util" else "dim") for name, size in tail]
    if note[0]:
        inks.append((f"  {note[0]}", note[1]))
    return _cut(inks, width)


def _launching(node: Node, room: int) -> list[Ink]:
    if not node.stage:
        return [(node.status, "dim")]
    name = fit(clean(node.stage), min(12, max(4, room - 8)))
    total, detail = node.stage_total, clean(node.stage_detail)
    if total is not None and node.stage_done >= total:
        figure = f"{views.count(total)} " if total > 1 else ""
        return [(name + " ", "good"), (f"✓ {figure}{detail}", "dim")]
    if total is None or total < 2:
        # Nothing to measure: words say more than an empty bar.
        return [(name + " ", "accent"), (detail or "…", "plain")]
    figures = f" {views.count(node.stage_done)}/{views.count(total)} {detail}"
    length = max(0, min(20, room - cells(name) - 2 - cells(figures)))
    return [(name + " ", "accent"), *bar(node.stage_done / total, length), (figures, "dim")]


def _cells(node: Node, columns: _Columns) -> list[Ink]:
    sample = node.sample
    if not columns.gpus:
        # One processor a host: its last seconds say more than one big cell.
        history = node.util_history[-columns.map_width + 1 :]
        return [*spark(history, columns.map_width - 1), (" ", "plain")]
    said = sample.gpu_util_pct if sample is not None else ()
    inks: list[Ink] = []
    for place in range(columns.processors):
        pct = said[place] if place < len(said) else None
        step = heat(pct)
        if pct is None or step is None:
            inks.append((("·" if place < len(said) or not said else " ").center(columns.cell), "faint"))
        elif columns.cell >= 4:
            inks += [(f"{pct:3.0f}", f"heat-{step}"), (" " * (columns.cell - 3), "plain")]
        elif columns.cell == 3:
            # Two digits, so that neighbours stay apart: 99 stands for 100 too, which the node's own screen tells apart.
            inks += [(f"{min(99.0, pct):2.0f}", f"heat-{step}"), (" ", "plain")]
        else:
            glyph = "▁▂▃▄▅▆▇█"[max(0, min(7, int(pct * 8 / 100)))]
            inks.append((glyph * max(1, columns.cell - 1) + " " * (columns.cell - 1), f"spark-{step}"))
    return inks


def _figure(node: Node, name: str) -> str:
    if name == "util":
        return "—" if node.util_pct is None else f"{node.util_pct:.0f}%"
    if name == "mem":
        return _memory(node)
    if name == "step":
        return views.count(node.step)
    return "—" if node.img_per_s is None else views.count(round(node.img_per_s))


def _memory(node: Node) -> str:
    """Of the GPUs where there are any, of the host otherwise, in GiB."""
    sample = node.sample
    if sample is None:
        return "—"
    used = [value for value in sample.gpu_mem_used_mib if value is not None]
    mib = sum(used) if used else sample.mem_used_mib
    if mib is None:
        return "—"
    return f"{mib / 1024:.0f}G" if mib >= 10 * 1024 else f"{mib / 1024:.1f}G"


def _cut(inks: list[Ink], width: int) -> Line:
    line: list[Ink] = []
    for text, tone in inks:
        size = cells(text)
        if size > width:
            line.append((fit(text, width), tone))
            break
        line.append((text, tone))
        width -= size
    return tuple(line)
