"""A run's story: what it was, how it ended, what it took.

Plain text, no colour, at most 100 columns. What hosts and logs say is untrusted: `console.format.plain` removes what a
terminal would interpret.
"""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import Final

from console.billing import breakdown, cost
from console.compare import race as ghost
from console.format import clock, count, decimals, metric_name, money, percent, plain, whole
from console.state.outcome import CUT_OFF, outcome
from console.state.run import Run
from console.views import nodes, progress

COLUMNS: Final = 100
ALERTS_SHOWN: Final = 20
"""More would bury the table; the journal has all."""


def story(run: Run, now: float | None = None) -> str:
    """What the run was, how it ended, what it took; for a log and for the end of a live run.

    `now` in epoch seconds; without it the log's last moment, so that the same log always tells the same story.
    """
    now = (run.last_received_t or 0.0) if now is None else now
    paragraphs = [_what(run), _how(run, now), _epochs(run), _nodes(run), _alerts(run), _counts(run)]
    # A damaged number can be wider than any column.
    fitted = ("\n".join(plain(line, COLUMNS, strip=False) for line in lines) for lines in paragraphs if lines)
    return "\n\n".join(fitted) + "\n"


def _what(run: Run) -> list[str]:
    created = run.created
    if created is None:
        return ["A run whose first record is lost: its profile, target and price are unknown."]
    parts = [plain(created.profile, 60)]
    if created.run_id and created.run_id != created.profile:
        parts.append(plain(created.run_id, 60))
    gang = []
    if created.nnodes is not None:
        gang.append(f"{count(created.nnodes)} × {plain(created.instance_type or created.provider, 30)}")
    if run.world_size is not None:
        gang.append(f"{count(run.world_size)} ranks on {plain(created.accelerator, 30)}")
    lines = [*wrapped(" · ".join(parts))]
    if gang:
        lines += wrapped(", ".join(gang))
    if run.training is not None:
        training = run.training
        lines += wrapped(
            f"{plain(training.model, 30)}, {count(training.parameters)} parameters, {plain(training.precision, 20)}; "
            f"{count(training.train_images)} images to train on, {count(training.val_images)} held out"
        )
    if run.started_t:
        began = datetime.fromtimestamp(run.started_t, UTC)
        lines.append(f"began {began:%Y-%m-%d %H:%M:%S} UTC")
    return lines


def _how(run: Run, now: float) -> list[str]:
    status = outcome(run)
    ended = "the log stops while the run goes on" if status == CUT_OFF else status
    reason = plain(run.reason, 300)
    first = f"{ended}: {reason}" if reason else ended
    lines = _labelled("ended", f"{first}; {clock(progress.elapsed_s(run, now))} in all")
    if run.first_error is not None:
        where = "" if run.first_error.node is None else f"node {run.first_error.node}: "
        lines += _labelled("first error", where + plain(run.first_error.text, 300))
    goal = progress.target(run)
    if goal is not None:
        name = f"{metric_name(goal.metric)} {percent(goal.value)}"
        if goal.time_to_target_s is None:
            lines += _labelled("target", f"{name} not reached; best {percent(progress.best(run, goal.metric), 3)}")
        else:
            lines += _labelled(
                "target",
                f"{name} after {goal.time_to_target_s / 60:.2f} minutes ({clock(goal.time_to_target_s)}) of training",
            )
            both = _both(goal.cost_usd, goal.cost_on_demand_usd)
            if both:
                lines += _labelled("cost to target", both)
    lines += _race(run, now)
    spent = cost.cost(run, now)
    both = _both(spent.billed_usd, spent.on_demand_usd)
    if both:
        lines += _labelled("cost", both + (f" ({plain(spent.note, 200)})" if spent.note else ""))
    idle = breakdown.idle(run, now)
    if idle:
        parts = ", ".join(f"{cause} {money(usd)}" for cause, usd in idle.items())
        lines += _labelled("no step ran", f"{money(sum(idle.values()))}: {parts}")
    if run.budget_usd is not None:
        moves = [run.created.budget_usd if run.created else None, *(move.max_usd for move in run.budget_moves)]
        lines += _labelled("budget", ", then ".join(money(usd) for usd in moves[-6:]))
    for saved in run.checkpoints[-1:]:
        where = plain(saved.fetched, 60) if saved.fetched else f"on node {saved.node}"
        lines += _labelled("checkpoint", f"of step {count(saved.step)}, {saved.size_bytes / 1e6:,.1f} MB, {where}")
    return lines


def _race(run: Run, now: float) -> list[str]:
    """How the run stands against the record that it races, where it has one."""
    record = ghost.default(run)
    race = None if record is None else ghost.race(run, record, now)
    if record is None or race is None:
        return []
    name, at = plain(race.ghost, 60), f"{metric_name(race.metric)} {percent(race.accuracy)}"
    if race.ahead_s is None:
        return _labelled("race", f"past the best of {name}, {at}")
    lead = f"{ghost.lead_in_words(race.ahead_s)} of" if race.ahead_s >= 0.5 else ghost.lead_in_words(race.ahead_s)
    lead = f"level with {name}" if lead.startswith("level") else f"{lead} {name}"
    dollars = "" if race.ahead_usd is None else f", {ghost.money_in_words(race.ahead_usd)} on demand"
    return _labelled("race", f"{lead}{dollars}, at {at}")


def _both(billed_usd: float | None, on_demand_usd: float | None) -> str:
    if billed_usd is None and on_demand_usd is None:
        return ""
    return f"{money(billed_usd)} billed, {money(on_demand_usd)} on demand"


def _epochs(run: Run) -> list[str]:
    if not run.epochs:
        return []
    lines = ["epoch      time    px     top-1     top-5     loss       img/s     billed  on demand"]
    for ended in run.epochs:
        epoch, ended_t = ended.event, ended.ended_t
        lines.append(
            f"{epoch.epoch:5} {clock(epoch.elapsed_s):>9} {_cell(epoch.image_size):>5} {percent(epoch.top1, 3):>9}"
            f" {percent(epoch.top5, 3):>9} {decimals(epoch.train_loss):>8} {whole(epoch.img_per_s):>11}"
            f" {money(cost.cost_to(run, ended_t)):>10} {money(cost.cost_on_demand_to(run, ended_t)):>10}"
        )
    return lines


def _nodes(run: Run) -> list[str]:
    if not run.nodes:
        return []
    lines = ["node  status        util  records"]
    said = []
    for node in run.nodes:
        mean = nodes.util_pct_mean(node)
        util = "—" if mean is None else f"{mean:.0f} %"
        reason = f"  {plain(node.reason, 60)}" if node.reason else ""
        said.append((node.node, f"{plain(node.status, 12):12} {util:>5} {count(node.records):>8}{reason}"))
    # Neighbours that have nothing of their own to say share a line: 128 nodes that never spoke are one fact.
    first = 0
    for index, (node_number, text) in enumerate(said):
        if index + 1 < len(said) and said[index + 1][1] == text:
            continue
        begin = said[first][0]
        lines.append(f"{begin if begin == node_number else f'{begin}–{node_number}':>4}  {text}")
        first = index + 1
    return lines


def _alerts(run: Run) -> list[str]:
    if not run.alerts:
        return []
    hidden = len(run.alerts) - ALERTS_SHOWN
    lines = [f"alerts ({len(run.alerts)})" + (f", the last {ALERTS_SHOWN}" if hidden > 0 else "")]
    for alert in run.alerts[-ALERTS_SHOWN:]:
        where = "" if alert.node is None else f"node {alert.node}: "
        at = clock(alert.received_t - (run.started_t or alert.received_t))
        over = f" (over after {clock(alert.cleared_t - alert.received_t)})" if alert.cleared_t is not None else ""
        text = f"{at:>7}  {plain(alert.kind, 20)}  {where}{plain(alert.text, 400)}{over}"
        lines += wrapped(text, indent="         ")
    return lines


def _counts(run: Run) -> list[str]:
    text = f"{count(run.records)} records"
    if run.damaged:
        text += f", {count(run.damaged)} damaged lines"
    if run.unknown:
        text += f", {count(run.unknown)} of an unknown event"
    if run.dropped:
        text += f", {count(run.dropped)} that hosts could not write"
    return [text]


def _labelled(label: str, text: str) -> list[str]:
    return wrapped(f"{label:15}{text}", indent=" " * 15)


def wrapped(text: str, *, indent: str = "  ") -> list[str]:
    """The text in lines of at most `COLUMNS`, all but the first indented."""
    if len(text) <= COLUMNS:
        return [text]
    return textwrap.wrap(text, COLUMNS, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)


def _cell(number: int | None) -> str:
    return "—" if number is None else str(number)


__all__ = ["COLUMNS", "story", "wrapped"]
