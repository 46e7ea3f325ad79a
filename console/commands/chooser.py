"""What a bare ``fastconsole`` offers: profiles with what they would rent and cost, and the runs of this laptop.

Everything is read from this laptop's disk, one by one, since a long run's journal takes a second: nobody is asked what
anything costs now. ``fastconsole plan`` asks.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console import plan, replay, state, views
from console.offer import Offer
from console.predict import predict
from console.profile import Profile, ProfileError, builtin_names, load
from console.rundir import RunDirectory, all_runs
from console.views import plain

START: Final = "start"
ATTACH: Final = "attach"
REPLAY: Final = "replay"
RESUME: Final = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A line of the start screen."""

    name: str
    """A profile's name or path, or a run's id."""
    verb: str
    """What Enter does: one of the constants above; empty where nothing can be done."""
    other: tuple[str, ...] = ()
    """What else can be done with it."""
    state: str
    """In a word."""
    what: str
    """The rest of the line."""
    costs: str = ""
    """A sentence where it costs money; then one is asked first."""
    path: str = ""
    """Of a run, its journal."""


def profiles() -> Iterator[Choice]:
    """The built-in profiles, and those of the current directory."""
    for name in [*builtin_names(), *sorted(str(path) for path in Path().glob("*.toml"))]:
        try:
            yield _profile(name, load(f"./{name}" if name.endswith(".toml") else name))
        except ProfileError as error:
            if _is_meant_for_one(Path(name)):
                yield Choice(name=name, verb="", state="wrong", what=plain(str(error), 300))


def _is_meant_for_one(path: Path) -> bool:
    """False for a TOML file without any table of a profile: a pyproject.toml is no mistake of anybody's."""
    try:
        return bool({"fleet", "run", "phase"} & set(tomllib.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError):
        # What is no TOML may have been meant to be a profile.
        return True


def _profile(name: str, profile: Profile) -> Choice:
    planned = plan.make(profile, Offer(), predict(profile))
    fleet, cost = profile.fleet, planned.to_target or planned.whole
    parts = []
    if planned.rented:
        parts.append(f"{fleet.nodes} × {fleet.instance_type}, {fleet.market.replace('-', ' ')}")
    else:
        whose = "embedded hosts" if fleet.provider == "local" else "hosts of your own"
        parts.append(f"{fleet.nodes} {whose}, nothing is rented")
    if cost is not None and planned.rented:
        # What spot costs now only AWS knows; on demand is the most that it can be.
        dollars = views.money(cost.billed_usd)
        if cost.billed_usd is None and cost.on_demand_usd is not None:
            dollars = f"{views.money(cost.on_demand_usd)} on demand"
        parts.append(f"about {views.clock(cost.seconds)} and {dollars}")
    elif cost is not None:
        parts.append(f"about {views.clock(cost.seconds)}")
    title = profile.text.split("\n", 1)[0].lstrip("# ").rstrip(".")
    what = " · ".join([*parts, plain(title, 200)])
    costs = ""
    if planned.rented:
        most = f", {views.money(profile.budget.max_usd)} at most" if profile.budget.max_usd is not None else ""
        costs = (
            f"It rents {parts[0]}{f', {parts[1]}' if len(parts) > 1 else ''}{most}. fastconsole plan {name} says more."
        )
    return Choice(name=name, verb=START, state="profile", what=what, costs=costs)


def runs() -> Iterator[Choice]:
    """The runs of this laptop, the newest first."""
    for directory in reversed(all_runs()):
        try:
            yield _run(directory)
        except (replay.LogError, OSError, ValueError) as error:
            yield Choice(name=directory.run_id, verb="", state="unreadable", what=plain(str(error), 300))


def _run(directory: RunDirectory) -> Choice:
    run = replay.fold(directory.journal)
    now = time.time() if run.live else run.ended or time.time()
    driven = run.live and directory.console_pid() is not None
    parts = [
        f"top-5 {views.percent(views.best(run, 'top5'))}",
        f"step {views.count(run.step.step if run.step else None)}",
        views.clock(views.elapsed_s(run, now)),
        views.money(views.cost(run, now).billed_usd),
    ]
    if run.reason:
        parts.append(plain(run.reason, 120))
    if run.live:
        verb, other = (REPLAY, ()) if driven else (ATTACH, (REPLAY,))
        word = f"{run.status}, in another console" if driven else f"{run.status}, no console"
    else:
        again = run.status in (state.STOPPED, state.FAILED, state.OVER_BUDGET, state.UNREACHABLE)
        verb, other, word = REPLAY, (RESUME,) if again else (), run.status
    return Choice(
        name=directory.run_id, verb=verb, other=other, state=word, what=" · ".join(parts), path=str(directory.journal)
    )
