"""Data sets as the trainer finds them: folders, packed sets, arrays; and what is wrong with them."""

from __future__ import annotations

import shutil

import gang
import numpy as np
import pytest
from PIL import Image

from remote.data import datasets, fashion_mnist, packed
from remote.data.batch_plan import Request
from remote.data.batch_reader import Reader
from remote.data.packed import FULL
from remote.prepare import pack


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def no_complaint(index: int, text: str) -> None:
    pytest.fail(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), train=30, val=16, side=100)


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    pack.prepare(folder, out, sides=(48, 96, FULL), workers=1)
    return out


def opened(root, dataset):
    return datasets.open_sources(gang.recipe(root, batch=2, dataset=dataset), quiet)


def test_a_packed_set_is_the_folder_that_it_was_made_of(folder, prepared):
    for files, pictures in zip(opened(folder, "imagefolder"), opened(prepared, "packed"), strict=True):
        assert list(files.classes) == list(pictures.classes)
        assert files.labels.tolist() == pictures.labels.tolist()
        assert [files.size(index) for index in range(len(files))] == [
            pictures.size(index) for index in range(len(pictures))
        ]
        assert pictures.name(3).endswith(files.name(3).rsplit("/", 1)[1])


@pytest.mark.parametrize(("need", "side"), [(32, 48), (42, 48), (44, 96), (84, 96), (90, FULL), (400, FULL)])
def test_a_crop_comes_from_the_smallest_copy_that_is_big_enough(prepared, need, side):
    training, _ = opened(prepared, "packed")
    for index in range(5):
        picture, width, height = training.open(index, need)
        assert (width, height) == training.size(index)
        shorter = min(picture.width, picture.height)
        assert shorter == (min(width, height) if side == FULL else side)


def test_what_is_wrong_with_a_folder_is_said(tmp_path, folder):
    with pytest.raises(ValueError, match="does not hold the folders train and val"):
        opened(tmp_path, "imagefolder")
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match="holds no class folders with pictures"):
        opened(tmp_path, "imagefolder")
    root = gang.picture_folder(tmp_path, train=14, val=7)
    (root / "val" / "zebra").mkdir()
    with pytest.raises(ValueError, match="the class zebra is in only one of train and val"):
        opened(root, "imagefolder")
    (root / "train" / "zebra").mkdir()
    with pytest.raises(ValueError, match=r"train/zebra holds no picture .*; fill the class or remove it"):
        opened(root, "imagefolder")
    with pytest.raises(ValueError, match=r"unknown data set 'cifar'.* fashion-mnist, imagefolder, packed"):
        opened(root, "cifar")


def test_what_is_wrong_with_a_packed_set_is_said(tmp_path, folder, prepared):
    with pytest.raises(ValueError, match=rf"{folder} holds no packed data set .* python -m remote.prepare"):
        opened(folder, "packed")
    with pytest.raises(ValueError, match=r'holds a packed data set: set data.dataset = "packed"'):
        opened(prepared, "imagefolder")
    broken = shutil.copytree(prepared, tmp_path / "broken")
    np.save(broken / "val-48.npy", np.load(broken / "val-48.npy")[:-1])
    with pytest.raises(ValueError, match=r"val-48.npy is not the index of 16 pictures"):
        opened(broken, "packed")
    (broken / "val-48.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"val-48.npy"):
        opened(broken, "packed")
    shutil.rmtree(broken)
    shutil.copytree(prepared, broken)
    text = (broken / packed.CONTENTS).read_text()
    (broken / packed.CONTENTS).write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"packed.json is damaged .*: prepare the data set anew"):
        opened(broken, "packed")


def test_hosts_with_different_data_are_told_how_they_differ(tmp_path, folder, prepared):
    def fingerprint(root, dataset="imagefolder"):
        return datasets.fingerprint(*opened(root, dataset))

    mine = fingerprint(folder)
    assert datasets.difference([mine, fingerprint(shutil.copytree(folder, tmp_path / "same"))]) is None
    assert datasets.difference([fingerprint(prepared, "packed")] * 2) is None
    other = shutil.copytree(folder, tmp_path / "other")
    victim = sorted(other.glob("train/class-2/*"))[0]
    victim.rename(victim.with_name("renamed.jpg"))
    assert "rank 1 has other pictures than rank 0" in datasets.difference([mine, fingerprint(other)])
    victim.with_name("renamed.jpg").unlink()
    said = datasets.difference([mine, mine, fingerprint(other)])
    assert said.startswith("rank 2 has 29 training and 16 validation images in 7 classes, rank 0 has 30 training")
    for split in ("train", "val"):
        shutil.rmtree(other / split)
        shutil.copytree(folder / split, other / split)
        (other / split / "class-6").rename(other / split / "class-x")
    assert "rank 1 has other classes than rank 0" in datasets.difference([mine, fingerprint(other)])
    pack.prepare(folder, tmp_path / "again", sides=(48,), workers=1)
    assert "other pictures" in datasets.difference(
        [fingerprint(prepared, "packed"), fingerprint(tmp_path / "again", "packed")]
    )


@pytest.mark.skipif(not fashion_mnist.DEBIAN.exists(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist(tmp_path):
    recipe = gang.recipe(tmp_path, batch=2, dataset="fashion-mnist")
    for _ in range(2):  # unpacked first, mapped the second time
        training, validation = datasets.open_sources(recipe, quiet)
        assert (len(training), len(validation), len(training.classes)) == (60_000, 10_000, 10)
        assert np.bincount(validation.labels).tolist() == [1000] * 10
        assert training.classes[int(training.labels[0])] == "ankle-boot"
        pixels, _ = Reader(training, 0).batch(Request(np.array([0]), 28, 28), no_complaint)
        assert pixels.shape == (1, 28, 28, 3)
        assert pixels.float().std() > 30


def test_a_cut_idx_file_is_said(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\0\0\0\x09" * 3 + b"too little")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is not a whole idx file"):
        fashion_mnist.load(tmp_path, "train", quiet)


def test_ratios_come_from_heads_alone(folder, prepared, tmp_path):
    for root, dataset in ((folder, "imagefolder"), (prepared, "packed")):
        training, _ = opened(root, dataset)
        for index in range(4):
            with Image.open(sorted(folder.glob("train/*/*.jpg"))[index]) as image:
                assert datasets.ratio_of(training, index) == image.width / image.height
    root = gang.picture_folder(tmp_path, train=14, val=7)
    training, _ = opened(root, "imagefolder")
    with open(training.name(2), "wb") as file:
        file.write(b"no picture")
    assert datasets.ratio_of(training, 2) == 1.0
