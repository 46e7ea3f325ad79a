"""How a laptop whose key the hosts do not know gets access to them, and what it reads there.

The tags of an instance say how its host proves itself and how it is reached (`console.fleet.aws.tags`). EC2 Instance
Connect admits this laptop's new key for a minute, in which it is added to authorized_keys.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from console.discovery.find import FoundRun
from console.discovery.rebuild import HostJournal
from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.aws.instances import RUN_TAG, Instance
from console.fleet.aws.route import OWN
from console.fleet.aws.tags import HOST_KEY_TAG, LOGIN_TAG, MANIFEST_TAG, HostIdentity, identity_of
from console.fleet.provider import ProviderError
from console.fleet.rental.context import PASSING
from console.fleet.rental.network import own_address, ssh_rule
from console.journal import manifest
from console.ssh.address import HostAddress
from console.ssh.connect import connect, fingerprint
from console.ssh.errors import HostRefused, HostUnreachable, LoginRefused
from console.state.events import HostFound
from remote.wire.layout import JOB, JOURNAL, host_folder

_AGAIN_S = 2.0
_AT_ONCE = 16
"""How many hosts are read at the same time."""
_MANIFEST_BYTES = 16 << 20

# The key is one line of the file; a file that was edited by hand may lack its last newline.
_ADD_KEY = """\
umask 077
mkdir -p ~/.ssh
file=~/.ssh/authorized_keys
grep -qxF {key} "$file" 2>/dev/null && exit 0
[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
printf '%s\\n' {key} >>"$file"
"""


@dataclass(frozen=True, slots=True)
class EnrolledHost:
    """A living instance of the run, its node, and its identity."""

    instance: Instance
    node: int
    identity: HostIdentity


def enrolled_hosts_of(run: FoundRun) -> list[EnrolledHost]:
    """The present instance of each node, in the order of nodes. Raises ProviderError if one lacks its tags."""
    found: list[EnrolledHost] = []
    without: list[str] = []
    for instance in run.living:
        identity = identity_of(instance)
        if instance.state != "running":
            name = instance.instance_id
            raise ProviderError(f"{name} of run {run.run_id} is {instance.state}; try again when it runs")
        if identity is None or instance.node is None:
            without.append(instance.instance_id)
        else:
            found.append(EnrolledHost(instance, instance.node, identity))
    if without:
        tags = ", ".join((HOST_KEY_TAG, LOGIN_TAG, MANIFEST_TAG))
        raise ProviderError(
            f"{', '.join(without)} of run {run.run_id} lack the tags {tags}, so only the console that launched "
            "them can authenticate their hosts: they may still be booting, or that console may not write tags; "
            f"fastconsole terminate {run.run_id} ends them"
        )
    if len({enrolled.identity.manifest_sha256 for enrolled in found}) > 1:
        raise ProviderError(f"the instances of run {run.run_id} do not agree on its first record (tag {MANIFEST_TAG})")
    # Of two instances of one node, the newer one replaced the other.
    latest: dict[int, EnrolledHost] = {}
    for enrolled in sorted(found, key=lambda enrolled: enrolled.instance.launched_t):
        latest[enrolled.node] = enrolled
    return [latest[node] for node in sorted(latest)]


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What a host provided."""

    address: HostAddress
    manifest: str
    journal: HostJournal


class Enrollment:
    """Gives this laptop access to all hosts of a run, and reads them."""

    def __init__(
        self,
        cloud: Cloud,
        run: FoundRun,
        hosts: Sequence[EnrolledHost],
        folder: Path,
        tell: Callable[[str], None],
        patience_s: float,
    ) -> None:
        """`folder`: where copies of the hosts' journals go, and where this laptop's new key is, as ``key``."""
        self._cloud = cloud
        self._run = run
        self.hosts = tuple(hosts)
        self._patience_s = patience_s
        self._folder = folder
        self._tell = tell
        self._key = asyncssh.generate_private_key("ssh-ed25519", comment=f"fastconsole {run.run_id}")
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.admitted: str | None = None
        """This laptop's address (CIDR), if the security group was changed to admit it."""
        self.env: dict[str, str] = {}
        """The run's environment variables, as its hosts have them."""

    @property
    def private_key(self) -> bytes:
        """This laptop's new key."""
        return self._key.export_private_key()

    async def admit(self) -> None:
        """Admits this laptop's address in the run's security group, if that admits laptops by their own addresses."""
        route = self.hosts[0].identity.route
        if route.admits != OWN:
            return
        try:
            self.admitted = await own_address()
        except ProviderError as error:
            # It may be admitted already: another console of this network may be attached.
            self._tell(str(error))
            return
        filters = [{"Name": f"tag:{RUN_TAG}", "Values": [self._run.run_id]}]
        for region in self._run.regions:
            there = self._cloud.at(region)
            for group in await there.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=filters):
                try:
                    await there.call(
                        "ec2",
                        "authorize_security_group_ingress",
                        GroupId=group["GroupId"],
                        IpPermissions=[ssh_rule(route.port, self.admitted)],
                    )
                except CloudError as error:
                    if error.kind != "duplicate":
                        raise

    async def ask_all(self) -> list[HostAnswer]:
        """Reads every host; the answers in the order of nodes.

        Raises:
            ProviderError: one of them cannot be reached, authenticated or logged in to.
        """
        answers: dict[int, HostAnswer] = {}
        done = 0

        async def ask(enrolled: EnrolledHost, jump: HostAddress | None) -> None:
            nonlocal done
            async with self._slots:
                answers[enrolled.node] = await self._ask(enrolled, jump)
            done, count = done + 1, len(self.hosts)
            if count > 1 and (done == count or done % max(1, count // 4) == 0):
                self._tell(f"run {self._run.run_id}: {done} of {count} hosts")

        rest = list(self.hosts)
        jump: HostAddress | None = None
        route = rest[0].identity.route
        if route.connect == "bastion":
            jump = route.bastion_address()
        elif route.connect == "elastic-ip":
            if rest[0].node != 0:
                raise ProviderError(f"run {self._run.run_id}: node 0, through which the others are reached, is gone")
            await ask(rest.pop(0), None)
            jump = answers[0].address
        tasks = [asyncio.create_task(ask(enrolled, jump)) for enrolled in rest]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [answers[node] for node in sorted(answers)]

    async def _ask(self, enrolled: EnrolledHost, jump: HostAddress | None) -> HostAnswer:
        instance, route = enrolled.instance, enrolled.identity.route
        public = route.connect == "elastic-ip" and enrolled.node == 0
        host = instance.public_ip if public else route.host_of(instance)
        if host is None or instance.private_ip is None:
            raise ProviderError(
                f"node {enrolled.node}: {instance.instance_id} has no address (connect {route.connect})"
            )
        address = HostAddress(
            node=enrolled.node,
            host=host,
            port=route.port,
            username=route.user,
            host_key=enrolled.identity.host_key,
            client_key=str(self._folder / "key"),
            gang_address=instance.private_ip,
            jump=None if public else jump,
        )
        end = time.monotonic() + self._patience_s
        while True:
            try:
                await self._send_key(enrolled)
                return await self._read(enrolled, address)
            except LoginRefused as error:
                raise ProviderError(
                    f"node {enrolled.node}: {error}; EC2 Instance Connect is not on its image, so only the console "
                    f"that launched it can log in: fastconsole terminate {self._run.run_id} ends it"
                ) from None
            except HostRefused as error:
                raise ProviderError(f"node {enrolled.node}: {error}") from None
            except HostUnreachable as error:
                if time.monotonic() > end:
                    others = "" if route.admits in (OWN, "") else f" (only {route.admits} may: fleet.ssh_from)"
                    raise ProviderError(f"node {enrolled.node} cannot be reached{others}: {error}") from None
            await asyncio.sleep(_AGAIN_S)

    async def _send_key(self, enrolled: EnrolledHost) -> None:
        instance = enrolled.instance
        try:
            await self._cloud.at(instance.region).call(
                "ec2-instance-connect",
                "send_ssh_public_key",
                InstanceId=instance.instance_id,
                InstanceOSUser=enrolled.identity.route.user,
                SSHPublicKey=self._key.export_public_key().decode(),
                AvailabilityZone=instance.zone,
            )
        except CloudError as error:
            if error.kind in PASSING:
                raise HostUnreachable(str(error)) from None
            raise ProviderError(f"node {enrolled.node}: this laptop's key could not be admitted: {error}") from None

    async def _read(self, enrolled: EnrolledHost, address: HostAddress) -> HostAnswer:
        """Adds this laptop's key to authorized_keys, and reads the host's manifest and journal."""
        folder = host_folder(self._run.run_id, enrolled.node)
        copy = self._folder / f"journal-{enrolled.node:02d}.part"
        connection = await connect(address)
        try:
            key = shlex.quote(self._key.export_public_key().decode().strip())
            done = await connection.run("sh -s", input=_ADD_KEY.format(key=key), errors="replace")
            if done.exit_status != 0:
                why = " ".join(str(done.stderr).split())[:200]
                raise HostRefused(f"{address}: this laptop's key could not be added to authorized_keys: {why}")
            async with connection.start_sftp_client() as sftp:
                words = await _text(sftp, f"{folder}/{manifest.FILE}")
                journal: Path | None = None
                if await sftp.isfile(f"{folder}/{JOURNAL}"):
                    await sftp.get(f"{folder}/{JOURNAL}", str(copy))
                    journal = copy
                if not self.env:
                    self.env = _env(await _text(sftp, f"{folder}/{JOB}"))
            peer = connection.get_extra_info("peername") or (address.host, address.port or 22)
            found = HostFound(address=peer[0], port=peer[1], fingerprint=fingerprint(connection))
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"{address}: the connection broke: {error}") from None
        finally:
            connection.abort()
        return HostAnswer(address, words, HostJournal(node=enrolled.node, found=found, path=journal))


async def _text(sftp: asyncssh.SFTPClient, path: str) -> str:
    """A small file of the host; empty if there is none."""
    try:
        async with sftp.open(path, "rb") as file:
            content: Any = await file.read(_MANIFEST_BYTES)
    except asyncssh.SFTPError:
        return ""
    return bytes(content).decode("utf-8", "replace")


def _env(job: str) -> dict[str, str]:
    """The run's environment variables: the journal has the secret ones only by name."""
    try:
        env = json.loads(job)["env"]
        return {str(name): str(value) for name, value in env.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
