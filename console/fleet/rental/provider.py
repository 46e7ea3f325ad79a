"""The `aws` provider: a run's instances, from the launch to their termination. Each step is a module beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import asyncssh

from console.catalog import prices
from console.fleet.aws.cloud import CloudError
from console.fleet.aws.instances import GONE, HALTED, Instance, of_run, of_tokens, why_gone
from console.fleet.aws.type_facts import retired
from console.fleet.provider import News, ProviderError
from console.fleet.rental.context import PASSING, AwsContext, Patience
from console.fleet.rental.launch import LaunchZone, markets, request_instances
from console.fleet.rental.network import own_address, readmit
from console.fleet.rental.provision import Provisioning
from console.fleet.rental.resources import ACCEPTED, ASKED, ENDED, LaunchRequest, RunResources
from console.fleet.rental.teardown import end_instances, release_all, stopped
from console.fleet.rental.user_data import DATA_DIR, LEASE_FILE
from console.journal.directory import RunDirectory
from console.profile.schema import Data, Profile
from console.ssh.address import HostAddress
from console.state.events import AlertRaised, HostLost, PriceQuoted

_LOOK_AGAIN_S = 5.0
"""How old EC2's answer may be when broken connections ask whether their hosts are gone: one call serves all."""
_FORGOTTEN_S = 3600.0
"""EC2 shows a terminated instance for about an hour; one that is not shown that long after its launch has ended."""
_NOBODY_THERE = ("unreachable", "unavailable", "credentials", "expired")
"""Kinds of error after which nothing can be released now."""


class AwsProvider:
    """EC2 instances, rented for a run."""

    lease_end = "poweroff"
    embedded = 0
    releases_hosts = True
    states_ends = True
    lease_file = LEASE_FILE
    metadata_url = "http://169.254.169.254"

    def __init__(self, profile: Profile, directory: RunDirectory, patience: Patience | None = None) -> None:
        """Raises ProviderError for an instance type that EC2 no longer has."""
        gone = retired(profile.fleet.instance_type or "")
        if gone is not None:
            raise ProviderError(f"profile {profile.name}: {gone}")
        self.profile = profile
        self.directory = directory
        self._patience = patience or Patience()
        self._context = AwsContext(profile, directory, self._patience)
        self._seen: dict[str, tuple[float, dict[str, Instance]]] = {}
        """By region, when EC2 was last asked (monotonic seconds) and what it showed."""
        self._looking = asyncio.Lock()
        self._ended: set[str] = set()
        """Instances whose end was reported."""

    def data_dir(self, profile: Profile) -> str:
        """The local NVMe disks, unless the profile names another folder."""
        return DATA_DIR if profile.data.dir == Data.__dataclass_fields__["dir"].default else profile.data.dir

    def disk(self, node: int) -> Path | None:
        """None: an instance's disk is deleted with it."""
        return None

    async def leave(self) -> None:
        """Nothing to do: the leases keep the hosts."""

    # --- hosts ---

    async def bring_up(self) -> AsyncIterator[News | HostAddress]:
        """Rents the instances. Raises ProviderError if they are not available; what was created is then released."""
        context = self._context
        if context.resources.open or context.resources.regions:
            # Left by an earlier attempt that was interrupted.
            async for news in self.release():
                yield news
            if context.resources.open:
                raise ProviderError(f"run {context.run_id} still has instances that could not be released")
        context.addresses.clear()
        number = context.resources.launch + 1
        # EC2 shows the instances of earlier attempts for another hour: their requests say that they are ended.
        context.remember(RunResources(requests=context.resources.requests, base=number))
        key = asyncssh.generate_private_key("ssh-ed25519", comment="fastconsole")
        context.directory.write_private(context.directory.key.name, key.export_private_key())
        async for step in self._launched(range(self.profile.fleet.nodes), number):
            yield step

    async def adopt(self) -> AsyncIterator[News | HostAddress]:
        """The run's hosts, and the rest of a launch that was interrupted. Raises ProviderError."""
        context = self._context
        if context.resources.ending:
            async for news in self.release():
                yield news
            raise ProviderError(f"the instances of run {context.run_id} were released")
        if not context.directory.key.is_file():
            # Interrupted before it had requested anything.
            async for step in self.bring_up():
                yield step
            return
        by_instance = context.resources.nodes_by_instance()
        for instance_id in context.resources.served:
            node = by_instance.get(instance_id)
            if node is not None and context.resources.holder(node) == instance_id and node in context.addresses:
                yield context.addresses[node]
        async for news in self._admit_this_laptop():
            yield news
        unfinished = self._unfinished()
        if unfinished is not None:
            nodes, number = unfinished
            async for step in self._launched(
                nodes, number, self._zones_beside() if number > context.resources.base else ()
            ):
                yield step

    async def replace(self, node: int) -> AsyncIterator[News | HostAddress]:
        """Another instance for the node, in the zone of the others. Raises ProviderError if there is none."""
        context = self._context
        old = context.resources.holder(node)
        request = context.resources.by_instance(old) if old else None
        if request is None or old is None:
            raise ProviderError(f"node {node} has no instance that could be replaced")
        try:
            instance = (await self._instances(request.region)).get(old)
            if instance is not None and instance.state in HALTED and instance.state not in GONE:
                await context.make(request.region, "terminate_instances", InstanceIds=[old])
        except CloudError as error:
            if error.kind not in (*PASSING, "missing"):
                raise
        async for step in self._launched([node], context.resources.launch + 1, self._zones_beside()):
            yield step
        context.remember(replace(context.resources, retired={**context.resources.retired, old: time.time()}))
        if node == 0 and self.profile.fleet.connect == "elastic-ip":
            # The other hosts are reached through the new one now.
            for other, address in sorted(context.addresses.items()):
                if other != 0 and address.jump is not None:
                    context.addresses[other] = replace(address, jump=context.addresses[0])
                    yield context.addresses[other]
            context.write()

    async def _launched(
        self, nodes: Sequence[int], number: int, zones: Sequence[LaunchZone] = ()
    ) -> AsyncIterator[News | HostAddress]:
        """Launches instances for the nodes and yields their hosts; if that fails, what was created is released."""
        context = self._context
        try:
            await context.identify()
            request: LaunchRequest | None = None
            async for answer in request_instances(context, sorted(nodes), number, zones):
                if isinstance(answer, LaunchRequest):
                    request = answer
                else:
                    yield answer
            assert request is not None
            async for arrived in Provisioning(context, request).hosts():
                yield arrived
        except ProviderError as error:
            if not isinstance(error, CloudError) or error.kind not in _NOBODY_THERE:
                mine = [request for request in context.resources.open if request.launch == number]
                async for news in self._undone(mine):
                    yield news
            raise

    async def _undone(self, requests: Sequence[LaunchRequest]) -> AsyncIterator[News]:
        """Releases what a failed launch created: everything, or its instances alone if the run has other hosts."""
        if len(requests) == len(self._context.resources.open):
            async for news in self.release():
                yield news
            return
        await self._context.settled()
        for request in requests:
            async for news in end_instances(self._context, request.region, [request], wait=False):
                yield news

    def _zones_beside(self) -> list[LaunchZone]:
        """The zone of the run's instances, in each market to try: where a replacement has to be."""
        base = self._context.resources.base
        first = next(
            request for request in self._context.resources.requests if request.instance_ids and request.launch == base
        )
        on_demand = self.profile.fleet.on_loss == "replace-on-demand"
        which = ("on-demand",) if on_demand else markets(self.profile.fleet.market)
        return [LaunchZone(first.region, first.zone, market) for market in which]

    def _unfinished(self) -> tuple[list[int], int] | None:
        """The nodes and the number of a launch whose hosts are not all ready; None if there is none."""
        resources = self._context.resources
        number = max(resources.launch, resources.base)
        last = [request for request in resources.requests if request.launch == number]
        if not last:
            return list(range(self.profile.fleet.nodes)), number
        ended = any(request.outcome == ENDED for request in last)
        there = last[-1].outcome == ACCEPTED and all(
            instance_id in resources.served for instance_id in last[-1].instance_ids
        )
        return None if ended or there else (list(last[-1].nodes), number)

    async def _admit_this_laptop(self) -> AsyncIterator[News]:
        """Allows SSH from this laptop's present address, if it changed networks."""
        before = self._context.resources.admitted
        if before is None:
            return
        try:
            own = await own_address()
            if own == before:
                return
            for region in self._context.resources.regions:
                await readmit(self._context, region, before, own)
            self._context.remember(replace(self._context.resources, admitted=own))
        except ProviderError as error:
            text = f"it is not known whether this laptop may reach the hosts: {error}"
            yield None, AlertRaised(kind="host", text=text)

    # --- what EC2 says ---

    async def lost(self, address: HostAddress) -> str | None:
        """Why the host's instance is gone, in EC2's words; None while it runs, or while EC2 cannot be asked."""
        resources = self._context.resources
        holder = self._instance_of(address)
        request = resources.by_instance(holder) if holder else None
        if holder is None or request is None:
            return None
        try:
            instance = (await self._instances(request.region)).get(holder)
            if instance is not None:
                return why_gone(instance)
            if time.time() - request.asked_t > _FORGOTTEN_S:
                # Credentials of another account would see nothing of the run either.
                await self._context.identify()
                return f"EC2: {holder} is not there any more"
        except CloudError:
            return None
        return None

    def _instance_of(self, address: HostAddress) -> str | None:
        """The instance behind the address, by its host key: an earlier instance may have had the same address."""
        resources = self._context.resources
        known = next((instance_id for instance_id, key in resources.host_keys.items() if key == address.host_key), None)
        return known or resources.holder(address.node)

    async def remains(self) -> bool:
        """True if any instance of the run lives. Raises CloudError if EC2 cannot be asked."""
        context = self._context
        if not context.resources.regions:
            return False
        await context.identify()
        asked_t = max((request.asked_t for request in context.resources.open if request.outcome == ASKED), default=0.0)
        while True:
            for region in context.resources.regions:
                cloud, tokens = (
                    context.cloud(region),
                    [request.token for request in context.resources.open if request.region == region],
                )
                found = await of_run(cloud, context.run_id) + (await of_tokens(cloud, tokens) if tokens else [])
                if any(instance.state not in GONE for instance in found):
                    return True
            # Instances that were requested a moment ago may not be visible yet.
            if time.time() - asked_t > self._patience.visible_s:
                return False
            await asyncio.sleep(self._patience.poll_s)

    async def _instances(self, region: str) -> dict[str, Instance]:
        async with self._looking:
            asked, seen = self._seen.get(region, (float("-inf"), {}))
            if time.monotonic() - asked > min(_LOOK_AGAIN_S, self._patience.watch_s):
                found = await of_run(self._context.cloud(region), self._context.run_id)
                seen = {instance.instance_id: instance for instance in found}
                self._seen[region] = (time.monotonic(), seen)
            return seen

    async def watch(self) -> AsyncIterator[News]:
        """Ends of instances with EC2's own times, and spot prices of the zones in use, until cancelled."""
        quoted: dict[str, float] = {}
        quoted_at = time.monotonic()
        while True:
            await asyncio.sleep(self._patience.watch_s)
            for region in _regions(self._context.resources.open):
                try:
                    seen = await self._instances(region)
                except CloudError:
                    # Nothing is reported that is not known.
                    continue
                for instance in seen.values():
                    for news in self._news_of(instance):
                        yield news
                await self._end_retired(region, seen)
            if time.monotonic() - quoted_at > self._patience.quote_s:
                quoted_at = time.monotonic()
                for quote in await self._quotes(quoted):
                    yield None, quote

    def _news_of(self, instance: Instance) -> Iterable[News]:
        resources, key = self._context.resources, instance.instance_id
        reason = why_gone(instance)
        node = next(
            (request.nodes_by_instance()[key] for request in resources.open if key in request.instance_ids), None
        )
        if reason is None or node is None or key in self._ended or key not in resources.told:
            return
        self._ended.add(key)
        yield node, stopped(instance)
        if key in resources.served and resources.holder(node) == key:
            yield node, HostLost(reason=reason)

    async def _end_retired(self, region: str, seen: dict[str, Instance]) -> None:
        """Ends replaced instances, if EC2 has not done so by itself."""
        for key, since in self._context.resources.retired.items():
            living = key in seen and seen[key].state not in GONE
            if living and time.time() - since > self._patience.doomed_s:
                try:
                    await self._context.make(region, "terminate_instances", InstanceIds=[key])
                except CloudError:
                    # The next poll tries again.
                    continue

    async def _quotes(self, quoted: dict[str, float]) -> list[PriceQuoted]:
        """Spot prices of the zones in use that differ from `quoted`, which is updated."""
        news: list[PriceQuoted] = []
        spot = {
            (request.region, request.zone, request.instance_type)
            for request in self._context.resources.open
            if request.market == "spot"
        }
        for region, zone, kind in sorted(spot):
            try:
                quotes = await prices.spot(self._context.cloud(region), kind, time.time())
            except CloudError:
                continue
            for quote in quotes:
                if quote.zone == zone and quoted.get(zone) != quote.usd_per_h:
                    quoted[zone] = quote.usd_per_h
                    news.append(
                        PriceQuoted(
                            instance_type=kind,
                            market="spot",
                            zone=zone,
                            usd_per_h=quote.usd_per_h,
                            effective_t=quote.as_of or time.time(),
                            source=quote.origin,
                        )
                    )
        return news

    # --- the end ---

    async def release(self) -> AsyncIterator[News]:
        """Ends everything and waits until EC2 confirms it; reports what is left, with the command that ends it."""
        async for news in release_all(self._context):
            yield news


def _regions(requests: Iterable[LaunchRequest]) -> list[str]:
    return sorted({request.region for request in requests})
