"""Where a run's money went: by epoch, by node, and the idle cost, while no step ran. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from console.billing.ledger import Spent, bill
from console.state.run import Run

LAUNCH: Final = "launch"
PAUSE: Final = "pause"
RESTART: Final = "restart"
AFTER: Final = "after the end"


def per_epoch(run: Run) -> tuple[Spent, ...]:
    """What each epoch cost: from the end of the epoch before to its own; the first from the first step on.

    Pauses and restarts between two ends are included.
    """
    ends = [epoch.ended_t for epoch in run.epochs]
    if not ends:
        return ()
    first = next((activity.since_t for activity in run.activities if activity.cause == "train"), run.started_t)
    begin = ends[0] if first is None else min(first, ends[0])
    made = bill(run)
    return tuple(made.between(*pair) for pair in zip([begin, *ends[:-1]], ends, strict=True))


def per_node(run: Run, t: float) -> tuple[Spent, ...]:
    """What each node cost, all its instances together; zero where it had none."""
    sums: list[tuple[list[float | None], list[float | None]]] = [([], []) for _ in run.nodes]
    for line in bill(run).lines(t):
        sums[line.node][0].append(line.billed_usd)
        sums[line.node][1].append(line.on_demand_usd)
    return tuple(Spent(total(billed), total(on_demand)) for billed, on_demand in sums)


def total(parts: Iterable[float | None]) -> float | None:
    """The sum of the parts; None where a part is unknown."""
    known = list(parts)
    return None if None in known else math.fsum(part for part in known if part is not None)


def idle(run: Run, t: float) -> dict[str, float] | None:
    """Dollars billed while no step ran, by cause; only causes that cost something. None where unknown.

    ``launch``: until the first step, and until the first step of each later attempt. ``pause``: from a pause to the
    resumption. ``restart``: from the last step before the workers failed, or left their loop to be restarted, to the
    next step. ``after the end``: from the trainer's end, or the last step where it had none, until the last instance
    was released. Evaluations and checkpoints during training are not idle time.
    """
    if run.first_step_t is None and run.epochs:
        # A foreign log without steps does not say when training began.
        return None
    names = {"launch": LAUNCH, "pause": PAUSE, "restart": RESTART, "end": AFTER}
    sums: dict[str, list[float]] = {}
    made, activities = bill(run), run.activities
    for index, activity in enumerate(activities):
        cause = names.get(activity.cause)
        if cause is None or activity.since_t > t:
            continue
        end = min(t, activities[index + 1].since_t) if index + 1 < len(activities) else t
        # The first activity has all that was billed before it: the clocks of the laptop and of EC2 differ.
        spent = made.between(activity.since_t if index else 0.0, end).billed_usd
        if spent is None:
            return None
        sums.setdefault(cause, []).append(spent)
    added = {cause: math.fsum(parts) for cause, parts in sums.items()}
    return {cause: usd for cause, usd in added.items() if usd > 0}
