"""Which charts the Progress pane shows, how they share its room, and the crosshair's readout. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from console.compare import curves
from console.compare.curves import EPOCH, EVAL_LOSS, LOSS, LR, RATE, SHARE, STEP, TIME, TOP1, TOP5, Trace
from console.format import percent
from console.tui.draw import chart
from console.tui.draw.braille import Curve
from console.tui.draw.chart import GUTTER, Chart
from console.tui.draw.ink import Ink, Line, clean, flow, width_of
from console.tui.draw.moment import Moment
from console.views import progress

OVERVIEW: Final = ""
ACCURACY: Final = "accuracy"
VIEWS: Final = {LOSS: (LOSS, EVAL_LOSS), ACCURACY: (TOP1, TOP5), RATE: (RATE,), LR: (LR,), SHARE: (SHARE,)}
"""The curves of the run in each view, the later drawn over the earlier; the last one's unit is the y axis's."""
_OVER: Final = {LOSS: LOSS, ACCURACY: TOP5, RATE: RATE, LR: LR, SHARE: SHARE}
"""The curve of the compared runs in each view."""
_TONES: Final = {
    LOSS: ("loss", ""),
    EVAL_LOSS: ("eval-loss", ""),
    TOP5: ("top5", "share"),
    TOP1: ("top1", "share"),
    RATE: ("rate", "rate"),
    LR: ("lr", ""),
    SHARE: ("share", "share"),
}
PASTS: Final = 5
"""Tones for compared runs, ``past-0`` to ``past-4``; a sixth run has the first tone again."""
_LOGGED: Final = (LOSS, LR)
_BOTH: Final = 12
"""Lines from which two charts are stacked."""
_GRID: Final = (96, 16)
"""Columns and lines from which a maximised pane shows all charts in a grid."""


@dataclass(frozen=True, slots=True)
class Look:
    """The view that the operator chose."""

    view: str = OVERVIEW
    axis: str = ""
    """Of `curves.AXES`; empty: time where there is something to race, else steps."""
    span: tuple[float, float] | None = None
    """The part of the axis that is shown; None: all of it, as it grows."""
    log: bool = False
    """Loss and learning rate on a log scale."""
    cross: float | None = None
    """The crosshair's x value."""


@dataclass(frozen=True, slots=True)
class Area:
    """A chart's plot within the lines."""

    left: int
    top: int
    columns: int
    rows: int


def axis_of(moment: Moment, look: Look) -> str:
    """The axis that is drawn."""
    own = curves.trace(moment.run)
    if look.axis:
        return look.axis if own.has_axis(look.axis) else EPOCH
    if moment.ghost is not None or moment.compared.pasts:
        return TIME
    return STEP if own.has_axis(STEP) else EPOCH


def whole_span(moment: Moment, axis: str) -> tuple[float, float]:
    """All of the axis: this run, those laid over it, and the record."""
    ends = [extent[1] for trace in _traces(moment) if (extent := curves.extent(trace, axis)) is not None]
    ghost = moment.ghost
    if ghost is not None and axis == TIME:
        ends.append(ghost.length_s)
    high = max(ends, default=1.0)
    if high <= 0:
        return 0.0, 1.0
    # Moved out to a round number: every dot moves when the scale does, and so it does only now and then.
    grain = 10.0 ** math.floor(math.log10(high)) / 10
    return 0.0, math.ceil(high / grain - 1e-9) * grain


def own_extent(moment: Moment, axis: str) -> tuple[float, float] | None:
    """The first and the last x value of this run."""
    return curves.extent(curves.trace(moment.run), axis)


def views_of(moment: Moment) -> list[str]:
    """The views that have data, the overview first."""
    has = curves.trace(moment.run).metrics()
    return [OVERVIEW, *(view for view, metrics in VIEWS.items() if any(metric in has for metric in metrics))]


def draw(moment: Moment, look: Look, width: int, height: int, *, alone: bool) -> tuple[list[Line], list[Area]]:
    """`height` lines of charts, and the areas of their plots."""
    shown = views_of(moment)[1:]
    if not shown or height < 5 or width < 16:
        return [], []
    reads = _readout(moment, look, width) if look.cross is not None else []
    reads = reads[: max(1, height // 6)]
    legend = _legend(moment, width)[: height // 8]
    room = height - len(reads) - len(legend)
    if look.view in shown:
        lines, areas = _stacked([chart_of(moment, look, look.view, width)], width, room)
    elif alone and width >= _GRID[0] and room >= _GRID[1]:
        lines, areas = _grid(moment, look, shown, width, room)
    else:
        both = [view for view in (LOSS, ACCURACY) if view in shown] or shown[:1]
        picked = both if room >= _BOTH else both[-1:]
        lines, areas = _stacked([chart_of(moment, look, view, width) for view in picked], width, room)
    areas = [replace(area, top=area.top + len(legend)) for area in areas]
    return [*legend, *lines, *reads], areas


def _legend(moment: Moment, width: int) -> list[Line]:
    """Names of the compared runs in the tones of their curves."""
    pasts = moment.compared.pasts
    parts: list[Line] = [((f"━ {clean(past.name)[:48]}", f"past-{at % PASTS}"),) for at, past in enumerate(pasts)]
    return flow(parts, width, "  ")


def _stacked(charts: list[Chart], width: int, height: int) -> tuple[list[Line], list[Area]]:
    lines: list[Line] = []
    areas: list[Area] = []
    for index, picked in enumerate(charts):
        last = index + 1 == len(charts)
        own = height - len(lines) if last else (height - 1) // len(charts)
        areas.append(Area(GUTTER, len(lines) + 1, width - GUTTER, own - 1 - last))
        lines += chart.draw(picked, width, own, labelled=last)
    return lines, areas


def _grid(moment: Moment, look: Look, shown: list[str], width: int, height: int) -> tuple[list[Line], list[Area]]:
    across = 3 if width >= 170 and len(shown) > 4 else 2
    down = -(-len(shown) // across)
    each = (width - across + 1) // across
    lines: list[Line] = []
    areas: list[Area] = []
    for row in range(down):
        own = (height - len(lines)) // (down - row)
        some = shown[row * across : (row + 1) * across]
        drawn = []
        for column, view in enumerate(some):
            # The last chart of a row that is not full takes the rest of it.
            wide = width - column * (each + 1) if column + 1 == len(some) else each
            drawn.append((chart.draw(chart_of(moment, look, view, wide), wide, own), wide))
            areas.append(Area(column * (each + 1) + GUTTER, len(lines) + 1, wide - GUTTER, own - 2))
        for y in range(own):
            line: list[Ink] = []
            for column, (part, wide) in enumerate(drawn):
                line += [*part[y], (" " * (wide - width_of(part[y]) + (column + 1 < len(drawn))), "plain")]
            lines.append(tuple(line))
    return lines, areas


def chart_of(moment: Moment, look: Look, view: str, width: int) -> Chart:
    """One view of the moment as a chart."""
    axis = axis_of(moment, look)
    span = look.span or whole_span(moment, axis)
    dots = max(2, (width - GUTTER) * 2)
    own = curves.trace(moment.run)
    title: list[Ink] = []
    drawn: list[Curve] = []
    mean = 1
    for index, past in enumerate(moment.compared.pasts):
        tone = f"past-{index % PASTS}"
        thin = curves.thinned(past.trace, _OVER[view], axis, span, dots)
        if len(thin.xs):
            drawn.append(Curve(thin.xs, thin.ys, tone))
    ghost = moment.ghost
    if view == ACCURACY and axis == TIME and ghost is not None and not ghost.every_epoch:
        metric = TOP1 if (goal_of := progress.target(moment.run)) is not None and goal_of.metric == "top1" else TOP5
        xs, ys = curves.ghost_curve(ghost, metric)
        drawn.append(Curve(xs, ys, "ghost", dotted=True))
        title += [("  ", "plain"), (f"··· {clean(ghost.name)}", "ghost")]
    names: list[Ink] = []
    own_names: list[str] = []
    for metric in VIEWS[view]:
        thin = curves.thinned(own, metric, axis, span, dots)
        if len(thin.xs):
            drawn.append(Curve(thin.xs, thin.ys, _TONES[metric][0]))
            own_names.append(metric)
            mean = max(mean, thin.steps)
    for metric in own.metrics():
        if metric in own_names:
            names += [*([(", ", "faint")] if names else []), (metric, _TONES[metric][0])]
    notes = [] if mean == 1 else [f"mean of {mean} steps"]
    log = look.log and view in _LOGGED
    notes += ["log"] if log else []
    if notes:
        names.append((f" ({', '.join(notes)})", "dim"))
    goal = None
    aim = progress.target(moment.run)
    if view == ACCURACY and aim is not None:
        goal = aim.value
        names.append(("  ┄ target", "goal"))
    unit = _TONES[VIEWS[view][-1]][1]
    whole = (0.0, 1.0) if unit == "share" and look.span is None else None
    title_line = (*names, *title)
    return Chart(title_line, tuple(drawn), axis, span, unit, whole, log, goal, look.cross)


def _readout(moment: Moment, look: Look, width: int) -> list[Line]:
    """The value of every curve at the crosshair."""
    axis, x = axis_of(moment, look), look.cross
    assert x is not None
    own = curves.trace(moment.run)
    parts: list[Line] = [((chart.x_words(axis, x), "strong"),)]
    for metric in own.metrics():
        tone, unit = _TONES[metric]
        value = curves.value_at(own, metric, axis, x)
        parts.append(((f"{metric} ", "dim"), (chart.value_words(unit, value), tone)))
    ghost = moment.ghost
    if ghost is not None and axis == TIME and not ghost.every_epoch:
        shown = ghost.shown("top5", x)
        parts.append(((f"{clean(ghost.name)} ", "dim"), (percent(shown), "ghost")))
    over = _OVER.get(look.view, TOP5)
    for index, past in enumerate(moment.compared.pasts):
        value = curves.value_at(past.trace, over, axis, x)
        tone = f"past-{index % PASTS}"
        parts.append(((f"{clean(past.name)[:28]} ", tone), (chart.value_words(_TONES[over][1], value), "plain")))
    return flow(parts, width)


def _traces(moment: Moment) -> list[Trace]:
    return [curves.trace(moment.run), *(past.trace for past in moment.compared.pasts)]
