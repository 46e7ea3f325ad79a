"""Releasing a run: terminates every instance and waits for it, deletes all else, and reports what is left.

Theory. Instances are found by the run's tag, by the tokens of requests and by their ids, and looked for as long as a
requested one may still be invisible. Nothing here raises because AWS refuses or cannot be reached: what may be left is
reported, with the command that ends it. All of it can be interrupted and repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Any

from console.fleet.aws.cloud import CloudError
from console.fleet.aws.instances import GONE, RUN_TAG, Instance, of_run, of_tokens
from console.fleet.aws.resource_kinds import KINDS, Kind
from console.fleet.provider import News
from console.fleet.rental.context import PASSING, AwsContext, Deadline
from console.fleet.rental.launch import drop_user_data
from console.fleet.rental.quotes import HourlyPrice
from console.fleet.rental.resources import ACCEPTED, ASKED, ENDED, LaunchRequest
from console.state.events import AlertRaised, InstanceStopped
from remote.wire.events import StageProgressed


async def release_all(context: AwsContext) -> AsyncIterator[News]:
    """Ends everything that the run has, and reports what could not be ended. Raises no error of AWS's."""
    await context.settled()
    if not context.resources.regions:
        return
    # On disk first, so that a console which attaches meanwhile does not continue a launch.
    context.remember(replace(context.resources, ending=True))
    try:
        await context.identify()
    except CloudError as error:
        yield None, _left(f"nothing could be released: {error}", f"fastconsole terminate {context.run_id}")
        return
    for region in context.resources.regions:
        requests = [request for request in context.resources.open if request.region == region]
        whole = True
        async for news in end_instances(context, region, requests, everything=True):
            whole = whole and not isinstance(news[1], AlertRaised)
            yield news
        if whole:
            async for news in _delete_rest(context, region):
                whole = whole and not isinstance(news[1], AlertRaised)
                yield news
        if whole:
            left = tuple(other for other in context.resources.regions if other != region)
            context.remember(replace(context.resources, regions=left))
    if not context.resources.regions:
        context.remember(replace(context.resources, unanswered={}, retired={}, admitted=None))


def _left(what: str, command: str) -> AlertRaised:
    return AlertRaised(kind="left over", text=f"{what}; end it with `{command}`")


# --- instances -------------------------------------------------------------------------------------------------------


async def end_instances(
    context: AwsContext, region: str, requests: Sequence[LaunchRequest], *, everything: bool = False, wait: bool = True
) -> AsyncIterator[News]:
    """Ends the instances of the requests, or every instance of the run in the region, and reports each one's end.

    `wait`: until EC2 says that they are terminated; else until the calls are made.
    """
    ending = _Ending(context, region, requests, everything)
    patience, failing, slow = context.patience, Deadline(context.patience.free_s), Deadline(context.patience.ended_s)
    while True:
        try:
            found = await ending.look()
            await ending.terminate(found)
            failing = Deadline(patience.free_s)
        except CloudError as error:
            if error.kind not in (*PASSING, "missing") or failing.passed:
                for news in ending.left(str(error)):
                    yield news
                return
            await asyncio.sleep(patience.poll_s)
            continue
        for instance in found:
            async for news in ending.tell(instance):
                yield news
        if ending.over(found, wait=wait):
            break
        if slow.passed:
            for news in ending.left(f"after {patience.ended_s / 60:.0f} minutes EC2 has not terminated them"):
                yield news
            return
        await asyncio.sleep(patience.poll_s)
    resources = context.resources
    for request in requests:
        resources = resources.with_request(replace(resources.by_token(request.token), outcome=ENDED))
        drop_user_data(context, request)
    context.remember(resources)


class _Ending:
    """The instances that are to end, and what is known of them."""

    def __init__(self, context: AwsContext, region: str, requests: Sequence[LaunchRequest], everything: bool) -> None:
        self._context = context
        self._cloud = context.cloud(region)
        self._region = region
        self._tokens = {request.token: request for request in requests}
        self._everything = everything
        self._states: dict[str, str] = {}
        self._ran: dict[str, bool] = {}
        self._told: set[str] = set()
        self._seen: dict[str, Instance] = {}

    async def look(self) -> list[Instance]:
        """The instances that EC2 shows. Raises CloudError."""
        found = {instance.instance_id: instance for instance in await of_run(self._cloud, self._context.run_id)}
        if self._tokens:
            found |= {instance.instance_id: instance for instance in await of_tokens(self._cloud, self._tokens)}
        if not self._everything:
            found = {
                key: instance for key, instance in found.items() if instance.token in self._tokens or key in self._ids()
            }
        self._seen |= found
        for key, instance in found.items():
            # An instance that was pending when it was ended has never run.
            self._ran[key] = instance.ran if instance.state not in GONE or key not in self._ran else self._ran[key]
        for request in list(self._tokens.values()):
            ids = [key for key, instance in found.items() if instance.token == request.token]
            if request.outcome == ASKED and len(ids) == len(request.nodes):
                # Its instances are known from here on, and their nodes.
                self._tokens[request.token] = request.accepted(ids)
                self._context.remember(self._context.resources.with_request(self._tokens[request.token]))
        return list(found.values())

    async def terminate(self, found: Iterable[Instance]) -> None:
        """Terminates those that live, and those that are known but not visible yet. Raises CloudError."""
        living = {instance.instance_id for instance in found if instance.state not in GONE}
        unseen = self._ids() - set(self._seen) if self._waiting() else set()
        if living:
            await self._context.make(self._region, "terminate_instances", InstanceIds=sorted(living))
        if unseen:
            try:
                await self._context.make(self._region, "terminate_instances", InstanceIds=sorted(unseen))
            except CloudError as error:
                if error.kind != "missing":
                    raise

    def over(self, found: Iterable[Instance], *, wait: bool) -> bool:
        """True once nothing lives and nothing more can appear."""
        states = ("terminated",) if wait else GONE
        return not self._waiting() and all(instance.state in states for instance in found)

    def _ids(self) -> set[str]:
        return {instance_id for request in self._tokens.values() for instance_id in request.instance_ids}

    def _waiting(self) -> bool:
        """True while requested instances may exist invisibly."""
        for request in self._tokens.values():
            unseen = request.outcome == ASKED or any(
                instance_id not in self._seen for instance_id in request.instance_ids
            )
            if unseen and time.time() - request.asked_t < self._context.patience.visible_s:
                return True
        return False

    async def tell(self, instance: Instance) -> AsyncIterator[News]:
        """Events for what changed of an instance."""
        key, before = instance.instance_id, self._states.get(instance.instance_id)
        if before == instance.state:
            return
        self._states[key] = instance.state
        nodes = (request.nodes_by_instance().get(key) for request in self._tokens.values())
        node = next((node for node in nodes if node is not None), None)
        if node is None:
            return
        detail = f"{key} is {instance.state}" if instance.state in GONE else f"{key} is being terminated"
        yield node, StageProgressed(stage="end", done=int(instance.state == "terminated"), total=1, detail=detail)
        if instance.state not in GONE or key in self._told:
            return
        self._told.add(key)
        request = self._context.resources.by_instance(key)
        assert request is not None
        if key not in self._context.resources.told and self._ran[key]:
            yield node, await HourlyPrice(self._context, request).started(instance, node)
            self._context.remember(replace(self._context.resources, told=(*self._context.resources.told, key)))
        yield node, stopped(instance)

    def left(self, why: str) -> list[News]:
        """Alerts that name what may be left."""
        living = sorted(
            instance.instance_id
            for instance in self._seen.values()
            if self._states.get(instance.instance_id) not in GONE
        )
        unseen = sorted(self._ids() - set(self._seen))
        ids = [*living, *unseen]
        if ids:
            command = f"aws ec2 terminate-instances --region {self._region} --instance-ids {' '.join(ids)}"
            return [(None, _left(f"{len(ids)} instances may still run in {self._region} ({why})", command))]
        if any(request.outcome in (ASKED, ACCEPTED) for request in self._tokens.values()):
            what = f"instances of run {self._context.run_id} may run in {self._region} ({why})"
            return [(None, _left(what, f"fastconsole terminate {self._context.run_id}"))]
        return [(None, _left(f"{self._region} could not be checked ({why})", "fastconsole clean"))]


def stopped(instance: Instance) -> InstanceStopped:
    """The event that ends the instance's bill, with EC2's own time if it states one."""
    return InstanceStopped(
        instance_id=instance.instance_id,
        stopped_t=instance.ended_t or time.time(),
        reason=instance.reason or instance.state,
        taken_back=instance.taken_back,
    )


# --- all else --------------------------------------------------------------------------------------------------------


async def _delete_rest(context: AwsContext, region: str) -> AsyncIterator[News]:
    """Deletes everything but instances that the run has in the region."""
    for kind in KINDS:
        end, why, pause_s = Deadline(context.patience.free_s), "EC2 still shows it", 0.0
        found: list[str] = []
        while True:
            try:
                found = await _tagged(context, region, kind)
                # Listed again after the deletion: only what EC2 no longer shows counts as gone.
                if not found and not context.may_appear(kind.name, region):
                    break
                for identity in found:
                    await context.make(region, kind.delete, **_of(kind, identity))
            except CloudError as error:
                why = str(error)
                if error.kind not in (*PASSING, "in-use", "missing"):
                    end = Deadline(0)
            if end.passed:
                for identity in found:
                    left = f"{kind.name} {identity} in {region} is left ({why})"
                    yield None, _left(left, kind.command(region, identity))
                if not found:
                    what = f"whether {region} has a {kind.name} of run {context.run_id} is not known ({why})"
                    yield None, _left(what, f"fastconsole terminate {context.run_id}")
                break
            await asyncio.sleep(pause_s)
            pause_s = context.patience.poll_s


def _of(kind: Kind, identity: str) -> dict[str, Any]:
    return {kind.parameter: identity}


async def _tagged(context: AwsContext, region: str, kind: Kind) -> list[str]:
    filters: list[dict[str, Any]] = [{"Name": f"tag:{RUN_TAG}", "Values": [context.run_id]}]
    if kind.only is not None:
        filters.append({"Name": kind.only[0], "Values": [kind.only[1]]})
    cloud = context.cloud(region)
    answer = await cloud.call("ec2", kind.describe, Filters=filters)
    going = ("deleting", "deleted")
    return sorted(item[kind.identity] for item in answer[kind.key] if item.get("State") not in going)
