"""The copy of a data set to the hosts: what a profile may say of it, and how far it is, in words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from remote.events import StagingProgressed

_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0?#]*)?")
_WAITS = {
    "list": "looks what is there",
    "wait": "another node that shares its folder copies it",
    "renew": "waits for the laptop: its addresses have expired",
}


def mistakes(dataset: str, folder: str | None, source: str | None) -> Iterator[str]:
    """What is wrong with `data.stage_from`; `folder` is None where `data.dir` is not set."""
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


def words(said: StagingProgressed) -> str:
    """``1.2 of 8.4 GB, 310 MB/s, 0:23 left``; or what it waits for."""
    if said.activity in _WAITS:
        return _WAITS[said.activity]
    parts = [_of(said.done_bytes, said.total_bytes)]
    if said.activity == "verify":
        parts.append("verifies what is there")
    if said.bytes_per_s is not None:
        parts.append(f"{amount(said.bytes_per_s)}/s")
    if said.left_s is not None:
        left = int(min(said.left_s, 359_999))
        hours, rest = divmod(left, 3600)
        parts.append(f"{hours}:{rest // 60:02}:{rest % 60:02} left" if hours else f"{rest // 60}:{rest % 60:02} left")
    return ", ".join(parts)


def amount(number: float) -> str:
    """Bytes, by thousands: ``310 MB``, ``8.4 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{_number(number)} {unit}"
        number /= 1000
    return f"{_number(number)} TB"


def _of(done: int, total: int | None) -> str:
    if total is None:
        return amount(done)
    shown = amount(total)
    unit = shown.split()[-1]
    scale = 1000.0 ** ("B", "kB", "MB", "GB", "TB").index(unit)
    return f"{_number(done / scale)} of {shown}"


def _number(number: float) -> str:
    return f"{number:.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"
