"""Launching instances: one all-or-nothing call per zone, zone after zone, until one launches them all.

Theory. Each call is a `LaunchRequest`, stored with the run's resources before it is made. Its answer settles it:
accepted, or refused and the next zone is tried. If no answer comes, EC2 is asked for instances with the request's token
before anything else is tried; a call that is repeated with its token launches nothing twice.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace

import asyncssh

from console.billing.accounts import MINIMUM_BILLED_S
from console.billing.budget import closing_s
from console.catalog import instance_types
from console.fleet.aws.cloud import CloudError
from console.fleet.aws.instances import of_tokens
from console.fleet.provider import News, ProviderError
from console.fleet.rental.context import PASSING, AwsContext, Deadline
from console.fleet.rental.prerequisites import STEPS, Prerequisites, prepare
from console.fleet.rental.quotes import HourlyPrice
from console.fleet.rental.resources import ACCEPTED, ASKED, ENDED, REFUSED, LaunchRequest
from console.fleet.rental.user_data import user_data
from console.format import money
from console.state.events import AlertRaised
from console.state.run import Run
from remote.wire.events import StageProgressed

_ATTEMPTS = 3
"""How many attempts a call gets at least before it counts as unanswered."""


@dataclass(frozen=True, slots=True)
class LaunchZone:
    """A zone and a market to try."""

    region: str
    zone: str
    market: str


class _Refused(Exception):
    """EC2 launched nothing; why, and whether that rules out the rest of the region."""

    def __init__(self, sentence: str, *, everywhere: bool = False) -> None:
        super().__init__(sentence)
        self.everywhere = everywhere
        """It holds for all zones of the region."""


async def request_instances(
    context: AwsContext, nodes: Sequence[int], number: int, only: Sequence[LaunchZone] = ()
) -> AsyncIterator[News | LaunchRequest]:
    """Launches an instance for each of the nodes: yields events on the way, and the accepted request last.

    `number` is the launch's; if the resources hold requests of it, it continues with them. `only`: the zones to try.

    Raises:
        CloudError
        ProviderError: no zone has them; one sentence that names all that was tried.
    """
    tried: list[str] = []
    pending = [request for request in context.resources.requests if request.launch == number]
    for request in pending:
        if request.outcome == ACCEPTED:
            yield request
            return
        if request.outcome == ASKED:
            try:
                async for news in _asked(context, request, again=True):
                    yield news
                return
            except _Refused as refusal:
                tried.append(str(refusal))
    done = {LaunchZone(request.region, request.zone, request.market) for request in pending}
    for market in _unique(wanted.market for wanted in only) or markets(context.profile.fleet.market):
        for region in _unique(wanted.region for wanted in only) or await _regions(context):
            prerequisites: Prerequisites | None = None
            try:
                step = 0
                async for part in prepare(context, region, market):
                    if isinstance(part, Prerequisites):
                        prerequisites = part
                        continue
                    for node in nodes:
                        detail = f"{region}: {part}"
                        yield node, StageProgressed(stage="prepare", done=step, total=STEPS, detail=detail)
                    step += 1
            except CloudError:
                raise
            except ProviderError as error:
                if only or not context.profile.fleet.failover_regions:
                    raise
                tried.append(str(error))
                yield None, AlertRaised(kind="launch", text=f"{error}; trying the next region")
                continue
            assert prerequisites is not None
            for node in nodes:
                yield node, StageProgressed(stage="prepare", done=STEPS, total=STEPS, detail=region)
            for zone in _unique(wanted.zone for wanted in only) or prerequisites.zones:
                launch_zone = LaunchZone(region, zone, market)
                if launch_zone in done:
                    continue
                if tried:
                    how = f", {market}" if len(markets(context.profile.fleet.market)) > 1 else ""
                    yield None, AlertRaised(kind="launch", text=f"{tried[-1]}; trying {zone}{how}")
                request = _written(context, prerequisites, launch_zone, nodes, number)
                await _affordable(context, request)
                try:
                    async for news in _asked(context, request, again=False):
                        yield news
                    return
                except _Refused as refusal:
                    tried.append(str(refusal))
                    if refusal.everywhere:
                        break
    raise ProviderError(_nowhere(context, len(nodes), tried))


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def markets(market: str) -> tuple[str, ...]:
    """The markets to try, in order."""
    return ("spot", "on-demand") if market == "spot-then-on-demand" else (market,)


async def _regions(context: AwsContext) -> tuple[str, ...]:
    fleet = context.profile.fleet
    home = await context.cloud().region()
    if fleet.market in ("capacity-block", "reservation"):
        return (home,)
    return (home, *(region for region in fleet.failover_regions if region != home))


def _nowhere(context: AwsContext, count: int, tried: list[str]) -> str:
    what = f"{count} × {context.profile.fleet.instance_type}"
    if len(tried) == 1:
        return tried[0]
    return f"{what} are not available: " + "; ".join(tried)


def _written(
    context: AwsContext, prerequisites: Prerequisites, where: LaunchZone, nodes: Sequence[int], number: int
) -> LaunchRequest:
    """A new request, on disk with all that its call needs."""
    params = prerequisites.params(context, where.zone, where.market, len(nodes))
    token = f"fastconsole-{secrets.token_hex(16)}"
    key = asyncssh.generate_private_key("ssh-ed25519", comment="fastconsole")
    own = asyncssh.read_private_key(str(context.directory.key)).export_public_key().decode().strip()
    fleet, budget = context.profile.fleet, context.profile.budget
    try:
        text = user_data(host_key=key, authorized_keys=[own], lease_s=budget.lease_minutes * 60, user=fleet.user)
    except ValueError as error:
        raise ProviderError(str(error)) from None
    request = LaunchRequest(
        token=token,
        launch=number,
        region=where.region,
        zone=where.zone,
        market=where.market,
        instance_type=prerequisites.machine.name,
        nodes=tuple(sorted(nodes)),
        params=params,
        user_data=f"user-data-{token[-8:]}",
        bootstrap_key=key.export_public_key().decode().strip(),
        asked_t=time.time(),
    )
    context.directory.write_private(request.user_data, text.encode())
    context.remember(context.resources.with_request(request))
    return request


async def _affordable(context: AwsContext, request: LaunchRequest) -> None:
    """Raises ProviderError if the budget would end the run as soon as its instances run."""
    budget_usd = context.profile.budget.max_usd
    if budget_usd is None or len(request.nodes) < context.profile.fleet.nodes:
        # Replacements are up to the policy, which knows what is spent.
        return
    usd_per_h = await HourlyPrice(context, request).usd_per_h()
    seconds = MINIMUM_BILLED_S + closing_s(Run())
    if usd_per_h is not None and usd_per_h * seconds / 3600 >= budget_usd:
        context.remember(context.resources.with_request(replace(request, outcome=REFUSED)))
        drop_user_data(context, request)
        raise ProviderError(
            f"budget.max_usd is {money(budget_usd)}: {len(request.nodes)} × {request.instance_type} in {request.zone} "
            f"({request.market}) cost {money(usd_per_h)} an hour, and the first minute with an orderly shutdown "
            f"{money(usd_per_h * seconds / 3600)}; allow more, or take fewer nodes"
        )


def drop_user_data(context: AwsContext, request: LaunchRequest) -> None:
    """Removes the request's user data: it is of no use once the call is refused or all hosts have their own keys."""
    (context.directory.path / request.user_data).unlink(missing_ok=True)


async def _asked(context: AwsContext, request: LaunchRequest, *, again: bool) -> AsyncIterator[News | LaunchRequest]:
    """Makes the request's call until its answer is known, within a time limit; yields the accepted request.

    `again`: an earlier console may have made it.

    Raises:
        _Refused, CloudError, ProviderError
    """
    for node in request.nodes:
        where = f"{request.zone}, {request.market}"
        yield node, StageProgressed(stage="instance", done=0, total=2, detail=where)
    end, silent = Deadline(context.patience.visible_s), 0
    while True:
        try:
            found = (await _found(context, request) if again else []) or await _run(context, request)
            break
        except CloudError as error:
            if error.kind not in PASSING:
                raise _settled(context, request, error) from None
            silent += 1
            # A single attempt may take most of the time.
            if end.passed and silent >= _ATTEMPTS:
                raise _unsettled(context, request, error) from None
            again = True
            said = "requests are limited" if error.kind == "throttled" else "no answer; asking what became of it"
            for node in request.nodes:
                yield node, StageProgressed(stage="instance", done=0, total=2, detail=f"{request.zone}: {said}")
        await asyncio.sleep(context.patience.poll_s)
    accepted = request.accepted(found)
    context.remember(context.resources.with_request(accepted))
    yield accepted


async def _run(context: AwsContext, request: LaunchRequest) -> list[str]:
    """The ids of the request's instances: launched now, or by an earlier call with its token.

    Without botocore's retries: it would repeat for seconds what EC2 answers with status 500, a zone without capacity.
    """
    text = (context.directory.path / request.user_data).read_text()
    said = await context.make(
        request.region, "run_instances", once=True, ClientToken=request.token, UserData=text, **request.params
    )
    return [instance["InstanceId"] for instance in said["Instances"]]


async def _found(context: AwsContext, request: LaunchRequest) -> list[str]:
    """The ids of the request's instances, if EC2 shows them all."""
    seen = await of_tokens(context.cloud(request.region), [request.token])
    ids = [instance.instance_id for instance in seen]
    return ids if len(ids) == len(request.nodes) else []


def _unsettled(context: AwsContext, request: LaunchRequest, error: CloudError) -> Exception:
    """No answer came in time: the request stays `ASKED`, so that the teardown looks for its instances."""
    if error.kind == "throttled":
        return _settled(context, request, error)
    what = f"{len(request.nodes)} × {request.instance_type}"
    return CloudError(
        error.kind,
        f"{error}; it is not known whether {what} were launched in {request.zone}: `fastconsole clean` ends them when "
        "AWS can be reached again",
    )


def _settled(context: AwsContext, request: LaunchRequest, error: CloudError) -> Exception:
    """What EC2's answer means: the next zone is tried, or the launch ends with a sentence."""
    count, kind, zone = len(request.nodes), request.instance_type, request.zone
    what = f"{count} × {kind}"
    ended = error.code == "IdempotentInstanceTerminated"
    if error.code != "IdempotentParameterMismatch":
        context.remember(context.resources.with_request(replace(request, outcome=ENDED if ended else REFUSED)))
        drop_user_data(context, request)
    if ended:
        return ProviderError(f"the {what} that were launched in {zone} were terminated before they could be used")
    if error.kind == "capacity":
        return _Refused(
            f"{zone} has no {'spot ' if request.market == 'spot' else ''}capacity for {what} ({error.code})"
        )
    if error.code == "Unsupported":
        return _Refused(f"{zone} does not launch {what} ({_message(error)})")
    if error.kind == "quota":
        return _Refused(_quota(request, error), everywhere=True)
    return error


def _quota(request: LaunchRequest, error: CloudError) -> str:
    count, kind, region = len(request.nodes), request.instance_type, request.region
    known, quota = instance_types.find(kind), instance_types.quota(kind, request.market)
    needed = f"{count * known.vcpus:,} vCPUs" if known else "more"
    if quota is None:
        return f"{region}: the account's quota is too small for {count} × {kind}: {_message(error)}"
    raised = (
        f"aws service-quotas request-service-quota-increase --region {region} --service-code ec2 "
        f"--quota-code {quota.code} --desired-value {count * known.vcpus if known else 'VCPUS'}"
    )
    return (
        f"{region}: quota {quota.code} ({quota.name}) is too small ({error.code}): {count} × {kind} need {needed}; "
        f"raise it with `{raised}`, or take fewer with --nodes"
    )


def _message(error: CloudError) -> str:
    return str(error).partition(f"{error.code}: ")[2].partition("; the account's quota")[0] or error.code
