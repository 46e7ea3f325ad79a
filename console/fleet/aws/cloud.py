"""The border to AWS: boto3 in threads, and its errors as one sentence each with what to do.

Nothing else in the house imports boto3 or botocore. The endpoint is what the user's own AWS set-up says
(``AWS_ENDPOINT_URL`` among it), the credentials too; neither is ever written anywhere.
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
"""botocore's standard mode: throttling and lost connections again, after up to 20 s, with the same client token."""

_SIGNS_ANSWERS = ("ec2", "sts")
"""Services whose answers hold a request id in their body."""

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
    """AWS, or the way to it, refused; one sentence.

    `kind` is one of `KINDS`, or ``missing`` (…NotFound), ``duplicate`` (…Duplicate, …AlreadyExists), ``in-use``
    (DependencyViolation, …InUse), ``unreachable``, ``region``, or ``other``; `code` is AWS's own where it spoke.
    """

    def __init__(self, kind: str, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.kind = kind
        self.code = code


class Cloud:
    """AWS in one region, as the user's credentials see it."""

    def __init__(self, region: str | None = None, *, patience_s: float | None = None) -> None:
        """`region`: None for that of the user's AWS set-up. `patience_s`: for somebody who waits for the answers of
        many regions: they are asked at once, no call takes longer than this, and none is made again by itself."""
        self._given = region
        self._patience_s = patience_s
        self._session: list[Any] = []
        self._clients: dict[tuple[str, str, int], Any] = {}
        self._lock = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_REGIONS_AT_ONCE, "aws") if patience_s is not None else None

    def at(self, region: str) -> Cloud:
        """The same user's AWS in another region; credentials are looked for once."""
        other = copy.copy(self)
        other._given = region
        return other

    async def region(self) -> str:
        """The region's name. Raises CloudError where neither the profile nor the AWS set-up says one."""
        if self._given is None:
            self._given = await asyncio.to_thread(_default_region)
        if not self._given:
            raise CloudError("region", "no AWS region is set: say fleet.region in the profile, or set AWS_REGION")
        return self._given

    async def call(
        self, service: str, operation: str, /, *, in_region: str | None = None, once: bool = False, **params: Any
    ) -> Any:
        """One call, for example ``call("ec2", "describe_instances", InstanceIds=[…])``; its answer as boto3 gives it.

        `in_region`: where the service has its endpoint elsewhere (``pricing`` is in us-east-1). `once`: it is not
        made again by itself, whatever comes of it.

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
        """An address for each of these calls, by which whoever holds it may make it for so long. AWS is not asked.

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
        # What AWS's command line and its other SDKs read; botocore knows AWS_DEFAULT_REGION alone.
        return os.environ["AWS_REGION"]
    try:
        region = botocore.session.get_session().get_config_variable("region")
    except botocore.exceptions.BotoCoreError as error:
        raise _foreign(error, "", "", "") from None
    return str(region) if region else None


def unknown_region(name: str) -> str | None:
    """The sentence for a region that botocore's own lists do not have; None for one that they have. Asks nobody."""
    import botocore.loaders

    # Read by itself: a session would want the user's set-up to be in order.
    partitions = botocore.loaders.create_loader().load_data("endpoints")["partitions"]
    known = sorted({one for partition in partitions for one in partition["regions"]})
    if name in known:
        return None
    near = difflib.get_close_matches(name, known, 2)
    hint = f"did you mean {' or '.join(near)}?" if near else "say another in fleet.region"
    return f"{name} is no region of AWS that this version of boto3 knows; {hint}"


def _session() -> Any:
    """The user's AWS set-up. A session of its own: boto3's default one is not made for threads."""
    import boto3
    import botocore.exceptions

    try:
        session: Any = boto3.session.Session()
        # Looked for once here: else each client would look, at the metadata service too, which takes seconds to fail.
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
                # For S3's signed addresses: the older signature knows no regions and no KMS.
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
        # Any page of the web is an answer without items to botocore, and "no instances" must be EC2's own word.
        if service not in _SIGNS_ANSWERS or "RequestId" in answer["ResponseMetadata"]:
            return answer
    except botocore.parsers.ResponseParserError:
        # Not one of botocore's errors.
        pass
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise _foreign(error, service, operation, region) from None
    where = _where(service, operation, region)
    raise CloudError("unreachable", f"{where}: the answer is not AWS's; is there a proxy or a login page in between?")


def _sign(
    client: Any, service: str, operation: str, region: str, calls: Sequence[Mapping[str, Any]], valid_s: int
) -> list[str]:
    import botocore.exceptions

    try:
        return [client.generate_presigned_url(operation, Params=dict(one), ExpiresIn=valid_s) for one in calls]
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
        return CloudError("region", f"{region!r} is no AWS region; say another in fleet.region")
    if isinstance(error, be.EndpointConnectionError):
        return CloudError(
            "unreachable", f"{where}: no connection; is the network up, and is {region} the name of a region?"
        )
    if isinstance(error, be.HTTPClientError):
        return CloudError("unreachable", f"{where}: the connection broke or nobody answered: {_plain(str(error))}")
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
