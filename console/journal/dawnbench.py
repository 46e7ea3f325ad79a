"""A DAWNBench table (``epoch hours top1Accuracy top5Accuracy``, by tabs) as records of a run.

The table is all that counts; where the entry's ``.json`` lies beside it, machines, price and date come from there. The
form is that of stanford-futuredata/dawn-bench-entries, ``ImageNet/train``: percentages, hours since the start of the
training, epochs counted from 0 or from 1 as the authors liked, and not always a newline at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from console.journal.fastai2018 import INSTANCE_TYPE, USD_PER_H_SPOT
from console.journal.reader import DAMAGED, Line, Lost
from console.state.events import SCHEMA, InstanceStarted, InstanceStopped, Record, RunCreated, RunEnded
from remote.wire.codec import Event
from remote.wire.events import EpochEnded, TargetReached

TARGET_METRIC: Final = "top5"
TARGET_VALUE: Final = 0.93
"""The benchmark's own rule: time to the first row with a top-5 of 93 % or more."""
GPUS: Final = {"p3.16xlarge": 8, "p3dn.24xlarge": 8, "ecs.gn6e-c12g1.24xlarge": 8}

HEADER: Final = ("epoch", "hours", "top1accuracy", "top5accuracy")
_NUMBER: Final = re.compile(r"\d{1,9}(?:\.\d{0,25})?(?:[eE]-?\d{1,2})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry's ``.json`` says of the hardware; None for what it does not say."""

    nnodes: int | None = None
    instance_type: str | None = None
    provider: str = "aws"
    usd_per_h: float | None = None
    """Of the whole fleet, on demand."""
    started_t: float = 0.0
    """The entry's day, epoch seconds; 0 where unknown."""
    model: str = ""


def entry_of(text: str) -> Entry | None:
    """The entry in the text of a ``.json``; None where it is none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    hardware = str(values.get("hardware", ""))[:500]
    machines = re.search(r"\b(\d{1,5}) machines", hardware) or re.match(r"(\d{1,5})\s*[x×*]?\s+(?=[a-z])", hardware)
    instance = re.search(r"\b[a-z][\w-]*(?:\.[\w-]+)?\.\d*x?large\b", hardware)
    return Entry(
        nnodes=int(machines[1]) or None if machines else None,
        instance_type=instance[0] if instance else None,
        provider="alibaba" if "alibaba" in hardware.lower() else "aws",
        usd_per_h=_price(values.get("costPerHour")),
        started_t=_day(values.get("timestamp")),
        model=str(values.get("model", ""))[:80],
    )


def entry_beside(table: Path) -> Entry | None:
    """The entry in the ``.json`` of the same name in the same folder; None where there is none."""
    beside = table.with_suffix(".json")
    try:
        return None if beside == table or beside.stat().st_size > 1 << 20 else entry_of(beside.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def is_table(head: list[str]) -> bool:
    """Whether these first lines are of a table: its header, or a row of four numbers."""
    return any(_is_header(text) or _row(text) is not None for text in head)


def records(lines: Iterable[Line | Lost], *, run_id: str, entry: Entry | None = None) -> Iterator[Record | Lost]:
    """The table as records; a row's time is its hours since the entry's day, or since 0 where there is no entry."""
    entry = entry or Entry()
    began_t, nnodes = entry.started_t, min(entry.nnodes or 0, 4096)

    def record(seconds: float, event: Event, node: int | None = None, offset: int | None = None) -> Record:
        return Record(began_t + seconds, began_t + seconds, event, node, offset)

    each = None if entry.usd_per_h is None or not nnodes else entry.usd_per_h / nnodes
    spot = USD_PER_H_SPOT if entry.instance_type == INSTANCE_TYPE else None
    notes = [] if each is None else ["on demand: the DAWNBench entry's costPerHour"]
    notes += [] if spot is None else ["spot estimated: $7.344/h in us-east-1 in August 2018"]
    gpus = GPUS.get(entry.instance_type or "")
    yield record(
        0.0,
        RunCreated(
            schema=SCHEMA,
            run_id=run_id,
            version="",
            profile="DAWNBench" + (f", {nnodes} × {entry.instance_type}" if nnodes and entry.instance_type else ""),
            profile_text="",
            provider=entry.provider,
            nnodes=nnodes or None,
            nproc_per_node=gpus,
            accelerator="V100" if gpus else "unknown",
            target_metric=TARGET_METRIC,
            target_value=TARGET_VALUE,
            instance_type=entry.instance_type,
            usd_per_h=spot,
            usd_per_h_on_demand=each,
            price_note="; ".join(notes),
        ),
    )
    for node in range(nnodes):
        name = f"node-{node}"
        started = InstanceStarted(instance_id=name, started_t=began_t, usd_per_h=spot, usd_per_h_on_demand=each)
        yield record(0.0, started, node)
    first: int | None = None
    seconds = 0.0
    reached: TargetReached | None = None
    for line in lines:
        if isinstance(line, Lost):
            yield line
            continue
        text = line.text.decode("utf-8", "replace")
        if not text.strip() or _is_header(text):
            continue
        row = _row(text)
        if row is None:
            yield Lost(line.number, DAMAGED, f"no row of epoch, hours, top-1 and top-5: {text[:60]!r}")
            continue
        epoch, seconds, top1, top5 = row
        first = min(epoch, 1) if first is None else first
        ended = EpochEnded(
            epoch=max(0, epoch - first),
            step=0,
            elapsed_s=seconds,
            top1=top1,
            top5=top5,
            train_loss=None,
            img_per_s=None,
            image_size=None,
        )
        yield record(seconds, ended)
        if reached is None and top5 is not None and top5 >= TARGET_VALUE:
            reached = TargetReached(
                metric=TARGET_METRIC, value=top5, target=TARGET_VALUE, epoch=ended.epoch, step=0, elapsed_s=seconds
            )
            yield record(seconds, reached)
    for node in range(nnodes):
        stopped = InstanceStopped(instance_id=f"node-{node}", stopped_t=began_t + seconds, reason="the table ends")
        yield record(seconds, stopped, node)
    # A table does not say where it was cut: its last row is the run's end.
    yield record(
        seconds,
        RunEnded(status="reached" if reached else "missed", exit_code=0 if reached else 5, reason="the table ends"),
    )


def _is_header(text: str) -> bool:
    return tuple(text.strip().lower().split()) == HEADER


def _row(text: str) -> tuple[int, float, float | None, float | None] | None:
    """Epoch, seconds, top-1 and top-5 as fractions (None where the field is empty)."""
    fields = [field.strip() for field in text.rstrip("\r").split("\t")]
    if len(fields) != 4 or not re.fullmatch(r"\d{1,6}", fields[0]) or not _NUMBER.fullmatch(fields[1]):
        return None
    if any(field and not _NUMBER.fullmatch(field) for field in fields[2:]):
        return None
    hours = float(fields[1])
    percents = [float(field) if field else None for field in fields[2:]]
    if hours > 1e6 or any(percent is not None and percent > 100 for percent in percents):
        return None
    top1, top5 = (None if percent is None else round(percent / 100, 12) for percent in percents)
    return int(fields[0]), hours * 3600, top1, top5


def _price(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value < 1e9 else None


def _day(value: Any) -> float:
    try:
        return max(0.0, datetime.fromisoformat(str(value)).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        return 0.0
