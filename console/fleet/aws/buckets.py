"""The objects of an S3 bucket below a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from console.fleet.aws.cloud import Cloud, CloudError
from console.fleet.provider import ProviderError
from remote.wire.layout import CONTENTS, S3

MOST_OBJECTS: Final = 20_000
"""More would be slow to sign and to send; a packed data set has a few hundred files."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects below a prefix."""

    bucket: str
    prefix: str
    """Empty, or ending in a slash."""
    region: str
    objects: tuple[tuple[str, int, str], ...]
    """Name below the prefix, size in bytes, ETag without its quotes."""

    @property
    def total_bytes(self) -> int:
        """Of all objects."""
        return sum(size for _, size, _ in self.objects)

    @property
    def packed(self) -> bool:
        """True if it is a packed data set."""
        return any(name == CONTENTS for name, _, _ in self.objects)


async def listing(cloud: Cloud, source: str) -> Listing:
    """Lists ``s3://bucket/prefix``.

    Raises:
        ProviderError: there is no such bucket, it may not be listed, it is empty, or holds too much.
        CloudError: AWS could not be asked.
    """
    bucket, _, prefix = source.removeprefix(S3).partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    try:
        region = await cloud.region()
    except CloudError as error:
        if error.kind != "region":
            raise
        # S3 in any region says where a bucket is.
        region = "us-east-1"
    objects: list[tuple[str, int, str]] = []
    more: dict[str, Any] = {}
    try:
        while True:
            page = await cloud.call("s3", "list_objects_v2", in_region=region, Bucket=bucket, Prefix=prefix, **more)
            objects += [
                (found["Key"].removeprefix(prefix), int(found["Size"]), found["ETag"].strip('"'))
                for found in page.get("Contents", [])
                if not found["Key"].endswith("/")
            ]
            if len(objects) > MOST_OBJECTS:
                raise ProviderError(
                    f"{source} holds more than {MOST_OBJECTS:,} objects (data.stage_from); pack the data set into a "
                    "few big files first: python -m remote.prepare"
                )
            if not page.get("NextContinuationToken"):
                break
            more = {"ContinuationToken": page["NextContinuationToken"]}
        said = await cloud.call("s3", "head_bucket", in_region=region, Bucket=bucket)
    except CloudError as error:
        sentence = _sentence(error, source, bucket)
        if sentence is None:
            raise
        raise ProviderError(sentence) from None
    if not objects:
        raise ProviderError(f"{source} holds nothing (data.stage_from); is the prefix right?")
    return Listing(bucket, prefix, _region(said) or region, tuple(objects))


def _region(said: Mapping[str, Any]) -> str:
    headers = said.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(said.get("BucketRegion") or headers.get("x-amz-bucket-region") or "")


def _sentence(error: CloudError, source: str, bucket: str) -> str | None:
    if error.code == "NoSuchBucket":
        return f"there is no S3 bucket {bucket} (data.stage_from)"
    if error.kind == "permission" or error.code == "403":
        return (
            f"{source} may not be listed (data.stage_from): the AWS user needs s3:ListBucket on {bucket}, and "
            "s3:GetObject on what is in it; is it the right account?"
        )
    return None
