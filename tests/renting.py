"""The `aws` provider on the fake AWS, for tests: a profile, short patience, and a launch in a process to kill."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import small_run

from console.fleet.rental.context import Patience
from console.fleet.rental.provider import AwsProvider
from console.journal.directory import RunDirectory
from console.profile.schema import Profile
from console.ssh.address import HostAddress
from console.state.events import AlertRaised, InstanceStarted, InstanceStopped
from remote.wire.codec import Event
from remote.wire.events import StageProgressed

PATIENCE = Patience(
    visible_s=1.5,
    poll_s=0.05,
    running_s=20.0,
    boot_s=30.0,
    ended_s=20.0,
    free_s=3.0,
    watch_s=0.1,
    quote_s=0.2,
    doomed_s=0.2,
)
"""As short as a loopback AWS allows."""

if TYPE_CHECKING:
    from fake_cloud import FakeCloud


def profile(nodes: int = 2, **fleet: Any) -> Profile:
    """A profile of small instances; `fleet` are further keys of its section, as TOML values."""
    keys = {
        "provider": '"aws"',
        "nodes": nodes,
        "instance_type": '"g6.xlarge"',
        "region": '"us-east-1"',
        "user": '"root"',
        "ssh_from": '"127.0.0.0/8"',
        **fleet,
    }
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)
    return small_run.profile(fleet=lines)


def provider(given: Profile, directory: RunDirectory | None = None, patience: Patience = PATIENCE) -> AwsProvider:
    """The provider, with what it remembers in the directory (a new one)."""
    return AwsProvider(given, directory or RunDirectory.create(given.name), patience)


async def all_of(said: AsyncIterator[Any]) -> list[Any]:
    """All that is told and yielded, to the end."""
    return [one async for one in said]


async def until(said: AsyncIterator[Any], enough: Callable[[list[Any]], object], timeout_s: float = 60.0) -> list[Any]:
    """What is told and yielded until it is enough, or to the end."""
    seen: list[Any] = []
    async with asyncio.timeout(timeout_s), aclosing(said) as told:  # type: ignore[type-var]
        async for one in told:
            seen.append(one)
            if enough(seen):
                break
    return seen


def events(seen: list[Any], kind: type[Event]) -> dict[int | None, Any]:
    """The last event of a kind, by node."""
    return {one[0]: one[1] for one in seen if isinstance(one, tuple) and isinstance(one[1], kind)}


def started(seen: list[Any]) -> dict[int | None, InstanceStarted]:
    """Starts on the bill, by node."""
    return events(seen, InstanceStarted)


def stopped(seen: list[Any]) -> dict[int | None, InstanceStopped]:
    """Ends on the bill, by node."""
    return events(seen, InstanceStopped)


def alerts(seen: list[Any], kind: str) -> list[str]:
    """Texts of the alerts of a kind."""
    told = [one[1] for one in seen if isinstance(one, tuple)]
    return [event.text for event in told if isinstance(event, AlertRaised) and event.kind == kind]


def hosts(seen: list[Any]) -> dict[int, HostAddress]:
    """The hosts, by node."""
    return {one.node: one for one in seen if isinstance(one, HostAddress)}


def booting(seen: list[Any]) -> set[int]:
    """Nodes whose instance runs and whose host is waited for: where a launch ends in a cloud without machines."""
    told = [one for one in seen if isinstance(one, tuple) and isinstance(one[1], StageProgressed)]
    return {node for node, event in told if event.stage == "host"}


async def launched(rented: AwsProvider) -> list[Any]:
    """Brings up until all hosts boot, and waits for none of them."""
    nodes = rented.profile.fleet.nodes
    return await until(rented.bring_up(), lambda seen: len(booting(seen)) == nodes)


def node_tags(cloud: FakeCloud, region: str = "us-east-1") -> dict[str, str | None]:
    """What each instance's tag says of its node, of those that are not terminated."""
    found = cloud.client("ec2", region).describe_instances()["Reservations"]
    living = [one for each in found for one in each["Instances"] if one["State"]["Name"] != "terminated"]
    tags = {one["InstanceId"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]} for one in living}
    return {instance_id: tags[instance_id].get("fastconsole:node") for instance_id in sorted(tags)}


# --- a launch in a process of its own ---------------------------------------------------------------------------------

_context = multiprocessing.get_context("forkserver")
# What takes a second to import is imported once, and each process is a fork of the one that has.
_context.set_forkserver_preload(["renting", "boto3", "asyncssh"])


def begin(cloud_env: Mapping[str, str], given: Profile, directory: RunDirectory) -> Any:
    """A process that brings the run up, as a console would; it ends when all hosts boot."""
    env = {**cloud_env, "HOME": os.environ["HOME"], "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    process = _context.Process(target=_drive, args=(env, given, directory.path), daemon=True)
    process.start()
    return process


def _drive(env: Mapping[str, str], given: Profile, path: Path) -> None:
    os.environ.update(env)
    rented = provider(given, RunDirectory(path))
    asyncio.run(launched(rented))
