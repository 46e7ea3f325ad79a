from __future__ import annotations

import random
from itertools import chain, islice

import gang
import numpy as np
import pytest
import torch
from PIL import Image

from remote import data, fashion_mnist
from remote.schedule import Phase, steps_per_epoch


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def no_complaint(text: str) -> None:
    pytest.fail(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), train=50, val=23)


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_a_step_shows_the_same_pictures_in_any_gang(folder, world_size):
    alone = list(data.training_plan(gang.recipe(folder, batch=12), 50, 0, 1, 0, 0))
    recipe = gang.recipe(folder, batch=12 // world_size)
    ranks = [list(data.training_plan(recipe, 50, rank, world_size, 0, 0)) for rank in range(world_size)]
    together = [list(chain(*parts)) for parts in zip(*ranks, strict=True)]
    assert together == alone


def test_an_epoch_shows_every_picture_in_whole_batches(folder):
    plan = list(data.training_plan(gang.recipe(folder, batch=12), 50, 0, 1, 0, 0))
    steps = steps_per_epoch(50, 12)
    assert len(plan) == 2 * steps
    assert all(len(batch) == 12 for batch in plan)
    first, second = list(chain(*plan[:steps])), list(chain(*plan[steps:]))
    assert {request.picture for request in first} == set(range(50))
    assert [request.picture for request in first[50:]] == [request.picture for request in first[:10]]
    assert [request.picture for request in first[:50]] != [request.picture for request in second[:50]]


def test_a_plan_that_begins_in_the_middle_is_the_end_of_the_whole_one(folder):
    recipe = gang.recipe(folder, batch=6)
    whole = list(data.training_plan(recipe, 50, 1, 2, 0, 0))
    assert list(data.training_plan(recipe, 50, 1, 2, 0, 3)) == whole[3:]
    assert list(data.training_plan(recipe, 50, 1, 2, 1, 2)) == whole[5 + 2 :]


@pytest.mark.parametrize("rectangular", [False, True])
@pytest.mark.parametrize("images", [1, 7, 23, 64])
@pytest.mark.parametrize("world_size", [1, 3, 16])
def test_an_evaluation_counts_every_picture_once(images, world_size, rectangular):
    phase = Phase(
        start_epoch=0, end_epoch=1, image_size=32, batch_size_per_gpu=4, lr_start=1, lr_end=1, rectangular=rectangular
    )
    ratios = np.exp(np.random.default_rng(1).uniform(-0.8, 0.8, images))
    plans = [data.validation_plan(phase, images, ratios, rank, world_size) for rank in range(world_size)]
    batches = list(chain(*plans))
    assert sorted(request.picture for batch in batches for request in batch) == list(range(images))
    assert all(1 <= len(batch) <= 4 for batch in batches)
    for batch in batches:
        assert len({(request.height, request.width) for request in batch}) == 1  # one ratio a batch
        short, long = sorted((batch[0].height, batch[0].width))
        assert short == 32
        assert long % 8 == 0
        assert rectangular or long == 32
    if rectangular and images == 64:
        assert len({batch[0].width for batch in batches}) > 3


def test_a_crop_depends_on_seed_epoch_and_picture_alone(folder):
    training, _ = data.open_sources(gang.recipe(folder, batch=2), quiet)
    reader = data.Reader(training, 1, no_complaint)
    request = data.Request(9, 16, 16, epoch=4, min_scale=0.1)
    first, label = reader.__getitems__([request])
    random.seed(0)
    torch.manual_seed(0)
    reader.__getitems__([data.Request(3, 16, 16, 4, 0.1), data.Request(9, 16, 16, 5, 0.1)])
    again, _ = reader.__getitems__([request])
    assert torch.equal(first, again)
    assert label.tolist() == [int(training.labels[9])]
    for other in (data.Reader(training, 2, no_complaint), reader):
        changed = request if other is not reader else request._replace(epoch=5)
        assert not torch.equal(first, other.__getitems__([changed])[0])


def test_random_boxes_stay_inside_and_keep_to_their_share():
    rng = random.Random(1)
    for width, height in ((60, 40), (40, 60), (500, 20), (20, 500), (28, 28)):
        for _ in range(300):
            left, upper, right, lower = data.random_box(width, height, 0.3, rng)
            assert 0 <= left < right <= width + 1e-9
            assert 0 <= upper < lower <= height + 1e-9
            assert 3 / 4 - 1e-9 <= (right - left) / (lower - upper) <= 4 / 3 + 1e-9
            if min(width, height) > 20:
                assert (right - left) * (lower - upper) >= 0.3 * width * height - 1e-6


def test_the_middle_crop():
    # 256 x 512 resized to 255.36 on the short side, 224 of it kept: 224.56 of the picture's own pixels.
    left, upper, right, lower = data.middle_box(512, 256, 224, 224)
    assert right - left == lower - upper == pytest.approx(256 / 1.14)
    assert (left + right, upper + lower) == pytest.approx((512, 256))


def test_a_big_jpeg_decoded_small_is_the_same_picture(tmp_path):
    x = np.linspace(0, 255, 640)[None, :, None]
    y = np.linspace(0, 255, 480)[:, None, None]
    pixels = np.concatenate(np.broadcast_arrays(x, y, (x + y) / 2), 2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "big.jpg", quality=95)
    box = (80.0, 60.0, 560.0, 420.0)
    with Image.open(tmp_path / "big.jpg") as image:
        small = np.asarray(data._resized(image, box, 32, 32)).astype(int)
        assert image.size == (80, 60)  # one eighth was decoded
    with Image.open(tmp_path / "big.jpg") as image:
        image.load()
        whole = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR, box)).astype(int)
    assert np.abs(small - whole).max() <= 6


def test_unreadable_pictures_are_replaced_in_training_and_left_out_in_validation(tmp_path):
    root = gang.picture_folder(tmp_path, train=14, val=7)
    training, validation = data.open_sources(gang.recipe(root, batch=2), quiet)
    for source in (training, validation):
        with open(source.name(2), "wb") as file:
            file.write(b"no picture")
    said: list[str] = []
    reader = data.Reader(training, 0, said.append)
    pixels, labels = reader.__getitems__([data.Request(index, 8, 8, 0) for index in (2, 2, 5)])
    assert labels.tolist() == [int(training.labels[index]) for index in (3, 3, 5)]
    assert len(pixels) == 3
    assert len(said) == 1
    assert training.name(2) in said[0]
    pixels, labels = data.Reader(validation, 0, said.append).__getitems__([data.Request(i, 8, 8) for i in (1, 2, 3)])
    assert labels.tolist() == [int(validation.labels[index]) for index in (1, 3)]
    assert len(pixels) == 2
    assert validation.name(2) in said[1]


def test_loader_processes_read_the_same_batches(folder):
    recipe = gang.recipe(folder, batch=5)
    training, _ = data.open_sources(recipe, quiet)
    reader = data.Reader(training, 0, no_complaint)
    ahead = data.Loader(reader, workers=2, pin_memory=False)
    here = data.Loader(reader, workers=0, pin_memory=False)
    for epoch in (0, 1):  # the same processes twice
        plan = list(islice(data.training_plan(recipe, 50, 0, 1, epoch, 0), 4))
        for (a, b), (c, d) in zip(ahead.batches(plan), here.batches(plan), strict=True):
            assert torch.equal(a, c)
            assert torch.equal(b, d)


def test_what_is_wrong_with_a_folder_is_said(tmp_path, folder):
    with pytest.raises(ValueError, match="does not hold the folders train and val"):
        data.open_sources(gang.recipe(tmp_path, batch=2), quiet)
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match="holds no class folders with pictures"):
        data.open_sources(gang.recipe(tmp_path, batch=2), quiet)
    root = gang.picture_folder(tmp_path, train=14, val=7)
    (root / "val" / "zebra").mkdir()
    with pytest.raises(ValueError, match="the class zebra is in only one of train and val"):
        data.open_sources(gang.recipe(root, batch=2), quiet)
    with pytest.raises(ValueError, match="unknown data set 'cifar'"):
        data.open_sources(gang.recipe(root, batch=2, dataset="cifar"), quiet)


@pytest.mark.skipif(not fashion_mnist.DEBIAN.exists(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist(tmp_path):
    recipe = gang.recipe(tmp_path, batch=2, dataset="fashion-mnist")
    for _ in range(2):  # unpacked first, mapped the second time
        training, validation = data.open_sources(recipe, quiet)
        assert (len(training), len(validation), len(training.classes)) == (60_000, 10_000, 10)
        assert np.bincount(validation.labels).tolist() == [1000] * 10
        assert training.classes[int(training.labels[0])] == "ankle-boot"
        pixels, _ = data.Reader(training, 0, no_complaint).__getitems__([data.Request(0, 28, 28)])
        assert pixels.shape == (1, 28, 28, 3)
        assert pixels.float().std() > 30


def test_a_cut_idx_file_is_said(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\0\0\0\x09" * 3 + b"too little")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is not a whole idx file"):
        fashion_mnist.load(tmp_path, "train", quiet)
