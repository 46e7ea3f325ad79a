"""The run's cost: so far, per hour, projected, against the budget, and where it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console.billing import breakdown, budget
from console.billing.cost import Cost
from console.billing.cost import cost as cost_
from console.compare import cost_forecast
from console.compare.cost_forecast import Dollars, Projection
from console.compare.curves import TIME
from console.format import metric_name, percent, time_of_day
from console.format import money as money_
from console.state.run import Run
from console.tui.draw import chart
from console.tui.draw.braille import Curve
from console.tui.draw.chart import Chart
from console.tui.draw.figures import span_words
from console.tui.draw.ink import Ink, Line, bar, clean, fit, flow, right, spread, width_of, wrap
from console.tui.draw.moment import Moment
from console.tui.widgets.header import money
from console.tui.widgets.pane import Pane
from console.views import progress

TALL: Final = 36
"""Lines of the screen from which the pane, beside the others, also shows where the money went."""
_SOON_S: Final = 600.0
"""The budget ends soon enough to be coloured."""
_ROWS: Final = 6
"""Epochs, and nodes, shown where the pane is maximised."""
_PLOT: Final = (7, 14)
"""Lines of the burn-down chart, at least and at most."""
_FLAT: Final = 0.8
"""A burn-down that stays above this share of the budget is a flat line, and is left out."""
_NARROW: Final = 41
"""Columns below which the figures' names are short."""
_WIDE: Final = 90
"""Columns from which tables stand side by side."""


class CostPane(Pane):
    """Two figures always: billed, and what the same time costs on demand."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """A line a figure, then the budget as a bar; where there is room, where the money went."""
        self.border_title = "3 Cost"
        run, now = moment.run, moment.now
        cost = cost_(run, now)
        inner = width - 2
        if cost.billed_usd is None and cost.on_demand_usd is None:
            text = "These hosts have no known price." if run.created else "Nothing rented yet."
            return (), [((f" {line}", "dim"),) for line in wrap(text, inner)]
        ends = cost_forecast.projection(run, now, moment.eta)
        alone = self.screen.has_class("single")
        lines = _figures(run, cost, ends, inner)
        lines += _time_left(moment, inner) if alone else []
        lines += _budget(run, now, cost, ends, inner)
        if alone or self.app.size.height >= TALL:
            lines += _where(run, now, inner)
        if cost.note:
            tone = "warn" if "simulated" in cost.note else "dim"
            lines += [((part, tone),) for part in wrap(f"prices: {clean(cost.note)}", inner)[:3]]
        if alone:
            lines += _alone(run, now, inner, height - len(lines))
        return (), [((" ", "plain"), *line) for line in lines]


def _figures(run: Run, cost: Cost, ends: Projection, width: int) -> list[Line]:
    """Billed and on demand, side by side: so far, per hour, per epoch, at the target, at the end."""
    live, narrow = run.live, width < _NARROW
    lines = [
        _row("", "billed", "on demand", width, "dim"),
        _row("so far", money(cost.billed_usd), money(cost.on_demand_usd), width, "strong"),
        _row("per hour", _hourly(cost.usd_per_h), _hourly(cost.usd_per_h_on_demand), width),
    ]
    if ends.per_epoch[0] is not None:
        lines.append(_row("per epoch", money(ends.per_epoch[0]), money(ends.per_epoch[1]), width))
    goal = progress.target(run)
    if goal is not None:
        name = "at target" if narrow else f"at {percent(goal.value, 0)} {metric_name(goal.metric)}"
        if goal.cost_usd is not None:
            lines.append(_row(name, money(goal.cost_usd), money(goal.cost_on_demand_usd), width))
        elif live:
            lines.append(_row(name, _range(ends.target), _range(ends.target_on_demand), width))
    if live:
        lines.append(
            _row("at end" if narrow else "at schedule end", _range(ends.end), _range(ends.end_on_demand), width)
        )
    return lines


def _time_left(moment: Moment, width: int) -> list[Line]:
    """The time left to the target, from which its range of dollars follows."""
    left = moment.eta
    if left is None:
        return []
    short = f"target in {span_words(left.low_s, left.high_s)}"
    words = f"{short}, by {left.basis}"
    return [((words if len(words) <= width else short, "dim"),)]


def _range(dollars: Dollars | None) -> str:
    if dollars is None:
        return "—"
    low, high = dollars
    if high is None:
        return f"≥ {money_(low)}"
    # A range of dollars needs no cents.
    short = (f"${low:,.0f}", f"${high:,.0f}") if high >= 10 else (money_(low), money_(high))
    return short[0] if short[0] == short[1] else f"{short[0]}–{short[1].removeprefix('$')}"


def _budget(run: Run, now: float, cost: Cost, ends: Projection, width: int) -> list[Line]:
    usd = run.budget_usd
    if not usd or cost.billed_usd is None:
        return []
    share = cost.billed_usd / usd
    warn_at = (run.created.budget_warn_at if run.created else None) or 0.8
    tone = "bad" if share >= 1 else "warn" if share >= warn_at else "good"
    text = f" {share * 100:.0f} % of {money_(usd)}"
    lines: list[Line] = [(("budget ", "dim"), *bar(share, width - 7 - len(text), tone), (text, tone))]
    left_s, stops_s = budget.lasts_s(run, now), budget.stops_in_s(run, now)
    if run.live and left_s is not None and stops_s is not None:
        # The hour first: it is what a narrow pane keeps.
        until = time_of_day(now + left_s, now)
        lasts: list[Ink] = [("lasts until ", "dim"), (until, "warn" if left_s < _SOON_S else "plain")]
        stops: Line = (("stops at ", "dim"), (time_of_day(now + stops_s, now), "plain"))
        lines.append(spread(tuple(lasts), stops, width))
        if ends.budget_first:
            lines.append((("budget ends before the target", "bad"),))
    return lines


def _where(run: Run, now: float, width: int) -> list[Line]:
    """The last epoch's cost, and the cost of time without training steps."""
    lines: list[Line] = []
    epochs = breakdown.per_epoch(run)
    if epochs and epochs[-1].billed_usd is not None:
        lines.append(_named(f"epoch {run.epochs[-1].event.epoch}", money(epochs[-1].billed_usd), width))
    idle = breakdown.idle(run, now)
    if idle:
        parts: list[Line] = [(("idle cost:", "dim"),)]
        parts += [((f"{cause} ", "dim"), (money(usd), "plain")) for cause, usd in idle.items()]
        lines += flow(parts, width, "  ")
    return lines


# --- where the pane is maximised -------------------------------------------------------------------------


def _alone(run: Run, now: float, width: int, room: int) -> list[Line]:
    """The burn-down chart, and tables of epochs and nodes."""
    plot = _burn_down(run, now, width, min(_PLOT[1], room - 1))
    left = room - (len(plot) + 1 if plot else 0)
    tables = [table for table in (_epochs(run, left), _nodes(run, now, left)) if table]
    lines: list[Line] = []
    if tables and width >= _WIDE:
        lines = [(), *_beside(tables, width)]
    else:
        for table in tables:
            if len(lines) + len(table) + 1 <= left:
                lines += [(), *table]
    if len(lines) > left:
        lines = []
    return [*lines, (), *plot] if plot else lines


def _epochs(run: Run, room: int) -> list[Line]:
    epochs = list(zip(run.epochs, breakdown.per_epoch(run), strict=True))[-max(0, min(room - 2, 2 * _ROWS)) :]
    if not epochs or room < 3:
        return []
    lines: list[Line] = [_cells("epoch", "billed", "on demand", "faint")]
    return lines + [
        _cells(str(epoch.event.epoch), money(spent.billed_usd), money(spent.on_demand_usd)) for epoch, spent in epochs
    ]


def _nodes(run: Run, now: float, room: int) -> list[Line]:
    """Nodes in a row that cost the same share a line."""
    spent = breakdown.per_node(run, now)
    if not spent or room < 3:
        return []
    rows: list[tuple[str, str, str]] = []
    first = 0
    for node, cost in enumerate(spent):
        figures = money(cost.billed_usd), money(cost.on_demand_usd)
        follows = spent[node + 1] if node + 1 < len(spent) else None
        if follows is not None and figures == (money(follows.billed_usd), money(follows.on_demand_usd)):
            continue
        rows.append((str(first) if first == node else f"{first}–{node}", *figures))
        first = node + 1
    most = min(room - 2, 2 * _ROWS)
    shown = rows if len(rows) <= most else rows[: most - 1]
    lines = [_cells("node", "billed/node", "on demand", "faint"), *(_cells(*row) for row in shown)]
    return lines if shown is rows else [*lines, ((f"  and {len(rows) - len(shown)} more", "dim"),)]


def _cells(name: str, billed: str, on_demand: str, tone: str = "plain") -> Line:
    return ((right(name, 9), "faint" if tone == "faint" else "dim"), (right(billed, 13) + right(on_demand, 13), tone))


def _beside(tables: list[list[Line]], width: int) -> list[Line]:
    each = width // len(tables)
    lines: list[Line] = []
    for y in range(max(map(len, tables))):
        line: list[Ink] = []
        for table in tables:
            part = table[y] if y < len(table) else ()
            line += [*part, (" " * (each - width_of(part)), "plain")]
        lines.append(tuple(line))
    return lines


def _burn_down(run: Run, now: float, width: int, height: int) -> list[Line]:
    """The rest of the budget over time, and when the run would be stopped for it."""
    down = cost_forecast.burn_down(run, now)
    if down is None or height < _PLOT[0] or width < 30:
        return []
    start = down.times[0]
    burnt = Curve([t - start for t in down.times], down.left_usd, "accent")
    drawn = [burnt]
    end_t, least = down.times[-1], down.left_usd[-1]
    if down.ahead is not None:
        (from_t, from_usd), (end_t, least) = down.ahead
        drawn.insert(0, Curve([from_t - start, end_t - start], [from_usd, least], "dim", dotted=True))
    if least > _FLAT * down.usd:
        return []
    title: list[Ink] = [("budget left", "accent")]
    if down.stops_t is not None:
        title.append((f"  │ stops at {time_of_day(down.stops_t, now)}", "dim"))
    burn_down = Chart(
        tuple(title),
        tuple(drawn),
        TIME,
        (0.0, end_t - start),
        "usd",
        (0.0, down.usd),
        cross=None if down.stops_t is None else down.stops_t - start,
    )
    return chart.draw(burn_down, width, height)


def _hourly(usd: float | None) -> str:
    return "—" if usd is None else f"${usd:,.2f}"


def _row(name: str, billed: str, on_demand: str, width: int, tone: str = "plain") -> Line:
    """Both figures in columns; the billed one alone where not both fit."""
    names = min(15, max(9, width - 26))
    each = (width - names) // 2
    if len(billed) >= each or len(on_demand) >= each:
        return ((fit(name, names), "dim"), (right(billed, width - names), tone))
    return ((fit(name, names), "dim"), (right(billed, each) + right(on_demand, width - names - each), tone))


def _named(name: str, figure: str, width: int) -> Line:
    first: Ink = (name, "dim")
    return (first, (right(figure, max(0, width - width_of((first,)))), "plain"))
