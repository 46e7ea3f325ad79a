"""`clean`: what runs have left behind at AWS is listed with what it costs, and ended once somebody says so.

Nothing is touched that a console on this laptop drives. What may still train, here without a console or anywhere else,
is listed as such and ended only where its run is named: an instance's tags do not tell whether somebody waits for it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from console.commands.errors import CommandError, note, report_errors, waiting
from console.commands.options import Parser
from console.format import money, plain
from console.journal.directory import RunDirectory, all_runs
from console.state.outcome import Exit

if TYPE_CHECKING:
    from console.discovery.prices import Tariff
    from console.discovery.sweep import Leftovers, Resource
    from console.fleet.aws.cloud import Cloud

COLUMNS: Final = ("run", "status", "kind", "id", "region", "$/h", "what")
DRIVEN: Final = "driven here"
UNATTENDED: Final = "no console here"
ELSEWHERE: Final = "elsewhere"
BEGINNING: Final = "beginning elsewhere"
LEFT_BEHIND: Final = "left behind"
"""Of these alone nobody knows a reason why they should be there."""

_LAUNCH_S: Final = 3600.0
"""Groups are made before instances: those of a run that began so recently may be a launch elsewhere, on its way."""
_BEGAN: Final = re.compile(r"-(\d{8}-\d{6})-[0-9a-f]{4}$")
"""The time in a run's id, UTC."""
_PATIENCE_S: Final = 30.0
"""Who cleans would rather wait than leave a region unasked, where a list may be shown without it."""
_PRICES_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Lot:
    """A run's things, and what is known of the run."""

    run_id: str
    status: str
    things: tuple[Resource, ...]
    owner: str
    """Who launched it, as the tags say; empty where they do not."""

    @property
    def instances(self) -> int:
        return sum(thing.kind == "instance" for thing in self.things)


def parser() -> Parser:
    """Its options."""
    made = Parser("clean", "Lists what runs have left behind at AWS and, once confirmed, ends and deletes it.")
    made.add_argument("--run", metavar="RUN", help="only this run, also where it may still train")
    made.add_argument("--yes", action="store_true", help="do it without asking; where nobody can be asked, only list")
    made.add_argument("--region", metavar="REGION", help="look in this region only")
    return made


@report_errors
def main(words: list[str]) -> int:
    """Lists what was left behind and, once confirmed, ends it.

    The exit code is 0 where nothing was left behind or all of it is gone, 3 where something is left (nobody confirmed,
    or it could not be ended), 6 where AWS could not be asked everywhere.
    """
    options = parser().parse_args(words)
    run_id, region = options.run, options.region
    from console.discovery.prices import tariff
    from console.discovery.sweep import leftovers
    from console.fleet.aws.cloud import Cloud

    now = time.time()

    async def ask(cloud: Cloud) -> tuple[Leftovers, Tariff]:
        found = await leftovers(cloud, region, patience_s=_PATIENCE_S)
        return found, await tariff(cloud, [run for run in found.runs if run.living], now, patience_s=_PRICES_S)

    found, prices = asyncio.run(waiting(ask(Cloud(region, patience_s=_PATIENCE_S)), "asking AWS what is there …"))
    lots = sort(found, now)
    if run_id is not None:
        chosen = [_named(run_id, lots)] if any(lot.run_id.startswith(run_id) for lot in lots) else []
        shown = chosen
    else:
        chosen = [lot for lot in lots if lot.status == LEFT_BEHIND]
        shown = lots
    print("\t".join(COLUMNS))
    living = {one.instance_id: one for run in found.runs for one in run.living}
    usd_per_h: list[float | None] = []
    for lot in shown:
        for thing in lot.things:
            instance = living.get(thing.identity)
            usd = thing.usd_per_h if instance is None else prices.usd_per_h(instance, now)
            usd_per_h += [usd] if lot in chosen else []
            cells = (lot.run_id, lot.status, thing.kind, thing.identity, thing.region, money(usd), thing.detail)
            print("\t".join(plain(cell, 200) for cell in cells))
    sys.stdout.flush()
    for name, why in found.silent:
        note(f"what is in {name} is not known: {why}")
    for lot in shown:
        if lot not in chosen:
            note(_spared(lot))
    everywhere = Exit.UNREACHABLE if found.silent else Exit.DONE
    if not chosen:
        what = f"of run {run_id} " if run_id else "behind "
        note(f"nothing is left {what}in {regions(found)}")
        return everywhere
    things = sum(len(lot.things) for lot in chosen)
    known = [usd for usd in usd_per_h if usd is not None]
    at_least = "" if len(known) == len(usd_per_h) else "at least "
    runs = f"{len(chosen)} run{'s' * (len(chosen) != 1)}"
    note(f"{things} thing{'s' * (things != 1)} of {runs}, {at_least}{money(sum(known))}/h")
    if not options.yes and not _confirmed(chosen):
        return Exit.FAILED
    return asyncio.run(end(chosen, found.regions)) or everywhere


def sort(found: Leftovers, now: float) -> list[Lot]:
    """The runs that have something at AWS, each with what this laptop knows of it."""
    here = {directory.run_id: directory for directory in all_runs()}
    by_run: dict[str, list[Resource]] = {}
    for thing in found.things:
        by_run.setdefault(thing.run_id, []).append(thing)
    owners = {run.run_id: run.owner for run in found.runs}
    return [
        Lot(run_id, _status(run_id, things, here.get(run_id), now), tuple(things), owners.get(run_id, ""))
        for run_id, things in sorted(by_run.items())
    ]


def _status(run_id: str, things: Sequence[Resource], directory: RunDirectory | None, now: float) -> str:
    lives = any(thing.kind == "instance" for thing in things)
    if directory is not None:
        if directory.console_pid() is not None:
            return DRIVEN
        return UNATTENDED if lives and not directory.ended() else LEFT_BEHIND
    if lives:
        return ELSEWHERE
    began = _BEGAN.search(run_id)
    if began is not None:
        began_t = datetime.strptime(began[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
        if now - began_t < _LAUNCH_S:
            return BEGINNING
    return LEFT_BEHIND


def _named(run_id: str, lots: Sequence[Lot]) -> Lot:
    exact = [lot for lot in lots if lot.run_id == run_id]
    named = exact or [lot for lot in lots if lot.run_id.startswith(run_id)]
    if len(named) > 1:
        raise CommandError(f"{len(named)} runs begin with {run_id}: {', '.join(lot.run_id for lot in named)}")
    if named[0].status == DRIVEN:
        name = named[0].run_id
        raise CommandError(f"a console on this laptop drives run {name}; fastconsole stop {name} ends it in order")
    return named[0]


def _spared(lot: Lot) -> str:
    """Why a run's things are left alone."""
    name = plain(lot.run_id, 100)
    if lot.status == DRIVEN:
        return f"run {name} is driven by a console on this laptop and is left alone"
    if lot.status == UNATTENDED:
        return (
            f"run {name} may still train, without a console: fastconsole attach {name}, or clean --run {name} ends it"
        )
    owner = f", launched by {plain(lot.owner, 80)}" if lot.owner else ""
    if lot.status == BEGINNING:
        return f"run {name}{owner} began within the hour and may be launching elsewhere; clean --run {name} ends it"
    return f"run {name}{owner} may still train: fastconsole attach {name}, or clean --run {name} ends it"


def regions(found: Leftovers) -> str:
    """Where was looked, in words."""
    return found.regions[0] if len(found.regions) == 1 else f"{len(found.regions)} regions"


def _confirmed(chosen: Sequence[Lot]) -> bool:
    """True if somebody at the terminal types the word; without a terminal nobody can."""
    if sys.stdin is None or not sys.stdin.isatty():
        note("nothing was ended: say --yes to end it")
        return False
    lives = sum(lot.instances for lot in chosen)
    # A run that may still train is named again; of what nobody misses a yes will do.
    word = chosen[0].run_id if lives and chosen[0].status != LEFT_BEHIND else "yes"
    what = f"terminate {lives} instances and delete all else of it" if lives else "delete it"
    print(f"fastconsole: type {word} to {what}: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == word:
        return True
    note("nothing was ended")
    return False


async def end(lots: Sequence[Lot], everywhere: Sequence[str]) -> Exit:
    """Ends all of it and tells of each thing; 0 once all is gone."""
    from console.discovery.sweep import NotEnded, swept
    from console.fleet.aws.cloud import Cloud
    from console.fleet.rental.context import Patience

    here = {directory.run_id: directory for directory in all_runs()}
    whole = True
    for lot in lots:
        directory = here.get(lot.run_id)
        if directory is not None and not directory.take():
            raise CommandError(f"another console (pid {directory.console_pid()}) drives run {lot.run_id}")
        try:
            where = sorted({thing.region for thing in lot.things}) or everywhere
            async for one in swept(Cloud(), lot.run_id, where, Patience()):
                if isinstance(one, NotEnded):
                    whole = False
                    note(plain(one.text, 1000))
                else:
                    note(f"{one.thing.region}: {one.thing.kind} {one.thing.identity} is {one.state}")
        finally:
            if directory is not None:
                directory.leave()
    return Exit.DONE if whole else Exit.FAILED
