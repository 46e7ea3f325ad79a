"""From an accepted request to hosts: waits until each instance runs, bills it, and pins its host key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from console.fleet.aws.cloud import CloudError
from console.fleet.aws.instances import NODE_TAG, Instance, of_run, why_gone
from console.fleet.aws.route import Route
from console.fleet.aws.tags import HostIdentity
from console.fleet.provider import News, ProviderError
from console.fleet.rental import elastic_ip
from console.fleet.rental.bootstrap import pin
from console.fleet.rental.context import PASSING, AwsContext, Deadline, tag_list
from console.fleet.rental.launch import drop_user_data
from console.fleet.rental.quotes import HourlyPrice
from console.fleet.rental.resources import LaunchRequest
from console.journal import manifest
from console.ssh.address import HostAddress
from console.ssh.errors import HostRefused, HostUnreachable
from console.state.events import AlertRaised, InstanceStarted
from remote.wire.events import StageProgressed


class Provisioning:
    """Turns the instances of one request into hosts."""

    def __init__(self, context: AwsContext, request: LaunchRequest) -> None:
        self._context = context
        self._request = request
        self._fleet = context.profile.fleet
        self._route = Route.of(context.profile.fleet)
        self._nodes = request.nodes_by_instance()
        self._price = HourlyPrice(context, request)
        self._news: asyncio.Queue[News | HostAddress | BaseException] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gateway: asyncio.Future[HostAddress] = asyncio.get_running_loop().create_future()
        """Node 0's host, if the others are reached through it."""

    async def hosts(self) -> AsyncIterator[News | HostAddress]:
        """Yields events of the instances, and each host once it is pinned, until all are ready.

        Raises:
            CloudError
            ProviderError: an instance ended, or a host cannot take part.
        """
        missing = {node for instance_id, node in self._nodes.items() if not self._ready(instance_id, node)}
        other = self._context.addresses.get(0)
        if 0 not in missing and other is not None:
            self._gateway.set_result(other)
        self._start(self._poll())
        try:
            while missing:
                news = await self._news.get()
                if isinstance(news, BaseException):
                    raise news
                yield news
                if isinstance(news, HostAddress):
                    missing.discard(news.node)
                elif isinstance(news[1], InstanceStarted):
                    # After it is in the journal: a console that dies in between reports it twice rather than never.
                    resources = self._context.resources
                    self._context.remember(replace(resources, told=(*resources.told, news[1].instance_id)))
            drop_user_data(self._context, self._request)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._gateway.cancel()

    # --- instances ---

    async def _poll(self) -> None:
        """Polls the instances until cancelled: EC2 says when one runs, and when it is gone."""
        context = self._context
        seen: dict[str, str] = {}
        end = Deadline(context.patience.running_s)
        while True:
            try:
                instances = await of_run(context.cloud(self._request.region), context.run_id)
                found = {instance.instance_id: instance for instance in instances}
            except CloudError as error:
                if error.kind not in PASSING or end.passed:
                    raise
                found = {}
            for instance_id, node in self._nodes.items():
                instance = found.get(instance_id)
                if instance is None or self._ready(instance_id, node):
                    continue
                gone = why_gone(instance)
                if gone is not None:
                    raise ProviderError(f"node {node}: {gone}" + ("" if instance_id in seen else " before it ran"))
                state = "running" if instance.state == "running" and self._route.host_of(instance) else "pending"
                if seen.get(instance_id) == state:
                    continue
                seen[instance_id] = state
                if state == "running":
                    await self._runs(instance, node)
                    self._start(self._make_host(instance, node))
                else:
                    self._stage(node, "instance", 1, 2, f"{instance_id} in {instance.zone} is pending")
            if end.passed and len([state for state in seen.values() if state == "running"]) < len(self._nodes):
                late = sorted(node for instance_id, node in self._nodes.items() if seen.get(instance_id) != "running")
                raise ProviderError(
                    f"EC2 accepted the launch, but after {context.patience.running_s / 60:.0f} minutes the instances "
                    f"of nodes {', '.join(map(str, late))} are not running"
                )
            await asyncio.sleep(context.patience.poll_s)

    async def _runs(self, instance: Instance, node: int) -> None:
        if instance.instance_id not in self._context.resources.told:
            self._news.put_nowait((node, await self._price.started(instance, node)))
        self._stage(node, "instance", 2, 2, f"{instance.instance_id} in {instance.zone}")

    def _ready(self, instance_id: str, node: int) -> bool:
        return instance_id in self._context.resources.served and node in self._context.addresses

    # --- hosts ---

    async def _make_host(self, instance: Instance, node: int) -> None:
        """Turns a running instance into a host that is pinned to its own key."""
        context = self._context
        # For other laptops.
        await self._tag(instance, node, {NODE_TAG: str(node)})
        address = await self._address(instance, node)
        self._stage(node, "host", 0, 1, "booting")

        def remember(host_key: str) -> None:
            context.remember(context.resources.with_key(instance.instance_id, host_key))

        try:
            pinned = await pin(
                address,
                bootstrap=self._request.bootstrap_key,
                known=context.resources.host_keys.get(instance.instance_id),
                remember=remember,
                patience_s=context.patience.boot_s,
                progress=lambda said: self._stage(node, "host", 0, 1, said),
                instance_id=instance.instance_id,
            )
        except (HostRefused, HostUnreachable) as error:
            raise ProviderError(f"node {node}: {error}") from None
        assert pinned.host_key is not None
        record = manifest.first_line(context.directory.journal)
        identity = HostIdentity(host_key=pinned.host_key, route=self._route, manifest_sha256=manifest.digest(record))
        await self._tag(instance, node, identity.tags())
        context.addresses[node] = pinned
        resources = context.resources
        context.remember(replace(resources, served=(*resources.served, instance.instance_id)))
        if node == 0 and not self._gateway.done():
            self._gateway.set_result(pinned)
        self._stage(node, "host", 1, 1)
        self._news.put_nowait(pinned)

    async def _tag(self, instance: Instance, node: int, tags: Mapping[str, str]) -> None:
        """Writes the tags on the instance, unless it has them."""
        if tags.items() <= instance.tags.items():
            return
        end = Deadline(self._context.patience.visible_s)
        while True:
            try:
                ids = [instance.instance_id]
                await self._context.make(instance.region, "create_tags", Resources=ids, Tags=tag_list(tags))
                return
            except CloudError as error:
                if error.kind == "permission":
                    text = f"it has no tag {', '.join(tags)}: {error}"
                    self._news.put_nowait((node, AlertRaised(kind="launch", text=text)))
                    return
                if error.kind not in (*PASSING, "missing") or end.passed:
                    raise
            await asyncio.sleep(self._context.patience.poll_s)

    async def _address(self, instance: Instance, node: int) -> HostAddress:
        fleet, context = self._fleet, self._context
        host = self._route.host_of(instance)
        assert host is not None
        assert instance.private_ip is not None
        jump: HostAddress | None = None
        if fleet.connect == "elastic-ip" and node == 0:
            host = await elastic_ip.attach(context, instance)
        elif fleet.connect == "elastic-ip":
            jump = await asyncio.shield(self._gateway)
        elif fleet.connect == "bastion":
            jump = self._route.bastion_address()
        return HostAddress(
            node=node,
            host=host,
            port=fleet.ssh_port,
            username=fleet.user,
            client_key=str(context.directory.key),
            python=context.profile.run.python,
            gang_address=instance.private_ip,
            jump=jump,
        )

    # --- how ---

    def _stage(self, node: int, stage: str, done: int, total: int, detail: str = "") -> None:
        self._news.put_nowait((node, StageProgressed(stage=stage, done=done, total=total, detail=detail)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                # `hosts` raises it, bugs included.
                self._news.put_nowait(error)

        self._tasks.add(asyncio.create_task(guarded()))
