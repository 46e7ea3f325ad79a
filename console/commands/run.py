"""The commands that drive a live run, on the screen or as text, and those that look at the runs on this laptop."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from console import budget, elsewhere, orders, replay, state, views
from console.config import load as load_config
from console.driving import drive
from console.exits import Exit, exit_of
from console.fleet import ProviderError, provider_of
from console.profile import Profile, ProfileError, load, parse
from console.redaction import REDACTED, safe_env
from console.rundir import RunDirectory, all_runs
from console.sentences import CommandError, said, talk
from console.source import Source
from console.state import Run

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    from console.events import Record
    from console.live import LiveRun


_ORDER_S = 15.0
"""A console looks for orders every second, less often while it waits for something at the start and the end."""
_VISIT_S = 60.0
"""How long a visit waits for hosts that cannot be reached."""


# --- runs ------------------------------------------------------------------------------------------------------------


@said
def run(profile: Profile, *, headless: bool, read_only: bool) -> int:
    """Starts a run and drives it to its end."""
    _tell_of_orphans()

    def make() -> LiveRun:
        from console.live import LiveRun

        directory = RunDirectory.create(profile.name)
        directory.take()
        directory.write_origin(profile.path)
        live = LiveRun(profile, directory, provider_of(profile, directory))
        live.begin()
        return live

    if profile.fleet.provider == "aws":
        # Says so before there is a run directory.
        provider_of(profile, RunDirectory(Path()))
    return drive(make, headless=headless, read_only=read_only)


@said
def plan(profile: Profile, *, as_json: bool) -> int:
    """Prints what the profile would rent, how long it would take and what it would cost."""
    from console import plan_json, plan_report, preflight
    from console.plan import make
    from console.predict import predict

    if profile.fleet.provider == "aws" and sys.stderr.isatty():
        talk("asking AWS for prices, zones and quotas …")
    planned = make(profile, preflight.ask(profile), predict(profile))
    if as_json:
        print(json.dumps(plan_json.as_json(planned), indent=1, ensure_ascii=False))
    else:
        print(plan_report.text(planned), end="")
    return Exit.UNREACHABLE if planned.problems else Exit.DONE


@said
def resume(run_id: str | None, *, headless: bool, read_only: bool, budget_usd: float | None = None) -> int:
    """Goes on with a run that has ended, from its last checkpoint, with new hosts and, where given, another budget."""
    _tell_of_orphans()
    directory = _find(run_id, "that has ended", lambda one: one.ended())
    if not directory.ended():
        raise CommandError(f"run {directory.run_id} goes on; fastconsole attach {directory.run_id} comes back to it")
    past = replay.fold(directory.journal)
    if past.status in (state.REACHED, state.FINISHED, state.MISSED):
        raise CommandError(f"run {directory.run_id} is complete ({past.status}: {past.reason}); nothing is left to do")
    # Before anything is rented for a moment.
    if budget_usd is None:
        refusal, hint = budget.again_refusal(past, time.time()), " with --budget USD"
    else:
        refusal, hint = budget.refusal(past, time.time(), budget_usd), ""
    if refusal:
        raise CommandError(f"run {directory.run_id}: {refusal}{hint}")
    if not directory.take():
        raise CommandError(f"another console (pid {directory.console_pid()}) drives run {directory.run_id}")

    def make() -> LiveRun:
        from console.live import LiveRun

        profile = _profile_of(directory, past)
        live = LiveRun(profile, directory, provider_of(profile, directory), past)
        live.resume(budget_usd)
        return live

    return drive(make, headless=headless, read_only=read_only)


@said
def attach(run_id: str | None, *, headless: bool, read_only: bool, region: str | None = None) -> int:
    """Comes back to a run that goes on without a console, or to one of another laptop."""
    directory = _find(run_id, "that goes on", lambda one: not one.ended(), anywhere=True, region=region)
    if directory.ended():
        past = replay.fold(directory.journal)
        hint = ""
        if past.status in (state.STOPPED, state.FAILED, state.OVER_BUDGET, state.UNREACHABLE):
            hint = f"; fastconsole resume {directory.run_id} goes on with it"
        raise CommandError(f"run {directory.run_id} has ended ({past.status}: {past.reason}){hint}")
    if read_only and not headless and directory.console_pid() is not None:
        return watch(str(directory.journal))
    if not directory.take():
        raise CommandError(f"another console (pid {directory.console_pid()}) drives run {directory.run_id}")
    elsewhere.catch_up(directory)
    if not _still_there(directory):
        past = replay.fold(directory.journal)
        talk(f"run {directory.run_id}: {past.status}: {past.reason}")
        return exit_of(past)

    def make() -> LiveRun:
        from console.live import LiveRun

        past = replay.fold(directory.journal)
        profile = _profile_of(directory, past)
        live = LiveRun(profile, directory, provider_of(profile, directory), past)
        live.attach()
        return live

    return drive(make, headless=headless, read_only=read_only)


@said
def end(run_id: str, *, at_once: bool, region: str | None = None) -> int:
    """Stops a run from another terminal, through the console that drives it or, where there is none, as one."""
    if at_once and not _named(run_id):
        return elsewhere.terminate(run_id, region)
    directory = _find(run_id, "at all", lambda one: True, anywhere=True, region=region)
    if directory.ended():
        raise CommandError(f"run {directory.run_id} has ended already")
    pid = directory.console_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM if at_once else signal.SIGINT)
        while not directory.ended() and directory.console_pid() is not None:
            time.sleep(0.2)
        past = replay.fold(directory.journal)
        talk(f"run {directory.run_id}: {past.status}: {past.reason}")
        return Exit.DONE if not past.live else Exit.FAILED
    taken = directory.take()
    if taken and not at_once:
        elsewhere.catch_up(directory)
    if not taken or not _still_there(directory):
        past = replay.fold(directory.journal)
        talk(f"run {directory.run_id}: {past.status}: {past.reason}")
        return Exit.DONE

    async def ending() -> Run:
        from console.live import LiveRun

        past = replay.fold(directory.journal)
        profile = _profile_of(directory, past)
        live = LiveRun(profile, directory, provider_of(profile, directory), past)
        live.attach()
        await live.command("terminate" if at_once else "stop")
        await live.drive()
        return live.run

    ended = asyncio.run(ending())
    talk(f"run {directory.run_id}: {ended.status}: {ended.reason}")
    return Exit.DONE


@said
def set_budget(run_id: str, usd: float) -> int:
    """Sets another budget for a run that goes on: by an order to the console that drives it or, where there is none,
    as one that comes for the moment that it takes to tell the hosts."""
    directory = _find(run_id, "at all", lambda one: True, anywhere=True)
    name = directory.run_id
    if directory.ended():
        raise CommandError(f"run {name} has ended; fastconsole resume {name} --budget {usd:g} goes on with it")
    if directory.take():
        try:
            elsewhere.catch_up(directory)
            if not _still_there(directory):
                past = replay.fold(directory.journal)
                raise CommandError(f"run {name}: {past.status}: {past.reason}", Exit.FAILED)
            refusal = budget.refusal(replay.fold(directory.journal), time.time(), usd)
            silent = () if refusal else asyncio.run(_visit(directory, usd))
        finally:
            directory.leave()
    else:
        silent = ()
        try:
            arguments = {"usd": usd, "by": "another terminal"}
            refusal = orders.give(directory.path, "budget", arguments, patience_s=_ORDER_S)
        except orders.NoAnswer as error:
            who = f"the console (pid {directory.console_pid()}) that drives run {name}"
            raise CommandError(f"{who} does not answer: {error}", Exit.FAILED) from None
    if refusal:
        raise CommandError(f"run {name}: {refusal}")
    run, now = replay.fold(directory.journal), time.time()
    left_s = budget.lasts_s(run, now)
    lasts = "" if left_s is None else f"; at the present price it lasts until {views.time_of_day(now + left_s, now)}"
    talk(f"run {name}: the budget is now {views.money(run.budget_usd)}{lasts}")
    if silent:
        nodes = ", ".join(str(node) for node in silent)
        talk(f"run {name}: not reached, so their leases stand as they were: node {nodes}")
    return Exit.DONE


async def _visit(directory: RunDirectory, usd: float) -> tuple[int, ...]:
    """Comes to a run without a console, sets its budget, tells its hosts and goes; the nodes that were not reached."""
    from console.events import HostConnected
    from console.live import LiveRun

    past = replay.fold(directory.journal)
    profile = _profile_of(directory, past)
    live = LiveRun(profile, directory, provider_of(profile, directory), past)
    live.attach()
    await live.command("budget", usd=usd, by="another terminal")
    awaited = {node.node for node in past.nodes if node.status not in ("lost", "dropped", "refused")}
    all_there = asyncio.Event()

    def look(before: Run, after: Run, record: Record | None) -> None:
        if record is not None and isinstance(record.event, HostConnected):
            awaited.discard(record.node if record.node is not None else -1)
        if not awaited or not after.live:
            all_there.set()

    live.observe(look)
    driving = asyncio.create_task(live.drive())
    there = asyncio.create_task(all_there.wait())
    await asyncio.wait([driving, there], timeout=_VISIT_S, return_when=asyncio.FIRST_COMPLETED)
    there.cancel()
    # A run that ended meanwhile is closed in order; of any other, leaving moves the leases.
    await live.command("detach")
    await driving
    return tuple(sorted(awaited))


@said
def serve(name: str, port: int) -> int:
    """Serves a run of this laptop, or a log, to a browser on it. Raises LogError."""
    from console import serving

    path = Path(name)
    if not path.exists():
        path = _find(name, "to serve", lambda one: True).journal
    replay.open_log(path)
    title = path.parent.name if path.name == "run.jsonl" else path.name
    return serving.serve(path, title, port)


def watch(path: str) -> int:
    """Opens a log in the panes with no controls; one that still grows, as the run that it is. Raises LogError."""
    from console.rewind import Rewind
    from console.tui.app import ConsoleApp
    from console.watching import Watched

    log = replay.open_log(path)
    grows = log.form == replay.JOURNAL and log.path.name == "run.jsonl" and not RunDirectory(log.path.parent).ended()

    async def factory() -> Source:
        if grows:
            return Rewind(Watched(log.path, log.path.parent.name), log.path)
        return await asyncio.to_thread(replay.Replay, log.path, at_once_s=2.0)

    # Whoever looks on from elsewhere changes nothing of how the operator's screen comes back.
    config = dataclasses.replace(load_config(), path=Path())
    app = ConsoleApp(factory, read_only=True, config=config)
    app.run(mouse=config.mouse)
    if app.failure is not None:
        raise app.failure
    return Exit.DONE


def replay_on_screen(path: str, speed: float, compared: Sequence[str] = ()) -> int:
    """Opens a log in the panes, with other logs laid over it. Raises LogError."""
    from console.tui.app import ConsoleApp

    replay.open_log(path)
    made: list[replay.Replay] = []

    async def factory() -> replay.Replay:
        # A log of 20 minutes takes a second to read: the first picture comes before, and the keys work meanwhile. The
        # rest of a longer one is read while it plays.
        made.append(await asyncio.to_thread(replay.Replay, path, speed=speed, at_once_s=2.0))
        return made[0]

    config = load_config()
    app = ConsoleApp(factory, config=config, compared=compared)
    app.run(mouse=config.mouse)
    if app.failure is not None:
        raise app.failure
    return exit_of(made[0].exit_run()) if made else Exit.DONE


# --- how -------------------------------------------------------------------------------------------------------------


def _find(
    run_id: str | None,
    wanted: str,
    fits: Callable[[RunDirectory], bool],
    *,
    anywhere: bool = False,
    region: str | None = None,
) -> RunDirectory:
    """The run that is named, or the newest that `fits`; `wanted` says what that would be.

    `anywhere`: a run that this laptop does not know is looked for at AWS, in all regions or in one.
    """
    if run_id is None:
        fitting = [one for one in all_runs() if fits(one)]
        if not fitting:
            raise CommandError(f"there is no run {wanted} on this laptop; fastconsole runs lists them")
        return fitting[-1]
    named = _named(run_id)
    if anywhere and not named:
        return elsewhere.come_to(run_id, region)
    if len(named) != 1:
        what = "there is no run" if not named else f"{len(named)} runs begin with"
        raise CommandError(f"{what} {run_id}; fastconsole runs lists them")
    return named[0]


def _named(run_id: str) -> list[RunDirectory]:
    """The runs of this laptop that may be meant."""
    runs = all_runs()
    return [one for one in runs if one.run_id == run_id] or [one for one in runs if one.run_id.startswith(run_id)]


def _profile_of(directory: RunDirectory, past: Run) -> Profile:
    created = past.created
    if created is None:
        raise CommandError(f"{directory.journal} does not tell which profile it ran")
    profile = parse(created.profile_text, path=Path(f"{created.profile}.toml"), overrides=created.overrides)
    # Values that may be secret are not in the journal; they are where the operator keeps them, or were on the hosts.
    origin, env = directory.read_origin(), directory.read_env()
    if profile.alerts.withheld:
        profile = _with_webhook(profile, origin)
    if all(safe_env(name) for name in profile.run.env):
        return profile
    if env is None:
        if origin is None or not origin.is_file():
            raise CommandError(f"run {directory.run_id} needs its profile for run.env, and {origin} is gone")
        env = dict(load(str(origin), tuple(one for one in created.overrides if REDACTED not in one)).run.env)
    if set(env) != set(profile.run.env):
        raise CommandError(f"run.env of {origin} names other variables than run {directory.run_id} started with")
    # All else is as the run began, whatever has become of the file since.
    return dataclasses.replace(profile, run=dataclasses.replace(profile.run, env=env))


def _with_webhook(profile: Profile, origin: Path | None) -> Profile:
    """The profile with the webhook that its file names; without one where that is gone: a run is worth more."""
    try:
        webhook = load(str(origin)).alerts.webhook if origin is not None else None
    except ProfileError:
        webhook = None
    if webhook is None:
        talk(f"alerts.webhook is not in the journal, and {origin or 'its profile'} does not tell it: it gets no alerts")
    return dataclasses.replace(profile, alerts=dataclasses.replace(profile.alerts, webhook=webhook))


def _still_there(directory: RunDirectory) -> bool:
    """True if the hosts of a run without a console live; else the run's books are closed."""

    async def look() -> bool:
        from console.live import LiveRun

        past = replay.fold(directory.journal)
        profile = _profile_of(directory, past)
        return await LiveRun(profile, directory, provider_of(profile, directory), past).salvage()

    return asyncio.run(look())


def _tell_of_orphans() -> None:
    """Says what became of runs whose console died, and ends the books of those whose hosts are gone."""
    for directory in all_runs():
        if directory.ended() or not directory.take():
            continue
        try:
            if _still_there(directory):
                talk(f"run {directory.run_id} goes on without a console: fastconsole attach {directory.run_id}")
            else:
                past = replay.fold(directory.journal)
                again = f" Go on with it: fastconsole resume {directory.run_id}" if past.exit_code else ""
                talk(f"run {directory.run_id}: {past.status}: {past.reason}.{again}")
        except (CommandError, ProfileError, ProviderError, replay.LogError) as error:
            talk(f"run {directory.run_id} was left behind: {error}")
        finally:
            directory.leave()
