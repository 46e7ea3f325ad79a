"""A run in one line."""

from __future__ import annotations

from console.billing.cost import cost
from console.format import clock, count, metric_name, money, percent, plain
from console.state.run import Run
from console.state.status import FINISHED, LAUNCHING, NODE_DONE, NODE_LIVE, PAUSED, REACHED
from console.views.nodes import stages
from console.views.progress import best, elapsed_s, img_per_s, progress, target

# --- in words --------------------------------------------------------------------------------------------------------


def headline(run: Run, now: float) -> str:
    """The run in one line, at most 78 columns where possible."""
    if not run.live:
        return _ended(run, now)
    if run.status == LAUNCHING:
        return _launching(run, now)
    at = progress(run)
    parts = [run.status]
    if run.evaluation is not None:
        parts[0] = f"evaluating {_share(run.evaluation.done, run.evaluation.total)}"
    if at.epoch is not None:
        parts.append(f"epoch {at.epoch}/{count(at.epochs)}" if at.epochs is not None else f"epoch {at.epoch}")
    if at.step is not None:
        parts.append(f"step {count(at.step)}/{count(at.total_steps)}" if at.total_steps else f"step {count(at.step)}")
    parts += _accuracy(run)
    rate = img_per_s(run) if run.status != PAUSED else None
    if rate is not None:
        parts.append(f"{count(round(rate))} img/s")
    return " · ".join([*parts, *_time_and_money(run, now)])


def _launching(run: Run, now: float) -> str:
    connected = sum(node.status in (*NODE_LIVE, NODE_DONE) for node in run.nodes)
    parts = [run.status, f"{connected}/{len(run.nodes)} hosts connected" if run.nodes else "no hosts yet"]
    current = next((stage for stage in stages(run) if stage.nodes_done < stage.nodes), None)
    if current is not None:
        parts.append(f"{current.name} {current.nodes_done}/{current.nodes}")
        if current.name == "stage" and current.detail:
            # It takes minutes: which host is furthest behind, and how far.
            parts[1:] = [parts[-1], current.detail]
    return " · ".join([*parts, *_time_and_money(run, now)])


def _ended(run: Run, now: float) -> str:
    parts = [run.status]
    if run.reason and run.status not in (FINISHED, REACHED):
        parts.append(plain(run.reason, 60))
    goal = target(run)
    if goal is not None and goal.time_to_target_s is not None:
        parts.append(f"{metric_name(goal.metric)} {percent(goal.value)} in {clock(goal.time_to_target_s)}")
    else:
        parts += _accuracy(run)
    return " · ".join([*parts, *_time_and_money(run, now)])


def _accuracy(run: Run) -> list[str]:
    metric = (run.created.target_metric if run.created else None) or "top5"
    value = best(run, metric)
    return [] if value is None else [f"{metric_name(metric)} {percent(value)}"]


def _time_and_money(run: Run, now: float) -> list[str]:
    spent = cost(run, now)
    parts = [clock(elapsed_s(run, now))]
    if spent.billed_usd is not None:
        parts.append(money(spent.billed_usd) + (" simulated" if "simulated" in spent.note else ""))
    return parts


def _share(done: int, total: int) -> str:
    return f"{count(done)}/{count(total)}"
