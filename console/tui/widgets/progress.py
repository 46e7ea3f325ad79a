"""How far the run is: phases, epochs and steps as bars, loss and accuracy as curves; before that, the launch."""

from __future__ import annotations

from collections.abc import Sequence

from console import state, views
from console.state import Run
from console.tui.braille import Curve, outward, plot
from console.tui.ink import Ink, Line, bar, clean, fit, right, spread, width_of
from console.tui.moment import Moment
from console.tui.widgets.pane import Pane


class ProgressPane(Pane):
    """Bars, figures and curves."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The launch's stages until the first step, then figures over two plots."""
        run = moment.run
        self.border_title = "2 Progress"
        inner = width - 2
        if run.training is None and not run.epochs and not len(run.points):
            lines = _launch(run, moment, inner)
        else:
            lines = _figures(run, inner)
            lines += _curves(run, inner, height - len(lines))
        return (), [((" ", "plain"), *line) for line in lines]


def _launch(run: Run, moment: Moment, width: int) -> list[Line]:
    stages = views.stages(run)
    if not stages:
        text = moment.starting or ("No training yet." if run.live else "The run ended before it trained.")
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


def _figures(run: Run, width: int) -> list[Line]:
    at = views.progress(run)
    lines: list[Line] = []
    phase = run.phase
    if phase is not None:
        number = f"{phase.phase + 1}/{at.phases}" if at.phases else f"{phase.phase + 1}"
        lr = f"  lr {run.step.lr:.4g}" if run.step else ""
        rest = f"   {phase.image_size} px  batch {phase.batch_size_per_gpu} × {_ranks(run)}{lr}"
        lines.append((("phase  ", "dim"), (number, "strong"), (rest, "dim")))
    elif at.image_size is not None:
        lines.append((("image  ", "dim"), (f"{at.image_size} px", "strong")))
    if at.epoch is not None:
        lines.append(_barred("epoch", at.epoch, at.epochs, width))
    evaluation = run.evaluation
    if evaluation is not None:
        lines.append(_barred("eval", evaluation.done, evaluation.total, width, tone="top5"))
    elif at.epoch_step is not None:
        lines.append(_barred("step", at.epoch_step, at.steps_per_epoch, width))
    return lines + _now(run, width)


def _ranks(run: Run) -> str:
    return views.count(run.world_size)


def _barred(name: str, done: int, total: int | None, width: int, tone: str = "accent") -> Line:
    figures = f" {views.count(done)}/{views.count(total)}"
    room = width - 7 - max(10, len(figures))
    return (
        (fit(name, 7), "dim"),
        *bar(done / total if total else None, room, tone),
        (right(figures, max(10, len(figures))), "plain"),
    )


def _now(run: Run, width: int) -> list[Line]:
    goal = views.target(run)
    last = run.epochs[-1] if run.epochs else None
    first: list[Ink] = []
    for name, metric, tone in (("top-5", "top5", "top5"), ("top-1", "top1", "top1")):
        best = views.best(run, metric)
        if metric == "top5" or best is not None:
            wanted = f" → {views.percent(goal.value)}" if goal is not None and goal.metric == metric else ""
            first += [(f"{name} ", "dim"), (views.percent(best), tone), (wanted, "goal"), ("   ", "plain")]
    loss = run.step.loss if run.step else last.train_loss if last else None
    rate = views.img_per_s(run) if len(run.points) else last.img_per_s if last else None
    second: list[Ink] = [("loss  ", "dim"), ("—" if loss is None else f"{loss:.3f}", "loss"), ("   ", "plain")]
    second += [("—" if rate is None else views.count(round(rate)), "strong"), (" img/s", "dim")]
    wait: Line = ()
    if run.step is not None and run.step.step_s > 0 and run.status == state.TRAINING:
        share = run.step.data_s / run.step.step_s
        wait = ((f"waits for data {share * 100:.0f} %", "warn" if share > 0.2 else "dim"),)
    return [tuple(first), spread(tuple(second), wait, width)]


def _curves(run: Run, width: int, room: int) -> list[Line]:
    if room < 5 or width < 16:
        return []
    accuracy, loss = _accuracy(run), _loss(run, width)
    if not accuracy and loss is None:
        return []
    goal = views.target(run)
    last = max([*(curve.xs[-1] for curve in accuracy), *([loss.xs[-1]] if loss else [])])
    first = min([*(curve.xs[0] for curve in accuracy), *([loss.xs[0]] if loss else [])])
    span = (min(first, 1.0), outward(min(first, 1.0), max(last, first + 1))[1])
    both = bool(accuracy) and loss is not None and room >= 12
    height = (room - 3) // 2 if both else room - 2
    lines: list[Line] = []
    if loss is not None and (both or not accuracy):
        low, high = outward(min(loss.ys), max(loss.ys))
        lines.append(_caption("loss", (("loss", "loss"),), width))
        labels = (f"{high:.2f}".rjust(5), f"{low:.2f}".rjust(5))
        lines += plot([loss], width=width, height=height, x_range=span, y_range=(low, high), labels=labels)
    if accuracy:
        top: list[Ink] = [("top-5", "top5"), (" and ", "faint"), ("top-1", "top1")]
        if goal is not None:
            top += [("  ┄ target", "goal")]
        lines.append(_caption("accuracy", tuple(top), width))
        more = room - len(lines) - height - 1
        lines += plot(
            accuracy,
            width=width,
            height=height + max(0, more),
            x_range=span,
            y_range=(0.0, 1.0),
            labels=("100 %", "  0 %"),
            goal=goal.value if goal else None,
        )
    unit = "step" if len(run.points) or run.epochs[-1].step else "epoch"
    ends = spread(
        (("      └ ", "faint"), (f"{unit} {views.count(int(span[0]))}", "faint")),
        ((views.count(int(span[1])), "faint"),),
        width,
    )
    return [*lines, ends]


def _caption(_: str, inks: Line, width: int) -> Line:
    rule = width - width_of(inks) - 8
    return (("      ╭ ", "faint"), *inks, (" " + "┄" * max(0, rule - 1), "faint"))


def _loss(run: Run, width: int) -> Curve | None:
    points = run.points
    count = len(points)
    if count < 2:
        epochs = [(float(epoch.step), epoch.train_loss) for epoch in run.epochs if epoch.train_loss is not None]
        if len(epochs) < 2:
            return None
        return Curve([x for x, _ in epochs], [loss for _, loss in epochs], "loss")
    # A few points for each column of dots: the curve of a day's run costs no more than that of a minute's.
    wanted = max(2, (width - 6) * 2)
    stride = max(1, count // (wanted * 4))
    group = max(1, count // stride // wanted)
    xs: list[float] = []
    ys: list[float] = []
    for start in range(0, count, stride * group):
        some = [points[place] for place in range(start, min(count, start + stride * group), stride)]
        said = [point.loss for point in some if point.loss is not None]
        if said:
            xs.append(float(some[-1].step))
            ys.append(sum(said) / len(said))
    return Curve(xs, ys, "loss") if len(xs) > 1 else None


def _accuracy(run: Run) -> list[Curve]:
    curves = []
    for metric in ("top1", "top5"):
        said = [(float(epoch.step or epoch.epoch + 1), getattr(epoch, metric)) for epoch in run.epochs]
        known = [(x, y) for x, y in said if y is not None]
        if known:
            curves.append(Curve([x for x, _ in known], [y for _, y in known], metric))
    return curves
