"""A fake AWS on a loopback port, for tests of the `aws` provider: boto3 comes to it through ``AWS_ENDPOINT_URL``.

Theory of operation. A small HTTP server in the test's process is the front. It reads who is called from the
signature's scope (region, service) and what from the request, parsed by botocore's own models into the parameters as
the caller gave them. The call is noted, meets what the test said shall go wrong (fake_faults), and is then answered
under one lock: by fake_launch, fake_ec2, fake_placement, fake_addresses, fake_market or fake_catalog where one has a
method of the action's name, else by moto, a well-known fake that keeps the instances, groups, keys and the rest as
Python objects in the same process. Ours add to those objects what moto leaves out. One thread makes time pass: pending
becomes running, shutting-down terminated.

Nothing here knows the code under test. moto's objects are global, so one FakeCloud lives at a time.
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import botocore
from fake_clock import Clock
from fake_faults import AwsError, Call, Fault, Faults
from fake_front import Answer, Handler, Request, Server, parsed, refused, serialized, through

if TYPE_CHECKING:
    from fake_ec2 import Happened, Machine

ACCESS_KEY = "AKIAFASTCONSOLETEST0"
SECRET_KEY = "not-a-secret-of-anybodys-0123456789abcdef"
_PAST_THE_FRONT = "AKIAPASTTHEFRONT0000"
"""Calls with this key meet no fault and are not noted: the tests' own look at things."""

_SERVICES = {"servicequotas": "service-quotas"}
"""botocore's names where the signature has others."""


class FakeCloud:
    """One AWS account. Start it by making it; `stop` ends it and forgets all."""

    def __init__(self) -> None:
        # moto takes half a second to import; only tests that want a cloud wait for it.
        import fake_addresses
        import fake_catalog
        import fake_ec2
        import fake_launch
        import fake_market
        import fake_placement
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        _forget()
        self._lock = threading.RLock()
        self._faults = Faults()
        self.errors: list[str] = []
        """Tracebacks of what the fake itself could not do; a test that leaves any has tested nothing."""
        self._clock = Clock(self._lock, self.errors.append)
        self._watchers: list[Callable[[Happened], None]] = []
        self.catalog = fake_catalog.Catalog()
        self.ec2 = fake_ec2.Ec2(self.catalog, self._clock.later, self._tell)
        self.groups = fake_placement.PlacementGroups(self.ec2)
        self.addresses = fake_addresses.Addresses(self.ec2)
        self.market = fake_market.Market(self.ec2)
        launches = fake_launch.Launches(self.ec2, self.groups, self.market)
        self._answering = (launches, self.ec2, self.groups, self.addresses, self.market)
        self._clients: dict[tuple[str, str], Any] = {}
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._claim, first = _claimed()
        second = {region: first + index for index, region in enumerate(fake_ec2.REGIONS)}
        self.networks = {region: f"127.{number}.0.0/16" for region, number in second.items()}
        """Region to its default VPC's addresses: 127.10.0.0/16, 127.11.0.0/16 and so on, or higher where other tests
        run beside this one."""
        self.vpcs = {region: self.addresses.loopback_vpc(region, number) for region, number in second.items()}
        """Region to the id of its default VPC."""
        self.addresses.elastic = f"127.200.{first}"
        self._server = Server(self)
        self.port: int = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-cloud", daemon=True)
        self._thread.start()

    @property
    def env(self) -> dict[str, str]:
        """What a console needs in its environment; AWS_PROFILE and AWS_SESSION_TOKEN must not be set there."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent/aws-config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/aws-credentials",
        }

    def client(self, service: str = "ec2", region: str = "us-east-1") -> Any:
        """A boto3 client that meets no fault and whose calls are not noted."""
        key = (service, region)
        if key not in self._clients:
            self._clients[key] = _session().client(
                service,
                region_name=region,
                endpoint_url=self.endpoint,
                aws_access_key_id=_PAST_THE_FRONT,
                aws_secret_access_key=SECRET_KEY,
            )
        return self._clients[key]

    # --- what goes wrong

    def misbehave(
        self,
        action: str,
        *,
        error: str | None = None,
        message: str | None = None,
        cut: str | None = None,
        hold: bool | str = False,
        delay_s: float = 0.0,
        times: int | None = 1,
        zone: str | None = None,
        region: str | None = None,
        where: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> Fault:
        """The next `times` calls (None: all) of `action` (``*``: any) go wrong, until `released`.

        Args:
            error: This code is the answer; the call is not handled.
            cut: The connection breaks ``before`` the call is handled, or right ``after`` it was.
            hold: The call waits for ``Fault.release`` ``before`` it is handled (True) or ``after`` it was, before the
                answer. A caller who has gone when a call held before is let go has never made it.
            delay_s: It waits so long first.
            zone: Only calls that name this availability zone, themselves or through a subnet.
            region: Only calls in this region.
            where: Only calls with such parameters.

        Of several faults that fit a call the oldest is met.
        """
        return self._faults.add(
            Fault(
                action,
                error,
                message,
                cut,
                {True: "before", False: None}.get(hold, hold),  # type: ignore[arg-type]
                delay_s,
                times,
                zone,
                region,
                where,
            )
        )

    def released(self) -> None:
        """Nothing goes wrong any more, held calls go on, hidden instances are seen."""
        self._faults.release()
        self.show()

    def hide_new(self, seconds: float | None = None) -> None:
        """Instances launched from now on are seen by nobody for so long, or (None) until `show`."""
        self.ec2.hide_new_s = float("inf") if seconds is None else seconds

    def show(self) -> None:
        """All instances are seen, and new ones at once."""
        with self._lock:
            self.ec2.hide_new_s = None
            self.ec2.hidden.clear()

    def set_delays(self, *, pending_s: float | None = None, shutting_down_s: float | None = None) -> None:
        """How long a new instance is pending and an ended one shutting down; 0.1 s each by default."""
        self.ec2.pending_s = self.ec2.pending_s if pending_s is None else pending_s
        self.ec2.shutting_down_s = self.ec2.shutting_down_s if shutting_down_s is None else shutting_down_s

    # --- what came in

    def calls(self, action: str | None = None) -> list[Call]:
        """All calls so far, of one action or of all, oldest first."""
        return self._faults.calls(action)

    def wait_for_call(self, action: str, count: int = 1, timeout_s: float = 30.0) -> Call:
        """The `count`th call of the action since the start, as soon as it has come. Raises TimeoutError."""
        return self._faults.wait_for(action, count, timeout_s)

    # --- what AWS publishes

    def set_price(
        self, instance_type: str, place: str | None, market: str, usd: float | None, at: datetime | None = None
    ) -> None:
        """A price in dollars an hour from `at` on (now by default).

        `market`: ``on-demand`` (`place` is a region, None all; `usd` None: none is published) or ``spot`` (`place` is
        a zone; each call adds to the history, the first replaces the default).
        """
        with self._lock:
            self.catalog.set_price(instance_type, place, market, usd, at or datetime.now(UTC))

    def set_quota(self, code: str, value: float | None, region: str | None = None) -> None:
        """vCPUs; None: there is no such quota. Launches beyond it are refused, as EC2 does."""
        with self._lock:
            if value is None:
                self.catalog.quotas.pop((code, region), None)
            else:
                self.catalog.quotas[code, region] = value

    def set_parameter(self, name: str, value: str | None) -> None:
        """An SSM public parameter; None: there is none."""
        with self._lock:
            if value is None:
                self.catalog.parameters.pop(name, None)
            else:
                self.catalog.parameters[name] = value

    def reserve(
        self,
        reservation_id: str,
        instance_type: str,
        zone: str,
        count: int,
        *,
        block: bool = False,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        """A capacity reservation or capacity block of the account's."""
        now = datetime.now(UTC)
        with self._lock:
            self.market.reservations[zone[:-1], reservation_id] = {
                "CapacityReservationId": reservation_id,
                "ReservationType": "capacity-block" if block else "default",
                "InstanceType": instance_type,
                "InstancePlatform": "Linux/UNIX",
                "AvailabilityZone": zone,
                "Tenancy": "default",
                "TotalInstanceCount": count,
                "AvailableInstanceCount": count,
                "State": "active" if (start or now) <= now else "scheduled",
                "StartDate": start or now,
                "CreateDate": now,
                **({"EndDate": end, "EndDateType": "limited"} if end else {"EndDateType": "unlimited"}),
                "InstanceMatchCriteria": "targeted",
            }

    # --- what happens to instances

    def interrupt(self, instance_id: str) -> None:
        """EC2 takes a spot instance back, now."""
        with self._lock:
            self.ec2.end(
                instance_id, "Server.SpotInstanceTermination", "Spot instance termination", "Service initiated"
            )

    def fail(self, instance_id: str) -> None:
        """The hardware under an instance breaks: EC2 ends it."""
        with self._lock:
            self.ec2.end(instance_id, "Server.InternalError", "Internal error on launch", "Server.InternalError")

    def shut_down_from_inside(self, instance_id: str) -> None:
        """Its operating system powered off: it is terminated or stopped, as its launch said."""
        with self._lock:
            _, instance = self.ec2.instance(instance_id)
            stop = instance.instance_initiated_shutdown_behavior != "terminate" and instance.lifecycle != "spot"
            self.ec2.end(instance_id, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown", "", stop=stop)

    def notice(self, instance_id: str, in_s: float = 120.0) -> datetime:
        """EC2 tells a spot instance that it will be taken back, and takes it then; the time."""
        at = (datetime.now(UTC) + timedelta(seconds=in_s)).replace(microsecond=0)
        with self._lock:
            from fake_ec2 import Happened

            self._tell(Happened("notice", self.ec2.machine(instance_id), at))

        def take() -> None:
            # By then it may be gone and forgotten.
            with contextlib.suppress(AwsError):
                self.interrupt(instance_id)

        self._clock.later(in_s, take)
        return at

    def rebalance(self, instance_id: str) -> None:
        """EC2 recommends to leave a spot instance."""
        with self._lock:
            from fake_ec2 import Happened

            self._tell(Happened("rebalance", self.ec2.machine(instance_id), datetime.now(UTC).replace(microsecond=0)))

    def set_console(self, instance_id: str, text: str) -> None:
        """What GetConsoleOutput gives."""
        with self._lock:
            self.ec2.instance(instance_id)[1].console = text

    def instances(self, *states: str, region: str | None = None) -> list[Machine]:
        """Instances in these states (none said: all that are not terminated), hidden ones too."""
        with self._lock:
            return [
                self.ec2.machine(instance.id)
                for _, instance in self.ec2.instances(region)
                if (instance.state in states if states else instance.state != "terminated")
            ]

    def forget_ended(self) -> None:
        """Terminated instances are described no more, as EC2 does about an hour after their end."""
        with self._lock:
            self.ec2.forget_ended()

    def left_over(self) -> list[str]:
        """A line for each thing in any region that costs money or that was made and not deleted."""
        with self._lock:
            groups = (f"{region} placement group {group.group_name}" for region, group in self.groups)
            return sorted([*self.ec2.left_over(), *self.addresses.left_over(), *groups])

    def watch(self, watcher: Callable[[Happened], None]) -> None:
        """Tells of what happens to instances, in order, from now on. Called under the cloud's lock: be quick."""
        with self._lock:
            self._watchers.append(watcher)

    def stop(self) -> None:
        """Ends it: no thread, no connection and nothing of moto's is left."""
        self._faults.release()
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_all()
        self._clock.stop()
        self._thread.join(10)
        self._claim.close()
        with self._lock:
            self._watchers.clear()
            _forget()

    # --- answering

    def _tell(self, event: Happened) -> None:
        for watcher in self._watchers:
            watcher(event)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes, handler: Handler) -> None:
        """One request from its arrival to its end."""
        scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request", headers.get("Authorization", ""))
        if scope is None:
            handler.send(refused("ec2", AwsError("AuthFailure")))
            return
        key, region, service = scope[1], scope[2], _SERVICES.get(scope[3], scope[3])
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        action = headers.get("X-Amz-Target", "").rpartition(".")[2] or form.get("Action", path)

        def forward_to(other: dict[str, str] | None) -> Answer:
            raw = body if other is None else urlencode(other).encode()
            return through(self._moto, method, path, headers, raw)

        try:
            params = parsed(service, action, method, path, headers, form, body)
        except Exception:
            params = {}
        request = Request(service, action, region, params, form, forward_to)
        if key == _PAST_THE_FRONT:
            handler.send(self._handled(request))
            return
        with self._lock:
            zone = self.ec2.zone(region, params) if service == "ec2" else None
        call = Call(time.time(), service, action, region, zone, params)
        fault = self._faults.arrived(call)
        if fault is None:
            self._finish(call, handler, self._handled(request, call))
            return
        fault.pass_time("before", call)
        if (fault.hold == "before" and handler.deserted()) or fault.cut == "before":
            call.code = "cut"
            handler.cut()
            return
        if fault.error is not None:
            self._finish(call, handler, refused(service, AwsError(fault.error, fault.message)))
            return
        answer = self._handled(request, call)
        fault.pass_time("after", call)
        if fault.cut == "after":
            call.code = "cut"
            handler.cut()
            return
        self._finish(call, handler, answer)

    def _finish(self, call: Call, handler: Handler, answer: Answer) -> None:
        call.code = answer.code
        handler.send(answer)

    def _handled(self, request: Request, call: Call | None = None) -> Answer:
        with self._lock:
            try:
                answer = self._result(request)
            except AwsError as error:
                answer = refused(request.service, error)
            except Exception:
                self.errors.append(f"{request.service} {request.action} {request.params}\n{traceback.format_exc()}")
                answer = refused(
                    request.service, AwsError("FakeCloudCannot", f"the fake AWS cannot do {request.action} so")
                )
            if call is not None:
                call.code = answer.code
            return answer

    def _result(self, request: Request) -> Answer:
        name = botocore.xform_name(request.action)
        ours = next((each for each in self._answering if hasattr(type(each), name)), None)
        if request.service == "ec2" and ours is not None:
            result = getattr(ours, name)(request.region, request.params, request)
        elif request.service in ("pricing", "service-quotas") or request.params.get("Name", "").startswith(
            "/aws/service/deeplearning/"
        ):
            if not hasattr(self.catalog, name):
                raise AwsError("InvalidAction", f"The action {request.action} is not known here.")
            result = getattr(self.catalog, name)(request.region, request.params)
        elif request.service == "ssm" and name in ("get_parameters", "get_parameters_by_path"):
            result = getattr(self.catalog, name)(request.region, request.params)
        elif request.service == "ec2-instance-connect" and name == "send_ssh_public_key":
            result = self._send_key(request)
        else:
            result = request.forward()
        return result if isinstance(result, Answer) else serialized(request, result)

    def _send_key(self, request: Request) -> Any:
        from fake_ec2 import Happened

        params = request.params
        try:
            _, instance = self.ec2.instance(params["InstanceId"])
        except AwsError:
            raise AwsError("EC2InstanceNotFoundException", "The instance was not found.") from None
        if instance.state != "running":
            raise AwsError("EC2InstanceStateInvalidException", "The instance is not running.")
        detail = (params["InstanceOSUser"], params["SSHPublicKey"])
        self._tell(Happened("key", self.ec2.machine(instance.id), detail))
        return {"RequestId": "0f2c", "Success": True}


def _claimed() -> tuple[socket.socket, int]:
    """The second number of the first of three /16 networks that no other test process uses, and what holds them."""
    for first in range(10, 100, 3):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((f"127.{first}.255.254", 9))
        except OSError:
            claim.close()
        else:
            return claim, first
    raise AssertionError("thirty fake clouds run already")


@functools.cache
def _session() -> Any:
    import boto3

    # One for all: reading EC2's model takes 0.2 s.
    return boto3.session.Session()


def _forget() -> None:
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()
