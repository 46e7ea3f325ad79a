"""What a request's instances cost an hour: AWS's price of the day, or else the profile's or the table's."""

from __future__ import annotations

import asyncio
import time

from console.catalog import instance_types, prices
from console.fleet.aws.cloud import CloudError
from console.fleet.aws.instances import Instance
from console.fleet.rental.context import AwsContext
from console.fleet.rental.resources import LaunchRequest
from console.state.events import InstanceStarted


class HourlyPrice:
    """The hourly price of a request's instances, asked for once."""

    def __init__(self, context: AwsContext, request: LaunchRequest) -> None:
        self._context = context
        self._request = request
        self._asked: asyncio.Future[tuple[float | None, float | None]] | None = None

    async def usd_per_h(self) -> float | None:
        """What all instances of the request cost an hour, volumes included; None if no price is known."""
        billed, _ = await self._ask()
        volumes = [mapping["Ebs"]["VolumeSize"] for mapping in self._request.params["BlockDeviceMappings"]]
        each = None if billed is None else billed + prices.storage_usd_per_h(sum(volumes))
        return None if each is None else each * len(self._request.nodes)

    async def started(self, instance: Instance, node: int) -> InstanceStarted:
        """The event from which the instance is billed."""
        if self._asked is None:
            self._asked = asyncio.ensure_future(self._ask())
        billed, on_demand = await asyncio.shield(self._asked)
        volumes = [mapping["Ebs"]["VolumeSize"] for mapping in self._request.params["BlockDeviceMappings"]]
        fleet = self._context.profile.fleet
        public = fleet.connect == "public" or (fleet.connect == "elastic-ip" and node == 0)
        return InstanceStarted(
            instance_id=instance.instance_id,
            started_t=instance.launched_t,
            usd_per_h=billed,
            usd_per_h_on_demand=on_demand,
            market=self._request.market,
            instance_type=self._request.instance_type,
            zone=instance.zone,
            storage_usd_per_h=prices.storage_usd_per_h(sum(volumes)),
            address_usd_per_h=prices.ADDRESS_USD_PER_H if public else None,
        )

    async def _ask(self) -> tuple[float | None, float | None]:
        """Billed and on-demand price. A reservation's price was agreed when it was made: only the profile knows it."""
        request, fleet = self._request, self._context.profile.fleet
        cloud = self._context.cloud(request.region)
        on_demand = fleet.usd_per_h_on_demand
        try:
            quote = await prices.on_demand(cloud, request.instance_type, request.region)
        except CloudError:
            quote = None
        if quote is not None:
            on_demand = quote.usd_per_h
        elif on_demand is None:
            known = instance_types.find(request.instance_type)
            table = prices.table_quote(known) if known else None
            on_demand = table.usd_per_h if table else None
        if request.market == "on-demand":
            return on_demand, on_demand
        if request.market == "spot":
            try:
                quotes = await prices.spot(cloud, request.instance_type, time.time())
            except CloudError:
                quotes = ()
            here = [quote.usd_per_h for quote in quotes if quote.zone == request.zone]
            return (here[0] if here else fleet.usd_per_h), on_demand
        return fleet.usd_per_h, on_demand
