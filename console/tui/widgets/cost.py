"""What the run costs: so far, an hour, in the end, and against the budget; where it went, and how long it lasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from console import budget, ledger, spending, views
from console.state import Run
from console.tui.braille import Curve, plot
from console.tui.ink import Ink, Line, bar, clean, fit, flow, right, spread, width_of, wrap
from console.tui.moment import Moment
from console.tui.widgets.header import money
from console.tui.widgets.pane import Pane

TALL: Final = 36
"""Lines of the screen from which the pane, beside the others, also says where the money went."""
_SOON_S: Final = 600.0
"""The budget's end is near enough to be coloured."""
_EPOCHS: Final = 6
"""Shown where the pane has the screen to itself."""
_PLOT: Final = (7, 14)
"""Lines of the burn-down: fewer than the first show nothing, more than the second no more."""


_FLAT: Final = 0.8
"""A burn-down that stays above this share of the budget is a level line, and says nothing."""


class CostPane(Pane):
    """Two figures always: billed, and what the same time costs on demand."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """A line a figure, the budget as a bar under them; where there is room, where the money went."""
        self.border_title = "3 Cost"
        run, now = moment.run, moment.now
        cost = views.cost(run, now)
        inner = width - 2
        if cost.billed_usd is None and cost.on_demand_usd is None:
            text = "No price is known for these hosts." if run.created else "Nothing rented yet."
            return (), [((f" {line}", "dim"),) for line in wrap(text, inner)]
        lines: list[Line] = [
            _figure("billed so far", "on demand", inner, "dim"),
            _figure(money(cost.billed_usd), money(cost.on_demand_usd), inner, "strong"),
            _figure(f"{_hourly(cost.usd_per_h)} an hour", f"{_hourly(cost.usd_per_h_on_demand)} an hour", inner, "dim"),
            *_in_the_end(run, cost, inner),
            *_budget(run, now, cost, inner),
        ]
        alone = self.screen.has_class("single")
        if alone or self.app.size.height >= TALL:
            lines += _where(run, now, inner)
        if cost.note:
            tone = "warn" if "simulated" in cost.note else "dim"
            lines += [((part, tone),) for part in wrap(f"prices: {clean(cost.note)}", inner)[:3]]
        if alone:
            lines += _alone(run, now, cost, inner, height - len(lines))
        return (), [((" ", "plain"), *line) for line in lines]


def _in_the_end(run: Run, cost: views.Cost, width: int) -> list[Line]:
    goal = views.target(run)
    if goal is not None and goal.cost_usd is not None:
        both = f"{money(goal.cost_usd)}, {money(goal.cost_on_demand_usd)} on demand"
        return [_said("to the target", both if len(both) + 15 <= width else money(goal.cost_usd), width)]
    if not run.live:
        return []
    what = "when the schedule ends" if goal is None else "at the target, or the schedule's end"
    figure = "—" if cost.projected_usd is None else f"≤ {money(cost.projected_usd)}"
    return [_said(what if len(what) + len(figure) < width else "in the end", figure, width)]


def _budget(run: Run, now: float, cost: views.Cost, width: int) -> list[Line]:
    usd = run.budget_usd
    if not usd or cost.billed_usd is None:
        return []
    share = cost.billed_usd / usd
    warn_at = (run.created.budget_warn_at if run.created else None) or 0.8
    tone = "bad" if share >= 1 else "warn" if share >= warn_at else "good"
    text = f" {share * 100:.0f} % of {views.money(usd)}"
    lines: list[Line] = [(("budget ", "dim"), *bar(share, width - 7 - len(text), tone), (text, tone))]
    left_s, stops_s = budget.lasts_s(run, now), budget.stops_in_s(run, now)
    if run.live and left_s is not None and stops_s is not None:
        # The hour first: it is what a narrow pane keeps.
        until = views.time_of_day(now + left_s, now)
        lasts: list[Ink] = [("lasts until ", "dim"), (until, "warn" if left_s < _SOON_S else "plain")]
        stops: Line = (("stops at ", "dim"), (views.time_of_day(now + stops_s, now), "plain"))
        lines.append(spread(tuple(lasts), stops, width))
    return lines


def _where(run: Run, now: float, width: int) -> list[Line]:
    """The last epoch, and what was paid while no step ran."""
    lines: list[Line] = []
    epochs = spending.per_epoch(run)
    if epochs and epochs[-1].billed_usd is not None:
        lines.append(_said(f"epoch {run.epochs[-1].epoch} alone", money(epochs[-1].billed_usd), width))
    idle = spending.idle(run, now)
    if idle:
        parts: list[Line] = [(("no step ran:", "dim"),)]
        parts += [((f"{cause} ", "dim"), (money(usd), "plain")) for cause, usd in idle.items()]
        lines += flow(parts, width, "  ")
    return lines


def _alone(run: Run, now: float, cost: views.Cost, width: int, room: int) -> list[Line]:
    """What a pane that has the screen to itself shows beside: the epochs one by one, and the burn-down."""
    lines: list[Line] = []
    epochs = list(zip(run.epochs, spending.per_epoch(run), strict=True))[-_EPOCHS:]
    burn = _burn_down(run, now, cost, width, min(_PLOT[1], room - 1))
    if epochs and room - (len(burn) + 1 if burn else 0) >= len(epochs) + 2:
        lines.append(())
        lines.append((("epoch", "faint"), (right("billed", 12), "faint"), (right("on demand", 12), "faint")))
        for epoch, spent in epochs:
            figures = right(money(spent.billed_usd), 12) + right(money(spent.on_demand_usd), 12)
            lines.append(((right(str(epoch.epoch), 5), "dim"), (figures, "plain")))
    return [*lines, (), *burn] if burn else lines


def _burn_down(run: Run, now: float, cost: views.Cost, width: int, height: int) -> list[Line]:
    """What is left of the budget, from the first instance on to where it will be used up, or the run's end."""
    usd, bill = run.budget_usd, ledger.bill(run)
    starts = [billing.started_t for billing in bill.billings]
    if not usd or cost.billed_usd is None or not starts or height < _PLOT[0] or width < 30:
        return []
    start, end = min(starts), now if run.live else min(now, run.ended or now)
    if end <= start:
        return []
    left_s = budget.lasts_s(run, now) if run.live else None
    # A budget for days must not press the hour that has passed into one column.
    ahead_s = min(left_s, max(2 * (end - start), views.schedule_left_s(run, now) or 0.0)) if left_s is not None else 0.0
    times = [start + (end - start) * place / 80 for place in range(81)]
    burnt = Curve(times, [max(0.0, usd - (bill.billed(t)[0] or 0.0)) for t in times], "accent")
    curves = [burnt]
    if ahead_s > 0 and cost.usd_per_h:
        left_usd = max(0.0, burnt.ys[-1] - cost.usd_per_h * ahead_s / 3600)
        curves.insert(0, Curve([end, end + ahead_s], [burnt.ys[-1], left_usd], "faint"))
    if min(curve.ys[-1] for curve in curves) > _FLAT * usd:
        return []
    labels = (f"${usd:,.0f}" if usd >= 10 else f"${usd:,.2f}", "$0")
    span = start, end + ahead_s
    lines: list[Line] = [(("left of the budget", "dim"),)]
    lines += plot(curves, width=width, height=height - 2, x_range=span, y_range=(0.0, usd), labels=labels)
    gutter = " " * (max(map(len, labels)) + 1)
    begin: Line = ((gutter + views.time_of_day(start, now), "faint"),)
    return [*lines, spread(begin, ((views.time_of_day(end + ahead_s, now), "faint"),), width)]


def _hourly(usd: float | None) -> str:
    return "—" if usd is None else f"${usd:,.2f}"


def _figure(one: str, other: str, width: int, tone: str) -> Line:
    half = width // 2
    return ((fit(one, half), tone), (fit(other, width - half), tone))


def _said(name: str, figure: str, width: int) -> Line:
    first: Ink = (name, "dim")
    return (first, (right(figure, max(0, width - width_of((first,)))), "plain"))
