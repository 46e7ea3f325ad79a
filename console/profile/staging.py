"""What `data.stage_from` and `data.dir` may say of the copy of a data set to the hosts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0?#]*)?")


def mistakes(dataset: str, folder: str | None, source: str | None) -> Iterator[str]:
    """What is wrong with `data.stage_from`, a sentence each; `folder` is None where `data.dir` is not set."""
    if source is None:
        return
    s3 = _S3.fullmatch(source)
    if source.startswith("s3:") and s3 is None:
        yield f'data.stage_from is {source!r}; accepted is "s3://bucket/prefix"'
    elif s3 is None and not source.startswith(("/", "~/")):
        yield (
            f'data.stage_from is {source!r}; accepted is "s3://bucket/prefix", or the path from the root of a '
            "folder that every host sees"
        )
    elif dataset == "shapes":
        yield "data.stage_from is set, but the data set shapes is made on the hosts; name another data.dataset"
    elif folder is None:
        yield (
            "data.dir is missing: say where the copy of data.stage_from lands on every host, for example "
            "/opt/dlami/nvme/fastconsole/imagenet (the local NVMe disks on AWS) or /dev/shm/imagenet (memory)"
        )
    elif not folder.startswith(("/", "~/")):
        yield f"data.dir is {folder!r}; with data.stage_from accepted is a path from the root, or from ~"
    elif (folder + "/").startswith(source.rstrip("/") + "/") or (source + "/").startswith(folder.rstrip("/") + "/"):
        yield f"data.dir is {folder!r} and data.stage_from {source!r}; one may not lie within the other"
