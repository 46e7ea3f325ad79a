"""The figures of the Progress pane: the launch's stages, then bars, accuracies, the race and the time left."""

from __future__ import annotations

from typing import Final

from console.compare.race import Race, lead_in_words, money_in_words
from console.format import clock, count, metric_name, percent
from console.profile.recorded import legs
from console.state.run import Run
from console.state.status import PAUSED, TRAINING
from console.tui.draw.ink import Ink, Line, bar, clean, first_that_fits, fit, right, spread, width_of
from console.tui.draw.moment import Moment
from console.views import nodes, progress

_PHASE_BAR: Final = 11
"""Columns of the phase's bar, its gap included."""


def launch(run: Run, moment: Moment, width: int) -> list[Line]:
    """A bar for each stage of the launch."""
    stages = nodes.stages(run)
    if not stages:
        text = moment.starting or ("No training yet." if run.live else "The run ended before training began.")
        return [((clean(text), "dim"),)]
    name_width = max(len(clean(stage.name)) for stage in stages) + 1
    lines: list[Line] = []
    for stage in stages:
        done = stage.nodes_done >= stage.nodes
        figures = right(f"{stage.nodes_done}/{stage.nodes}", 8)
        tone = "good" if done else "accent"
        name: Ink = (fit(clean(stage.name), name_width), "plain" if not done else "dim")
        lines.append((name, *bar(stage.nodes_done / (stage.nodes or 1), width - name_width - 8, tone), (figures, tone)))
        if stage.detail:
            lines.append(((" " * name_width + fit(clean(stage.detail), max(1, width - name_width)), "dim"),))
    return lines


def figures(moment: Moment, width: int) -> list[Line]:
    """Phase, epoch and step; accuracy and loss; the race, and the time left to the target."""
    run = moment.run
    lines = [*_bars(run, width), *_now(run, width)]
    race = moment.race
    if race is not None:
        lines.append(race_line(race, width))
    left = left_line(moment, width)
    return [*lines, left] if left else lines


def _bars(run: Run, width: int) -> list[Line]:
    at = progress.progress(run)
    lines: list[Line] = []
    phase = run.phase
    if phase is not None:
        number = f"{phase.phase + 1}/{at.phases}" if at.phases else f"{phase.phase + 1}"
        lr = f"  lr {run.step.lr:.4g}" if run.step else ""
        size, batch = f"   {phase.image_size} px", f"  batch {phase.batch_size_per_gpu} × {count(run.world_size)}"
        heads: Line = (("phase  ", "dim"), (number, "strong"))
        wordings = [(*heads, (rest, "dim")) for rest in (size + batch + lr, size + batch, size, "")]
        done = phase_done(run)
        room = 0 if done is None else _PHASE_BAR
        line = first_that_fits(wordings, width - room)
        room = width - width_of(line) - 3
        lines.append(line if done is None or room < _PHASE_BAR - 3 else (*line, ("   ", "plain"), *bar(done, room)))
    elif at.image_size is not None:
        lines.append((("image  ", "dim"), (f"{at.image_size} px", "strong")))
    if at.epoch is not None:
        lines.append(_barred("epoch", at.epoch, at.epochs, width))
    evaluation = run.evaluation
    if evaluation is not None:
        lines.append(_barred("eval", evaluation.done, evaluation.total, width, tone="top5"))
    elif at.epoch_step is not None:
        lines.append(_barred("step", at.epoch_step, at.steps_per_epoch, width))
    return lines


def phase_done(run: Run) -> float | None:
    """The share of the present phase's epochs that is done; None where the profile's phases are not known."""
    phase, step = run.phase, run.step
    known = legs(run.created.profile_text) if run.created else ()
    if phase is None or phase.phase >= len(known):
        return None
    leg = known[phase.phase]
    done = run.epochs[-1].event.epoch + 1 if run.epochs else leg.start
    within = step.epoch_step / step.steps_per_epoch if step is not None and step.epoch == done else 0.0
    return max(0.0, min(1.0, (done + within - leg.start) / (leg.end - leg.start)))


def _barred(name: str, done: int, total: int | None, width: int, tone: str = "accent") -> Line:
    figures = f" {count(done)}/{count(total)}"
    room = width - 7 - max(10, len(figures))
    return (
        (fit(name, 7), "dim"),
        *bar(done / total if total else None, room, tone),
        (right(figures, max(10, len(figures))), "plain"),
    )


def _now(run: Run, width: int) -> list[Line]:
    goal = progress.target(run)
    last = run.epochs[-1] if run.epochs else None
    first: list[Ink] = []
    for name, metric, tone in (("top-5", "top5", "top5"), ("top-1", "top1", "top1")):
        best = progress.best(run, metric)
        if metric == "top5" or best is not None:
            wanted = f" → {percent(goal.value)}" if goal is not None and goal.metric == metric else ""
            first += [(f"{name} ", "dim"), (percent(best), tone), (wanted, "goal"), ("   ", "plain")]
    loss = run.step.loss if run.step else last.event.train_loss if last else None
    rate = progress.img_per_s(run) if len(run.points) else last.event.img_per_s if last else None
    second: list[Ink] = [("loss  ", "dim"), ("—" if loss is None else f"{loss:.3f}", "loss"), ("   ", "plain")]
    second += [("—" if rate is None else count(round(rate)), "strong"), (" img/s", "dim")]
    share = run.points[-1].peak_share if len(run.points) else None
    if share is not None:
        second += [(f"   {percent(share, 0)} of peak", "dim")]
    wait: Line = ()
    if run.step is not None and run.step.step_s > 0 and run.status == TRAINING:
        waits = run.step.data_s / run.step.step_s
        wait = ((f"data wait {waits * 100:.0f} %", "warn" if waits > 0.2 else "dim"),)
    return [tuple(first), spread(tuple(second), wait, width)]


# --- the race and the time -------------------------------------------------------------------------------------------


def lead(race: Race) -> Line:
    """The lead in time, ``2:10 ahead``; another phrase where the ghost never got this far."""
    if race.ahead_s is None:
        return (("past the ghost's best", "good"),)
    tone = "good" if race.ahead_s > 0.5 else "warn" if race.ahead_s < -0.5 else "plain"
    return ((lead_in_words(race.ahead_s), tone),)


def race_line(race: Race, width: int) -> Line:
    """The race as a sentence, as much of it as fits."""
    name = clean(race.ghost)
    inks: Line = (("race   ", "dim"), *lead(race))
    money: Line = () if race.ahead_usd is None else ((f", {money_in_words(race.ahead_usd)}", "plain"),)
    at: Line = ((f" at {percent(race.accuracy)}", "dim"),)
    whose: Line = ((f" · {name}", "ghost"),)
    epoch: Line = ()
    if race.ahead_epoch_s is not None and not race.over:
        epoch = ((f"; by epoch {lead_in_words(race.ahead_epoch_s)}", "dim"),)
    theirs: Line = () if race.shown is None or race.over else ((f" at {percent(race.shown)} now", "dim"),)
    return first_that_fits(
        [
            (*inks, *money, *at, *whose, *theirs, *epoch),
            (*inks, *money, *at, *whose, *theirs),
            (*inks, *money, *at, *whose),
            (*inks, *money, *whose),
            (*inks, *money, *at),
            (*inks, *money),
            inks,
        ],
        width,
    )


def left_line(moment: Moment, width: int) -> Line:
    """The time left to the target; empty where the run is over or has no target."""
    run = moment.run
    goal = progress.target(run)
    if goal is None or goal.time_to_target_s is not None or run.status not in (TRAINING, PAUSED):
        return ()
    left = moment.eta
    name = f"{metric_name(goal.metric)} {percent(goal.value)} "
    if left is None:
        return (("left   ", "dim"), (name, "goal"), ("in —", "dim"))
    inks: Line = (("left   ", "dim"), (name, "goal"), ("in ", "dim"), (span_words(left.low_s, left.high_s), "strong"))
    return first_that_fits([(*inks, (f"  by {left.basis}", "dim")), inks, inks[:1] + inks[3:]], width)


def span_words(low_s: float, high_s: float | None) -> str:
    """A range of times: ``4:10–6:30``; ``4:10 or more`` where nothing bounds it."""
    if high_s is None:
        return f"{clock(low_s)} or more"
    low, high = clock(low_s), clock(high_s)
    return low if low == high else f"{low}–{high}"
