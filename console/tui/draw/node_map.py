"""The fleet as a dense map: several nodes a line, a cell for each GPU, so that a thousand are visible at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.format import count as count_
from console.state.run import Node, Run
from console.tui.draw import marks
from console.tui.draw.cells import cell, number_width
from console.tui.draw.ink import Ink, Line, clean, right
from console.tui.draw.moment import address
from console.tui.draw.node_rows import cell_count, cut, figure, joined, memory
from console.views.metrics import Metric, Scale

_GAP = 2


@dataclass(frozen=True, slots=True)
class Grid:
    """The layout of the map."""

    index: int
    """Columns of a node's number."""
    count: int
    """Cells of a node."""
    cell: int
    """Columns of a cell."""
    across: int
    """Nodes a line."""

    @property
    def block(self) -> int:
        """Columns of a node, with the gap to the next."""
        return self.index + 2 + self.count * self.cell + _GAP

    def index_at(self, x: int, line: int) -> int | None:
        """The index of the node at column `x` of a line; None between nodes."""
        across, rest = divmod(x - 1, self.block)
        inside = 0 <= across < self.across and rest < self.block - _GAP
        return line * self.across + across if inside else None


def plan(run: Run, metric: Metric, scale: Scale, count: int, width: int, height: int) -> Grid:
    """The widest cells with which all nodes fit in `height` lines; the narrowest where none do."""
    index = len(str(max(0, len(run.nodes) - 1)))
    most = cell_count(run, metric)
    grid = Grid(index, most, 1, 1)
    for size in (number_width(metric, scale), 3, 2, 1):
        block = index + 2 + most * size + _GAP
        grid = Grid(index, most, size, max(1, (width - 1 + _GAP) // block))
        # One node a line would be rows without their figures.
        if block <= width and -(-count // grid.across) <= height and (grid.across > 1 or count == 1):
            break
    return grid


def line(
    run: Run,
    nodes: Sequence[Node],
    cursor: int | None,
    troubles: marks.Troubles,
    metric: Metric,
    scale: Scale,
    grid: Grid,
    width: int,
) -> Line:
    """The nodes of one line, with the cursor's marked."""
    inks: list[Ink] = [(" ", "plain")]
    for node in nodes:
        mark, tone = troubles.mark(node)
        here = node.node == cursor
        stale = troubles.stale(node)
        label = right(str(node.node), grid.index) + ("▸" if here else " ")
        plain = mark == "●"
        inks.append((" " if plain else mark, tone))
        inks.append((label, "chip-accent" if here else "dim" if plain or stale else tone))
        values = metric.of(run, node)
        count = len(values)
        broken = node.status in marks.BROKEN
        inks += (
            ("─" * (grid.count * grid.cell), "faint")
            if broken and at == 0
            else cell(metric, scale, values[at] if at < count else None, grid.cell, stale=stale)
            for at in range(1 if broken else grid.count)
        )
        inks.append((" " * _GAP, "plain"))
    return cut(joined(inks[:-1]), width)


def about(run: Run, node: Node, troubles: marks.Troubles, metric: Metric, width: int) -> Line:
    """One line on the node under the cursor."""
    mark, tone = marks.node_mark(node.status)
    inks: list[Ink] = [(f" {mark} {node.node} ", tone), (f"{clean(address(node))} ", "dim")]
    if node.status in marks.BROKEN:
        inks.append((f"{node.status}: {clean(node.reason)}{marks.replacement(node)}", tone))
        return cut(inks, width)
    value = figure(run, node, metric, metric.key)
    unit = "" if metric.unit in ("", "%") else f" {metric.unit}"
    inks.append((f" {metric.title if metric.unit != metric.title else ''} {value}{unit}", "plain"))
    inks.append((f"  {memory(node)}  step {count_(node.step)}", "dim"))
    if metric.key != "img" and node.img_per_s is not None:
        inks.append((f"  {count_(round(node.img_per_s))} img/s", "dim"))
    note = troubles.note(node)
    if note[0]:
        inks.append((f"  {note[0]}", note[1]))
    return cut(inks, width)
