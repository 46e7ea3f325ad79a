"""The fleet with a row for each node: cells, last minute, figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from console.format import count as count_
from console.state.run import Node, Run
from console.state.status import LAUNCHING, NODE_STARTING
from console.tui.draw import marks
from console.tui.draw.cells import cell, number_width
from console.tui.draw.ink import Ink, Line, bar, cells, clean, fit, flow, right, trend, width_of
from console.tui.draw.moment import address, on_gpus
from console.views import nodes
from console.views.metrics import Metric, Scale, said


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a row, with their widths."""

    index: int
    address: int
    """0 where there is no room."""
    count: int
    """Cells of a row: the most GPUs or ranks of any node; 1 where CPUs are shown."""
    cell: int
    """Columns of a cell; 0 where the only cell is shown as its last seconds."""
    trend: int
    """Columns of the last minute; 0 where there is no room."""
    gpus: bool
    tail: tuple[tuple[str, int], ...]
    """Further columns with their widths: ``util``, ``mem``, ``step``, ``img/s``, ``data``."""

    @property
    def map_width(self) -> int:
        return self.count * self.cell


def cell_count(run: Run, metric: Metric) -> int:
    """The most values of any node."""
    most = max((len(metric.of(run, node)) for node in run.nodes), default=0)
    if most or not on_gpus(run):
        return max(1, most)
    named = max((len(node.agent.gpu_names) for node in run.nodes if node.agent), default=0)
    return named or (run.created.nproc_per_node if run.created else None) or 1


def plan(run: Run, metric: Metric, scale: Scale, width: int) -> Columns:
    """The columns that fit. Dropped in this order: numbers in the cells, addresses, memory, img/s, the step."""
    gpus, most = on_gpus(run), cell_count(run, metric)
    index = max(2, len(str(len(run.nodes) - 1)))
    address_width = max((len(clean(address(node))) for node in run.nodes if node.address is not None), default=0)
    figure = max(6, cells(said(metric, scale.high)) + 2)
    tail = [(metric.key, figure), ("mem", 6), ("step", 7), ("img", 7)]
    if metric.key in ("mem", "img"):
        tail = [tail[0], *(column for column in tail[1:] if column[0] != metric.key)]
    fixed = 4 + index + 1
    alone = not gpus and most == 1 and bool(run.nodes)
    wide = 0 if alone else number_width(metric, scale)
    sizes = [0] if alone else [size for size in (wide, 3, 2, 1) if size <= (wide if most <= 8 else 2)]
    options = [(sizes[0], address_width), (sizes[min(1, len(sizes) - 1)], address_width)]
    options += [(size, 0) for size in sizes]
    trends = (24, 16, 10, 6) if alone else (0,)
    for size, shown in options:
        for last in trends:
            taken = fixed + (shown + 2 if shown else 0) + most * size + last + sum(size for _, size in tail)
            if taken + 2 <= width:
                room = width - taken - 3
                # The rest shows the last minute, but a note on what is wrong has to fit there too.
                spark = last or (min(room, 20) if room >= 8 else 0)
                return Columns(index, shown, most, size, spark, gpus, tuple(tail))
    size, last = sizes[-1], trends[-1]
    room = width - fixed - most * size - last
    while tail and sum(size for _, size in tail) > room:
        tail.pop(next((at for at, (name, _) in enumerate(tail) if name in ("mem", "img")), -1))
    return Columns(index, 0, most, size, last, gpus, tuple(tail))


_TITLES = {"util": "util", "img": "img/s", "mem": "mem", "data": "data"}


def head(run: Run, columns: Columns) -> Line:
    """The columns' titles."""
    inks: list[Ink] = [(" " * 3 + right("#", columns.index) + " ", "dim")]
    if columns.address:
        inks.append((fit("host", columns.address + 2), "dim"))
    if launching(run):
        return (*inks, ("stage", "dim"))
    what = "GPU" if columns.gpus else "CPU"
    if not columns.cell:
        return (
            *inks,
            (fit(what, columns.trend), "dim"),
            *((right(_TITLES.get(name, name), size), "dim") for name, size in columns.tail),
        )
    inks.append((fit(what, columns.map_width), "dim"))
    inks += [(right(_TITLES.get(name, name), size), "dim") for name, size in columns.tail]
    if columns.trend:
        inks.append((f"  {fit('last minute' if columns.trend > 10 else 'past', columns.trend)}", "dim"))
    return tuple(inks)


def stages(run: Run, width: int) -> list[Line]:
    """The launch's stages with their counts."""
    return [((" ", "plain"), *line) for line in flow(map(_stage, nodes.stages(run)), width - 2)][:3]


def launching(run: Run) -> bool:
    """True while rows show the launch's stages instead of figures."""
    return run.status == LAUNCHING and not any(node.ranks for node in run.nodes)


def _stage(stage: nodes.Stage) -> Line:
    done = stage.nodes_done >= stage.nodes
    tone = "good" if done else "accent" if stage.detail or stage.nodes_done else "dim"
    return ((f"{clean(stage.name)} {stage.nodes_done}/{stage.nodes}", tone),)


def row(
    run: Run, node: Node, troubles: marks.Troubles, metric: Metric, scale: Scale, columns: Columns, width: int
) -> Line:
    """One node."""
    mark, tone = marks.node_mark(node.status)
    stale = troubles.stale(node)
    inks: list[Ink] = [
        (f" {mark} ", tone),
        (right(str(node.node), columns.index + 1) + " ", "dim" if stale else "plain"),
    ]
    if columns.address:
        inks.append((fit(clean(address(node)), columns.address + 2), "dim"))
    if node.status in marks.BROKEN:
        text = f"{node.status}: {clean(node.reason)}" if node.reason else node.status
        inks.append((f"{text}{marks.replacement(node)}", tone))
        return cut(inks, width)
    if (run.status == LAUNCHING and not node.ranks) or node.status in NODE_STARTING:
        return cut([*inks, *_launching(node, width - width_of(tuple(inks)))], width)
    if columns.cell:
        values = metric.of(run, node)
        count = len(values)
        inks += joined(
            cell(metric, scale, values[at] if at < count else None, columns.cell, stale=stale)
            if at < count or not count
            else (" " * columns.cell, "plain")
            for at in range(columns.count)
        )
    else:
        inks += [_trend(node, metric, scale, columns.trend - 1, stale=stale), (" ", "plain")]
    note = troubles.note(node)
    tail = list(columns.tail)
    room = width - width_of(tuple(inks))
    while note[0] and tail and room - sum(size for _, size in tail) < cells(note[0]) + 2:
        tail.pop()
    for at, (name, size) in enumerate(tail):
        inks.append(
            (
                right(figure(run, node, metric if name == metric.key else None, name), size),
                "dim" if at or stale else "plain",
            )
        )
    if note[0]:
        inks.append((f"  {note[0]}", note[1]))
    elif columns.cell and columns.trend:
        inks += [("  ", "plain"), _trend(node, metric, scale, columns.trend, stale=stale)]
    return cut(inks, width)


def _trend(node: Node, metric: Metric, scale: Scale, width: int, *, stale: bool) -> Ink:
    values = metric.past(node, width)
    last = values[-1] if values else None
    shares = [None if value is None else scale.share(_per_cell(node, metric, value)) for value in values]
    tone = "faint" if last is None else "stale" if stale else f"spark-{scale.step(_per_cell(node, metric, last))}"
    return trend(shares, width), tone


def _per_cell(node: Node, metric: Metric, value: float) -> float:
    """A node's value on the scale of its cells: power and img/s are sums over them."""
    if metric.key == "power" and node.sample is not None:
        return value / max(1, len(node.sample.gpu_power_w))
    return value / max(1, len(node.ranks)) if metric.key == "img" else value


def joined(inks: Iterable[Ink]) -> list[Ink]:
    """The inks with neighbours of one tone joined: every later stage costs by the piece."""
    pieces: list[Ink] = []
    for text, tone in inks:
        if pieces and pieces[-1][1] == tone:
            pieces[-1] = (pieces[-1][0] + text, tone)
        else:
            pieces.append((text, tone))
    return pieces


def _launching(node: Node, room: int) -> list[Ink]:
    if not node.stage:
        return [(node.status, "dim")]
    name = fit(clean(node.stage), min(12, max(4, room - 8)))
    total, detail, words = node.stage_total, clean(node.stage_detail), nodes.stage_words(node)
    if total is not None and node.stage_done >= total:
        count = f"{count_(total)} " if total > 1 else ""
        return [(name + " ", "good"), (f"✓ {count}{detail}", "dim")]
    if total is None or total < 2:
        # No total: words say more than an empty bar.
        return [(name + " ", "accent"), (words or "…", "plain")]
    figures = f" {words}"
    length = max(0, min(20, room - cells(name) - 2 - cells(figures)))
    return [(name + " ", "accent"), *bar(node.stage_done / total, length), (figures, "dim")]


def figure(run: Run, node: Node, metric: Metric | None, name: str) -> str:
    """A figure of the whole node; percentages with their sign."""
    if metric is not None:
        value = metric.of_node(run, node)
        return said(metric, value) + ("%" if metric.unit == "%" and value is not None else "")
    if name == "mem":
        return memory(node)
    if name == "step":
        return count_(node.step)
    return "—" if node.img_per_s is None else count_(round(node.img_per_s))


def memory(node: Node) -> str:
    """Of the GPUs where there are any, of the host otherwise, in GiB."""
    sample = node.sample
    if sample is None:
        return "—"
    used = [value for value in sample.gpu_mem_used_mib if value is not None]
    mib = sum(used) if used else sample.mem_used_mib
    if mib is None:
        return "—"
    return f"{mib / 1024:.0f}G" if mib >= 10 * 1024 else f"{mib / 1024:.1f}G"


def cut(inks: Iterable[Ink], width: int) -> Line:
    """The inks in at most `width` columns."""
    line: list[Ink] = []
    for text, tone in inks:
        size = cells(text)
        if size > width:
            line.append((fit(text, width), tone))
            break
        line.append((text, tone))
        width -= size
    return tuple(line)
