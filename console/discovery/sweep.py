"""What runs have left at AWS, found by the tag that everything of ours bears, and its end.

This knows of no claim and no run directory: it is for runs whose console is gone or on another laptop. As everywhere,
only what EC2 shows no more counts as gone, and what could not be ended is named with the command that ends it.
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
"""No run of ours makes one; one that bears our tag was made by hand for a run."""
_ALL = (*KINDS, KEY_PAIR)
_INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Thing:
    """Something at AWS that bears a run's tag."""

    run_id: str
    region: str
    kind: str
    """``instance``, ``volume``, ``elastic-ip``, ``security-group``, ..."""
    identity: str
    detail: str = ""
    usd_per_h: float | None = None
    """What it costs; an instance's price is not known here."""

    @property
    def command(self) -> str:
        """What ends it by hand."""
        if self.kind == _INSTANCE:
            return f"aws ec2 terminate-instances --region {self.region} --instance-ids {self.identity}"
        return next(kind for kind in _ALL if kind.name == self.kind).command(self.region, self.identity)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What bears a tag of ours in the regions that answered."""

    runs: tuple[FoundRun, ...]
    """Those with instances, the ended ones of the last hour among them."""
    things: tuple[Thing, ...]
    """All that is there, by run; of instances those that live."""
    regions: tuple[str, ...]
    silent: tuple[tuple[str, str], ...]
    """Regions that did not answer, each with why."""


async def leftovers(cloud: Cloud, region: str | None = None, *, patience_s: float) -> Leftovers:
    """Looks for everything that bears a tag of ours, in one region or in all.

    Raises:
        CloudError: no region could be asked at all.
    """

    async def ask(there: Cloud) -> tuple[list[Instance], list[Thing]]:
        instances, others = await asyncio.gather(ours(there), asyncio.gather(*(_tagged(there, kind) for kind in _ALL)))
        return instances, [thing for some in others for thing in some]

    answers, silent = await everywhere(cloud, ask, region, patience_s=patience_s)
    runs = found_runs(one for instances, _ in answers.values() for one in instances)
    things = [
        Thing(run.run_id, one.region, _INSTANCE, one.instance_id, f"{one.instance_type}, {one.market}, {one.state}")
        for run in runs
        for one in run.living
    ]
    things += [thing for _, others in answers.values() for thing in others]
    # Stable: within a run, instances come first and all else in the order in which it is let go of.
    things.sort(key=lambda thing: (thing.run_id, thing.region))
    return Leftovers(runs, tuple(things), tuple(sorted(answers)), silent)


async def _tagged(cloud: Cloud, kind: Kind, run_id: str | None = None) -> list[Thing]:
    region = await cloud.region()
    filters: list[dict[str, Any]] = [
        {"Name": "tag-key", "Values": [RUN_TAG]} if run_id is None else {"Name": f"tag:{RUN_TAG}", "Values": [run_id]}
    ]
    if kind.only is not None:
        filters.append({"Name": kind.only[0], "Values": [kind.only[1]]})
    answer = await cloud.call("ec2", kind.describe, Filters=filters)
    found = []
    for one in answer[kind.key]:
        tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
        if RUN_TAG in tags and one.get("State") not in ("deleting", "deleted"):
            detail, usd_per_h = _detail(kind, one)
            found.append(Thing(tags[RUN_TAG], region, kind.name, str(one[kind.identity]), detail, usd_per_h))
    return sorted(found, key=lambda thing: thing.identity)


def _detail(kind: Kind, said: Mapping[str, Any]) -> tuple[str, float]:
    """What there is to say of it, and dollars an hour."""
    if kind.name == "volume":
        return f"{said['Size']} GiB", prices.storage_usd_per_h(said["Size"])
    if kind.name == "elastic-ip":
        return str(said.get("PublicIp", "")), prices.ADDRESS_USD_PER_H
    return str(said.get("GroupName") or said.get("KeyName") or said.get("Description") or ""), 0.0


# --- the end ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """A step on the way: what became of a thing."""

    thing: Thing
    state: str
    """``shutting-down``, ``terminated``, ``deleted``."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that may still be there."""

    text: str
    """A sentence with the command that ends it."""


async def swept(cloud: Cloud, run_id: str, regions: Sequence[str], patience: Patience) -> AsyncIterator[Told | Left]:
    """Ends all that bears the run's tag in the regions, and tells of each thing once EC2 shows it no more.

    Raises nothing of AWS's, and can be broken off and done again.
    """
    for region in regions:
        there = cloud.at(region)
        whole = True
        async for one in _ended(there, region, run_id, patience):
            whole = whole and not isinstance(one, Left)
            yield one
        if whole:
            # Nothing else can be let go of while instances hold it.
            for kind in _ALL:
                async for one in _deleted(there, region, run_id, kind, patience):
                    yield one


async def _ended(cloud: Cloud, region: str, run_id: str, patience: Patience) -> AsyncIterator[Told | Left]:
    states: dict[str, str] = {}
    """Of the instances that were there at a look."""
    there: list[Instance] = []
    failing, slow = Deadline(patience.free_s), Deadline(patience.ended_s)
    while True:
        try:
            found = await of_run(cloud, run_id)
            there = [one for one in found if one.state != "terminated"]
            living = [one.instance_id for one in there if one.state not in GONE]
            if living:
                await cloud.call("ec2", "terminate_instances", InstanceIds=living)
            failing = Deadline(patience.free_s)
        except CloudError as error:
            if error.kind not in (*PASSING, "missing") or failing.passed:
                yield _left_instances(region, run_id, there, str(error))
                return
            await asyncio.sleep(patience.poll_s)
            continue
        states |= {one.instance_id: states.get(one.instance_id, "") for one in there}
        for one in found:
            if one.state in GONE and states.get(one.instance_id, one.state) != one.state:
                states[one.instance_id] = one.state
                yield Told(Thing(run_id, region, _INSTANCE, one.instance_id, one.instance_type), one.state)
        if not there:
            return
        if slow.passed:
            why = f"after {patience.ended_s / 60:.0f} minutes EC2 has not ended them"
            yield _left_instances(region, run_id, there, why)
            return
        await asyncio.sleep(patience.poll_s)


def _left_instances(region: str, run_id: str, there: Sequence[Instance], why: str) -> Left:
    if not there:
        return Left(
            f"whether {region} has instances of run {run_id} could not be found out ({why}); "
            f"try again with `fastconsole clean --run {run_id}`"
        )
    ids = " ".join(one.instance_id for one in there)
    command = f"aws ec2 terminate-instances --region {region} --instance-ids {ids}"
    return Left(f"{len(there)} instances may still run in {region} ({why}); end them with `{command}`")


async def _deleted(
    cloud: Cloud, region: str, run_id: str, kind: Kind, patience: Patience
) -> AsyncIterator[Told | Left]:
    end, pause_s = Deadline(patience.free_s), 0.0
    known: dict[str, Thing] = {}
    why: dict[str, str] = {}
    while True:
        try:
            there = {thing.identity: thing for thing in await _tagged(cloud, kind, run_id)}
        except CloudError as error:
            if error.kind not in PASSING or end.passed:
                yield Left(
                    f"whether {region} has a {kind.name} of run {run_id} could not be found out ({error}); "
                    f"try again with `fastconsole clean --run {run_id}`"
                )
                return
            await asyncio.sleep(patience.poll_s)
            continue
        for identity in sorted(set(known) - set(there)):
            yield Told(known[identity], "deleted")
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
                yield Left(f"{kind.name} {identity} is left in {region} ({reason}); delete it with `{thing.command}`")
            return
        # Looked at again at once, since most things are gone with the word; after that EC2 is given time.
        await asyncio.sleep(pause_s)
        pause_s = patience.poll_s
