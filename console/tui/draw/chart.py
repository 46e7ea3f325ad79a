"""A chart: curves in braille between axes with round numbers, a crosshair, and a line that says what is drawn. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from console.compare import curves
from console.format import clock, count, percent
from console.tui.draw import ticks
from console.tui.draw.braille import Canvas, Curve
from console.tui.draw.ink import Ink, Line, cells, fit, right, width_of

GUTTER: Final = 7
"""Columns of the labels at the left, their tick included."""
_LABEL_COLUMNS: Final = 14
"""Columns for a label of the x axis."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, independent of its size."""

    title: Line
    curves: tuple[Curve, ...]
    axis: str
    """Of `curves.AXES`."""
    span: tuple[float, float]
    """What of the axis is shown."""
    unit: str
    """How values are written: ``share``, ``rate``, ``usd``, or empty for a plain number."""
    whole: tuple[float, float] | None = None
    """The bounds of y where they do not follow from the curves."""
    log: bool = False
    """A logarithmic scale; needs values above 0."""
    goal: float | None = None
    cross: float | None = None
    """The crosshair's x value."""


def draw(chart: Chart, width: int, height: int, *, labelled: bool = True) -> list[Line]:
    """Exactly `height` lines: the title, the plot, and under it the axis where it is `labelled`."""
    columns = width - GUTTER
    rows = height - 1 - labelled
    if columns < 4 or rows < 1:
        return [()] * max(0, height)
    low, high = _bounds(chart)
    scaled = [_logged(curve) for curve in chart.curves] if chart.log else chart.curves
    goal = chart.goal
    if chart.log:
        goal = math.log10(goal) if goal is not None and goal > 0 else None
    canvas = Canvas(columns, rows, chart.span, (math.log10(low), math.log10(high)) if chart.log else (low, high))
    if chart.cross is not None:
        canvas.cross(chart.cross)
    if goal is not None and (not chart.log or math.log10(low) <= goal <= math.log10(high)):
        canvas.level(goal, "goal")
    for curve in scaled:
        canvas.draw(curve)
    labels = _labels(chart, canvas, low, high, rows)
    lines: list[Line] = [_caption(chart.title, width)]
    for row in range(rows):
        label = labels.get(row)
        mark = "┤" if label is not None else "│"
        lines.append(((right(label or "", GUTTER - 1) + mark, "faint"), *canvas.row(row)))
    if labelled:
        lines.append(_under(chart, canvas, width))
    return lines


def x_at(column: float, columns: int, span: tuple[float, float]) -> float:
    """The x value in the middle of a cell of the plot."""
    share = (column * 2 + 0.5) / max(1, columns * 2 - 1)
    return span[0] + (span[1] - span[0]) * max(0.0, min(1.0, share))


def x_words(axis: str, x: float) -> str:
    """A value of the x axis in words: ``step 1,240``, ``epoch 3.42``, ``12:30``."""
    if axis == curves.TIME:
        return clock(x)
    return f"step {count(round(x))}" if axis == curves.STEP else f"epoch {x:.2f}"


def value_words(unit: str, value: float | None) -> str:
    """A value in words."""
    if value is None:
        return "—"
    if unit == "share":
        return percent(value)
    if unit == "rate":
        return count(round(value)) if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.4g}"


def _bounds(chart: Chart) -> tuple[float, float]:
    if chart.whole is not None:
        return chart.whole
    shown = [
        y
        for curve in chart.curves
        for x, y in zip(curve.xs, curve.ys, strict=True)
        if chart.span[0] <= x <= chart.span[1] and (y > 0 or not chart.log)
    ]
    if not shown:
        return (0.1, 1.0) if chart.log else (0.0, 1.0)
    low, high = min(shown), max(shown)
    if chart.log:
        # The next of 1, 2, 5 times a power of ten on either side.
        low, high = _neighbour(low, down=True), _neighbour(high, down=False)
        return low, high if high > low else low * 10
    if chart.unit == "rate" and low > 0:
        # A rate is read against zero: from a cut-off axis small variations would look large.
        low = 0.0
    low, high = ticks.round_bounds(low, high)
    return (max(0.0, low), min(1.0, high)) if chart.unit == "share" else (low, high)


def _neighbour(value: float, *, down: bool) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    steps = [power * factor for factor in (1, 2, 5, 10)]
    if down:
        return max(step for step in steps if step <= value * (1 + 1e-9))
    return min(step for step in steps if step >= value * (1 - 1e-9))


def _logged(curve: Curve) -> Curve:
    known = [(x, math.log10(y)) for x, y in zip(curve.xs, curve.ys, strict=True) if y > 0]
    return Curve([x for x, _ in known], [y for _, y in known], curve.tone, curve.dotted)


def _labels(chart: Chart, canvas: Canvas, low: float, high: float, rows: int) -> dict[int, str]:
    wanted = max(2, min(8, rows // 2))
    made = ticks.log_ticks(low, high, wanted) if chart.log else ticks.ticks(low, high, wanted)
    labels: dict[int, str] = {}
    for value in made:
        row = canvas.row_of(math.log10(value) if chart.log else value)
        labels.setdefault(row, _tick_words(chart.unit, value))
    return labels


def _tick_words(unit: str, value: float) -> str:
    if unit == "share":
        return f"{value * 100:.4g} %"
    if unit == "usd":
        return f"${value:,.0f}" if value >= 10 or value == int(value) else f"${value:,.2f}"
    if abs(value) >= 10_000:
        power, letter = (1e6, "M") if abs(value) >= 1e6 else (1e3, "k")
        return f"{value / power:.4g}{letter}"
    if value and abs(value) < 0.001:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.4g}"


def _caption(title: Line, width: int) -> Line:
    used = width_of(title) + GUTTER + 1
    head: Ink = (" " * (GUTTER - 1) + "╭ ", "faint")
    if used > width:
        return (head, *_cut(title, width - GUTTER - 1))
    return (head, *title, (" " + "┄" * max(0, width - used - 1), "faint"))


def _cut(line: Line, width: int) -> Line:
    kept: list[Ink] = []
    for text, tone in line:
        if cells(text) > width:
            kept.append((fit(text, max(0, width)), tone))
            break
        kept.append((text, tone))
        width -= cells(text)
    return tuple(kept)


def _under(chart: Chart, canvas: Canvas, width: int) -> Line:
    """The x axis: its labels below their ticks, its name at the right."""
    columns = width - GUTTER
    low, high = chart.span
    if chart.axis == curves.TIME:
        made = [(tick, clock(tick)) for tick in ticks.clock_ticks(low, high, columns // _LABEL_COLUMNS)]
    else:
        whole = ticks.ticks(low, high, max(1, columns // _LABEL_COLUMNS), whole=True)
        made = [(tick, count(round(tick))) for tick in whole]
    row = [" "] * columns
    name = f" {chart.axis}"
    end = -1
    for tick, text in made:
        at = max(
            0, min(canvas.column_of(tick), columns - len(name)) - (len(text) // 2 if canvas.column_of(tick) else 0)
        )
        if at <= end or at + len(text) > columns - len(name):
            continue
        row[at : at + len(text)] = text
        end = at + len(text)
    row[columns - len(name) :] = name
    return ((" " * (GUTTER - 1) + "└", "faint"), ("".join(row), "faint"))
