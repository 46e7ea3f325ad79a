"""Asks AWS what a plan needs to know: everything at once, with a limit of ten seconds for all answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, TypeVar

from console.catalog import instance_types, prices
from console.catalog.instance_types import InstanceType
from console.fleet.aws.buckets import listing
from console.fleet.aws.cloud import Cloud, CloudError, unknown_region
from console.fleet.provider import ProviderError
from console.planning.offer import DataSet, Offer, QuotaSaid, Region, Reservation
from console.profile.schema import Fleet, Profile
from remote.wire.layout import S3

PATIENCE_S: Final = 10.0
_MARKETS: Final = {"spot": ("spot",), "on-demand": ("on-demand",), "spot-then-on-demand": ("spot", "on-demand")}
"""The markets whose quotas count. A reservation was counted when it was made."""
_ALIKE: Final = ("credentials", "expired", "unreachable")
"""Kinds of errors that are the same for every question: reported once."""

T = TypeVar("T")


def ask(profile: Profile, patience_s: float = PATIENCE_S) -> Offer:
    """What AWS says about the profile's fleet and data set within `patience_s` seconds; empty for other providers."""
    source = profile.data.stage_from or ""
    if profile.fleet.provider == "aws":
        return asyncio.run(_ask(profile.fleet, source, patience_s))
    return asyncio.run(_ask_of_data(source, patience_s)) if source.startswith(S3) else Offer()


async def _ask_of_data(source: str, patience_s: float) -> Offer:
    asyncio.get_running_loop().set_default_executor(_Unwaited())
    asked_t, asking = time.time(), _Asking(patience_s)
    found = await _data_set(source, None, asking)
    return Offer(data_set=found, wrong=tuple(asking.wrong), silent=tuple(asking.silent()), t=asked_t)


async def _ask(fleet: Fleet, source: str, patience_s: float) -> Offer:
    asyncio.get_running_loop().set_default_executor(_Unwaited())
    asked_t = time.time()
    try:
        home = fleet.region or await Cloud().region()
    except CloudError as error:
        return Offer(silent=(str(error),))
    # A reservation is in one zone: there is no other region.
    names = tuple(dict.fromkeys((home, *(() if fleet.reservation else fleet.failover_regions))))
    wrong = [sentence for name in names if (sentence := unknown_region(name))]
    if wrong:
        return Offer(wrong=tuple(wrong))
    asking = _Asking(patience_s)
    clouds = {name: _Hasty(name) for name in names}
    described, data_set, reservation, regions = await asyncio.gather(
        _described(fleet, clouds[home], asking),
        _data_set(source, home, asking),
        _reservation(fleet, clouds[home], asking),
        asyncio.gather(*(_region(fleet, cloud, asking, asked_t) for cloud in clouds.values())),
    )
    return Offer(
        regions=tuple(regions),
        described=described,
        reservation=reservation,
        data_set=data_set,
        wrong=tuple(asking.wrong),
        silent=tuple(asking.silent()),
        t=asked_t,
    )


class _Hasty:
    """AWS in a region, each call made once: a retry would come too late."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._cloud = Cloud(region)

    async def pages(self, service: str, operation: str, key: str, /, **params: Any) -> list[Any]:
        """See `Cloud.pages`."""
        return await self._cloud.pages(service, operation, key, once=True, **params)

    async def call(self, service: str, operation: str, /, **params: Any) -> Any:
        """See `Cloud.call`."""
        return await self._cloud.call(service, operation, once=True, **params)


class _Asking:
    """Questions under one deadline, and why some were not answered."""

    def __init__(self, patience_s: float) -> None:
        self.wrong: list[str] = []
        self._patience_s = patience_s
        self._end = asyncio.get_running_loop().time() + patience_s
        self._late: list[str] = []
        self._failed: dict[str, str] = {}

    async def answer(self, what: str, question: Coroutine[Any, Any, T]) -> T | None:
        """The answer to the question about `what`; None if there is none."""
        try:
            async with asyncio.timeout_at(self._end):
                return await question
        except TimeoutError:
            self._late.append(what)
        except CloudError as error:
            alike = error.kind in _ALIKE
            self._failed.setdefault(error.kind if alike else what, str(error) if alike else f"{what}: {error}")
        return None

    def silent(self) -> Iterable[str]:
        """The questions without an answer, and why."""
        # Sorted: the order of arrival varies.
        yield from sorted(self._failed.values())
        if self._late:
            yield f"AWS did not answer within {self._patience_s:.0f} s: {', '.join(sorted(self._late))}"


async def _region(fleet: Fleet, cloud: _Hasty, asking: _Asking, asked_t: float) -> Region:
    wanted, here = fleet.instance_type or "", cloud.region
    markets = _MARKETS.get(fleet.market, ())
    offers, on_demand, spot, used, held = await asyncio.gather(
        asking.answer(f"zones in {here}", _offers(cloud, wanted)),
        asking.answer(f"price on demand in {here}", prices.on_demand(cloud, wanted, here)),
        asking.answer(f"spot prices in {here}", prices.spot(cloud, wanted, asked_t)),
        asking.answer(f"instances in {here}", _used_vcpus(cloud, wanted, markets)),
        asyncio.gather(
            *(asking.answer(f"quota for {market} in {here}", _quota(cloud, wanted, market)) for market in markets)
        ),
    )
    return Region(
        name=here,
        zones=None if offers is None else tuple(sorted(offers.get(wanted, ()))),
        offered=None if offers is None else tuple(offers),
        on_demand=on_demand,
        spot=spot,
        quotas=tuple(
            QuotaSaid(market=market, quota=quota, held_vcpus=vcpus, used_vcpus=(used or {}).get(market))
            for market, vcpus in zip(markets, held, strict=True)
            if (quota := instance_types.quota(wanted, market)) is not None
        ),
    )


async def _offers(cloud: _Hasty, wanted: str) -> dict[str, list[str]]:
    """The zones of the region that offer a type, for the wanted one and those of the table."""
    names = sorted({wanted, *instance_types.TYPES})
    items = await cloud.pages(
        "ec2",
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": names}],
    )
    offers: dict[str, list[str]] = {}
    for item in items:
        offers.setdefault(item["InstanceType"], []).append(item["Location"])
    return offers


async def _quota(cloud: _Hasty, wanted: str, market: str) -> float | None:
    quota = instance_types.quota(wanted, market)
    if quota is None:
        return None
    answer = await cloud.call("service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=quota.code)
    value = answer.get("Quota", {}).get("Value")
    return None if value is None else float(value)


async def _used_vcpus(cloud: _Hasty, wanted: str, markets: tuple[str, ...]) -> dict[str, int]:
    """vCPUs of running instances that count against the same quotas, by market."""
    quotas = {market: instance_types.quota(wanted, market) for market in markets}
    used = dict.fromkeys((market for market, quota in quotas.items() if quota is not None), 0)
    if not used:
        return used
    reservations = await cloud.pages(
        "ec2",
        "describe_instances",
        "Reservations",
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}],
    )
    for instance in (instance for reservation in reservations for instance in reservation["Instances"]):
        market = instance.get("InstanceLifecycle", "on-demand")
        if market in used and instance_types.quota(instance["InstanceType"], market) == quotas[market]:
            used[market] += _vcpus(instance)
    return used


def _vcpus(instance: Mapping[str, Any]) -> int:
    known = instance_types.find(instance["InstanceType"])
    options = instance.get("CpuOptions", {})
    # The quota counts the type's vCPUs, even if threads are switched off.
    return known.vcpus if known else options.get("CoreCount", 0) * options.get("ThreadsPerCore", 1)


async def _described(fleet: Fleet, cloud: _Hasty, asking: _Asking) -> InstanceType | None:
    """The type, if only EC2 knows it; None if the table has it, or EC2 does not know it either."""
    name = fleet.instance_type or ""
    if instance_types.find(name) is not None:
        return None

    async def describe() -> InstanceType | None:
        try:
            answer = await cloud.call("ec2", "describe_instance_types", InstanceTypes=[name])
            return instance_types.from_ec2(answer["InstanceTypes"][0])
        except CloudError as error:
            if error.kind in ("unsupported", "missing"):
                # There is no such type; its empty list of zones says so.
                return None
            raise

    return await asking.answer(f"what {name} is", describe())


async def _data_set(source: str, region: str | None, asking: _Asking) -> DataSet | None:
    """The data set at ``s3://...``; None for a folder, which only the hosts see."""
    if not source.startswith(S3):
        return None

    async def look() -> DataSet | None:
        try:
            found = await listing(Cloud(region), source)
        except CloudError:
            raise
        except ProviderError as error:
            asking.wrong.append(str(error))
            return None
        return DataSet(objects=len(found.objects), total_bytes=found.total_bytes, packed=found.packed)

    return await asking.answer(f"what is in {source}", look())


async def _reservation(fleet: Fleet, cloud: _Hasty, asking: _Asking) -> Reservation | None:
    wanted = fleet.reservation
    if wanted is None:
        return None

    async def look() -> Reservation | None:
        try:
            found = await cloud.pages(
                "ec2",
                "describe_capacity_reservations",
                "CapacityReservations",
                CapacityReservationIds=[wanted],
            )
        except CloudError as error:
            if error.kind != "missing":
                raise
            found = []
        if not found:
            asking.wrong.append(f"fleet.reservation: there is no {wanted} in {cloud.region}")
            return None
        said = found[0]
        return Reservation(
            id=wanted,
            instance_type=said["InstanceType"],
            zone=said["AvailabilityZone"],
            state=said["State"],
            available=said["AvailableInstanceCount"],
            start_t=_t(said.get("StartDate")),
            end_t=_t(said.get("EndDate")),
        )

    return await asking.answer(f"reservation {wanted}", look())


def _t(when: datetime | None) -> float | None:
    return None if when is None else when.timestamp()


class _Unwaited(ThreadPoolExecutor):
    """One daemon thread per call, which is not joined at exit: a plan is done when its time is up."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Starts the call in a thread of its own."""
        future: Future[Any] = Future()
        # It cannot be cancelled from here on: the caller may be gone when the answer comes.
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, daemon=True).start()
        return future
