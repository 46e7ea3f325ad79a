"""What a test tells the fake AWS to do wrong: refuse, cut the line, delay, or hold a call until the test lets it go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MESSAGES = {
    "AuthFailure": "AWS was not able to validate the provided access credentials",
    "ExpiredToken": "The security token included in the request is expired",
    "IncompleteSignature": "The request signature does not conform to AWS standards",
    "InsufficientInstanceCapacity": (
        "We currently do not have sufficient capacity in the Availability Zone you requested. Our system will be "
        "working on provisioning additional capacity."
    ),
    "InternalError": "An internal error has occurred",
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded",
    "RequestExpired": "Request has expired.",
    "RequestLimitExceeded": "Request limit exceeded.",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
    "UnfulfillableCapacity": "There is not enough capacity to fulfill your request.",
    "Unsupported": "The requested configuration is currently not supported.",
    "VcpuLimitExceeded": (
        "You have requested more vCPU capacity than your current vCPU limit allows for the instance bucket that the "
        "specified instance type belongs to."
    ),
}
"""As EC2 words them, where a test says nothing else."""

STATUS = {
    "AuthFailure": 401,
    "AccessDeniedException": 400,
    "UnauthorizedOperation": 403,
    "InsufficientAddressCapacity": 500,
    "InsufficientCapacity": 500,
    "InsufficientHostCapacity": 500,
    "InsufficientInstanceCapacity": 500,
    "InsufficientReservedInstanceCapacity": 500,
    "InsufficientVolumeCapacity": 500,
    "InternalError": 500,
    "InternalFailure": 500,
    "RequestLimitExceeded": 503,
    "ServerInternal": 500,
    "ServiceUnavailable": 503,
    "Unavailable": 503,
}
"""HTTP status of the codes that are no client errors (EC2's "server error codes"); 400 is everybody else's."""


class AwsError(Exception):
    """What AWS answers in place of a result."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = MESSAGES.get(code, f"{code}.") if message is None else message
        self.status = STATUS.get(code, 400)


@dataclass
class Call:
    """One call as it came in."""

    at: float
    """Unix time of its arrival."""
    service: str
    action: str
    region: str
    zone: str | None
    """The availability zone that its parameters name, themselves or through a subnet."""
    params: Mapping[str, Any]
    """As the caller gave them to boto3."""
    code: str | None = None
    """None: under way, held, or never handled. ``OK``, AWS's error code, or ``cut`` where no answer was sent."""


@dataclass
class Fault:
    """One thing to do wrong, and what became of it."""

    action: str
    error: str | None = None
    message: str | None = None
    cut: str | None = None
    hold: str | None = None
    delay_s: float = 0.0
    times: int | None = 1
    zone: str | None = None
    region: str | None = None
    where: Callable[[Mapping[str, Any]], bool] | None = None
    calls: list[Call] = field(default_factory=list)
    """The calls that met it."""
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _held: list[Call] = field(default_factory=list, repr=False)
    _over: bool = False

    def wait(self, timeout_s: float = 30.0) -> Call:
        """The first call that met it; with `hold`, once it is held. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._held if self.hold else self.calls, timeout_s):
                raise TimeoutError(f"no {self.action} came within {timeout_s:g} s")
            return (self._held if self.hold else self.calls)[0]

    def release(self) -> None:
        """Lets the held calls go on, and those to come pass."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def takes(self, call: Call) -> bool:
        """Whether this call meets it; counts it if so."""
        with self._changed:
            if (
                self._over
                or (self.times is not None and len(self.calls) >= self.times)
                or self.action not in ("*", call.action)
                or self.zone not in (None, call.zone)
                or self.region not in (None, call.region)
                or not (self.where is None or self.where(call.params))
            ):
                return False
            self.calls.append(call)
            self._changed.notify_all()
            return True

    def pass_time(self, when: str, call: Call) -> None:
        """Waits as told: `when` is ``before`` the call is handled or ``after``."""
        with self._changed:
            if when == "before" and self.delay_s:
                self._changed.wait_for(lambda: self._over, self.delay_s)
            if self.hold == when:
                self._held.append(call)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._over)


class Faults:
    """All that is to go wrong, oldest first, and the calls that came in."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._calls: list[Call] = []
        self._came = threading.Condition()

    def add(self, fault: Fault) -> Fault:
        """From now on."""
        assert fault.cut in (None, "before", "after"), fault.cut
        assert fault.hold in (None, "before", "after"), fault.hold
        self._faults.append(fault)
        return fault

    def release(self) -> None:
        """Nothing goes wrong any more; what is held goes on."""
        faults, self._faults = self._faults, []
        for fault in faults:
            fault.release()

    def arrived(self, call: Call) -> Fault | None:
        """Notes the call and says what shall go wrong with it."""
        with self._came:
            self._calls.append(call)
            self._came.notify_all()
        return next((fault for fault in list(self._faults) if fault.takes(call)), None)

    def calls(self, action: str | None = None) -> list[Call]:
        """All calls so far, oldest first."""
        with self._came:
            return [call for call in self._calls if action in (None, call.action)]

    def wait_for(self, action: str, count: int, timeout_s: float) -> Call:
        """The `count`th call of this action, counted from the start. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        with self._came:
            while True:
                found = [call for call in self._calls if call.action == action]
                if len(found) >= count:
                    return found[count - 1]
                if not self._came.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    raise TimeoutError(f"{len(found)} of {count} {action} came within {timeout_s:g} s")
