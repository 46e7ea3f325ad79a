"""What the run costs: so far, an hour, in the end, and against the budget."""

from __future__ import annotations

from collections.abc import Sequence

from console import views
from console.tui.ink import Ink, Line, bar, clean, fit, right, width_of, wrap
from console.tui.moment import Moment
from console.tui.widgets.header import money
from console.tui.widgets.pane import Pane


class CostPane(Pane):
    """Two figures always: billed, and what the same time costs on demand."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """A line a figure, the budget as a bar under them."""
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
        ]
        goal = views.target(run)
        if goal is not None and goal.cost_usd is not None:
            lines.append(_said("to the target", money(goal.cost_usd), inner))
        elif run.live:
            lines.append(
                _said(
                    "when the schedule ends",
                    f"≤ {money(cost.projected_usd)}" if cost.projected_usd is not None else "—",
                    inner,
                )
            )
        budget = run.budget_usd
        if budget and cost.billed_usd is not None:
            share = cost.billed_usd / budget
            warn_at = (run.created.budget_warn_at if run.created else None) or 0.8
            tone = "bad" if share >= 1 else "warn" if share >= warn_at else "good"
            text = f" {share * 100:.0f} % of {views.money(budget)}"
            lines.append((("budget ", "dim"), *bar(share, inner - 7 - len(text), tone), (text, tone)))
        if cost.note:
            tone = "warn" if "simulated" in cost.note else "dim"
            lines += [((part, tone),) for part in wrap(f"prices: {clean(cost.note)}", inner)[:3]]
        return (), [((" ", "plain"), *line) for line in lines]


def _hourly(usd: float | None) -> str:
    return "—" if usd is None else f"${usd:,.2f}"


def _figure(one: str, other: str, width: int, tone: str) -> Line:
    half = width // 2
    return ((fit(one, half), tone), (fit(other, width - half), tone))


def _said(name: str, figure: str, width: int) -> Line:
    first: Ink = (name, "dim")
    return (first, (right(figure, max(0, width - width_of((first,)))), "plain"))
