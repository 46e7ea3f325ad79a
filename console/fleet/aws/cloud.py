"""Calls to AWS: boto3 in threads, and each of its errors as one sentence that says what to do.

No other module imports boto3 or botocore. Endpoint (``AWS_ENDPOINT_URL``) and credentials are those of the user's own
AWS set-up; neither is ever written anywhere.
"""

from __future__ import annotations

import asyncio
import copy
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from console.fleet.provider import ProviderError

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 30
_REGIONS_AT_ONCE = 32
_ATTEMPTS = 5
"""botocore's standard mode retries after throttling and lost connections, with up to 20 s between, and with the same
client token."""

_SIGNS_ANSWERS = ("ec2", "sts")
"""Services whose answers have a request id in their body."""

KINDS = {
    "credentials": ("AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"),
    "expired": ("ExpiredToken", "ExpiredTokenException", "RequestExpired"),
    "permission": ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation"),
    "quota": ("VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded", "AddressLimitExceeded"),
    "capacity": (
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientCapacity",
        "InsufficientCapacityOnHost",
        "InsufficientReservedInstanceCapacity",
        "ReservationCapacityExceeded",
        "UnfulfillableCapacity",
        "SpotMaxPriceTooLow",
    ),
    "unsupported": ("Unsupported", "UnsupportedOperation", "InvalidInstanceType", "InvalidParameterCombination"),
    "throttled": (
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "EC2ThrottledException",
        "TooManyRequestsException",
    ),
    "unavailable": ("InternalError", "InternalFailure", "ServerInternal", "ServiceUnavailable", "Unavailable"),
    "opt-in": ("OptInRequired", "PendingVerification", "Blocked"),
}
_KIND = {code: kind for kind, codes in KINDS.items() for code in codes}


class CloudError(ProviderError):
    """A call to AWS failed; one sentence.

    `kind` is one of `KINDS`, or ``missing`` (…NotFound), ``duplicate`` (…Duplicate, …AlreadyExists), ``in-use``
    (DependencyViolation, …InUse), ``unreachable``, ``region``, or ``other``; `code` is AWS's own, if it answered.
    """

    def __init__(self, kind: str, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.code = code


class Cloud:
    """AWS in one region, as the user's credentials see it."""

    def __init__(self, region: str | None = None, *, patience_s: float | None = None) -> None:
        """`region`: None for that of the user's AWS set-up. `patience_s`: for a caller who waits for the answers of
        many regions: they are asked at once, no call takes longer than this, and none is retried."""
        self._given = region
        self._patience_s = patience_s
        self._session: list[Any] = []
        self._clients: dict[tuple[str, str, int], Any] = {}
        self._lock = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_REGIONS_AT_ONCE, "aws") if patience_s is not None else None

    def at(self, region: str) -> Cloud:
        """The same user's AWS in another region; credentials are looked up once."""
        other = copy.copy(self)
        other._given = region
        return other

    async def region(self) -> str:
        """The region's name. Raises CloudError if neither the profile nor the AWS set-up names one."""
        if self._given is None:
            self._given = await asyncio.to_thread(_default_region)
        if not self._given:
            raise CloudError("region", "no AWS region is set: set fleet.region in the profile, or AWS_REGION")
        return self._given

    async def call(
        self, service: str, operation: str, /, *, in_region: str | None = None, once: bool = False, **params: Any
    ) -> Any:
        """One call, for example ``call("ec2", "describe_instances", InstanceIds=[…])``; its answer as boto3 gives it.

        `in_region`: for a service whose endpoint is elsewhere (``pricing`` is in us-east-1). `once`: botocore does not
        retry it.

        Raises:
            CloudError
        """
        region = in_region or await self.region()
        attempts = 1 if once or self._patience_s is not None else _ATTEMPTS
        client = await self._client(service, region, attempts)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _call, client, service, operation, region, params)

    async def signed(
        self, service: str, operation: str, /, calls: Sequence[Mapping[str, Any]], *, valid_s: int, in_region: str
    ) -> list[str]:
        """A presigned address for each of these calls, which permits the call to its holder for `valid_s`. Asks no AWS.

        Raises:
            CloudError: there are no credentials to sign with, or they have expired.
        """
        client = await self._client(service, in_region, _ATTEMPTS)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _sign, client, service, operation, in_region, calls, valid_s)

    async def _client(self, service: str, region: str, attempts: int) -> Any:
        async with self._lock:
            client = self._clients.get((service, region, attempts))
            if client is None:
                if not self._session:
                    self._session.append(await asyncio.to_thread(_session))
                client = await asyncio.to_thread(_client, self._session[0], service, region, attempts, self._patience_s)
                self._clients[service, region, attempts] = client
            return client

    async def pages(self, service: str, operation: str, key: str, /, **params: Any) -> list[Any]:
        """All items under `key` of an operation that answers in pages. Raises CloudError."""
        items: list[Any] = []
        token: dict[str, Any] = {}
        while True:
            answer = await self.call(service, operation, **params, **token)
            items += answer.get(key, [])
            if not answer.get("NextToken"):
                return items
            token = {"NextToken": answer["NextToken"]}


def _default_region() -> str | None:
    import botocore.exceptions
    import botocore.session

    if os.environ.get("AWS_REGION"):
        # AWS's command line and other SDKs read it; botocore knows only AWS_DEFAULT_REGION.
        return os.environ["AWS_REGION"]
    try:
        region = botocore.session.get_session().get_config_variable("region")
    except botocore.exceptions.BotoCoreError as error:
        raise _foreign(error, "", "", "") from None
    return str(region) if region else None


def unknown_region(name: str) -> str | None:
    """The sentence for a region that botocore's own lists lack; None for a known one. No call to AWS."""
    import botocore.loaders

    # Without a session, which would fail if the user's set-up is broken.
    partitions = botocore.loaders.create_loader().load_data("endpoints")["partitions"]
    known = sorted({region for partition in partitions for region in partition["regions"]})
    if name in known:
        return None
    near = difflib.get_close_matches(name, known, 2)
    hint = f"did you mean {' or '.join(near)}?" if near else "set another one in fleet.region"
    return f"{name} is not an AWS region that this version of boto3 knows; {hint}"


def _session() -> Any:
    """The user's AWS set-up, as a separate session: boto3's default one is not thread-safe."""
    import boto3
    import botocore.exceptions

    try:
        session: Any = boto3.session.Session()
        # Once, here: else each client would look them up, also at the metadata service, which takes seconds to fail.
        if session.get_credentials() is None:
            raise botocore.exceptions.NoCredentialsError
    except botocore.exceptions.BotoCoreError as error:
        raise _foreign(error, "", "", "") from None
    return session


def _client(session: Any, service: str, region: str, attempts: int, patience_s: float | None) -> Any:
    import botocore.config
    import botocore.exceptions

    try:
        return session.client(
            service,
            region_name=region,
            config=botocore.config.Config(
                connect_timeout=_CONNECT_TIMEOUT_S if patience_s is None else patience_s / 3,
                read_timeout=_READ_TIMEOUT_S if patience_s is None else patience_s * 2 / 3,
                retries={"mode": "standard", "total_max_attempts": attempts},
                # For S3's presigned addresses: the older signature supports neither regions nor KMS.
                signature_version="s3v4" if service == "s3" else None,
                max_pool_connections=32,
            ),
        )
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise _foreign(error, service, "", region) from None


def _call(client: Any, service: str, operation: str, region: str, params: dict[str, Any]) -> Any:
    import botocore.exceptions
    import botocore.parsers

    try:
        answer = getattr(client, operation)(**params)
        # To botocore any web page is an answer without items, but "no instances" has to come from EC2 itself.
        if service not in _SIGNS_ANSWERS or "RequestId" in answer["ResponseMetadata"]:
            return answer
    except botocore.parsers.ResponseParserError:
        # Not a subclass of botocore's errors.
        pass
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise _foreign(error, service, operation, region) from None
    where = _where(service, operation, region)
    raise CloudError("unreachable", f"{where}: the answer is not AWS's; is there a proxy or a login page in the way?")


def _sign(
    client: Any, service: str, operation: str, region: str, calls: Sequence[Mapping[str, Any]], valid_s: int
) -> list[str]:
    import botocore.exceptions

    try:
        return [client.generate_presigned_url(operation, Params=dict(call), ExpiresIn=valid_s) for call in calls]
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise _foreign(error, service, operation, region) from None


def _foreign(error: Exception, service: str, operation: str, region: str) -> CloudError:
    import botocore.exceptions as be

    where = _where(service, operation, region)
    if isinstance(error, be.ClientError):
        said = error.response.get("Error", {})
        code, text = str(said.get("Code", "")), _plain(str(said.get("Message", "")))
        return _spoken(code, text, where)
    if isinstance(error, (be.NoCredentialsError, be.PartialCredentialsError)):
        return CloudError(
            "credentials",
            "there are no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE",
        )
    if isinstance(error, (be.ProfileNotFound, be.ConfigParseError, be.InvalidConfigError)):
        return CloudError("credentials", f"the AWS set-up cannot be used: {_plain(str(error))}")
    if isinstance(error, (be.TokenRetrievalError, be.SSOTokenLoadError, be.UnauthorizedSSOTokenError)):
        return CloudError("expired", "the AWS login has expired: run `aws sso login`")
    if isinstance(error, be.InvalidRegionError):
        return CloudError("region", f"{region!r} is not an AWS region; set another one in fleet.region")
    if isinstance(error, be.EndpointConnectionError):
        return CloudError(
            "unreachable", f"{where}: no connection; is the network up, and is {region} the name of a region?"
        )
    if isinstance(error, be.HTTPClientError):
        return CloudError("unreachable", f"{where}: the connection broke or there was no answer: {_plain(str(error))}")
    if isinstance(error, be.ParamValidationError):
        return CloudError("other", f"{where}: {_plain(str(error))}")
    return CloudError("other", f"{where}: {_plain(str(error))}")


def _where(service: str, operation: str, region: str) -> str:
    name = "".join(word.capitalize() for word in operation.split("_"))
    return f"AWS {service} {name} in {region}".replace("  ", " ")


def _spoken(code: str, text: str, where: str) -> CloudError:
    kind = _KIND.get(code)
    if kind is None:
        if "NotFound" in code or code.endswith(("Malformed", ".Unknown")) or code == "NoSuchEntity":
            kind = "missing"
        elif code.endswith(("Duplicate", "AlreadyExists", "AlreadyAssociated")):
            kind = "duplicate"
        elif code == "DependencyViolation" or code.endswith(("InUse", "IncorrectInstanceState")):
            kind = "in-use"
        else:
            kind = "other"
    hints = {
        "credentials": "AWS does not accept these credentials: see `aws sts get-caller-identity`",
        "expired": "the AWS credentials have expired: log in again (`aws sso login`, or new keys)",
        "permission": "these credentials may not do this: profiles/aws-iam-policy.json is the policy that is needed",
        "quota": "the account's quota is too small: raise it under Service Quotas, or take fewer nodes",
        "throttled": "AWS limits the rate of requests: try again in a minute",
        "opt-in": "this account or region is not activated for it",
    }
    hint = f"; {hints[kind]}" if kind in hints else ""
    return CloudError(kind, f"{where} said {code}: {text}{hint}" if text else f"{where} said {code}{hint}", code)


def _plain(text: str) -> str:
    """One line of printable text, without the long encoded message that EC2 adds to a refusal."""
    text = re.sub(r"Encoded authorization failure message: \S+", "", text)
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:400]
