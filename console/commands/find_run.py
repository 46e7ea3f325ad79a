"""The run that a command is about: on this laptop, or adopted from another one by the tags of its instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.commands.errors import CommandError, note, waiting
from console.fleet.aws import credentials
from console.journal.directory import RunDirectory, all_runs

ASKING = "asking AWS for instances …"


def find(
    run_id: str | None,
    wanted: str,
    fits: Callable[[RunDirectory], bool],
    *,
    anywhere: bool = False,
    region: str | None = None,
) -> RunDirectory:
    """The run that is named, or the newest that `fits`; `wanted` says what that would be.

    `anywhere`: a run that this laptop does not know is looked for at AWS, in all regions or in one.

    Raises:
        CommandError: there is no such run, or more than one.
        ProviderError: AWS could not be asked, or the run's hosts could not be reached.
    """
    if run_id is None:
        fitting = [directory for directory in all_runs() if fits(directory)]
        if not fitting:
            raise CommandError(f"no {wanted} on this laptop; fastconsole runs lists them")
        return fitting[-1]
    known = runs_named(run_id)
    if anywhere and not known:
        return adopted(run_id, region)
    if len(known) != 1:
        what = "there is no run" if not known else f"{len(known)} runs begin with"
        raise CommandError(f"{what} {run_id}; fastconsole runs lists them")
    return known[0]


def runs_named(run_id: str) -> list[RunDirectory]:
    """The runs of this laptop that may be meant: the one of this id, else those that begin with it."""
    runs = all_runs()
    exact = [directory for directory in runs if directory.run_id == run_id]
    return exact or [directory for directory in runs if directory.run_id.startswith(run_id)]


def must_be_set_up(run_id: str, region: str | None) -> None:
    """Raises CommandError where AWS cannot be asked for a run: no credentials are set up and no region is named."""
    if not region and not credentials.is_set_up():
        raise CommandError(f"there is no run {run_id}; fastconsole runs lists them")


def adopted(run_id: str, region: str | None) -> RunDirectory:
    """A directory on this laptop for a run that another one launched.

    Raises:
        CommandError: there is no such run.
        ProviderError: its hosts could not be reached.
    """
    must_be_set_up(run_id, region)
    from console.discovery.adopt import NoSuchRun, adopt, named
    from console.discovery.find import PATIENCE_S, look
    from console.fleet.aws.cloud import Cloud

    async def adopting() -> RunDirectory:
        seen = await waiting(look(Cloud(region, patience_s=PATIENCE_S), region), ASKING)
        return await adopt(Cloud(region), named(run_id, seen), note)

    try:
        return asyncio.run(adopting())
    except NoSuchRun as error:
        raise CommandError(f"{error}; fastconsole ps lists the active ones") from None


def catch_up(directory: RunDirectory) -> None:
    """Has a run's directory hold what consoles on other laptops did since. Only rented hosts can have others.

    Raises:
        ProviderError: AWS could not be asked, or the hosts could not be reached.
    """
    fleet = directory.read_fleet()[1]
    if fleet.get("provider") != "aws":
        return
    from console.discovery.adopt import adopt, moved_on
    from console.discovery.find import found_runs
    from console.fleet.aws.cloud import Cloud
    from console.fleet.aws.instances import of_run
    from console.fleet.rental.resources import resources_of

    async def catching_up() -> None:
        cloud = Cloud()
        found = [
            instance
            for region in resources_of(fleet.get("claim", {})).regions
            for instance in await of_run(cloud.at(region), directory.run_id)
        ]
        for run in found_runs(found):
            if run.living and moved_on(directory, run):
                note(f"run {directory.run_id}: a console on another laptop has driven it since; reading it anew")
                await adopt(cloud, run, note)

    asyncio.run(catching_up())
