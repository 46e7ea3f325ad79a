"""The schedule of a fast.ai log of 2018, read from the arguments that it prints first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from remote.wire.schedule import Phase

DEFAULT_MIN_SCALE: Final = 0.08


def phases_of(namespace: str) -> tuple[Phase, ...]:
    """The schedule in the ``Namespace(...)`` line.

    Its list mixes entries that set the data (``sz``, ``bs``, ``min_scale``, ``rect_val``) with entries that set the
    rate (``lr``), each from an epoch on; a phase of ours begins wherever one of them does.

    Raises:
        ValueError: there is no list of phases in it.
    """
    found = re.search(r"""phases=(["'])(\[.*?\])\1""", namespace)
    if found is None:
        raise ValueError("no phases in the arguments")
    try:
        entries = [entry for entry in ast.literal_eval(found[2]) if isinstance(entry, dict)]
        return tuple(_phases(entries))
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        SyntaxError,
        MemoryError,
        RecursionError,
        ZeroDivisionError,
    ) as error:
        raise ValueError(f"phases that cannot be read: {error}") from None


def _phases(entries: list[dict[str, Any]]) -> Iterator[Phase]:
    def first(entry: dict[str, Any]) -> int:
        return int(entry["ep"][0] if isinstance(entry["ep"], tuple) else entry["ep"])

    end = max(int(entry["ep"][1]) if isinstance(entry["ep"], tuple) else first(entry) + 1 for entry in entries)
    if not 0 < end <= 10_000:
        raise ValueError(f"{end} epochs")
    starts = sorted({first(entry) for entry in entries})
    size = batch = 0
    min_scale, rectangular = DEFAULT_MIN_SCALE, False
    rate: dict[str, Any] | None = None
    for index, start in enumerate(starts):
        until = starts[index + 1] if index + 1 < len(starts) else end
        for entry in entries:
            if first(entry) != start:
                continue
            if "sz" in entry:
                size = int(entry["sz"])
                min_scale = float(entry.get("min_scale", DEFAULT_MIN_SCALE))
                rectangular = bool(entry.get("rect_val", False))
            batch = int(entry.get("bs", batch))
            rate = entry if "lr" in entry else rate
        if rate is None or size <= 0 or batch <= 0:
            raise ValueError(f"epoch {start} has no learning rate, image size or batch size")
        yield Phase(
            start_epoch=start,
            end_epoch=until,
            image_size=size,
            batch_size_per_gpu=batch,
            lr_start=_rate_at(rate, start),
            lr_end=_rate_at(rate, until),
            min_scale=min_scale,
            rectangular=rectangular,
        )


def _rate_at(entry: dict[str, Any], epoch: int) -> float:
    if not isinstance(entry["lr"], tuple):
        return float(entry["lr"])
    begin, end = entry["lr"]
    first, last = entry["ep"]
    return float(begin + (end - begin) * (epoch - first) / (last - first))


def phases_text(phases: Iterable[Phase]) -> str:
    """The phases as a profile writes them."""
    return "\n".join(
        f"[[phase]]\nepochs = [{phase.start_epoch}, {phase.end_epoch}]\nimage_size = {phase.image_size}\n"
        f"batch_size_per_gpu = {phase.batch_size_per_gpu}\nlr = [{phase.lr_start}, {phase.lr_end}]\n"
        for phase in phases
    )
