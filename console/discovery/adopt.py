"""A run directory for a run that another laptop launched, made from the instances that bear its tag.

Theory. The instances' tags say how each host proves itself, how it is reached, and which first record the run has
(`console.fleet.aws.tags`); whoever can write tags in the account is trusted, and no host on first use. EC2 Instance
Connect lets this laptop's new key in for a minute, in which it is added to those that may log in. The hosts then give
the charter and their journals, from which the run's journal is told again; what there is at AWS becomes a claim as if
it had been launched from here. The directory is a run's only once its journal stands in it: it is written last.

The console before may live on, and is not told: both hold the leases, and an order of either is an order.
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
"""A run's id becomes a folder's name here, and a tag may hold anything."""


class NoSuchRun(ProviderError):
    """Nothing at AWS bears the run's name, or nothing of it lives."""


def named(run_id: str, seen: Look) -> FoundRun:
    """The run that is named, by its id or by how it begins.

    Raises:
        NoSuchRun
        ProviderError: a region in which it may be did not answer.
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
    """The run's directory on this laptop, made; `tell` says how far it is, `patience_s` is for hosts that are silent.

    Raises:
        CloudError
        ProviderError: its hosts cannot be told from impostors, or not be reached, or not be logged in to.
        OSError: the directory cannot be written.
    """
    if not _NAME.fullmatch(run.run_id):
        raise ProviderError(f"{run.run_id!r:.80} is no name of a run of ours")
    hosts = enrolled_hosts_of(run)
    directory = RunDirectory(runs_home() / run.run_id)
    # Made beside, so that whatever goes wrong leaves a directory that is there already as it was.
    stage = RunDirectory(state_home() / "coming" / run.run_id)
    stage.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not stage.take():
        raise ProviderError(f"another console (pid {stage.console_pid()}) comes to run {run.run_id} just now")
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
    """Has the directory hold what was made, the journal last; an older journal stays beside it."""
    directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.checkpoints.mkdir(exist_ok=True, mode=0o700)
    if directory.journal.is_file():
        directory.journal.rename(directory.path / f"run-until-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.jsonl")
    for path in stage.path.glob("*"):
        if path not in (stage.journal, stage.path / "console.lock"):
            path.replace(directory.path / path.name)
    stage.journal.replace(directory.journal)


def moved_on(directory: RunDirectory, run: FoundRun) -> bool:
    """True if another laptop has come to the run since this one drove it, or the run has instances unknown here."""
    resources = resources_of(directory.read_fleet()[1].get("claim", {}))
    asked = {request.token for request in resources.requests if request.outcome == ASKED}
    return any(
        one.tags.get(MARK_TAG, resources.mark) != resources.mark
        or (one.instance_id not in resources.nodes_by_instance() and one.token not in asked)
        for one in run.living
    )


class _Adoption:
    """One run on its way to a directory."""

    def __init__(
        self,
        run: FoundRun,
        stage: RunDirectory,
        directory: RunDirectory,
        tell: Callable[[str], None],
        enrollment: Enrollment,
    ) -> None:
        """`stage`: where it is made; `directory`: where it will be."""
        self._run = run
        self._hosts = enrollment.hosts
        self._stage = stage
        self._directory = directory
        self._tell = tell
        self._enrollment = enrollment
        self._mark = secrets.token_hex(8)

    async def work(self) -> None:
        """Makes the directory whole."""
        stage, enrollment = self._stage, self._enrollment
        stage.write_private(stage.key.name, enrollment.private_key)
        await enrollment.be_let_in()
        count = len(self._hosts)
        self._tell(f"run {self._run.run_id}: {count} instances in {', '.join(self._run.regions)}; asking their hosts")
        heard = await enrollment.ask_all()
        # It only ever grows: the longest is the one that was brought up to date last.
        records = self._manifest(max((one.manifest for one in heard), key=len))
        created = records[0].event
        assert isinstance(created, RunCreated)
        profile = self._profile(created)
        self._check_places(records)
        resources = self._resources(profile, records)
        addresses = [self._settled(one.address, profile) for one in heard]
        stage.write_fleet("aws", addresses, {"claim": resources.to_json()})
        if not all(safe_env(name) for name in profile.run.env):
            stage.write_env(enrollment.env)
        last = await self._news(AwsContext(profile, stage, Patience()), records)
        await asyncio.to_thread(rebuild.tell, stage.journal, records, [one.journal for one in heard], time.time(), last)
        for one in heard:
            if one.journal.path is not None:
                one.journal.path.unlink()

    def _settled(self, address: HostAddress, profile: Profile) -> HostAddress:
        """The address as it is from the directory's place on."""
        jump = address.jump
        return replace(
            address,
            python=profile.run.python,
            client_key=str(self._directory.key) if address.client_key else None,
            jump=self._settled(jump, profile) if jump is not None and jump.client_key else jump,
        )

    async def mark(self, cloud: Cloud) -> None:
        """Tells the laptops that came before that this one has come."""
        for region in self._run.regions:
            ids = [one.instance_id for one in self._run.living if one.region == region]
            try:
                if ids:
                    tags = tag_list({MARK_TAG: self._mark})
                    await cloud.at(region).call("ec2", "create_tags", Resources=ids, Tags=tags)
            except CloudError as error:
                self._tell(f"other laptops will not see that this one has come to the run: {error}")

    # --- what the run is ---

    def _manifest(self, words: str) -> list[Record]:
        """The charter's records, if the first is the one that the tags name."""
        first = words.partition("\n")[0]
        if not first:
            raise ProviderError(
                f"the hosts of run {self._run.run_id} hold no {manifest.FILE}: its console has not got so far as to "
                "start their agents; try again in a minute"
            )
        records = manifest.read(words)
        event = records[0].event if records else None
        genuine = manifest.digest(first) == self._hosts[0].identity.manifest_sha256
        if not genuine or not isinstance(event, RunCreated) or event.run_id != self._run.run_id:
            raise ProviderError(
                f"the hosts of run {self._run.run_id} hold another first record than the tag {MANIFEST_TAG} names: "
                "somebody has changed it there, and nothing of it is believed"
            )
        return records

    def _check_places(self, records: Sequence[Record]) -> None:
        """Raises ProviderError where a place is between two hosts."""
        for host in self._hosts:
            old = [one for one in self._run.living if one.node == host.node and one != host.instance]
            took = [
                record.received_t
                for record in records
                if isinstance(record.event, NodeReplaced) and record.node == host.node
            ]
            if old and max(took, default=0.0) < host.instance.launched_t:
                raise ProviderError(
                    f"run {self._run.run_id}: another host is about to take the place of node {host.node}, which the "
                    "console that asked for it has to do; try again when it has, or when the old one is gone"
                )

    def _profile(self, created: RunCreated) -> Profile:
        try:
            return recorded.profile(created)
        except ProfileError as error:
            what = f"run {self._run.run_id} was started with fastconsole {created.version}"
            raise ProviderError(f"{what}, and this version cannot read its profile: {error}") from None

    def _resources(self, profile: Profile, records: Sequence[Record]) -> RunResources:
        """What the run has at AWS, as if it had been launched from here."""
        by_token: dict[str, list[Instance]] = {}
        for instance in sorted(self._run.instances, key=lambda one: one.launched_t):
            if instance.node is not None:
                by_token.setdefault(instance.token, []).append(instance)
        volume = {"DeviceName": "root", "Ebs": {"VolumeSize": profile.fleet.volume_gib}}
        requests: list[LaunchRequest] = []
        for launch, (token, some) in enumerate(by_token.items(), 1):
            some.sort(key=lambda one: (one.node or 0, one.instance_id))
            requests.append(
                LaunchRequest(
                    token=token,
                    launch=launch,
                    region=some[0].region,
                    zone=some[0].zone,
                    market=some[0].market,
                    instance_type=some[0].instance_type,
                    nodes=tuple(one.node or 0 for one in some),
                    params={"BlockDeviceMappings": [volume]},
                    user_data=f"user-data-{token[-8:]}",
                    bootstrap_key="",
                    asked_t=some[0].launched_t,
                    outcome=ENDED if all(one.state in GONE for one in some) else ACCEPTED,
                    instance_ids=tuple(one.instance_id for one in some),
                )
            )
        instances = [one for some in by_token.values() for one in some]
        identities = {one.instance_id: identity_of(one) for one in instances}
        hold = {host.instance.instance_id for host in self._hosts}
        started = {record.event.instance_id for record in records if isinstance(record.event, InstanceStarted)}
        return RunResources(
            regions=self._run.regions,
            requests=tuple(requests),
            base=next((request.launch for request in requests if request.outcome == ACCEPTED), 1),
            told=tuple(sorted(started | {one.instance_id for one in instances if one.ran})),
            host_keys={one: identity.host_key for one, identity in identities.items() if identity is not None},
            served=tuple(one.instance_id for one in instances),
            retired={one.instance_id: time.time() for one in self._run.living if one.instance_id not in hold},
            admitted=self._enrollment.admitted,
            mark=self._mark,
        )

    async def _news(self, context: AwsContext, records: Sequence[Record]) -> list[Record]:
        """What EC2 knows and the charter does not, and that this console is not the only one."""
        now = time.time()
        started = {record.event.instance_id for record in records if isinstance(record.event, InstanceStarted)}
        ended = {record.event.instance_id for record in records if isinstance(record.event, InstanceStopped)}
        news: list[Record] = []
        for request in context.resources.requests:
            price = HourlyPrice(context, request)
            for instance_id, node in request.nodes_by_instance().items():
                instance = next(one for one in self._run.instances if one.instance_id == instance_id)
                if instance_id not in started and instance.ran:
                    news.append(Record(now, now, await price.started(instance, node), node))
                if instance_id not in ended and instance.state in GONE:
                    news.append(Record(now, now, stopped(instance), node))
        return [*news, Record(now, now, AlertRaised(kind="console", text=_not_alone(self._run)))]


def _not_alone(run: FoundRun) -> str:
    return f"{run.owner or 'another laptop'} launched it, whose console may be attached too and is not told of this one"
