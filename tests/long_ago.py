"""The logs of 2018 and 2020 that lie beside the project, cut at an evaluation."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from console.fold.apply import apply
from console.journal import open_log
from console.state.events import Record
from console.state.run import Run
from remote.wire import events as re

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
LOG_8 = "fastai-2018/debug.log"
TABLE_8 = "dawnbench/fastai_resnet50_p3_8_machine_pytorch.tsv"
TABLE_16 = "dawnbench/fastai_resnet50_p3_16_machine_pytorch.tsv"
ALIBABA = "dawnbench/alibabacloud_resnet50_gn6e_16_machine_tensorflow.tsv"


@cache
def items(name: str) -> list[Record]:
    """The log's records; the test is skipped where the log is not there."""
    path = DATA / name
    if not path.exists():
        pytest.skip("the logs of 2018 are not in this checkout")
    return [item for item in open_log.open_log(path).items() if isinstance(item, Record)]


@cache
def until_epoch(name: str, epoch: int | None = None) -> tuple[Run, float]:
    """The run right after an epoch's evaluation, or at its end, and that moment."""
    run, now = Run(), 0.0
    for record in items(name):
        run, now = apply(run, record), record.received_t
        if epoch is not None and isinstance(record.event, re.EpochEnded) and record.event.epoch == epoch:
            break
    return run, now
