"""What instances that were found by their tags cost: AWS's prices, asked for once, and the ledger over EC2's own times.

An amount is that of the instances which EC2 still shows: one that ended over an hour ago is in no look any more. The
console that drives the run has kept books all the time and knows better.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from console.billing.accounts import ON_DEMAND, SPOT
from console.billing.ledger import Bill
from console.catalog import instance_types, prices
from console.discovery.find import FoundRun
from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.aws.instances import GONE, RUN_TAG, Instance
from console.state.events import PriceQuoted
from console.state.run import Billing

_HISTORY_S = 89 * 86_400.0
"""EC2 keeps 90 days of spot prices."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices of the instances of a look."""

    on_demand: Mapping[tuple[str, str], prices.Quote] = field(default_factory=dict)
    """By instance type and region."""
    spot: tuple[PriceQuoted, ...] = ()
    storage_gib: Mapping[str, int] = field(default_factory=dict)
    """Volumes of each instance together; one that is not in it has none, or they could not be asked for."""

    def bill(self, run: FoundRun, now: float) -> Bill:
        """The run's bill, as far as EC2 still shows its instances."""
        return Bill([(one.node or 0, self._billing(one, now)) for one in run.instances if one.ran], self.spot)

    def usd_per_h(self, one: Instance, now: float) -> float | None:
        """What an instance costs now, with its volumes and addresses."""
        return Bill([(0, self._billing(one, now))], self.spot).billed(now)[1] if one.ran else 0.0

    def notes(self, runs: Iterable[FoundRun]) -> tuple[str, ...]:
        """Where prices of these runs are from that are not AWS's own of this moment."""
        used = {(one.instance_type, one.region) for run in runs for one in run.instances if one.market == ON_DEMAND}
        quotes = {self.on_demand[key] for key in used if key in self.on_demand}
        return tuple(sorted({quote.origin for quote in quotes if not quote.live}))

    def _billing(self, one: Instance, now: float) -> Billing:
        on_demand = self.on_demand.get((one.instance_type, one.region))
        usd_per_h = on_demand.usd_per_h if on_demand else None
        stopped_t = one.ended_t if one.state in GONE else None
        known = one.state not in GONE or one.ended_t is not None
        gib = self.storage_gib.get(one.instance_id)
        return Billing(
            instance_id=one.instance_id,
            started_t=one.launched_t,
            stopped_t=stopped_t if known else now,
            # When it ended EC2 does not say, so what it cost is not known either.
            usd_per_h=usd_per_h if one.market == ON_DEMAND and known else None,
            usd_per_h_on_demand=usd_per_h,
            market=one.market if known else "",
            instance_type=one.instance_type,
            zone=one.zone,
            storage_usd_per_h=None if gib is None else prices.storage_usd_per_h(gib),
            address_usd_per_h=prices.ADDRESS_USD_PER_H if one.public_ip else None,
            taken_back=one.taken_back,
        )


async def tariff(cloud: Cloud, runs: Iterable[FoundRun], now: float, *, patience_s: float) -> Tariff:
    """The prices of the runs' instances. What AWS does not answer in time comes from the table, or is unknown."""
    instances = [one for run in runs for one in run.instances]
    on_demand: dict[tuple[str, str], prices.Quote] = {}
    spot: list[PriceQuoted] = []
    storage: dict[str, int] = {}

    async def ask_on_demand(kind: str, region: str) -> None:
        quote = await prices.on_demand(cloud.at(region), kind, region)
        if quote is not None:
            on_demand[kind, region] = quote

    async def ask_spot(kind: str, region: str, zone: str, since_t: float) -> None:
        for quote in await prices.spot_history(cloud.at(region), kind, max(since_t, now - _HISTORY_S), zone):
            spot.append(
                PriceQuoted(
                    instance_type=kind,
                    market=SPOT,
                    zone=quote.zone,
                    usd_per_h=quote.usd_per_h,
                    effective_t=quote.as_of or since_t,
                    source=quote.origin,
                )
            )

    async def ask_storage(region: str) -> None:
        ours = [{"Name": "tag-key", "Values": [RUN_TAG]}]
        for volume in await cloud.at(region).pages("ec2", "describe_volumes", "Volumes", Filters=ours):
            for attachment in volume.get("Attachments", ()):
                held = storage.get(attachment["InstanceId"], 0)
                storage[attachment["InstanceId"]] = held + volume["Size"]

    kinds = {(one.instance_type, one.region) for one in instances}
    since: dict[tuple[str, str, str], float] = {}
    for one in instances:
        if one.market == SPOT:
            key = (one.instance_type, one.region, one.zone)
            since[key] = min(since.get(key, one.launched_t), one.launched_t)
    asked = [
        *(ask_on_demand(*key) for key in kinds),
        *(ask_spot(*key, since_t) for key, since_t in since.items()),
        *(ask_storage(region) for region in {one.region for one in instances}),
    ]
    tasks = [asyncio.create_task(one) for one in asked]
    if tasks:
        await asyncio.wait(tasks, timeout=patience_s)
    for task in tasks:
        if not task.done():
            task.cancel()
        elif (error := task.exception()) is not None and not isinstance(error, CloudError):
            raise error
    for kind, region in kinds - set(on_demand):
        known = instance_types.find(kind)
        table = prices.table_quote(known) if known else None
        if table is not None:
            on_demand[kind, region] = table
    return Tariff(on_demand, tuple(spot), storage)
