"""The header: status, health, progress, time and cost, in two lines in every layout."""

from __future__ import annotations

from collections.abc import Sequence

from console.billing.cost import cost as cost_
from console.compare.eta import schedule_s
from console.format import clock, count, metric_name, percent
from console.format import money as money_
from console.state.run import Run
from console.state.status import LAUNCHING, NODE_DROPPED, PAUSED, TRAINING
from console.tui.draw import marks
from console.tui.draw.figures import lead, span_words
from console.tui.draw.ink import Ink, Line, bar, cells, clean, first_that_fits, spread, width_of
from console.tui.draw.moment import Moment
from console.tui.widgets.pane import Pane
from console.views import nodes, progress


class Header(Pane, can_focus=False):
    """The run at a glance."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """Two lines: run, status, time and cost; progress."""
        return [_first(moment, width), _second(moment, width)], ()


def _first(moment: Moment, width: int) -> Line:
    run, now = moment.run, moment.now
    name = clean(moment.title) or "fastconsole"
    run_id = clean(run.run_id)
    chip = _chip(moment)
    healths = _health(moment)
    elapsed: Line = ((clock(progress.elapsed_s(run, now)), "strong"),)
    left, short_left = _left(moment)
    spent = _spent(run, now)
    full_id: Line = ((f"  {run_id}", "dim"),) if run_id and run_id != name else ()
    ends: list[Line] = [
        (("elapsed ", "dim"), *elapsed, *left, ("   ", "plain"), *spent),
        (*elapsed, *left, ("  ", "plain"), *spent),
        (*elapsed, *short_left, ("  ", "plain"), *spent),
        (*elapsed, ("  ", "plain"), *spent),
        spent[:1],
    ]
    starts: list[Line] = [
        ((" ", "plain"), *chip, ("  ", "plain"), (name, "strong"), *full_id, *healths),
        ((" ", "plain"), *chip, ("  ", "plain"), (name, "strong"), *healths),
        ((" ", "plain"), *chip, *healths),
        chip,
    ]
    for end in ends:
        room = width - width_of(end) - 3
        if width_of(starts[2]) <= room or end is ends[-1]:
            return spread(first_that_fits(starts, room), (*end, (" ", "plain")), width)
    raise AssertionError


def _left(moment: Moment) -> tuple[Line, Line]:
    """The time left to the target, or to the schedule's end where there is none; in words and in short."""
    run, goal = moment.run, progress.target(moment.run)
    if not run.live or run.status == LAUNCHING:
        return (), ()
    if goal is not None and goal.time_to_target_s is None:
        left = moment.eta
        span = "—" if left is None else span_words(left.low_s, left.high_s)
        tone = "dim" if left is None else "strong"
        name = f"   {percent(goal.value, 0)} in "
    else:
        end = schedule_s(run, moment.now)
        span = "—" if end is None else span_words(*end)
        tone = "dim" if end is None else "strong"
        name = "   ends in "
    return ((name, "dim"), (span, tone)), ((" + ", "dim"), (span, tone))


def _chip(moment: Moment) -> Line:
    run = moment.run
    if moment.starting:
        return ((" STARTING ", "chip-accent"),)
    if run.created is None and not run.records:
        return ((" NO RUN YET ", "chip-dim"),)
    return ((f" {marks.status_word(run.status)} ", f"chip-{marks.RUN.get(run.status, 'dim')}"),)


def _health(moment: Moment) -> Line:
    """What is wrong, in a few words, and a command that is under way."""
    run = moment.run
    parts: list[Ink] = []
    for command in nodes.pending(run, moment.now)[-1:]:
        doing = {"pause": "pausing", "stop": "stopping", "resume": "resuming", "terminate": "terminating"}
        word = doing.get(command.command, clean(command.command))
        parts.append((f"  {word} {len(command.done)}/{run.nnodes}", "warn"))
    if not run.live:
        return tuple(parts)
    broken = sum(node.status in marks.BROKEN and node.status != NODE_DROPPED for node in run.nodes)
    doomed = nodes.interruptions(run, moment.now)
    quiet = len(nodes.quiet(run, moment.now)) if moment.play is None or moment.play.playing else 0
    if doomed:
        soonest_s = clock(min(doomed.values()))
        which = f"node {next(iter(doomed))}" if len(doomed) == 1 else f"{len(doomed)} nodes"
        parts.append((f"  ! EC2 reclaims {which} in {soonest_s}", "bad"))
    elif broken:
        parts.append((f"  ✗ {broken} of {run.nnodes} hosts down", "bad"))
    elif quiet:
        parts.append((f"  ! {quiet} of {run.nnodes} hosts quiet", "warn"))
    elif run.status == TRAINING:
        parts.append(("  ✓ healthy", "good"))
    return tuple(parts)


def _spent(run: Run, now: float) -> Line:
    cost = cost_(run, now)
    if cost.billed_usd is None:
        return (("cost —", "dim"),)
    budget = run.budget_usd
    tone = "strong"
    if budget and run.created:
        share = cost.billed_usd / budget
        tone = "bad" if share >= 1 else "warn" if share >= (run.created.budget_warn_at or 0.8) else "strong"
    inks: list[Ink] = [(money(cost.billed_usd), tone)]
    if budget is not None:
        inks.append((f" of {money_(budget)}", "dim"))
    if "simulated" in cost.note:
        inks.append((" simulated", "dim"))
    return tuple(inks)


def money(usd: float | None) -> str:
    """Below a dollar with four decimals, so that a running total visibly grows."""
    return f"${usd:.4f}" if usd is not None and 0 < usd < 1 else money_(usd)


def _second(moment: Moment, width: int) -> Line:
    run, now = moment.run, moment.now
    if moment.trouble:
        return ((f" {clean(moment.trouble)}", "bad"),)
    if moment.starting:
        return ((f" {clean(moment.starting)}", "accent"),)
    if run.status == LAUNCHING:
        return _launch(run, now, width)
    at = progress.progress(run)
    words: list[Ink] = []
    if run.status == PAUSED and run.paused_since_t is not None:
        words.append((f"paused {clock(now - run.paused_since_t)}  ", "warn"))
    if at.epoch is not None:
        words.append((f"epoch {at.epoch}/{count(at.epochs)}", "strong"))
    if at.fraction is not None:
        words.append((f"  {at.fraction * 100:.0f} %", "strong"))
    right_hand = (*_race(moment, width), *_figures(run, width), (" ", "plain"))
    left: Line = ((" ", "plain"), *words, ("  ", "plain"))
    room = width - width_of(left) - width_of(right_hand) - 2
    if room < 8:
        return spread(left, right_hand, width)
    tone = "accent" if run.live else marks.RUN.get(run.status, "accent")
    return spread((*left, *bar(at.fraction, room, tone)), right_hand, width)


def _race(moment: Moment, width: int) -> Line:
    """The lead over the ghost."""
    race = moment.race
    if race is None or race.ahead_s is None or width < 76:
        return ()
    of = " of" if race.ahead_s >= 0.5 else ""
    whose: Line = ((f"{of} {clean(race.ghost)}", "dim"),) if width >= 140 else ()
    return (*lead(race), *whose, ("   ", "plain"))


def _figures(run: Run, width: int) -> Line:
    goal = progress.target(run)
    metric = goal.metric if goal else "top5"
    best = progress.best(run, metric)
    reached = goal is not None and best is not None and best >= goal.value
    inks: list[Ink] = [(f"{metric_name(metric)} ", "dim"), (percent(best), "good" if reached else "strong")]
    if goal is not None:
        inks.append((f" → {percent(goal.value)}", "goal"))
    rate = progress.img_per_s(run) if run.live else None
    if rate is not None and width >= 90:
        inks.append((f"   {count(round(rate))} img/s", "dim"))
    return tuple(inks)


def _launch(run: Run, now: float, width: int) -> Line:
    stages = nodes.stages(run)
    total = sum(stage.nodes for stage in stages)
    done = sum(stage.nodes_done for stage in stages)
    current = next((stage for stage in stages if stage.nodes_done < stage.nodes), None)
    text = "waiting for hosts" if current is None else f"{current.name} {current.nodes_done}/{current.nodes}"
    left: Line = ((" launching  ", "dim"), (text, "strong"), ("  ", "plain"))
    detail = clean(current.detail) if current else ""
    right_hand: Line = ((detail, "dim"), (" ", "plain"))
    room = width - width_of(left) - cells(detail) - 3
    if room < 12:
        right_hand, room = (), width - width_of(left) - 1
    return spread((*left, *bar(done / total if total else None, room)), right_hand, width)
