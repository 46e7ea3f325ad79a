"""The fleet as a dense map: several nodes a line, a cell a GPU, so that a thousand are seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.format import count as count_
from console.state.run import Node, Run
from console.tui.draw import marks
from console.tui.draw.cells import cell, number_width
from console.tui.draw.ink import Ink, Line, clean, right
from console.tui.draw.moment import address
from console.tui.draw.node_rows import cut, figure, joined, memory, places
from console.views.metrics import Metric, Scale

_GAP = 2


@dataclass(frozen=True, slots=True)
class Grid:
    """Where every node is."""

    index: int
    places: int
    cell: int
    across: int
    """Nodes a line."""

    @property
    def block(self) -> int:
        """Columns from a node's beginning to the next one's."""
        return self.index + 2 + self.places * self.cell + _GAP

    def place(self, x: int, line: int) -> int | None:
        """Which of the nodes is at column `x` of a line, from 0; None between them."""
        across, rest = divmod(x - 1, self.block)
        inside = 0 <= across < self.across and rest < self.block - _GAP
        return line * self.across + across if inside else None


def plan(run: Run, metric: Metric, scale: Scale, count: int, width: int, height: int) -> Grid:
    """The widest cells with which all nodes fit in `height` lines; the narrowest where none do."""
    index = len(str(max(0, len(run.nodes) - 1)))
    most = places(run, metric)
    grid = Grid(index, most, 1, 1)
    for size in (number_width(metric, scale), 3, 2, 1):
        block = index + 2 + most * size + _GAP
        grid = Grid(index, most, size, max(1, (width - 1 + _GAP) // block))
        # One a line would be rows without their figures.
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
    """The nodes of one line; the one that is the cursor's is marked."""
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
            ("─" * (grid.places * grid.cell), "faint")
            if broken and place == 0
            else cell(metric, scale, values[place] if place < count else None, grid.cell, stale=stale)
            for place in range(1 if broken else grid.places)
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
