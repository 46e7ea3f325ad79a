"""A run of this laptop, opened by a command: its past, its profile with what the journal withholds, its live run."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from console.commands.errors import CommandError, note
from console.fleet.choose import provider_of
from console.journal.directory import RunDirectory
from console.journal.open_log import fold
from console.profile import recorded
from console.profile.load import load
from console.profile.redaction import REDACTED, safe_env
from console.profile.schema import Profile, ProfileError
from console.state.run import Run

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    from console.live.live_run import LiveRun


def open_run(directory: RunDirectory, past: Run | None = None) -> LiveRun:
    """The run as its journal (or `past`, which is what that folds to) tells it, ready to be attached or resumed.

    Raises:
        CommandError, ProfileError: its profile, or what the journal withholds of it, cannot be had.
        ProviderError, LogError
    """
    from console.live.live_run import LiveRun

    past = fold(directory.journal) if past is None else past
    profile = profile_of(directory, past)
    return LiveRun(profile, directory, provider_of(profile, directory), past)


def attach_run(directory: RunDirectory) -> LiveRun:
    """The run, with this console attached to its hosts. Raises as `open_run`."""
    live = open_run(directory)
    live.attach()
    return live


def must_take(directory: RunDirectory) -> None:
    """Takes the run's lock. Raises CommandError while another console drives it."""
    if not directory.take():
        raise CommandError(f"another console (pid {directory.console_pid()}) drives run {directory.run_id}")


def hosts_remain(directory: RunDirectory) -> bool:
    """True if the hosts of a run without a console are still there; else the run is ended in its journal."""

    async def look() -> bool:
        return await open_run(directory).salvage()

    return asyncio.run(look())


def status_line(run: Run) -> str:
    """A run in one line: id, status, reason."""
    return f"run {run.run_id}: {run.status}: {run.reason}"


def profile_of(directory: RunDirectory, past: Run) -> Profile:
    """The profile with which the run began, secrets included.

    Values that may be secret are not in the journal: they are in the profile's file, or were read from the hosts.

    Raises:
        CommandError: the journal does not tell the profile, or the secret values cannot be had any more.
        ProfileError
    """
    created = past.created
    if created is None:
        raise CommandError(f"{directory.journal} does not tell which profile it ran")
    profile = recorded.profile(created)
    origin, env = directory.read_origin(), directory.read_env()
    if profile.alerts.withheld:
        profile = _with_webhook(profile, origin)
    if all(safe_env(name) for name in profile.run.env):
        return profile
    if env is None:
        if origin is None or not origin.is_file():
            raise CommandError(f"run {directory.run_id} needs its profile for run.env, and {origin} is gone")
        env = dict(load(str(origin), tuple(word for word in created.overrides if REDACTED not in word)).run.env)
    if set(env) != set(profile.run.env):
        raise CommandError(f"run.env of {origin} names other variables than run {directory.run_id} started with")
    # All else is as the run began, whatever has become of the file since.
    return dataclasses.replace(profile, run=dataclasses.replace(profile.run, env=env))


def _with_webhook(profile: Profile, origin: Path | None) -> Profile:
    """The profile with the webhook that its file names, or without one where that is gone: the run matters more."""
    try:
        webhook = load(str(origin)).alerts.webhook if origin is not None else None
    except ProfileError:
        webhook = None
    if webhook is None:
        note(f"no alerts go to a webhook: it is not in the journal, and {origin or 'the profile'} does not name it")
    return dataclasses.replace(profile, alerts=dataclasses.replace(profile.alerts, webhook=webhook))
