"""The loader's processes: the same batches as without them, bounded memory, and what happens when one ends."""

from __future__ import annotations

import os
import resource
import signal
import time
from itertools import islice
from pathlib import Path

import gang
import numpy as np
import pytest
import torch
from PIL import Image

from remote.data import datasets
from remote.data.batch_plan import Request, training_plan, validation_plan
from remote.data.batch_reader import Reader
from remote.data.loader import NAMED, TRAINING, VALIDATION, Loader, Room

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), train=50, val=23, side=40)


def readers(root: Path, seed: int = 0) -> list[Reader]:
    both = datasets.open_sources(gang.recipe(root, batch=2), lambda done, total: None)
    return [Reader(source, seed) for source in both]


@pytest.fixture
def loaders():
    made: list[Loader] = []

    def make(root: Path, workers: int, complain=pytest.fail) -> Loader:
        made.append(Loader(readers(root), workers, CPU, complain))
        return made[-1]

    yield make
    for loader in made:
        loader.close()


def room(plan: list[Request]) -> Room:
    return Room.of((len(one), one.height, one.width) for one in plan)


def same(one, other) -> None:
    for (a, b), (c, d) in zip(one, other, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_read_the_same_batches(folder, loaders, workers):
    recipe = gang.recipe(folder, batch=11)
    ahead, here = loaders(folder, workers), loaders(folder, 0)
    whole = list(training_plan(recipe, 50, 0, 1, 0, 0))  # two phases: the pictures grow
    for start in (0, 3):  # the same processes twice
        same(ahead.batches(TRAINING, whole[start:], room(whole)), here.batches(TRAINING, whole[start:], room(whole)))


def test_an_evaluation_is_read_beside_the_training(folder, loaders):
    recipe = gang.recipe(folder, batch=5)
    ahead, here = loaders(folder, 2), loaders(folder, 0)
    plan = list(training_plan(recipe, 50, 0, 1, 0, 0))
    held_out = validation_plan(recipe.phases[1], 23, np.exp(np.linspace(-0.5, 0.5, 23)), 0, 1)
    training = ahead.batches(TRAINING, plan, room(plan))
    first = list(islice(((a.clone(), b.clone()) for a, b in training), 7))
    evaluation = ahead.batches(VALIDATION, held_out, room(held_out))
    first += islice(((a.clone(), b.clone()) for a, b in training), 2)
    same(evaluation, here.batches(VALIDATION, held_out, room(held_out)))
    expected = here.batches(TRAINING, plan, room(plan))
    same(first, islice(expected, 9))
    same(training, expected)


def test_what_is_begun_may_be_given_up(folder, loaders):
    recipe = gang.recipe(folder, batch=5)
    loader, here = loaders(folder, 2), loaders(folder, 0)
    plan = list(training_plan(recipe, 50, 0, 1, 0, 0))
    for skipped in (0, 1, 4):
        given_up = loader.batches(TRAINING, plan, room(plan))
        for _ in range(skipped):
            next(given_up)
        rest = plan[skipped:]
        same(loader.batches(TRAINING, rest, room(rest)), here.batches(TRAINING, rest, room(rest)))
        assert list(given_up) == []


def test_it_reads_ahead_over_the_end_of_a_phase_and_no_further_than_its_slots(folder, loaders, tmp_path):
    """Pictures are replaced once they were read ahead: of that many batches nobody notices, of the next one does."""
    root = gang.picture_folder(tmp_path, train=36, val=7, side=30)
    recipe = gang.recipe(root, batch=4)
    complaints: list[str] = []
    loader, here = loaders(root, 1, complaints.append), loaders(root, 0)
    plan = list(training_plan(recipe, 36, 0, 1, 0, 7))
    assert [one.height for one in plan[:4]] == [16, 16, 24, 24]
    expected = [(a.clone(), b.clone()) for a, b in here.batches(TRAINING, plan[:4], room(plan))]
    batches = loader.batches(TRAINING, plan, room(plan))
    slots = len(loader._lanes[TRAINING].pieces)
    assert slots == 4
    deadline = time.monotonic() + 30
    while any(loader._lanes[TRAINING].pieces):
        loader._receive(wait=True)
        assert time.monotonic() < deadline
    for path in root.glob("train/*/*.jpg"):
        Image.new("RGB", (40, 40), "red").save(path)
    same(((a.clone(), b.clone()) for a, b in islice(batches, 4)), expected)
    same(((a.clone(), b.clone()) for a, b in islice(batches, 1)), here.batches(TRAINING, plan[4:5], room(plan)))
    for path in root.glob("train/*/*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(OSError, match=r"no picture from .* on can be read, 36 in a row"):
        for _ in batches:
            pass
    assert complaints


def test_a_process_that_is_killed_is_a_sentence(folder, loaders):
    loader = loaders(folder, 2)
    plan = list(training_plan(gang.recipe(folder, batch=5, epochs=40), 50, 0, 1, 0, 0))
    batches = loader.batches(TRAINING, plan, room(plan))
    next(batches)
    victim = loader._workers[1]
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(OSError, match=rf"a loader process \(pid {victim.pid}\) was ended by SIGKILL .*out of memory"):
        for _ in batches:
            pass


def test_no_process_outlives_its_rank(folder, tmp_path):
    rank = os.fork()
    if rank == 0:
        loader = Loader(readers(folder), 2, CPU, lambda text: None)
        (tmp_path / "pids.new").write_text(" ".join(str(process.pid) for process in loader._workers))
        (tmp_path / "pids.new").rename(tmp_path / "pids")
        signal.pause()
    deadline = time.monotonic() + 30
    while not (tmp_path / "pids").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    os.kill(rank, signal.SIGKILL)
    os.waitpid(rank, 0)
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_memory_is_bounded_by_the_slots(folder):
    few = Room.of([(64, 224, 224), (4, 16, 16)])
    assert (few.places, few.picture_bytes) == (64, 224 * 224 * 3)
    mixed_room = Room.of([(256, 128, 128), (64, 224, 224)])
    assert mixed_room.places * mixed_room.picture_bytes >= 256 * 128 * 128 * 3
    assert mixed_room.places * mixed_room.picture_bytes < 256 * 224 * 224 * 3 / 2
    loader = Loader(readers(folder), 3, CPU, pytest.fail)
    big = [Request(np.arange(50), 1000, 1400)]
    next(loader.batches(TRAINING, big, room(big)))
    assert loader._lanes[TRAINING].memory.size <= 2 * (50 * 1000 * 1400 * 3 + 4096 * 2) or (
        loader._lanes[TRAINING].memory.size <= 512 << 20
    )
    loader.close()


# --- bad pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_pictures_are_named_once_replaced_or_left_out(tmp_path, loaders, workers):
    root = gang.picture_folder(tmp_path, train=21, val=14)
    train, val = (sorted(root.glob(f"{split}/*/*.jpg")) for split in ("train", "val"))
    good = train[1].read_bytes()
    bad = {0: b"", 4: good[: len(good) // 2], 8: b"no picture"}
    for index, content in bad.items():
        train[index].write_bytes(content)
        val[index].write_bytes(content)
    red = Image.new("RGB", (60, 40), (200, 30, 30))
    red.convert("CMYK").save(train[12], "JPEG", quality=95)
    Image.fromarray(np.full((40, 60), 200 * 257, np.uint16)).save(train[16], "PNG")
    said: list[str] = []
    loader = loaders(root, workers, said.append)

    plan = [Request(np.array([0, 4, 8, 12, 16, 1]), 16, 16, epoch) for epoch in range(3)]
    for pixels, labels in loader.batches(TRAINING, plan, room(plan)):
        assert labels.tolist() == [int(train[i].parent.name[-1]) for i in (1, 5, 9, 12, 16, 1)]
        assert np.abs(pixels[3].float().mean((0, 1)).numpy() - (200, 30, 30)).max() < 12
        assert np.abs(pixels[4].float().mean((0, 1)).numpy() - 200).max() < 2
    held_out = [Request(np.arange(5), 16, 16), Request(np.arange(5, 14), 16, 16)]
    found = [labels.tolist() for _, labels in loader.batches(VALIDATION, held_out, room(held_out))]
    assert sum(map(len, found)) == 11
    assert found[0] == [int(val[i].parent.name[-1]) for i in (1, 2, 3)]

    for why, path in (("the file is empty", train[0]), ("truncated", val[4]), ("it is not a picture", train[8])):
        [sentence] = [text for text in said if str(path) in text]
        assert why in sentence.lower()
    for why, path in (("CMYK", train[12]), ("16 bits", train[16])):
        [sentence] = [text for text in said if str(path) in text]
        assert f"is repaired whenever it is read: {why}" in sentence
    assert len(said) == 8
    assert all(f"({number} so far)" in text for number, text in enumerate(said[1:], 2))


def test_many_bad_pictures_are_counted(tmp_path, loaders):
    root = gang.picture_folder(tmp_path, train=7, val=2 * NAMED + 7)
    paths = sorted(root.glob("val/*/*.jpg"))
    for path in paths[:-1]:
        path.write_bytes(b"")
    said: list[str] = []
    loader = loaders(root, 1, said.append)
    plan = [Request(np.arange(len(paths)), 16, 16)]
    [(_, labels)] = loader.batches(VALIDATION, plan, room(plan))
    assert len(labels) == 1
    assert len(said) == NAMED + 1
    assert said[-1] == "200 pictures were left out or repaired so far"


def test_a_loader_that_has_no_room_says_so(folder, loaders):
    loader = loaders(folder, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    plan = [Request(np.arange(50), 64, 64)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with pytest.raises(OSError, match="File too large"):
            loader.batches(TRAINING, plan, room(plan))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
