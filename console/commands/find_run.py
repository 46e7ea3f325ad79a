"""Runs that this laptop does not know: found by the tags of their instances, come to, or ended."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from console.commands.errors import CommandError, note
from console.fleet.choose import provider_of
from console.journal import open_log
from console.journal.directory import RunDirectory, all_runs
from console.profile.load import load, parse
from console.profile.redaction import REDACTED, safe_env
from console.profile.schema import Profile, ProfileError
from console.state.outcome import Exit
from console.state.run import Run

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    pass


from console.commands.errors import waiting
from console.fleet.aws import credentials

_ASKING = "asking AWS for instances …"


def _must_be_set_up(run_id: str, region: str | None) -> None:
    # Who names a region means AWS.
    if not region and not credentials.is_set_up():
        raise CommandError(f"there is no run {run_id}; fastconsole runs lists them")


def come_to(run_id: str, region: str | None) -> RunDirectory:
    """A directory on this laptop for a run that another one launched.

    Raises:
        CommandError: there is no such run.
        ProviderError: it cannot be come to.
    """
    _must_be_set_up(run_id, region)
    from console.discovery.adopt import NoSuchRun, adopt, named
    from console.discovery.find import PATIENCE_S, look
    from console.fleet.aws.cloud import Cloud

    async def coming() -> RunDirectory:
        seen = await waiting(look(Cloud(region, patience_s=PATIENCE_S), region), _ASKING)
        return await adopt(Cloud(region), named(run_id, seen), note)

    try:
        return asyncio.run(coming())
    except NoSuchRun as error:
        raise CommandError(f"{error}; fastconsole ps lists those that go on") from None


def catch_up(directory: RunDirectory) -> None:
    """Has a run's directory tell what consoles on other laptops did since; hosts that are not rented are nobody else's.

    Raises:
        ProviderError: AWS could not be asked, or the hosts could not be come to.
    """
    fleet = directory.read_fleet()[1]
    if fleet.get("provider") != "aws":
        return
    from console.discovery.adopt import adopt, moved_on
    from console.discovery.find import sightings
    from console.fleet.aws.cloud import Cloud
    from console.fleet.aws.instances import of_run
    from console.fleet.rental.resources import claim_of

    async def catching_up() -> None:
        cloud = Cloud()
        found = [
            one
            for region in claim_of(fleet.get("claim", {})).regions
            for one in await of_run(cloud.at(region), directory.run_id)
        ]
        for run in sightings(found):
            if run.living and moved_on(directory, run):
                note(f"run {directory.run_id}: a console on another laptop has driven it since; coming to it anew")
                await adopt(cloud, run, note)

    asyncio.run(catching_up())


def terminate(run_id: str, region: str | None) -> int:
    """Ends all that a run of another laptop has at AWS, without coming to its hosts.

    Raises:
        CommandError: there is no such run.
        CloudError: AWS could not be asked.
    """
    _must_be_set_up(run_id, region)
    from console.commands import clean
    from console.discovery.find import PATIENCE_S
    from console.discovery.sweep import leftovers
    from console.fleet.aws.cloud import Cloud

    cloud = Cloud(region, patience_s=PATIENCE_S)
    found = asyncio.run(waiting(leftovers(cloud, region, patience_s=PATIENCE_S), _ASKING))
    lots = clean.sort(found, time.time())
    named = [lot for lot in lots if lot.run_id == run_id] or [lot for lot in lots if lot.run_id.startswith(run_id)]
    for name, why in found.silent:
        note(f"what is in {name} is not known: {why}")
    if len(named) > 1:
        raise CommandError(f"{len(named)} runs begin with {run_id}: {', '.join(lot.run_id for lot in named)}")
    if not named:
        code = Exit.UNREACHABLE if found.silent else Exit.USAGE
        raise CommandError(f"there is no run {run_id}, neither on this laptop nor in {clean.regions(found)}", code)
    lot = named[0]
    note(f"run {lot.run_id}: ending {lot.instances} instances and all else of it; its console is not told")
    return asyncio.run(clean.end([lot], found.regions)) or (Exit.UNREACHABLE if found.silent else Exit.DONE)


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
        return come_to(run_id, region)
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
        note(f"alerts.webhook is not in the journal, and {origin or 'its profile'} does not tell it: it gets no alerts")
    return dataclasses.replace(profile, alerts=dataclasses.replace(profile.alerts, webhook=webhook))


def _still_there(directory: RunDirectory) -> bool:
    """True if the hosts of a run without a console live; else the run's books are closed."""

    async def look() -> bool:
        from console.live.live_run import LiveRun

        past = open_log.fold(directory.journal)
        profile = _profile_of(directory, past)
        return await LiveRun(profile, directory, provider_of(profile, directory), past).salvage()

    return asyncio.run(look())
