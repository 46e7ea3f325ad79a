"""Training from packed sets by loader processes: gone on with in the middle of an epoch, and bereft of a process."""

from __future__ import annotations

import os
import select
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import gang
import pytest

from remote.data.packed import FULL
from remote.prepare import pack
from remote.wire.events import EpochEnded, LogPrinted, RankFailed, StepEnded
from remote.wire.job import Recipe

TRAIN, VAL = 50, 23


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = gang.picture_folder(tmp_path_factory.mktemp("pictures"), TRAIN, VAL, side=40)
    pack.prepare(folder, tmp_path_factory.getbasetemp() / "packed", sides=(24, FULL), workers=1)
    return tmp_path_factory.getbasetemp() / "packed"


def recipe(root: Path, **changes: object) -> Recipe:
    """Two phases, whose pictures come from two sets."""
    return replace(gang.recipe(root, batch=4, epochs=2, dataset="packed"), **changes)


def losses(folder: Path) -> dict[int, float | None]:
    return {step.step: step.loss for step in gang.said(folder, StepEnded)}


def test_a_run_goes_on_in_the_middle_of_an_epoch_whoever_reads_ahead(prepared, tmp_path):
    whole = recipe(prepared, loader_workers=2)
    assert gang.run(whole, tmp_path / "whole", 3) == [0] * 3
    assert gang.run(replace(whole, max_steps=7), tmp_path / "parts", 3) == [0] * 3
    assert gang.run(replace(whole, loader_workers=0), tmp_path / "parts", 3) == [0] * 3
    expected = losses(tmp_path / "whole/0")
    assert len(expected) == 10
    assert losses(tmp_path / "parts/0") == expected
    ours, theirs = (gang.said(tmp_path / name / "0", EpochEnded) for name in ("parts", "whole"))
    for a, b in zip(ours, theirs, strict=True):
        # The checkpoint in between averages the running statistics once more.
        assert a.val_loss == pytest.approx(b.val_loss, rel=1e-5)
        assert a.val_images == b.val_images == VAL


def test_a_killed_loader_process_ends_the_rank_with_a_sentence(prepared, tmp_path):
    long = recipe(prepared, loader_workers=2)
    phases = (*long.phases[:1], replace(long.phases[1], end_epoch=200))
    gang_ = gang.start(replace(long, phases=phases), tmp_path, 1)
    gang_.wait_for(StepEnded)
    rank = gang_.ranks[0].pid
    children = Path(f"/proc/{rank}/task/{rank}/children").read_text().split()
    assert len(children) == 2
    other = os.pidfd_open(int(children[1]))
    os.kill(int(children[0]), signal.SIGKILL)
    assert gang_.join(30) == [1]
    [failed] = gang.said(tmp_path / "0", RankFailed)
    assert failed.message.startswith(f"a loader process (pid {children[0]}) was ended by SIGKILL")
    stderr = (tmp_path / "0/stderr").read_text()
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr
    assert select.select([other], [], [], 10)[0], "the other loader process outlives its rank"
    os.close(other)


def test_a_damaged_file_of_a_packed_set_is_named_and_its_pictures_are_replaced(prepared, tmp_path):
    broken = shutil.copytree(prepared, tmp_path / "broken")
    with (broken / "train-24/00000.data").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.truncate(size - size // 10)
    assert gang.run(recipe(broken, loader_workers=1), tmp_path, 1) == [0]
    said = [line.text for line in gang.said(tmp_path / "0", LogPrinted) if "cannot be read" in line.text]
    assert said
    assert all("train-24/00000.data ends in the middle of the picture" in text for text in said)
