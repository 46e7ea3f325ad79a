"""What a bare ``fastconsole`` offers: profiles with what they would rent and cost, and the runs of this laptop.

Everything is read from this laptop's disk, one by one, since a long run's journal takes a second: nobody is asked what
anything costs now. ``fastconsole plan`` asks.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from console.billing.cost import cost as cost_
from console.format import clock, count, money, percent, plain
from console.journal import open_log
from console.journal.directory import RunDirectory, all_runs
from console.planning import make
from console.planning.offer import Offer
from console.planning.predict import predict
from console.profile.load import builtin_names, load
from console.profile.schema import Profile, ProfileError
from console.state.status import RESUMABLE
from console.tui.choices import ATTACH, REPLAY, RESUME, START, Choice
from console.views import progress


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
    planned = make.make(profile, Offer(), predict(profile))
    fleet, cost = profile.fleet, planned.to_target or planned.whole
    parts = []
    if planned.rented:
        parts.append(f"{fleet.nodes} × {fleet.instance_type}, {fleet.market.replace('-', ' ')}")
    else:
        whose = "embedded hosts" if fleet.provider == "local" else "hosts of your own"
        parts.append(f"{fleet.nodes} {whose}, nothing is rented")
    if cost is not None and planned.rented:
        # What spot costs now only AWS knows; on demand is the most that it can be.
        dollars = money(cost.billed_usd)
        if cost.billed_usd is None and cost.on_demand_usd is not None:
            dollars = f"{money(cost.on_demand_usd)} on demand"
        parts.append(f"about {clock(cost.seconds)} and {dollars}")
    elif cost is not None:
        parts.append(f"about {clock(cost.seconds)}")
    title = profile.text.split("\n", 1)[0].lstrip("# ").rstrip(".")
    what = " · ".join([*parts, plain(title, 200)])
    costs = ""
    if planned.rented:
        most = f", {money(profile.budget.max_usd)} at most" if profile.budget.max_usd is not None else ""
        costs = (
            f"It rents {parts[0]}{f', {parts[1]}' if len(parts) > 1 else ''}{most}. fastconsole plan {name} says more."
        )
    return Choice(name=name, verb=START, state="profile", what=what, costs=costs)


def runs() -> Iterator[Choice]:
    """The runs of this laptop, the newest first."""
    for directory in reversed(all_runs()):
        try:
            yield _run(directory)
        except (open_log.LogError, OSError, ValueError) as error:
            yield Choice(name=directory.run_id, verb="", state="unreadable", what=plain(str(error), 300))


def _run(directory: RunDirectory) -> Choice:
    run = open_log.fold(directory.journal)
    now = time.time() if run.live else run.ended_t or time.time()
    driven = run.live and directory.console_pid() is not None
    parts = [
        f"top-5 {percent(progress.best(run, 'top5'))}",
        f"step {count(run.step.step if run.step else None)}",
        clock(progress.elapsed_s(run, now)),
        money(cost_(run, now).billed_usd),
    ]
    if run.reason:
        parts.append(plain(run.reason, 120))
    if run.live:
        verb, other = (REPLAY, ()) if driven else (ATTACH, (REPLAY,))
        word = f"{run.status}, in another console" if driven else f"{run.status}, no console"
    else:
        again = run.status in RESUMABLE
        verb, other, word = REPLAY, (RESUME,) if again else (), run.status
    return Choice(
        name=directory.run_id, verb=verb, other=other, state=word, what=" · ".join(parts), path=str(directory.journal)
    )
