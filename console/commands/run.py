"""``fastconsole PROFILE``: starts a run and drives it to its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from console.commands.drive import drive
from console.commands.errors import CommandError, note, report_errors
from console.commands.open_run import hosts_remain, status_line
from console.commands.options import Parser, add_screen_options, headless, load_profile, profile_parser
from console.fleet.choose import provider_of
from console.fleet.provider import ProviderError
from console.journal.directory import RunDirectory, all_runs
from console.journal.open_log import LogError, fold
from console.profile.schema import ProfileError

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    from console.live.live_run import LiveRun


def parser() -> Parser:
    """Its options."""
    made = profile_parser("", "Starts a run and shows it: panes at a terminal, text in a pipe.")
    add_screen_options(made)
    return made


@report_errors
def main(words: list[str]) -> int:
    """Starts the run that the profile describes."""
    options = parser().parse_args(words)
    profile, text = load_profile(options), headless(options)
    tell_of_orphans()

    def make() -> LiveRun:
        from console.live.live_run import LiveRun

        directory = RunDirectory.create(profile.name)
        directory.take()
        directory.write_origin(profile.path)
        live = LiveRun(profile, directory, provider_of(profile, directory))
        live.begin()
        return live

    if profile.fleet.provider == "aws":
        # Missing credentials are an error before there is a run directory.
        provider_of(profile, RunDirectory(Path()))
    return drive(make, headless=text, read_only=options.read_only)


def tell_of_orphans() -> None:
    """Says what became of runs whose console died, and ends those in the journal whose hosts are gone."""
    for directory in all_runs():
        if directory.ended() or not directory.take():
            continue
        try:
            if hosts_remain(directory):
                note(f"run {directory.run_id} is active without a console: fastconsole attach {directory.run_id}")
            else:
                past = fold(directory.journal)
                again = f" Resume it: fastconsole resume {directory.run_id}" if past.exit_code else ""
                note(f"{status_line(past)}.{again}")
        except (CommandError, ProfileError, ProviderError, LogError) as error:
            note(f"run {directory.run_id} was left behind: {error}")
        finally:
            directory.leave()
