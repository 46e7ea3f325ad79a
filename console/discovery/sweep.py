"""Finds and ends what runs have left at AWS, by the tag that all of fastconsole's resources bear.

Independent of run directories: for runs whose console is gone or on another laptop. Only what EC2 no longer shows
counts as gone, and what could not be ended is reported with the command that ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.catalog import prices
from console.discovery.find import FoundRun, everywhere, found_runs
from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.aws.instances import GONE, RUN_TAG, Instance, of_run, ours
from console.fleet.aws.resource_kinds import KINDS, Kind
from console.fleet.rental.context import PASSING, Deadline, Patience

KEY_PAIR = Kind("key-pair", "describe_key_pairs", "KeyPairs", "KeyName", "delete_key_pair", "KeyName", "key-name")
"""No run creates one; a key pair with our tag was made by hand for a run."""
_ALL = (*KINDS, KEY_PAIR)
_INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource at AWS that bears a run's tag."""

    run_id: str
    region: str
    kind: str
    """``instance``, ``volume``, ``elastic-ip``, ``security-group``, ..."""
    identity: str
    detail: str = ""
    usd_per_h: float | None = None
    """What it costs; None for an instance, whose price is not known here."""

    @property
    def command(self) -> str:
        """The AWS CLI command that ends it."""
        if self.kind == _INSTANCE:
            return f"aws ec2 terminate-instances --region {self.region} --instance-ids {self.identity}"
        return next(kind for kind in _ALL if kind.name == self.kind).command(self.region, self.identity)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Everything with our tag in the regions that answered."""

    runs: tuple[FoundRun, ...]
    """Those with instances, including instances that ended in the last hour."""
    things: tuple[Resource, ...]
    """All resources, by run; of instances only the living ones."""
    regions: tuple[str, ...]
    silent: tuple[tuple[str, str], ...]
    """Regions that did not answer, each with the reason."""


async def leftovers(cloud: Cloud, region: str | None = None, *, patience_s: float) -> Leftovers:
    """Searches for everything with our tag, in one region or in all.

    Raises:
        CloudError: no region could be asked at all.
    """

    async def ask(there: Cloud) -> tuple[list[Instance], list[Resource]]:
        instances, others = await asyncio.gather(ours(there), asyncio.gather(*(_tagged(there, kind) for kind in _ALL)))
        return instances, [thing for some in others for thing in some]

    answers, silent = await everywhere(cloud, ask, region, patience_s=patience_s)
    runs = found_runs(instance for instances, _ in answers.values() for instance in instances)
    things = [
        Resource(
            run.run_id,
            instance.region,
            _INSTANCE,
            instance.instance_id,
            f"{instance.instance_type}, {instance.market}, {instance.state}",
        )
        for run in runs
        for instance in run.living
    ]
    things += [thing for _, others in answers.values() for thing in others]
    # Stable: within a run, instances come first and all else in the order of deletion.
    things.sort(key=lambda thing: (thing.run_id, thing.region))
    return Leftovers(runs, tuple(things), tuple(sorted(answers)), silent)


async def _tagged(cloud: Cloud, kind: Kind, run_id: str | None = None) -> list[Resource]:
    region = await cloud.region()
    filters: list[dict[str, Any]] = [
        {"Name": "tag-key", "Values": [RUN_TAG]} if run_id is None else {"Name": f"tag:{RUN_TAG}", "Values": [run_id]}
    ]
    if kind.only is not None:
        filters.append({"Name": kind.only[0], "Values": [kind.only[1]]})
    answer = await cloud.call("ec2", kind.describe, Filters=filters)
    found = []
    for item in answer[kind.key]:
        tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", ())}
        if RUN_TAG in tags and item.get("State") not in ("deleting", "deleted"):
            detail, usd_per_h = _detail(kind, item)
            found.append(Resource(tags[RUN_TAG], region, kind.name, str(item[kind.identity]), detail, usd_per_h))
    return sorted(found, key=lambda thing: thing.identity)


def _detail(kind: Kind, said: Mapping[str, Any]) -> tuple[str, float]:
    """A description of the resource, and dollars an hour."""
    if kind.name == "volume":
        return f"{said['Size']} GiB", prices.storage_usd_per_h(said["Size"])
    if kind.name == "elastic-ip":
        return str(said.get("PublicIp", "")), prices.ADDRESS_USD_PER_H
    return str(said.get("GroupName") or said.get("KeyName") or said.get("Description") or ""), 0.0


# --- the end ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A change of a resource's state."""

    thing: Resource
    state: str
    """``shutting-down``, ``terminated``, ``deleted``."""


@dataclass(frozen=True, slots=True)
class NotEnded:
    """A resource that may still exist."""

    text: str
    """A sentence with the command that ends it."""


async def swept(
    cloud: Cloud, run_id: str, regions: Sequence[str], patience: Patience
) -> AsyncIterator[StateChanged | NotEnded]:
    """Ends everything with the run's tag in the regions, and reports each resource once EC2 no longer shows it.

    Raises no error of AWS's, and can be interrupted and repeated.
    """
    for region in regions:
        there = cloud.at(region)
        whole = True
        async for change in _ended(there, region, run_id, patience):
            whole = whole and not isinstance(change, NotEnded)
            yield change
        if whole:
            # Everything else can be deleted only once no instance uses it.
            for kind in _ALL:
                async for change in _deleted(there, region, run_id, kind, patience):
                    yield change


async def _ended(cloud: Cloud, region: str, run_id: str, patience: Patience) -> AsyncIterator[StateChanged | NotEnded]:
    states: dict[str, str] = {}
    """By instance, the state that was reported last."""
    there: list[Instance] = []
    failing, slow = Deadline(patience.free_s), Deadline(patience.ended_s)
    while True:
        try:
            found = await of_run(cloud, run_id)
            there = [instance for instance in found if instance.state != "terminated"]
            living = [instance.instance_id for instance in there if instance.state not in GONE]
            if living:
                await cloud.call("ec2", "terminate_instances", InstanceIds=living)
            failing = Deadline(patience.free_s)
        except CloudError as error:
            if error.kind not in (*PASSING, "missing") or failing.passed:
                yield _left_instances(region, run_id, there, str(error))
                return
            await asyncio.sleep(patience.poll_s)
            continue
        states |= {instance.instance_id: states.get(instance.instance_id, "") for instance in there}
        for instance in found:
            if instance.state in GONE and states.get(instance.instance_id, instance.state) != instance.state:
                states[instance.instance_id] = instance.state
                yield StateChanged(
                    Resource(run_id, region, _INSTANCE, instance.instance_id, instance.instance_type), instance.state
                )
        if not there:
            return
        if slow.passed:
            why = f"after {patience.ended_s / 60:.0f} minutes EC2 has not terminated them"
            yield _left_instances(region, run_id, there, why)
            return
        await asyncio.sleep(patience.poll_s)


def _left_instances(region: str, run_id: str, there: Sequence[Instance], why: str) -> NotEnded:
    if not there:
        return NotEnded(
            f"whether {region} has instances of run {run_id} is not known ({why}); "
            f"try again with `fastconsole clean --run {run_id}`"
        )
    ids = " ".join(instance.instance_id for instance in there)
    command = f"aws ec2 terminate-instances --region {region} --instance-ids {ids}"
    return NotEnded(f"{len(there)} instances may still run in {region} ({why}); end them with `{command}`")


async def _deleted(
    cloud: Cloud, region: str, run_id: str, kind: Kind, patience: Patience
) -> AsyncIterator[StateChanged | NotEnded]:
    end, pause_s = Deadline(patience.free_s), 0.0
    known: dict[str, Resource] = {}
    why: dict[str, str] = {}
    while True:
        try:
            there = {thing.identity: thing for thing in await _tagged(cloud, kind, run_id)}
        except CloudError as error:
            if error.kind not in PASSING or end.passed:
                yield NotEnded(
                    f"whether {region} has a {kind.name} of run {run_id} is not known ({error}); "
                    f"try again with `fastconsole clean --run {run_id}`"
                )
                return
            await asyncio.sleep(patience.poll_s)
            continue
        for identity in sorted(set(known) - set(there)):
            yield StateChanged(known[identity], "deleted")
        known = there
        hopeless = set()
        for identity in there:
            try:
                which: dict[str, Any] = {kind.parameter: identity}
                await cloud.call("ec2", kind.delete, **which)
            except CloudError as error:
                why[identity] = str(error)
                if error.kind not in (*PASSING, "in-use", "missing"):
                    hopeless.add(identity)
        if hopeless == set(there) or end.passed:
            for identity, thing in there.items():
                reason = why.get(identity, "EC2 still shows it")
                yield NotEnded(
                    f"{kind.name} {identity} is left in {region} ({reason}); delete it with `{thing.command}`"
                )
            return
        # Listed again at once, since most are gone by then; after that EC2 is given time.
        await asyncio.sleep(pause_s)
        pause_s = patience.poll_s
