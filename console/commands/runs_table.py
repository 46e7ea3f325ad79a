"""A run as a line of `runs` and `ps`, tab-separated, or as an object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from console.billing import cost
from console.format import clock, count, money, percent, plain
from console.journal import open_log
from console.journal.directory import RunDirectory
from console.state.run import Run
from console.views import progress

if TYPE_CHECKING:
    from console.billing.ledger import Bill
    from console.discovery.find import FoundRun

COLUMNS: Final = ("run", "status", "top-5", "steps", "time", "billed", "reason")
"""Of `runs`, and the first of `ps`. Columns are only ever added, at the end."""
MORE_COLUMNS: Final = ("where", "instances", "market", "since", "$/h", "lease")
"""Of `ps`."""
ELSEWHERE: Final = "elsewhere"
"""The status of a run that this laptop knows from its instances' tags alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
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
            return cost.cost(self.past, now if self.past.live else self.past.ended_t or now).billed_usd
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
            return progress.elapsed_s(self.past, now if self.past.live else self.past.ended_t or now)
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


def row_of(directory: RunDirectory, seen: FoundRun | None = None, bill: Bill | None = None) -> Row:
    past, broken = None, ""
    try:
        past = open_log.fold(directory.journal)
    except open_log.LogError as error:
        broken = str(error)
    driven = directory.console_pid() is not None
    return Row(run_id=directory.run_id, past=past, driven=driven, broken=broken, seen=seen, bill=bill)
