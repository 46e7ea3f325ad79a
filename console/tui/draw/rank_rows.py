"""A node's ranks with the parts of their step time, and its busiest processes."""

from __future__ import annotations

from typing import Final

from console.format import count
from console.state.run import Node, Rank, Run
from console.tui.draw.ink import Ink, Line, clean, fit, right
from console.views import metrics, stragglers

PARTS: Final = (
    ("data", "▒", "warn"),
    ("compute", "█", "spark-7"),
    ("all-reduce wait", "░", "accent"),
    ("optimizer", "▓", "top1"),
    ("other", "·", "faint"),
)
"""Parts of a step with their signs, which differ in shape, and their tones."""


def lines(run: Run, node: Node, width: int) -> list[Line]:
    """The section, its titles first; empty before there are ranks."""
    if not node.ranks:
        return []
    memory = any(rank.mem_used_mib is not None for rank in node.ranks)
    columns = [("rank", 6), ("device", 9), ("pid", 8), ("step", 9), ("behind", 8), ("img/s", 8), ("step time", 10)]
    columns += [("memory", 9)] if memory else []
    while len(columns) > 4 and sum(size for _, size in columns) > width:
        columns.pop(next((at for at, (name, _) in enumerate(columns) if name in ("behind", "memory")), -1))
    room = width - sum(size for _, size in columns) - 2
    split = min(40, room) if room >= 10 else 0
    title: list[Ink] = [
        (fit(name, size) if name in ("rank", "device") else right(name, size), "dim") for name, size in columns
    ]
    if split:
        title += [("  ", "plain"), *legend(room)]
    slow = {straggler.rank: straggler for straggler in stragglers.of(run)} if run.live else {}
    table: list[Line] = [(), tuple(title)]
    for rank in node.ranks:
        inks = [_figure(run, rank, name, size) for name, size in columns]
        if split:
            inks += [("  ", "plain"), *bar(rank, split)]
        left = room - split - 2
        straggler = slow.get(rank.rank)
        if straggler is not None:
            text = f"  ◂ {straggler.reason}: +{straggler.excess_s * 1000:,.0f} ms/step"
            inks.append((fit(text, left).rstrip() if left > 8 else "", "warn"))
        table.append(tuple(inks))
    if not split:
        table += [((fit(f"rank {rank.rank}", 9), "dim"), *bar(rank, max(0, width - 9))) for rank in node.ranks]
        table.append(legend(width))
    return table


def legend(width: int) -> Line:
    """The signs' meanings, as many as fit."""
    inks: list[Ink] = []
    for name, sign, tone in PARTS:
        text = f"{sign} {name}  "
        width -= len(text)
        if width < 0:
            break
        inks.append((text, tone))
    return tuple(inks)


def _figure(run: Run, rank: Rank, name: str, size: int) -> Ink:
    if name == "rank":
        return fit(str(rank.rank), size), "strong"
    if name == "device":
        return fit(clean(rank.device), size), "dim"
    if name == "pid":
        return right(str(rank.pid), size), "dim"
    if name == "step":
        return right(count(rank.step), size), "plain"
    if name == "behind":
        first = metrics.front(run)
        behind = None if rank.step is None or first is None else first - rank.step
        return right(count(behind), size), "dim"
    if name == "img/s":
        return right("—" if rank.img_per_s is None else count(round(rank.img_per_s)), size), "plain"
    if name == "memory":
        return right("—" if rank.mem_used_mib is None else f"{rank.mem_used_mib / 1024:.1f} G", size), "plain"
    return right(_ms(rank.step_s), size), "plain"


def _ms(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds * 1000:,.0f} ms"


def bar(rank: Rank, width: int) -> Line:
    """The rank's step as a bar of its parts."""
    step_s = rank.step_s
    if step_s is None or step_s <= 0 or width <= 0:
        return (("—", "faint"),)
    seconds = [rank.data_s, stragglers.own_compute_s(rank), rank.allreduce_s, rank.optimizer_s]
    inks: list[Ink] = []
    taken, so_far = 0, 0.0
    for (_, sign, tone), part in zip(PARTS, seconds, strict=False):
        so_far += part or 0.0
        end = min(width, round(so_far / step_s * width))
        if end > taken:
            inks.append((sign * (end - taken), tone))
            taken = end
    _, sign, tone = PARTS[-1]
    return (*inks, (sign * (width - taken), tone))


def processes(node: Node, width: int) -> list[Line]:
    """The busiest processes, each with its rank; empty before the host reported any."""
    busiest = node.processes
    if busiest is None or not busiest.pids:
        return []
    ranks = {rank.pid: f"rank {rank.rank}" for rank in node.ranks}
    table: list[Line] = [(), ((fit("process", 18) + right("pid", 8) + right("CPU", 8) + right("memory", 10), "dim"),)]
    for pid, name, cpu_pct, mem_mib in zip(busiest.pids, busiest.names, busiest.cpu_pct, busiest.mem_mib, strict=False):
        cpu = "—" if cpu_pct is None else f"{cpu_pct:.0f} %"
        memory = "—" if mem_mib is None else f"{mem_mib / 1024:.1f} G"
        rank = f"  {ranks[pid]}" if pid in ranks else ""
        figures = right(cpu, 8) + right(memory, 10)
        inks: list[Ink] = [(fit(clean(name), 18), "plain"), (right(str(pid), 8), "dim")]
        table.append((*inks, (figures, "plain"), (rank, "dim")))
    return table
