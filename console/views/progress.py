"""What follows from a run and the present moment: cost, time left, who has gone quiet, and how figures are drawn.

Pure: every view takes the run, and ``now`` (epoch seconds, the laptop's clock) where it depends on the moment, because
cost accrues and nodes go quiet with nobody speaking. Unknown is None, and drawn "—". Nothing here is stored; what a
pane cannot get from these functions and `console.state` is a field that the state lacks.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from console import copying, ledger, state
from console.state import Command, Node, Run

RATE_WINDOW_S = 10.0
"""How far back `img_per_s` looks: long enough to even out a slow step, short enough to follow a phase's change."""
_LAST_T = 1e11
"""Of the calendar: the year 5138."""
PENDING_S = 60.0
"""A command older than this is either done or the subject of an alert."""


# --- money -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run costs, in dollars."""

    billed_usd: float | None
    """At the price that is paid (spot where the fleet is spot)."""
    on_demand_usd: float | None
    """The same time at the on-demand price: what DAWNBench counts."""
    usd_per_h: float | None
    """What the instances that run now burn, billed."""
    usd_per_h_on_demand: float | None
    note: str
    """``simulated``, or where the price is from; empty where the run does not say."""


def cost(run: Run, now: float) -> Cost:
    """The run's cost until `now`, as `console.ledger` has it.

    A sum is None where the price of any of its instances is unknown: part of a bill is no bill.
    """
    billed_usd, usd_per_h = _bill(run, now, on_demand=False)
    on_demand_usd, usd_per_h_on_demand = _bill(run, now, on_demand=True)
    note = run.created.price_note if run.created else ""
    if not note and run.quotes:
        note = run.quotes[-1].source
    return Cost(billed_usd, on_demand_usd, usd_per_h, usd_per_h_on_demand, note)


def cost_to(run: Run, t: float) -> float | None:
    """Dollars billed until `t`, epoch seconds."""
    return _bill(run, t, on_demand=False)[0]


def cost_on_demand_to(run: Run, t: float) -> float | None:
    """Dollars until `t`, epoch seconds, had the instances been on demand."""
    return _bill(run, t, on_demand=True)[0]


def _bill(run: Run, until: float, *, on_demand: bool) -> tuple[float | None, float | None]:
    """Dollars until `until` and dollars an hour at that moment."""
    if not any(node.billing for node in run.nodes):
        created = run.created
        priced = created is not None and (created.usd_per_h_on_demand if on_demand else created.usd_per_h) is not None
        return (0.0, 0.0) if run.nodes and (priced or run.quotes) else (None, None)
    bill = ledger.bill(run)
    return bill.on_demand(until) if on_demand else bill.billed(until)


# --- time and progress -----------------------------------------------------------------------------------------------


def elapsed_s(run: Run, now: float) -> float | None:
    """Seconds since the run's first record, until its end where it has one."""
    if run.started is None:
        return None
    return max(0.0, (now if run.ended is None else run.ended) - run.started)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the training is."""

    epoch: int | None
    """Epochs ended."""
    epochs: int | None
    """Of the whole schedule."""
    epoch_step: int | None
    steps_per_epoch: int | None
    step: int | None
    total_steps: int | None
    phase: int | None
    """The present phase, from 0."""
    phases: int | None
    """How many the profile has."""
    image_size: int | None
    """Side of the training crop, pixels."""
    fraction: float | None
    """Of the schedule's steps."""


def progress(run: Run) -> Progress:
    """How far the training is, by rank 0's last word."""
    step, training, phase = run.step, run.training, run.phase
    taken = step.step if step else training.start_step if training else None
    total = training.total_steps if training and training.total_steps > 0 else None
    if run.epochs:
        epoch: int | None = run.epochs[-1].epoch + 1
        image_size = run.epochs[-1].image_size
    else:
        epoch, image_size = (training.start_epoch if training else None), None
    return Progress(
        epoch=epoch,
        epochs=training.total_epochs if training else None,
        epoch_step=step.epoch_step if step else None,
        steps_per_epoch=step.steps_per_epoch if step else phase.steps_per_epoch if phase else None,
        step=taken,
        total_steps=total,
        phase=phase.phase if phase else None,
        phases=_phases(run.created.profile_text) if run.created else None,
        image_size=phase.image_size if phase else image_size,
        fraction=min(1.0, max(0.0, taken / total)) if taken is not None and total else None,
    )


@lru_cache(maxsize=8)
def _phases(profile_text: str) -> int | None:
    try:
        phases = tomllib.loads(profile_text).get("phase")
    except (ValueError, RecursionError):
        return None
    return len(phases) if isinstance(phases, list) else None


@lru_cache(maxsize=8)
def environment(profile_text: str) -> tuple[tuple[str, str], ...]:
    """The variables that the profile gives to the training, as the journal has them: secrets are redacted there."""
    try:
        run = tomllib.loads(profile_text).get("run")
    except (ValueError, RecursionError):
        return ()
    env = run.get("env") if isinstance(run, dict) else None
    return tuple((name, str(value)) for name, value in env.items()) if isinstance(env, dict) else ()


def img_per_s(run: Run) -> float | None:
    """Images a second of the whole gang over the last ten seconds of steps; None before the first step."""
    points = run.points
    count = len(points)
    if not count:
        return None
    since = points[-1].received - RATE_WINDOW_S
    # Harmonic: the steps of a phase have equally many images, so that this is all images over all seconds.
    inverse, taken = 0.0, 0
    for place in range(count - 1, -1, -1):
        point = points[place]
        if point.received < since or taken == 1000:
            break
        if point.img_per_s > 0:
            inverse += 1 / point.img_per_s
            taken += 1
    return taken / inverse if inverse else None


def schedule_left_s(run: Run, now: float) -> float | None:
    """Seconds to the schedule's end at the present rate, evaluations included; None while unknown, paused or ended.

    Later phases with larger pictures take longer: a range that counts them is `console.eta.schedule_s`.
    """
    training, step = run.training, run.step
    if run.status != state.TRAINING or training is None or step is None or run.last_step is None:
        return None
    rate = img_per_s(run)
    images = step.img_per_s * step.step_s
    if not rate or images <= 0 or training.total_steps <= 0:
        return None
    step_s = images / rate
    steps_left = max(0, training.total_steps - step.step)
    epochs_left = max(0, training.total_epochs - (run.epochs[-1].epoch + 1 if run.epochs else training.start_epoch))
    eval_s = next((epoch.eval_s for epoch in reversed(run.epochs) if epoch.eval_s is not None), 0.0)
    since_s = min(max(0.0, now - run.last_step), step_s if steps_left else eval_s)
    left_s = max(0.0, steps_left * step_s + epochs_left * eval_s - since_s)
    # Past thirty years a damaged rate speaks, not the run.
    return left_s if left_s < 1e9 else None


def best(run: Run, metric: str) -> float | None:
    """The best ``top1`` or ``top5`` so far, a fraction."""
    values = (epoch.top1 if metric == "top1" else epoch.top5 if metric == "top5" else None for epoch in run.epochs)
    return max((value for value in values if value is not None), default=None)


@dataclass(frozen=True, slots=True)
class Target:
    """The target and when it was reached."""

    metric: str
    value: float
    """A fraction."""
    time_to_target_s: float | None
    """Training seconds until the first evaluation at or over the value; None while not reached."""
    cost_usd: float | None
    """Dollars billed until then, launch included."""
    cost_on_demand_usd: float | None


def target(run: Run) -> Target | None:
    """What the run is to reach and what it took; None where it has no target."""
    created, reached = run.created, run.target
    if created is None or created.target_metric is None or created.target_value is None:
        return None
    metric, value = created.target_metric, created.target_value
    if reached is None:
        return Target(metric, value, None, None, None)
    pairs = zip(run.epochs, run.epochs_t, strict=True)
    t = next((ended_t for epoch, ended_t in pairs if epoch.epoch == reached.epoch), run.last_received)
    billed = None if t is None else cost_to(run, t)
    on_demand = None if t is None else cost_on_demand_to(run, t)
    return Target(metric, value, reached.elapsed_s, billed, on_demand)


# --- the fleet -------------------------------------------------------------------------------------------------------


def stale_s(node: Node, now: float) -> float | None:
    """Seconds since the node's last record; None before the first."""
    return None if node.last_received is None else max(0.0, now - node.last_received)


def interruptions(run: Run, now: float) -> dict[int, float]:
    """Nodes whose spot instance EC2 takes back, with the seconds that are left; 0 where the time is up."""
    return {
        node.node: max(0.0, node.interruption.deadline_t - now)
        for node in run.nodes
        if run.live and node.interruption is not None and node.status not in ("lost", "dropped")
    }


def quiet(run: Run, now: float, after_s: float = 5.0) -> tuple[int, ...]:
    """Nodes that should speak and have not for `after_s` seconds."""
    if not run.live:
        return ()
    return tuple(
        node.node
        for node in run.nodes
        if node.status in ("connected", "training", "paused") and (stale_s(node, now) or 0.0) > after_s
    )


def util_pct(run: Run) -> float | None:
    """Utilisation, mean over the nodes that say."""
    return _mean(node.util_pct for node in run.nodes)


def util_pct_mean(node: Node) -> float | None:
    """The node's utilisation, mean over all its samples."""
    return node.util_sum / node.util_count if node.util_count else None


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the launch over all nodes."""

    name: str
    nodes_done: int
    nodes: int
    detail: str
    """What the node that is furthest behind in this stage says; empty where none is in it."""


def stages(run: Run) -> tuple[Stage, ...]:
    """The launch stages in the order in which they were first seen."""
    places = {name: place for place, name in enumerate(run.stages)}
    done = [0] * len(places)
    behind: dict[int, tuple[float, str]] = {}
    for node in run.nodes:
        place = places.get(node.stage, -1)
        ended = node.stage_total is not None and node.stage_done >= node.stage_total
        # A node that trains has left the whole launch behind it.
        past = len(places) if node.ranks or node.status == "done" else place + ended
        for earlier in range(past):
            done[earlier] += 1
        if place >= past:
            share = node.stage_done / node.stage_total if node.stage_total else 0.0
            if place not in behind or share < behind[place][0]:
                behind[place] = share, _stage_detail(node)
    return tuple(
        Stage(plain(name, 40), done[place], len(run.nodes), behind.get(place, (0.0, ""))[1])
        for name, place in places.items()
    )


def stage_words(node: Node) -> str:
    """How far the node is in its stage, in words: ``3/12 files``; empty where there is nothing to say."""
    if node.stage == "stage" and node.staging is not None:
        return copying.words(node.staging)
    so_far = f"{count(node.stage_done)}/{count(node.stage_total)}" if (node.stage_total or 0) > 1 else ""
    return " ".join(part for part in (so_far, plain(node.stage_detail, 60)) if part)


def _stage_detail(node: Node) -> str:
    said = stage_words(node)
    return f"node {node.node}: {said}" if said else f"node {node.node}"


def pending(run: Run, now: float) -> tuple[Command, ...]:
    """Commands of the last minute which not every live node has acknowledged."""
    live = {node.node for node in run.nodes if node.status in ("connected", "training", "paused", "unreachable")}
    return tuple(
        command
        for command in run.commands
        if now - command.received <= PENDING_S and not live.issubset((*command.done, *command.refused))
    )


# --- in words --------------------------------------------------------------------------------------------------------


def headline(run: Run, now: float) -> str:
    """The run in one line, at most 78 columns where possible."""
    if not run.live:
        return _ended(run, now)
    if run.status == state.LAUNCHING:
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
    rate = img_per_s(run) if run.status != state.PAUSED else None
    if rate is not None:
        parts.append(f"{count(round(rate))} img/s")
    return " · ".join([*parts, *_time_and_money(run, now)])


def _launching(run: Run, now: float) -> str:
    connected = sum(node.status in ("connected", "training", "paused", "done") for node in run.nodes)
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
    if run.reason and run.status not in (state.FINISHED, state.REACHED):
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


def metric_name(metric: str) -> str:
    """``top5`` as it is written: ``top-5``."""
    return {"top1": "top-1", "top5": "top-5"}.get(metric, plain(metric, 20))


def money(usd: float | None) -> str:
    """Dollars to the cent, half a cent up; below a cent four decimals."""
    if usd is None:
        return "—"
    if 0 < abs(usd) < 0.01 or not math.isfinite(usd):
        return f"${usd:,.4f}"
    whole, part = divmod(abs(ledger.cents(usd)), 100)
    return f"{'-' if usd < 0 else ''}${whole:,}.{part:02}"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A fraction as a percentage, rounded down, so that a target is not shown as met before it is."""
    if fraction is None:
        return "—"
    # The small term is for fractions such as 0.931, which times 1000 falls just short of 931.
    whole = math.floor(fraction * 10 ** (2 + decimals) + 1e-6)
    return f"{whole / 10**decimals:.{decimals}f} %"


def clock(seconds: float | None) -> str:
    """Seconds as ``02:03``, from an hour on as ``1:02:03``."""
    if seconds is None:
        return "—"
    whole = max(0, int(min(seconds, 1e12)))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60:02}:{rest % 60:02}"


def time_of_day(t: float, now: float) -> str:
    """A moment by the laptop's clock and calendar: ``14:32``, and with the day where that is not today's."""
    if not 0 <= t < _LAST_T:
        return "—"
    moment, today = datetime.fromtimestamp(t), datetime.fromtimestamp(min(max(now, 0.0), _LAST_T))
    return f"{moment:%H:%M}" if moment.date() == today.date() else f"{moment:%d %b %H:%M}"


def count(number: int | None) -> str:
    """A whole number with thousands separated."""
    return "—" if number is None else f"{number:,}"


# CSI and OSC sequences whole, other escapes with the character that they take, then every control left over: C0 and C1,
# and the format characters that reorder text.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str, columns: int = 4096, *, strip: bool = True) -> str:
    """Text of a host or a log, fit for a terminal: one line, no control sequences, at most `columns` characters.

    Without `strip`, blanks at its ends stay.
    """
    clean = _CONTROL.sub(lambda match: " " if match[0] in "\t\n\r" else "", text[: 4 * columns + 1024])
    clean = clean.strip() if strip else clean
    return clean if len(clean) <= columns else clean[: max(0, columns - 1)] + "…"


def _share(done: int, total: int) -> str:
    return f"{count(done)}/{count(total)}"


def _mean(values: Iterable[float | None]) -> float | None:
    said = [value for value in values if value is not None]
    return sum(said) / len(said) if said else None
