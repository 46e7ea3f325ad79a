"""A run's side of AWS: its resources on disk, its name and tags, and the calls in flight."""

from __future__ import annotations

import asyncio
import getpass
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.aws.instances import OWNER_TAG, PROFILE_TAG, RUN_TAG
from console.fleet.rental.resources import RunResources, resources_of
from console.journal.directory import RunDirectory
from console.profile.schema import Profile
from console.ssh.address import HostAddress

UNCERTAIN = ("unreachable", "unavailable")
"""Kinds of error that leave open whether the call was accepted."""
PASSING = (*UNCERTAIN, "throttled")
"""Transient kinds of error: the same call may succeed later."""

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_NOT_IN_A_TAG = re.compile(r"[^\w +\-=.:/@]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Time limits and intervals for EC2, in seconds."""

    visible_s: float = 60.0
    """Until what a call created must be visible: EC2 is eventually consistent."""
    poll_s: float = 3.0
    """Between two polls while something is awaited."""
    running_s: float = 900.0
    """From the launch to `running`."""
    boot_s: float = 900.0
    """From `running` to an SSH server that answers."""
    ended_s: float = 1800.0
    """From the call to `terminated`; a host with eight GPUs may take ten minutes."""
    free_s: float = 300.0
    """Until a group is no longer in use by terminated instances."""
    watch_s: float = 30.0
    """Between two polls while the run lasts."""
    quote_s: float = 300.0
    """Between two polls of spot prices."""
    doomed_s: float = 300.0
    """How long a host that was replaced while it lived may keep running."""


class AwsContext:
    """What a run has at AWS, and the calls that change it."""

    def __init__(self, profile: Profile, directory: RunDirectory, patience: Patience) -> None:
        self.profile = profile
        self.directory = directory
        self.patience = patience
        addresses, fleet = directory.read_fleet()
        self.addresses: dict[int, HostAddress] = {address.node: address for address in addresses}
        self.resources: RunResources = resources_of(fleet.get("claim", {}))
        self._clouds: dict[str | None, Cloud] = {}
        self._in_flight: set[asyncio.Task[Any]] = set()

    @property
    def run_id(self) -> str:
        return self.directory.run_id

    @property
    def name(self) -> str:
        """The name of every named resource of the run."""
        return "fastconsole-" + _NOT_IN_A_NAME.sub("-", self.run_id)

    def cloud(self, region: str | None = None) -> Cloud:
        """AWS in the region; None for the profile's, or the one that the run is in."""
        region = region or self.profile.fleet.region or next(iter(self.resources.regions), None)
        if region not in self._clouds:
            self._clouds[region] = Cloud(region)
        return self._clouds[region]

    def remember(self, resources: RunResources) -> None:
        """Sets the run's resources, and writes them to disk."""
        self.resources = resources
        self.write()

    def write(self) -> None:
        """Writes the resources and the addresses to disk."""
        hosts = [self.addresses[node] for node in sorted(self.addresses)]
        self.directory.write_fleet("aws", hosts, {"claim": self.resources.to_json()})

    async def identify(self) -> None:
        """Records the AWS account.

        Raises:
            CloudError: there are no usable credentials, or they are of another account than the run's.
        """
        account = str((await self.cloud().call("sts", "get_caller_identity"))["Account"])
        if not self.resources.account:
            self.remember(replace(self.resources, account=account))
        elif account != self.resources.account:
            raise CloudError(
                "credentials",
                f"run {self.run_id} is in AWS account {self.resources.account} and these credentials are of {account}: "
                "set AWS_PROFILE to those that started it",
            )

    async def make(self, region: str, operation: str, /, *, once: bool = False, **params: Any) -> Any:
        """A call to EC2 that creates or ends something. It completes even if the caller is cancelled: see `settled`."""
        task = asyncio.ensure_future(self.cloud(region).call("ec2", operation, once=once, **params))
        self._in_flight.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def create(self, region: str, kind: str, operation: str, /, **params: Any) -> Any:
        """A call that creates one resource of a kind, recorded on disk for as long as its answer is not known."""
        what = f"{kind} in {region}"
        self.remember(replace(self.resources, unanswered={**self.resources.unanswered, what: time.time()}))
        try:
            answer = await self.make(region, operation, **params)
        except CloudError as error:
            if error.kind not in UNCERTAIN:
                self._answered(what)
            raise
        self._answered(what)
        return answer

    def _answered(self, what: str) -> None:
        rest = {other: t for other, t in self.resources.unanswered.items() if other != what}
        self.remember(replace(self.resources, unanswered=rest))

    def may_appear(self, kind: str, region: str) -> bool:
        """True while a resource of the kind may exist that EC2 does not show yet."""
        asked_t = self.resources.unanswered.get(f"{kind} in {region}")
        return asked_t is not None and time.time() - asked_t < self.patience.visible_s

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled():
            task.exception()

    async def settled(self) -> None:
        """Waits for the calls in flight: what they create cannot be found before."""
        while self._in_flight:
            await asyncio.wait(set(self._in_flight))

    def tags(self) -> dict[str, str]:
        """The tags of every resource of the run: the user's own too, which cannot override ours."""
        return {
            **self.profile.fleet.tags,
            "Name": self.name,
            RUN_TAG: self.run_id,
            PROFILE_TAG: _NOT_IN_A_TAG.sub("-", self.profile.name)[:256],
            OWNER_TAG: _NOT_IN_A_TAG.sub("-", f"{_user()}@{socket.gethostname()}")[:256],
        }

    def tagged(self, *kinds: str) -> list[dict[str, Any]]:
        """The tags as TagSpecifications of these kinds of resource."""
        tags = tag_list(self.tags())
        return [{"ResourceType": kind, "Tags": tags} for kind in kinds]


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A user id without a name.
        return "unknown"


class Deadline:
    """A time limit, counted from its creation."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._end
