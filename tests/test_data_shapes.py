from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remote.data import shapes


def test_classes_need_all_three_properties():
    assert len(shapes.CLASSES) == len(set(shapes.CLASSES)) >= 100
    for place in range(3):
        # Who cannot see this property is left with six candidates, more than top-5 forgives.
        others = [tuple(part for i, part in enumerate(name.split("-")) if i != place) for name in shapes.CLASSES]
        assert min(others.count(other) for other in others) > 5


def test_a_picture_depends_on_its_name_alone():
    first = np.asarray(shapes.draw("train", 100, 7))
    shapes.draw("val", 3, 1)
    assert np.array_equal(first, np.asarray(shapes.draw("train", 100, 7)))
    others = [shapes.draw("train", 100, 8), shapes.draw("train", 101, 7), shapes.draw("val", 100, 7)]
    assert all(other.size != (first.shape[1], first.shape[0]) or not np.array_equal(first, other) for other in others)


def test_sizes_and_ratios_vary():
    sizes = [shapes.draw("train", label, 0).size for label in range(0, 216, 4)]
    assert len(set(sizes)) > 40
    ratios = [width / height for width, height in sizes]
    assert min(ratios) < 0.7
    assert max(ratios) > 1.4


def _make(data_dir: Path, queue: multiprocessing.Queue[list[tuple[int, int]]]) -> None:
    heard: list[tuple[int, int]] = []
    shapes.make(data_dir, lambda done, total: heard.append((done, total)))
    queue.put(heard)


def test_one_process_makes_it_while_the_others_wait_and_see_its_progress(tmp_path):
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    makers = [fork.Process(target=_make, args=(tmp_path, queue)) for _ in range(3)]
    for maker in makers:
        maker.start()
    heard = [queue.get(timeout=240) for _ in makers]
    for maker in makers:
        maker.join()

    total = len(shapes.CLASSES) * sum(shapes.SPLITS.values())
    for numbers in heard:
        counts = [done for done, _ in numbers]
        assert counts == sorted(counts)
        assert len(set(counts)) > 3
        assert {of for _, of in numbers} == {total}
    root = tmp_path / f"shapes-{shapes.VERSION}"
    pictures = sorted(root.glob("*/*/*.jpg"))
    assert len(pictures) == total
    with Image.open(pictures[0]) as picture:
        assert picture.format == "JPEG"

    # An unfinished folder is made anew, to the same bytes; a finished one is left alone.
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in pictures[::500]]
    (root / shapes.COMPLETE).unlink()
    pictures[0].write_bytes(b"half a pic")
    assert shapes.make(tmp_path, lambda done, total: None) == root
    assert [hashlib.sha256(path.read_bytes()).digest() for path in pictures[::500]] == digests
    shapes.make(tmp_path, lambda done, total: pytest.fail("made again"))
