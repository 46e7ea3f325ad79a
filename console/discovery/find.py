"""Runs as EC2 shows them to any laptop with the account's credentials: instances by tag, in every region."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from console.fleet.aws.cloud import Cloud, CloudError, unknown_region
from console.fleet.aws.instances import GONE, OWNER_TAG, PROFILE_TAG, Instance, ours, regions
from console.fleet.rental.context import PASSING

PATIENCE_S = 10.0
"""Time limit for the regions' answers. The slowest takes a second or two; more means a fault."""
_AGAIN_S = 0.5
_SOMEWHERE = "us-east-1"
"""Any region can list the regions."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run's instances, including those that ended in the last hour."""

    run_id: str
    instances: tuple[Instance, ...]
    """Sorted by region, node and id."""

    @property
    def living(self) -> tuple[Instance, ...]:
        """The instances that have not ended and are not about to."""
        return tuple(instance for instance in self.instances if instance.state not in GONE)

    @property
    def profile(self) -> str:
        """The profile's name, as the tags say."""
        return self.instances[0].tags.get(PROFILE_TAG, "")

    @property
    def owner(self) -> str:
        """Who launched it on which machine, as the tags say."""
        return self.instances[0].tags.get(OWNER_TAG, "")

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(sorted({instance.region for instance in self.instances}))

    @property
    def zones(self) -> tuple[str, ...]:
        """Of the living instances."""
        return tuple(sorted({instance.zone for instance in self.living}))

    @property
    def types(self) -> tuple[tuple[str, int], ...]:
        """Of the living instances: each type, and how many there are."""
        return tuple(sorted(Counter(instance.instance_type for instance in self.living).items()))

    @property
    def markets(self) -> tuple[str, ...]:
        """Of the living instances."""
        return tuple(sorted({instance.market for instance in self.living}))

    @property
    def since_t(self) -> float:
        """When the first of them was launched, epoch seconds."""
        return min(instance.launched_t for instance in self.instances)


@dataclass(frozen=True, slots=True)
class Look:
    """The regions' answers to one search."""

    runs: tuple[FoundRun, ...]
    """Oldest first."""
    regions: tuple[str, ...]
    """Those that answered."""
    silent: tuple[tuple[str, str], ...]
    """Those that did not, each with the reason: what they hold is not known."""


async def look(cloud: Cloud, region: str | None = None, *, patience_s: float = PATIENCE_S) -> Look:
    """Searches for all of fastconsole's instances, in one region or in all.

    Raises:
        CloudError: no region could be asked at all.
    """
    answers, silent = await everywhere(cloud, ours, region, patience_s=patience_s)
    found = [instance for instances in answers.values() for instance in instances]
    return Look(found_runs(found), tuple(sorted(answers)), silent)


def found_runs(found: Iterable[Instance]) -> tuple[FoundRun, ...]:
    """Groups the instances by run, oldest first."""
    by_run: dict[str, list[Instance]] = {}
    for instance in found:
        if instance.run_id is not None:
            by_run.setdefault(instance.run_id, []).append(instance)

    def order(instance: Instance) -> tuple[str, int, str]:
        return (instance.region, -1 if instance.node is None else instance.node, instance.instance_id)

    runs = [FoundRun(run_id, tuple(sorted(some, key=order))) for run_id, some in by_run.items()]
    return tuple(sorted(runs, key=lambda run: (run.since_t, run.run_id)))


async def everywhere(
    cloud: Cloud, ask: Callable[[Cloud], Awaitable[T]], region: str | None = None, *, patience_s: float = PATIENCE_S
) -> tuple[dict[str, T], tuple[tuple[str, str], ...]]:
    """Asks one region, or all at once: the answers by region, and the regions that failed, each with the reason.

    Raises:
        CloudError: the regions could not be listed, or none of them answered.
    """
    if region and (wrong := await asyncio.to_thread(unknown_region, region)):
        raise CloudError("region", wrong)
    names = [region] if region else await regions(await _home(cloud))
    # Counted from here: importing boto3 takes seconds on a busy laptop.
    end = time.monotonic() + patience_s
    answers: dict[str, T] = {}
    silent: dict[str, CloudError] = {}

    async def ask_region(name: str) -> None:
        while True:
            try:
                answers[name] = await ask(cloud.at(name))
                return
            except CloudError as error:
                # Retried only if there is time: a thread that waits cannot be cancelled.
                if error.kind not in PASSING or time.monotonic() + _AGAIN_S > end - patience_s / 2:
                    silent[name] = error
                    return
            await asyncio.sleep(_AGAIN_S)

    tasks = {name: asyncio.create_task(ask_region(name)) for name in names}
    await asyncio.wait(tasks.values(), timeout=max(0.0, end - time.monotonic()))
    for name, task in tasks.items():
        if not task.done():
            task.cancel()
            silent[name] = CloudError("unreachable", f"no answer within {patience_s:.0f} s")
        elif (bug := task.exception()) is not None:
            raise bug
    if not answers and silent:
        raise next(iter(silent.values()))
    return answers, tuple(sorted((name, str(error)) for name, error in silent.items()))


async def _home(cloud: Cloud) -> Cloud:
    try:
        await cloud.region()
    except CloudError as error:
        if error.kind != "region":
            raise
        return cloud.at(_SOMEWHERE)
    return cloud
