"""What instances that were found by their tags cost: AWS's prices, and the ledger over EC2's own times.

An amount covers the instances that EC2 still shows: it drops them an hour after their end. The console that drives the
run has the complete ledger.
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
    """Prices of the instances of one search."""

    on_demand: Mapping[tuple[str, str], prices.Quote] = field(default_factory=dict)
    """By instance type and region."""
    spot: tuple[PriceQuoted, ...] = ()
    storage_gib: Mapping[str, int] = field(default_factory=dict)
    """Total volume size by instance; a missing one has no volumes, or they could not be listed."""

    def bill(self, run: FoundRun, now: float) -> Bill:
        """The run's bill, for the instances that EC2 still shows."""
        return Bill(
            [(instance.node or 0, self._billing(instance, now)) for instance in run.instances if instance.ran],
            self.spot,
        )

    def usd_per_h(self, instance: Instance, now: float) -> float | None:
        """What an instance costs now, with its volumes and addresses."""
        return Bill([(0, self._billing(instance, now))], self.spot).billed(now)[1] if instance.ran else 0.0

    def notes(self, runs: Iterable[FoundRun]) -> tuple[str, ...]:
        """The sources of the prices of these runs that are not AWS's current ones."""
        used = {
            (instance.instance_type, instance.region)
            for run in runs
            for instance in run.instances
            if instance.market == ON_DEMAND
        }
        quotes = {self.on_demand[key] for key in used if key in self.on_demand}
        return tuple(sorted({quote.origin for quote in quotes if not quote.live}))

    def _billing(self, instance: Instance, now: float) -> Billing:
        on_demand = self.on_demand.get((instance.instance_type, instance.region))
        usd_per_h = on_demand.usd_per_h if on_demand else None
        stopped_t = instance.ended_t if instance.state in GONE else None
        known = instance.state not in GONE or instance.ended_t is not None
        gib = self.storage_gib.get(instance.instance_id)
        return Billing(
            instance_id=instance.instance_id,
            started_t=instance.launched_t,
            stopped_t=stopped_t if known else now,
            # If EC2 does not say when it ended, its cost is unknown.
            usd_per_h=usd_per_h if instance.market == ON_DEMAND and known else None,
            usd_per_h_on_demand=usd_per_h,
            market=instance.market if known else "",
            instance_type=instance.instance_type,
            zone=instance.zone,
            storage_usd_per_h=None if gib is None else prices.storage_usd_per_h(gib),
            address_usd_per_h=prices.ADDRESS_USD_PER_H if instance.public_ip else None,
            taken_back=instance.taken_back,
        )


async def tariff(cloud: Cloud, runs: Iterable[FoundRun], now: float, *, patience_s: float) -> Tariff:
    """The prices of the runs' instances. What AWS does not answer in time is taken from the table, or unknown."""
    instances = [instance for run in runs for instance in run.instances]
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

    kinds = {(instance.instance_type, instance.region) for instance in instances}
    since: dict[tuple[str, str, str], float] = {}
    for instance in instances:
        if instance.market == SPOT:
            key = (instance.instance_type, instance.region, instance.zone)
            since[key] = min(since.get(key, instance.launched_t), instance.launched_t)
    asked = [
        *(ask_on_demand(*key) for key in kinds),
        *(ask_spot(*key, since_t) for key, since_t in since.items()),
        *(ask_storage(region) for region in {instance.region for instance in instances}),
    ]
    tasks = [asyncio.create_task(question) for question in asked]
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
