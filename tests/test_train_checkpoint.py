from __future__ import annotations

import hashlib
import os
import resource
from pathlib import Path

import pytest
import torch

from remote.train import checkpoint
from remote.train.snapshot import Snapshot


def no_damage(path: str, reason: str) -> None:
    pytest.fail(f"{path}: {reason}")


def state(number: float) -> dict[str, object]:
    return {"model": {"weight": torch.full((1000,), number)}, "position": {"step": int(number)}}


def test_the_newest_comes_back(tmp_path):
    checkpoint.save(tmp_path, 3, state(3))
    saved = checkpoint.save(tmp_path, 12, state(12))
    assert saved.path == "checkpoints/step-00000012.pt"
    assert (tmp_path / saved.path).stat().st_size == saved.size_bytes
    found = checkpoint.load_newest(tmp_path, no_damage)
    assert found is not None
    step, content = found
    assert step == 12
    assert torch.equal(checkpoint.unpack(content)["model"]["weight"], torch.full((1000,), 12.0))


def test_two_are_kept(tmp_path):
    for step in (1, 2, 3, 20):
        checkpoint.save(tmp_path, step, state(step))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [
        "step-00000003.json", "step-00000003.pt", "step-00000020.json", "step-00000020.pt",
    ]  # fmt: skip


def test_nothing_to_load(tmp_path):
    assert checkpoint.load_newest(tmp_path, no_damage) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "no sum", "bad sum"])
def test_a_damaged_one_is_passed_over(tmp_path, damage):
    checkpoint.save(tmp_path, 1, state(1))
    newest = tmp_path / checkpoint.save(tmp_path, 2, state(2)).path
    content = bytearray(newest.read_bytes())
    match damage:
        case "cut":
            newest.write_bytes(content[:-100])
        case "flipped":
            content[len(content) // 2] ^= 1
            newest.write_bytes(content)
        case "no sum":
            newest.with_suffix(".json").unlink()
        case "bad sum":
            newest.with_suffix(".json").write_text("[1]")
    told: list[tuple[str, str]] = []
    found = checkpoint.load_newest(tmp_path, lambda path, reason: told.append((path, reason)))
    assert found is not None
    assert found[0] == 1
    assert [path for path, _ in told] == ["checkpoints/step-00000002.pt"]


def test_a_disk_that_fills_leaves_the_one_before(tmp_path):
    checkpoint.save(tmp_path, 1, state(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))  # the kernel refuses what is past 2,000 bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoint.save(tmp_path, 2, state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000001.json", "step-00000001.pt"]


def test_a_later_one_that_is_damaged_counts_for_nothing(tmp_path):
    """It was passed over, and the run went on from the one before: two whole ones are kept all the same."""
    for step in (4, 8, 12):
        checkpoint.save(tmp_path, step, state(step))
    (tmp_path / "checkpoints/step-00000012.json").unlink()
    checkpoint.save(tmp_path, 9, state(9))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [
        "step-00000008.json", "step-00000008.pt", "step-00000009.json", "step-00000009.pt",
    ]  # fmt: skip


def test_what_a_killed_process_left_is_swept_away(tmp_path):
    checkpoint.sweep(tmp_path)  # before there is anything
    saved = checkpoint.save(tmp_path, 1, state(1))
    for name in ("step-00000002.pt.new", "step-00000002.json.new"):
        (tmp_path / "checkpoints" / name).write_bytes(b"half")
    (tmp_path / "checkpoints/step-00000003.pt.part").write_bytes(b"the console's, on its way here")
    checkpoint.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [
        "step-00000001.json", "step-00000001.pt", "step-00000003.pt.part",
    ]  # fmt: skip
    assert (tmp_path / saved.path).exists()


def test_the_sum_is_of_what_lies_on_the_disk(tmp_path):
    saved = checkpoint.save(tmp_path, 7, state(7))
    content = (tmp_path / saved.path).read_bytes()
    assert (saved.size_bytes, saved.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_snapshot_is_of_its_moment_and_takes_its_room_once():
    weight, names = torch.zeros(3, 4), ["a", "b"]
    room = Snapshot()
    live = {
        "model": {"weight": weight, "names": names},
        "optimizer": {0: {"buffer": None, "step": 3}},
        "pair": (1, weight),
    }
    first = room.take(live)
    weight.fill_(1.0)
    names.append("c")
    room.wait()
    assert first == {
        "model": {"weight": first["model"]["weight"], "names": ["a", "b"]},
        "optimizer": {0: {"buffer": None, "step": 3}},
        "pair": (1, first["pair"][1]),
    }
    assert not first["model"]["weight"].any()
    second = room.take(live)
    assert second["model"]["weight"].all()
    assert second["model"]["weight"].data_ptr() == first["model"]["weight"].data_ptr()
    grown = room.take({"model": {"weight": torch.ones(9)}})
    assert grown["model"]["weight"].shape == (9,)


def test_a_snapshot_keeps_the_layout(tmp_path):
    pictures = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    copy = Snapshot().take({"pictures": pictures})["pictures"]
    assert torch.equal(copy, pictures)
    assert copy.is_contiguous(memory_format=torch.channels_last)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'evil'}",)

    checkpoint.save(tmp_path, 1, {"model": Evil()})
    found = checkpoint.load_newest(tmp_path, no_damage)
    assert found is not None
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoint.unpack(found[1])
    assert not Path(tmp_path / "evil").exists()
