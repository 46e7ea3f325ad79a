"""Builds a run directory for a run that another laptop launched, from the instances that bear its tag.

Theory. The instances' tags say how each host proves itself, how it is reached, and the hash of the run's first record
(`console.fleet.aws.tags`); those who can write tags in the account are trusted, and no host on first use. EC2 Instance
Connect admits this laptop's new key for a minute, in which it is added to authorized_keys. The hosts then provide the
manifest and their journals, from which the run's journal is rebuilt; what exists at AWS becomes the run's resources as
if it had been launched from here. Only a directory with a journal counts as a run's: the journal is written last.

The earlier console may still be attached, and is not notified: both keep the leases, and commands of either count.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from console.discovery import rebuild
from console.discovery.enroll import Enrollment, enrolled_hosts_of
from console.discovery.find import FoundRun, Look
from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.aws.instances import GONE, Instance
from console.fleet.aws.tags import MANIFEST_TAG, MARK_TAG, identity_of
from console.fleet.provider import ProviderError
from console.fleet.rental.context import AwsContext, Patience, tag_list
from console.fleet.rental.quotes import HourlyPrice
from console.fleet.rental.resources import ACCEPTED, ASKED, ENDED, LaunchRequest, RunResources, resources_of
from console.fleet.rental.teardown import stopped
from console.journal import manifest
from console.journal.directory import RunDirectory
from console.paths import runs_home, state_home
from console.profile import recorded
from console.profile.redaction import safe_env
from console.profile.schema import Profile, ProfileError
from console.ssh.address import HostAddress
from console.state.events import AlertRaised, InstanceStarted, InstanceStopped, NodeReplaced, Record, RunCreated

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}")
"""A run's id becomes the name of a folder, and a tag may hold anything."""


class NoSuchRun(ProviderError):
    """Nothing at AWS has the run's id, or all its instances have ended."""


def named(run_id: str, seen: Look) -> FoundRun:
    """The run with this id, or whose id begins with it.

    Raises:
        NoSuchRun
        ProviderError: a region that may have it did not answer.
    """
    found = [run for run in seen.runs if run.run_id == run_id]
    found = found or [run for run in seen.runs if run.run_id.startswith(run_id)]
    living = [run for run in found if run.living]
    if len(living) > 1:
        raise NoSuchRun(f"{len(living)} runs begin with {run_id}: {', '.join(run.run_id for run in living)}")
    if living:
        return living[0]
    if seen.silent:
        names = ", ".join(name for name, _ in seen.silent)
        raise ProviderError(f"there is no run {run_id} on this laptop, and {names} did not answer: {seen.silent[0][1]}")
    where = seen.regions[0] if len(seen.regions) == 1 else f"the {len(seen.regions)} regions of this AWS account"
    if found:
        raise NoSuchRun(f"run {found[0].run_id} has ended: EC2 shows its instances as terminated")
    raise NoSuchRun(f"there is no run {run_id}, neither on this laptop nor in {where}")


async def adopt(cloud: Cloud, run: FoundRun, tell: Callable[[str], None], *, patience_s: float = 60.0) -> RunDirectory:
    """Creates the run's directory on this laptop; `tell` gets the progress, `patience_s` is for unresponsive hosts.

    Raises:
        CloudError
        ProviderError: its hosts cannot be authenticated, or not be reached, or not be logged in to.
        OSError: the directory cannot be written.
    """
    if not _NAME.fullmatch(run.run_id):
        raise ProviderError(f"{run.run_id!r:.80} is not the id of a run of fastconsole")
    hosts = enrolled_hosts_of(run)
    directory = RunDirectory(runs_home() / run.run_id)
    # Built beside it: a failure leaves an existing directory as it was.
    stage = RunDirectory(state_home() / "coming" / run.run_id)
    stage.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not stage.take():
        raise ProviderError(f"another console (pid {stage.console_pid()}) is attaching to run {run.run_id} just now")
    try:
        enrollment = Enrollment(cloud, run, hosts, stage.path, tell, patience_s)
        adoption = _Adoption(run, stage, directory, tell, enrollment)
        await adoption.work()
        _move(stage, directory)
        await adoption.mark(cloud)
    finally:
        shutil.rmtree(stage.path, ignore_errors=True)
        stage.leave()
    tell(f"run {run.run_id}: {_not_alone(run)}")
    return directory


def _move(stage: RunDirectory, directory: RunDirectory) -> None:
    """Moves the new files into the directory, the journal last; an older journal is kept beside it."""
    directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.checkpoints.mkdir(exist_ok=True, mode=0o700)
    if directory.journal.is_file():
        directory.journal.rename(directory.path / f"run-until-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.jsonl")
    for path in stage.path.glob("*"):
        if path not in (stage.journal, stage.path / "console.lock"):
            path.replace(directory.path / path.name)
    stage.journal.replace(directory.journal)


def moved_on(directory: RunDirectory, run: FoundRun) -> bool:
    """True if another laptop has attached to the run since this one did, or the run has instances unknown here."""
    resources = resources_of(directory.read_fleet()[1].get("claim", {}))
    asked = {request.token for request in resources.requests if request.outcome == ASKED}
    return any(
        instance.tags.get(MARK_TAG, resources.mark) != resources.mark
        or (instance.instance_id not in resources.nodes_by_instance() and instance.token not in asked)
        for instance in run.living
    )


class _Adoption:
    """The building of one run's directory."""

    def __init__(
        self,
        run: FoundRun,
        stage: RunDirectory,
        directory: RunDirectory,
        tell: Callable[[str], None],
        enrollment: Enrollment,
    ) -> None:
        """`stage`: where it is built; `directory`: where it will be."""
        self._run = run
        self._hosts = enrollment.hosts
        self._stage = stage
        self._directory = directory
        self._tell = tell
        self._enrollment = enrollment
        self._mark = secrets.token_hex(8)

    async def work(self) -> None:
        """Fills the directory, except for moving it to where it will be."""
        stage, enrollment = self._stage, self._enrollment
        stage.write_private(stage.key.name, enrollment.private_key)
        await enrollment.admit()
        count = len(self._hosts)
        self._tell(f"run {self._run.run_id}: {count} instances in {', '.join(self._run.regions)}; asking their hosts")
        answers = await enrollment.ask_all()
        # A manifest only grows: the longest is the newest.
        records = self._manifest(max((answer.manifest for answer in answers), key=len))
        created = records[0].event
        assert isinstance(created, RunCreated)
        profile = self._profile(created)
        self._check_replacements(records)
        resources = self._resources(profile, records)
        addresses = [self._final_address(answer.address, profile) for answer in answers]
        stage.write_fleet("aws", addresses, {"claim": resources.to_json()})
        if not all(safe_env(name) for name in profile.run.env):
            stage.write_env(enrollment.env)
        last = await self._news(AwsContext(profile, stage, Patience()), records)
        await asyncio.to_thread(
            rebuild.tell, stage.journal, records, [answer.journal for answer in answers], time.time(), last
        )
        for answer in answers:
            if answer.journal.path is not None:
                answer.journal.path.unlink()

    def _final_address(self, address: HostAddress, profile: Profile) -> HostAddress:
        """The address as the finished directory has it."""
        jump = address.jump
        return replace(
            address,
            python=profile.run.python,
            client_key=str(self._directory.key) if address.client_key else None,
            jump=self._final_address(jump, profile) if jump is not None and jump.client_key else jump,
        )

    async def mark(self, cloud: Cloud) -> None:
        """Marks the instances, so that other laptops see that this one has attached."""
        for region in self._run.regions:
            ids = [instance.instance_id for instance in self._run.living if instance.region == region]
            try:
                if ids:
                    tags = tag_list({MARK_TAG: self._mark})
                    await cloud.at(region).call("ec2", "create_tags", Resources=ids, Tags=tags)
            except CloudError as error:
                self._tell(f"other laptops will not see that this one attached to the run: {error}")

    # --- what the run is ---

    def _manifest(self, words: str) -> list[Record]:
        """The manifest's records, if the hash of the first is that of the tags."""
        first = words.partition("\n")[0]
        if not first:
            raise ProviderError(
                f"the hosts of run {self._run.run_id} have no {manifest.FILE}: its console has not started their "
                "agents yet; try again in a minute"
            )
        records = manifest.read(words)
        event = records[0].event if records else None
        genuine = manifest.digest(first) == self._hosts[0].identity.manifest_sha256
        if not genuine or not isinstance(event, RunCreated) or event.run_id != self._run.run_id:
            raise ProviderError(
                f"the hosts of run {self._run.run_id} hold another first record than the tag {MANIFEST_TAG} names: "
                "it was changed on the hosts, and is not trusted"
            )
        return records

    def _check_replacements(self, records: Sequence[Record]) -> None:
        """Raises ProviderError if a node is just being replaced."""
        for host in self._hosts:
            old = [known for known in self._run.living if known.node == host.node and known != host.instance]
            took = [
                record.received_t
                for record in records
                if isinstance(record.event, NodeReplaced) and record.node == host.node
            ]
            if old and max(took, default=0.0) < host.instance.launched_t:
                raise ProviderError(
                    f"run {self._run.run_id}: node {host.node} is just being replaced, which the console that "
                    "requested it has to finish; try again when it has, or when the old host is gone"
                )

    def _profile(self, created: RunCreated) -> Profile:
        try:
            return recorded.profile(created)
        except ProfileError as error:
            what = f"run {self._run.run_id} was started with fastconsole {created.version}"
            raise ProviderError(f"{what}, and this version cannot read its profile: {error}") from None

    def _resources(self, profile: Profile, records: Sequence[Record]) -> RunResources:
        """The run's resources at AWS, as if it had been launched from here."""
        by_token: dict[str, list[Instance]] = {}
        for instance in sorted(self._run.instances, key=lambda instance: instance.launched_t):
            if instance.node is not None:
                by_token.setdefault(instance.token, []).append(instance)
        volume = {"DeviceName": "root", "Ebs": {"VolumeSize": profile.fleet.volume_gib}}
        requests: list[LaunchRequest] = []
        for launch, (token, some) in enumerate(by_token.items(), 1):
            some.sort(key=lambda instance: (instance.node or 0, instance.instance_id))
            requests.append(
                LaunchRequest(
                    token=token,
                    launch=launch,
                    region=some[0].region,
                    zone=some[0].zone,
                    market=some[0].market,
                    instance_type=some[0].instance_type,
                    nodes=tuple(instance.node or 0 for instance in some),
                    params={"BlockDeviceMappings": [volume]},
                    user_data=f"user-data-{token[-8:]}",
                    bootstrap_key="",
                    asked_t=some[0].launched_t,
                    outcome=ENDED if all(instance.state in GONE for instance in some) else ACCEPTED,
                    instance_ids=tuple(instance.instance_id for instance in some),
                )
            )
        instances = [instance for some in by_token.values() for instance in some]
        identities = {instance.instance_id: identity_of(instance) for instance in instances}
        hold = {host.instance.instance_id for host in self._hosts}
        started = {record.event.instance_id for record in records if isinstance(record.event, InstanceStarted)}
        return RunResources(
            regions=self._run.regions,
            requests=tuple(requests),
            base=next((request.launch for request in requests if request.outcome == ACCEPTED), 1),
            told=tuple(sorted(started | {instance.instance_id for instance in instances if instance.ran})),
            host_keys={key: identity.host_key for key, identity in identities.items() if identity is not None},
            served=tuple(instance.instance_id for instance in instances),
            retired={
                instance.instance_id: time.time() for instance in self._run.living if instance.instance_id not in hold
            },
            admitted=self._enrollment.admitted,
            mark=self._mark,
        )

    async def _news(self, context: AwsContext, records: Sequence[Record]) -> list[Record]:
        """Records of what EC2 knows and the manifest lacks, and an alert that this console may not be the only one."""
        now = time.time()
        started = {record.event.instance_id for record in records if isinstance(record.event, InstanceStarted)}
        ended = {record.event.instance_id for record in records if isinstance(record.event, InstanceStopped)}
        news: list[Record] = []
        for request in context.resources.requests:
            price = HourlyPrice(context, request)
            for instance_id, node in request.nodes_by_instance().items():
                instance = next(known for known in self._run.instances if known.instance_id == instance_id)
                if instance_id not in started and instance.ran:
                    news.append(Record(now, now, await price.started(instance, node), node))
                if instance_id not in ended and instance.state in GONE:
                    news.append(Record(now, now, stopped(instance), node))
        return [*news, Record(now, now, AlertRaised(kind="console", text=_not_alone(self._run)))]


def _not_alone(run: FoundRun) -> str:
    owner = run.owner or "another laptop"
    return f"{owner} launched it, whose console may still be attached and does not know of this one"
