"""The summary panel: how the run ended, its figures, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from console.billing.cost import cost as cost_
from console.compare.race import money_in_words
from console.format import clock, metric_name, percent
from console.state.run import Run
from console.state.status import FAILED, FINISHED, MISSED, OVER_BUDGET, REACHED, STOPPED, UNREACHABLE
from console.tui.draw import marks
from console.tui.draw.figures import lead
from console.tui.draw.ink import Ink, Line, clean, fit, flow, wrap
from console.tui.draw.moment import Moment
from console.tui.widgets.header import money
from console.tui.widgets.pane import Pane
from console.views import progress


class SummaryPanel(Pane, can_focus=False):
    """A box over the panes once the run is over; Esc closes it."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The outcome, the figures, the keys."""
        run = moment.run
        if run.live:
            return (), ()
        tone = marks.RUN.get(run.status, "dim")
        for other in ("good", "warn", "bad"):
            self.set_class(other == tone, f"-{other}")
        self.border_title = marks.status_word(run.status).capitalize()
        inner = max(10, width - 2)
        lines: list[Line] = [((sentence, tone),) for sentence in wrap(_sentence(run), inner)[:3]]
        first = run.first_error
        if first is not None and clean(first.text) not in lines[0][0][0]:
            node = "" if first.node is None else f"node {first.node}: "
            lines.append((("first failure ", "dim"), (fit(f"{node}{clean(first.text)}", max(1, inner - 14)), "bad")))
        if self.app.size.height >= 16:
            lines += flow(_figures(moment), inner, "   ")
        lines += flow(_keys(moment), inner, "   ")
        return (), [((" ", "plain"), *line) for line in lines]


def _sentence(run: Run) -> str:
    goal = progress.target(run)
    if run.status == REACHED and goal is not None:
        took = clock(goal.time_to_target_s)
        best, wanted = percent(progress.best(run, goal.metric)), percent(goal.value)
        return f"{metric_name(goal.metric)} reached {best} (target {wanted}) after {took} of training."
    reason = clean(run.reason)
    plain = f"The run {_ended(run.status)}"
    return f"{plain}: {reason}" if reason else f"{plain}."


def _ended(status: str) -> str:
    return {
        FINISHED: "finished its schedule",
        MISSED: "ended without reaching its target",
        STOPPED: "was stopped",
        FAILED: "failed",
        OVER_BUDGET: "was stopped by its budget",
        UNREACHABLE: "could not get or reach its hosts",
        REACHED: "reached its target",
    }.get(status, f"ended ({clean(status)})")


def _figures(moment: Moment) -> list[Line]:
    run, now = moment.run, moment.now
    cost, goal = cost_(run, now), progress.target(run)
    figures: list[tuple[str, str]] = []
    if goal is not None:
        figures.append(("time to target", clock(goal.time_to_target_s)))
    figures += [
        ("top-5", percent(progress.best(run, "top5"))),
        ("whole run", clock(progress.elapsed_s(run, now))),
    ]
    note = f" {cost.note}" if cost.note and len(cost.note) < 24 else ""
    figures += [("billed", money(cost.billed_usd) + note), ("on demand", money(cost.on_demand_usd))]
    if goal is not None and goal.cost_usd is not None:
        figures.append(("to target", money(goal.cost_usd)))
    lines: list[Line] = []
    for name, figure in figures:
        inks: list[Ink] = [(f"{name} ", "dim"), (figure, "strong")]
        lines.append(tuple(inks))
    race = moment.race
    if race is not None:
        money_lead = "" if race.ahead_usd is None else f", {money_in_words(race.ahead_usd)}"
        against = (f" than {clean(race.ghost)}" if money_lead else f" of {clean(race.ghost)}", "dim")
        lines.append((("race ", "dim"), *lead(race), (money_lead, "plain"), against))
    return lines


def _keys(moment: Moment) -> list[Line]:
    keys = [("4", "log"), ("Enter", "node"), ("q", "quit"), ("Esc", "close")]
    if moment.run.alerts:
        keys.insert(1, ("5", "alerts"))
    if "restart" in moment.controls:
        keys.insert(0, ("r", "restart from the last checkpoint"))
    elif "start" in moment.controls:
        keys.insert(0, ("s", "resume from the last checkpoint"))
    return [((key, "accent"), (f" {what}", "dim")) for key, what in keys]
