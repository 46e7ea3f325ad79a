"""Runs that this laptop does not know: found by the tags of their instances, come to, or ended."""

from __future__ import annotations

import asyncio
import time

from console.exits import Exit
from console.fleet.aws import setup
from console.rundir import RunDirectory
from console.sentences import CommandError, talk, waiting

_ASKING = "asking AWS for instances …"


def _must_be_set_up(run_id: str, region: str | None) -> None:
    # Who names a region means AWS.
    if not region and not setup.is_set_up():
        raise CommandError(f"there is no run {run_id}; fastconsole runs lists them")


def come_to(run_id: str, region: str | None) -> RunDirectory:
    """A directory on this laptop for a run that another one launched.

    Raises:
        CommandError: there is no such run.
        ProviderError: it cannot be come to.
    """
    _must_be_set_up(run_id, region)
    from console.fleet.aws.adoption import NoSuchRun, adopt, named
    from console.fleet.aws.cloud import Cloud
    from console.fleet.aws.sightings import PATIENCE_S, look

    async def coming() -> RunDirectory:
        seen = await waiting(look(Cloud(region, patience_s=PATIENCE_S), region), _ASKING)
        return await adopt(Cloud(region), named(run_id, seen), talk)

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
    from console.fleet.aws.adoption import adopt, moved_on
    from console.fleet.aws.claim import claim_of
    from console.fleet.aws.cloud import Cloud
    from console.fleet.aws.instances import of_run
    from console.fleet.aws.sightings import sightings

    async def catching_up() -> None:
        cloud = Cloud()
        found = [
            one
            for region in claim_of(fleet.get("claim", {})).regions
            for one in await of_run(cloud.at(region), directory.run_id)
        ]
        for run in sightings(found):
            if run.living and moved_on(directory, run):
                talk(f"run {directory.run_id}: a console on another laptop has driven it since; coming to it anew")
                await adopt(cloud, run, talk)

    asyncio.run(catching_up())


def terminate(run_id: str, region: str | None) -> int:
    """Ends all that a run of another laptop has at AWS, without coming to its hosts.

    Raises:
        CommandError: there is no such run.
        CloudError: AWS could not be asked.
    """
    _must_be_set_up(run_id, region)
    from console import cleaning
    from console.fleet.aws.cloud import Cloud
    from console.fleet.aws.sightings import PATIENCE_S
    from console.fleet.aws.sweep import leftovers

    cloud = Cloud(region, patience_s=PATIENCE_S)
    found = asyncio.run(waiting(leftovers(cloud, region, patience_s=PATIENCE_S), _ASKING))
    lots = cleaning.sort(found, time.time())
    named = [lot for lot in lots if lot.run_id == run_id] or [lot for lot in lots if lot.run_id.startswith(run_id)]
    for name, why in found.silent:
        talk(f"what is in {name} is not known: {why}")
    if len(named) > 1:
        raise CommandError(f"{len(named)} runs begin with {run_id}: {', '.join(lot.run_id for lot in named)}")
    if not named:
        code = Exit.UNREACHABLE if found.silent else Exit.USAGE
        raise CommandError(f"there is no run {run_id}, neither on this laptop nor in {cleaning.regions(found)}", code)
    lot = named[0]
    talk(f"run {lot.run_id}: ending {lot.instances} instances and all else of it; its console is not told")
    return asyncio.run(cleaning.end([lot], found.regions)) or (Exit.UNREACHABLE if found.silent else Exit.DONE)
