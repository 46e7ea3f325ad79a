"""``fastconsole ps``: the active runs, whoever launched them: what costs money must not depend on the laptop."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from console.commands.errors import note, report_errors, waiting
from console.commands.options import Parser
from console.commands.runs_table import COLUMNS, MORE_COLUMNS, Row, row_of
from console.fleet.aws import credentials
from console.fleet.provider import ProviderError
from console.format import money, plain
from console.journal.directory import all_runs
from console.state.outcome import Exit

if TYPE_CHECKING:
    from console.discovery.find import Look
    from console.discovery.prices import Tariff
    from console.fleet.aws.cloud import Cloud

_PRICES_S: Final = 5.0
"""How long AWS has for its prices; what has not come then is from the table."""


def parser() -> Parser:
    """Its options."""
    made = Parser("ps", "Lists active runs: of this laptop and, with AWS set up, of the account in all regions.")
    made.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    made.add_argument("--aws", action="store_true", help="ask AWS although no AWS set-up is seen here (instance role)")
    made.add_argument("--region", metavar="REGION", help="look in this region only")
    return made


@report_errors
def main(words: list[str]) -> int:
    """Prints the active runs: of this laptop, and where AWS is set up those of the whole account.

    With ``--aws`` also without a set-up that can be seen, as on an instance with a role; what AWS then does not answer
    is an error.
    """
    options = parser().parse_args(words)
    ask_aws, region = options.aws, options.region
    now = time.time()
    seen, tariff, trouble = _asked(ask_aws, region, now)
    rows = _rows(seen, tariff, now)
    billed = [row for row in rows if row.bill is not None and row.seen is not None and row.seen.living]
    if options.json:
        hourly = [row.usd_per_h(now) for row in billed]
        known = [usd for usd in hourly if usd is not None]
        whole = {
            "t": now,
            "runs": [row.to_json(now) for row in rows],
            "instances": sum(len(row.seen.living) for row in billed if row.seen),
            "usd_per_h": sum(known) if len(known) == len(hourly) else None,
            "regions": list(seen.regions) if seen else [],
            "silent": trouble,
            "price_notes": list(tariff.notes(seen.runs)) if tariff and seen else [],
        }
        print(json.dumps(whole, indent=1, ensure_ascii=False))
    else:
        print("\t".join((*COLUMNS, *MORE_COLUMNS)))
        for row in rows:
            print("\t".join(plain(cell, 200) for cell in row.cells(now)))
    sys.stdout.flush()
    for sentence in trouble:
        note(sentence)
    if seen is not None:
        note(_total(billed, seen, now))
        for source in tariff.notes(seen.runs) if tariff else ():
            note(f"AWS was not heard on every price; of some it is that of the {source}")
    return Exit.UNREACHABLE if trouble and ask_aws else Exit.DONE


def _rows(seen: Look | None, tariff: Tariff | None, now: float) -> list[Row]:
    sighted = {run.run_id: run for run in seen.runs if run.living} if seen else {}
    rows = []
    for directory in all_runs():
        run = sighted.pop(directory.run_id, None)
        if run is None and directory.ended():
            continue
        rows.append(row_of(directory, run, tariff.bill(run, now) if tariff and run else None))
    for run in sighted.values():
        rows.append(Row(run_id=run.run_id, seen=run, bill=tariff.bill(run, now) if tariff else None))
    return rows


def _asked(ask_aws: bool, region: str | None, now: float) -> tuple[Look | None, Tariff | None, list[str]]:
    """What AWS says, where it is to be asked; with a sentence for all that it did not say."""
    if not (ask_aws or region or credentials.is_set_up() or credentials.rents_here()):
        return None, None, []
    from console.discovery.find import PATIENCE_S, look
    from console.discovery.prices import tariff
    from console.fleet.aws.cloud import Cloud

    async def ask(cloud: Cloud) -> tuple[Look, Tariff]:
        seen = await look(cloud, region)
        return seen, await tariff(cloud, [run for run in seen.runs if run.living], now, patience_s=_PRICES_S)

    try:
        seen, prices = asyncio.run(waiting(ask(Cloud(region, patience_s=PATIENCE_S)), "asking AWS for instances …"))
    except ProviderError as error:
        return None, None, [f"what runs at AWS is not known: {error}"]
    return seen, prices, silences(seen.silent)


def silences(silent: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence for each region that did not answer."""
    return [f"what runs in {region} is not known: {why}" for region, why in silent]


def _total(billed: Sequence[Row], seen: Look, now: float) -> str:
    instances = sum(len(row.seen.living) for row in billed if row.seen)
    where = f"{len(seen.regions)} regions" if len(seen.regions) != 1 else seen.regions[0]
    if not instances:
        return f"no instance of a run is there in {where}"
    hourly = [row.usd_per_h(now) for row in billed]
    known = [usd for usd in hourly if usd is not None]
    dollars = money(sum(known)) if known else "—"
    at_least = "" if len(known) == len(hourly) else "at least "
    one = (f"{len(billed)} run{'s' * (len(billed) != 1)}", f"{instances} instance{'s' * (instances != 1)}")
    return f"{one[0]}, {one[1]}, {at_least}{dollars}/h"
