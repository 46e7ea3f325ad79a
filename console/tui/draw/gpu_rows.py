"""A node's GPUs, a line each with all their figures; on a host without GPUs, its CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from console.state.run import Node, Run
from console.tui.draw.cells import THROTTLE
from console.tui.draw.ink import Ink, Line, clean, fit, right, spark, trend
from console.views.metrics import metric, throttle_level
from remote.wire.events import HostSampled


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    rank: int
    """The highest is dropped first where there is no room."""
    cell: Callable[[HostSampled, int], Ink | None]
    """None where the GPU does not report it."""


def lines(run: Run, node: Node, gpus: bool, width: int) -> list[Line]:
    """The section, its title first; empty before the first sample."""
    sample = node.sample
    if not gpus:
        history = node.util_history[-max(0, width - 20) :]
        figure = "—" if node.util_pct is None else f"{node.util_pct:.0f} %"
        return [(), (("CPU   ", "strong"), (right(figure, 6) + " ", "plain"), *spark(history, max(0, width - 14)))]
    if sample is None:
        return []
    count = len(sample.gpu_util_pct)
    names = node.agent.gpu_names if node.agent else ()
    columns = [column for column in _columns(run) if any(column.cell(sample, gpu) for gpu in range(count))]
    while len(columns) > 2 and sum(column.width for column in columns) + 5 > width:
        columns.remove(max(columns, key=lambda column: column.rank))
    room = width - 5 - sum(column.width for column in columns) - 3
    last = min(60, room) if room >= 8 else 0
    title: list[Ink] = [(fit("GPU", 5), "dim"), *((right(column.title, column.width), "dim") for column in columns)]
    if last:
        title.append(("   last minute", "dim"))
    table: list[Line] = [(), *_models(names, width), tuple(title)]
    for gpu in range(count):
        inks: list[Ink] = [(f"{gpu:<5}", "strong")]
        for column in columns:
            text, tone = column.cell(sample, gpu) or ("—", "faint")
            inks.append((right(text, column.width), tone))
        if last:
            inks += [("   ", "plain"), _past(node, gpu, last)]
        table.append(tuple(inks))
    return table


def _models(names: Sequence[str], width: int) -> list[Line]:
    """The GPU models; equal ones are counted."""
    if not names:
        return []
    models = [f"{count} × {clean(name)}" for name, count in Counter(names).items()]
    return [((fit(" · ".join(models), width).rstrip(), "plain"),)]


def _past(node: Node, gpu: int, width: int) -> Ink:
    values = [sample.gpu_util_pct[gpu] if gpu < len(sample.gpu_util_pct) else None for sample in node.recent[-width:]]
    scale = metric("util").scale
    last = values[-1] if values else None
    shares = [None if value is None else value / 100 for value in values]
    return trend(shares, width), "faint" if last is None else f"spark-{scale(_NO_RUN).step(last)}"


_NO_RUN = Run()


def _columns(run: Run) -> list[_Column]:
    return [
        _Column("util", 7, 0, lambda sample, gpu: _on(run, "util", _at(sample.gpu_util_pct, gpu), "%")),
        _Column("SM", 6, 5, lambda sample, gpu: _on(run, "sm", _at(sample.gpu_sm_util_pct, gpu), "%")),
        _Column("tensor", 8, 6, lambda sample, gpu: _on(run, "tensor", _at(sample.gpu_tensor_util_pct, gpu), "%")),
        _Column("memory", 15, 1, _memory),
        _Column("DRAM", 6, 8, lambda sample, gpu: _on(run, "bw", _at(sample.gpu_mem_bw_util_pct, gpu), "%")),
        _Column("power", 11, 2, _power),
        _Column("temp", 7, 3, lambda sample, gpu: _on(run, "temp", _at(sample.gpu_temp_c, gpu), "°C")),
        _Column("SM clock", 10, 7, lambda sample, gpu: _plain(_at(sample.gpu_sm_clock_mhz, gpu), "MHz")),
        _Column("mem clock", 10, 11, lambda sample, gpu: _plain(_at(sample.gpu_mem_clock_mhz, gpu), "MHz")),
        _Column("throttling", 13, 4, _held),
        _Column("ECC", 6, 9, lambda sample, gpu: _bad_from_1(_at(sample.gpu_ecc_uncorrected, gpu))),
        _Column("rows", 10, 10, _rows),
    ]


def _at(values: Sequence[float | None], gpu: int) -> float | None:
    return values[gpu] if gpu < len(values) else None


def _on(run: Run, key: str, value: float | None, unit: str) -> Ink | None:
    if value is None:
        return None
    scale = metric(key).scale(run)
    return f"{value:.0f} {unit}", scale.level(value) or ("plain" if key == "temp" else f"spark-{scale.step(value)}")


def _plain(value: float | None, unit: str) -> Ink | None:
    return None if value is None else (f"{value:,.0f} {unit}", "plain")


def _memory(sample: HostSampled, gpu: int) -> Ink | None:
    used, total = _at(sample.gpu_mem_used_mib, gpu), _at(sample.gpu_mem_total_mib, gpu)
    if used is None:
        return None
    tone = "bad" if total and used > 0.99 * total else "warn" if total and used > 0.95 * total else "plain"
    return f"{used / 1024:.1f}" + (f" / {total / 1024:.1f} G" if total else " G"), tone


def _power(sample: HostSampled, gpu: int) -> Ink | None:
    power, limit = _at(sample.gpu_power_w, gpu), _at(sample.gpu_power_limit_w, gpu)
    if power is None:
        return None
    return f"{power:.0f}" + (f"/{limit:.0f} W" if limit else " W"), "plain"


def _held(sample: HostSampled, gpu: int) -> Ink | None:
    reasons = sample.gpu_throttle[gpu] if gpu < len(sample.gpu_throttle) else None
    level = throttle_level(reasons)
    if level is None or reasons is None:
        return None
    words = reasons.replace("_slowdown", "").replace("gpu_idle", "idle").replace("_", " ")
    return (fit(clean(words), 12).rstrip() or "free"), THROTTLE[level][2]


def _bad_from_1(value: float | None) -> Ink | None:
    return None if value is None else (f"{value:,.0f}", "bad" if value >= 1 else "dim")


def _rows(sample: HostSampled, gpu: int) -> Ink | None:
    remapped = _at(sample.gpu_remapped_rows, gpu)
    state = sample.gpu_row_remap[gpu] if gpu < len(sample.gpu_row_remap) else None
    if remapped is None and state is None:
        return None
    if state:
        return clean(state)[:9], "bad"
    return f"{remapped or 0:.0f}", "dim" if not remapped else "warn"
