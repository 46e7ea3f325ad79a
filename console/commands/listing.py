"""What `runs` and `ps` print: a line a run, tab-separated, or one object.

`runs` knows this laptop. `ps` lists the runs that go on here and, where there is an AWS set-up, all that the account's
tags tell of in any region, whoever launched them: what costs money shall not depend on which laptop one sits at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.commands.options import _nothing_more, _Parser
from console.state.outcome import Exit

if TYPE_CHECKING:
    pass

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from console.billing import cost
from console.commands.errors import note, report_errors, waiting
from console.fleet.aws import credentials
from console.fleet.provider import ProviderError
from console.format import clock, count, money, percent, plain
from console.journal import open_log
from console.journal.directory import RunDirectory, all_runs
from console.state.run import Run
from console.views import progress

if TYPE_CHECKING:
    from console.billing.ledger import Bill
    from console.discovery.find import FoundRun, Look
    from console.discovery.prices import Tariff
    from console.fleet.aws.cloud import Cloud

COLUMNS: Final = ("run", "status", "top-5", "steps", "time", "billed", "reason")
"""Of `runs`, and the first of `ps`. Columns are only ever added, at the end."""
MORE_COLUMNS: Final = ("where", "instances", "market", "since", "$/h", "lease")
"""Of `ps`."""
ELSEWHERE: Final = "elsewhere"
"""The status of a run that this laptop knows from its instances' tags alone."""
_PRICES_S: Final = 5.0
"""How long AWS has for its prices; what has not come then is from the table."""


@report_errors
def runs() -> int:
    """Prints the runs on this laptop."""
    print("\t".join(COLUMNS))
    for directory in all_runs():
        print("\t".join(_row(directory).cells(time.time())[: len(COLUMNS)]))
    return Exit.DONE


# --- what goes on ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A run in the list."""

    run_id: str
    past: Run | None = None
    """What the journal on this laptop tells; None for a run from elsewhere."""
    driven: bool = False
    """A console on this laptop drives it."""
    broken: str = ""
    """Why its journal could not be read."""
    seen: FoundRun | None = None
    bill: Bill | None = None
    """Of the instances that EC2 shows."""

    @property
    def status(self) -> str:
        if self.broken:
            return "unreadable"
        if self.past is None:
            return ELSEWHERE
        if not self.past.live:
            left = self.seen is not None and self.seen.living
            return f"{self.past.status} (instances left)" if left else self.past.status
        return self.past.status if self.driven else f"{self.past.status} (no console)"

    @property
    def reason(self) -> str:
        if self.broken:
            return self.broken
        if self.past is None and self.seen is not None:
            return f"launched by {plain(self.seen.owner, 80)}" if self.seen.owner else ""
        return self.past.reason if self.past else ""

    def billed_usd(self, now: float) -> float | None:
        """By the books of the console that drives or drove it; of what nobody here kept books of, by EC2's."""
        if self.past is not None and (self.past.live or self.bill is None):
            return cost.cost(self.past, now if self.past.live else self.past.ended or now).billed_usd
        return self.bill.billed(now)[0] if self.bill else None

    def usd_per_h(self, now: float) -> float | None:
        """What its instances cost now, as EC2 shows them; of hosts that are nobody's to pay, nothing."""
        return self.bill.billed(now)[1] if self.bill else None

    @property
    def lease_t(self) -> float | None:
        """When the first of its hosts ends itself unless a console moves that, as this laptop heard last."""
        known = [node.lease_deadline_t for node in (self.past.nodes if self.past else ()) if node.lease_deadline_t]
        return min(known, default=None)

    def elapsed_s(self, now: float) -> float | None:
        if self.past is not None:
            return progress.elapsed_s(self.past, now if self.past.live else self.past.ended or now)
        return now - self.seen.since_t if self.seen else None

    def cells(self, now: float) -> list[str]:
        """The columns of the list."""
        past, seen = self.past, self.seen
        return [
            self.run_id,
            self.status,
            percent(progress.best(past, "top5") if past else None),
            count(past.step.step if past and past.step else None),
            clock(self.elapsed_s(now)),
            money(self.billed_usd(now)),
            self.reason,
            ",".join(seen.zones) if seen else "—",
            " + ".join(f"{number} × {kind}" for kind, number in seen.types) if seen else "—",
            ",".join(seen.markets) if seen else "—",
            _moment(seen.since_t) if seen else "—",
            money(self.usd_per_h(now)),
            _moment(self.lease_t) if self.lease_t else "—",
        ]

    def to_json(self, now: float) -> dict[str, Any]:
        """The same as an object; null for what is not known."""
        past, seen, billed = self.past, self.seen, self.billed_usd(now)
        return {
            "run_id": self.run_id,
            "status": self.status,
            "reason": self.reason,
            "console": "here" if self.driven else "none here",
            "profile": past.created.profile if past and past.created else seen.profile if seen else None,
            "owner": seen.owner if seen else None,
            "top5": progress.best(past, "top5") if past else None,
            "step": past.step.step if past and past.step else None,
            "elapsed_s": self.elapsed_s(now),
            "billed_usd": billed,
            "usd_per_h": self.usd_per_h(now),
            "since_t": seen.since_t if seen else None,
            "lease_t": self.lease_t,
            "instances": [
                {
                    "instance_id": one.instance_id,
                    "node": one.node,
                    "instance_type": one.instance_type,
                    "market": one.market,
                    "state": one.state,
                    "region": one.region,
                    "zone": one.zone,
                    "launched_t": one.launched_t,
                }
                for one in (seen.living if seen else ())
            ],
        }


def _moment(t: float) -> str:
    return f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M}Z"


@report_errors
def ps(*, as_json: bool = False, ask_aws: bool = False, region: str | None = None) -> int:
    """Prints the runs that go on: those of this laptop, and where there is an AWS set-up those of the whole account.

    `ask_aws`: also without a set-up that can be seen, as on an instance with a role; what AWS then does not answer is
    an error.
    """
    now = time.time()
    seen, tariff, trouble = _asked(ask_aws, region, now)
    rows = _rows(seen, tariff, now)
    billed = [row for row in rows if row.bill is not None and row.seen is not None and row.seen.living]
    if as_json:
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


def _rows(seen: Look | None, tariff: Tariff | None, now: float) -> list[_Row]:
    sighted = {run.run_id: run for run in seen.runs if run.living} if seen else {}
    rows = []
    for directory in all_runs():
        run = sighted.pop(directory.run_id, None)
        if run is None and directory.ended():
            continue
        rows.append(_row(directory, run, tariff.bill(run, now) if tariff and run else None))
    for run in sighted.values():
        rows.append(_Row(run_id=run.run_id, seen=run, bill=tariff.bill(run, now) if tariff else None))
    return rows


def _row(directory: RunDirectory, seen: FoundRun | None = None, bill: Bill | None = None) -> _Row:
    past, broken = None, ""
    try:
        past = open_log.fold(directory.journal)
    except open_log.LogError as error:
        broken = str(error)
    driven = directory.console_pid() is not None
    return _Row(run_id=directory.run_id, past=past, driven=driven, broken=broken, seen=seen, bill=bill)


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


def _total(billed: Sequence[_Row], seen: Look, now: float) -> str:
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


def _runs(words: list[str]) -> int:
    _nothing_more(words)
    from console.commands import listing

    return listing.runs()


def ps_parser() -> argparse.ArgumentParser:
    """The options of ``ps``."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--aws", action="store_true")
    parser.add_argument("--region")
    return parser


def _ps(words: list[str]) -> int:
    options = ps_parser().parse_args(words)
    from console.commands import listing

    return listing.ps(as_json=options.json, ask_aws=options.aws, region=options.region)
