"""The commands that drive a live run, on the screen or as text, and those that look at the runs on this laptop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from console.commands.find_run import _find, _profile_of, _still_there
from console.commands.options import UsageError, _profile, _run_options, _say
from console.commands.serve import watch
from console.state.outcome import Exit, exit_of

if TYPE_CHECKING:
    from console.profile.schema import Profile

import time
from pathlib import Path
from typing import TYPE_CHECKING

from console.billing import budget
from console.commands import find_run
from console.commands.drive import drive
from console.commands.errors import CommandError, note, report_errors
from console.fleet.choose import provider_of
from console.fleet.provider import ProviderError
from console.journal import open_log
from console.journal.directory import RunDirectory, all_runs
from console.profile.schema import Profile, ProfileError
from console.state.run import FAILED, FINISHED, MISSED, OVER_BUDGET, REACHED, STOPPED, UNREACHABLE

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    from console.live.live_run import LiveRun


# --- runs ------------------------------------------------------------------------------------------------------------


@report_errors
def run(profile: Profile, *, headless: bool, read_only: bool) -> int:
    """Starts a run and drives it to its end."""
    _tell_of_orphans()

    def make() -> LiveRun:
        from console.live.live_run import LiveRun

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


@report_errors
def resume(run_id: str | None, *, headless: bool, read_only: bool, budget_usd: float | None = None) -> int:
    """Goes on with a run that has ended, from its last checkpoint, with new hosts and, where given, another budget."""
    _tell_of_orphans()
    directory = _find(run_id, "that has ended", lambda one: one.ended())
    if not directory.ended():
        raise CommandError(f"run {directory.run_id} goes on; fastconsole attach {directory.run_id} comes back to it")
    past = open_log.fold(directory.journal)
    if past.status in (REACHED, FINISHED, MISSED):
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
        from console.live.live_run import LiveRun

        profile = _profile_of(directory, past)
        live = LiveRun(profile, directory, provider_of(profile, directory), past)
        live.resume(budget_usd)
        return live

    return drive(make, headless=headless, read_only=read_only)


@report_errors
def attach(run_id: str | None, *, headless: bool, read_only: bool, region: str | None = None) -> int:
    """Comes back to a run that goes on without a console, or to one of another laptop."""
    directory = _find(run_id, "that goes on", lambda one: not one.ended(), anywhere=True, region=region)
    if directory.ended():
        past = open_log.fold(directory.journal)
        hint = ""
        if past.status in (STOPPED, FAILED, OVER_BUDGET, UNREACHABLE):
            hint = f"; fastconsole resume {directory.run_id} goes on with it"
        raise CommandError(f"run {directory.run_id} has ended ({past.status}: {past.reason}){hint}")
    if read_only and not headless and directory.console_pid() is not None:
        return watch(str(directory.journal))
    if not directory.take():
        raise CommandError(f"another console (pid {directory.console_pid()}) drives run {directory.run_id}")
    find_run.catch_up(directory)
    if not _still_there(directory):
        past = open_log.fold(directory.journal)
        note(f"run {directory.run_id}: {past.status}: {past.reason}")
        return exit_of(past)

    def make() -> LiveRun:
        from console.live.live_run import LiveRun

        past = open_log.fold(directory.journal)
        profile = _profile_of(directory, past)
        live = LiveRun(profile, directory, provider_of(profile, directory), past)
        live.attach()
        return live

    return drive(make, headless=headless, read_only=read_only)


def _tell_of_orphans() -> None:
    """Says what became of runs whose console died, and ends the books of those whose hosts are gone."""
    for directory in all_runs():
        if directory.ended() or not directory.take():
            continue
        try:
            if _still_there(directory):
                note(f"run {directory.run_id} goes on without a console: fastconsole attach {directory.run_id}")
            else:
                past = open_log.fold(directory.journal)
                again = f" Go on with it: fastconsole resume {directory.run_id}" if past.exit_code else ""
                note(f"run {directory.run_id}: {past.status}: {past.reason}.{again}")
        except (CommandError, ProfileError, ProviderError, open_log.LogError) as error:
            note(f"run {directory.run_id} was left behind: {error}")
        finally:
            directory.leave()


def _run(words: list[str]) -> int:
    options = _run_options(words, "profile", optional=False)
    from console.profile.schema import ProfileError

    try:
        profile = _profile(options)
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    from console.commands import run as commands

    return commands.run(profile, headless=options.headless, read_only=options.read_only)


def _on_run(name: str) -> Callable[[list[str]], int]:
    def command(words: list[str]) -> int:
        options = _run_options(words, "run", optional=name in ("attach", "resume"))
        from console.commands import control
        from console.commands.run import attach, resume

        if options.budget is not None and name != "resume":
            raise UsageError("--budget is for resume; fastconsole budget RUN USD sets that of a run that goes on")
        if options.region is not None and name == "resume":
            raise UsageError("--region is for attach, stop and terminate; a run that has ended has no instances")
        if name == "attach":
            return attach(options.run, headless=options.headless, read_only=options.read_only, region=options.region)
        if name == "resume":
            return resume(
                options.run, headless=options.headless, read_only=options.read_only, budget_usd=options.budget
            )
        return control.end(options.run, at_once=name == "terminate", region=options.region)

    return command
