"""Pixels: which part of a picture, and how close to the reference transform."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import gang
import numpy as np
import pytest
import torch
from PIL import Image

from remote.data import crop, datasets
from remote.data.batch_plan import Request
from remote.data.batch_reader import Reader
from remote.data.datasets import Opened
from remote.data.decode import Encoded
from remote.data.packed import FULL
from remote.prepare import pack
from remote.prepare.encode import Stored, recode

ROOT = Path(crop.__file__).parent.parent


def no_complaint(index: int, text: str) -> None:
    pytest.fail(text)


def scene(width: int, height: int, seed: int) -> Image.Image:
    """As a photograph has them: smooth light, edges, and texture of a falling spectrum."""
    rng = np.random.default_rng(seed)
    noise = np.fft.rfft2(rng.normal(size=(1, height, width)) + 0.25 * rng.normal(size=(3, height, width)))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    texture = np.fft.irfft2(noise / (0.004 + np.hypot(fx, fy)) ** 1.2, (height, width))
    texture /= texture.std()
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(x - width * rng.uniform(0.3, 0.7), y - height * rng.uniform(0.3, 0.7)) < height / 4
    pixels = 120 + 28 * texture + 60 * disc * rng.uniform(-1, 1, (3, 1, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


SCENES = [jpeg(scene(*size, seed)) for seed, size in enumerate([(500, 375), (375, 500), (500, 333), (640, 480)])]


def cropped(opened: Opened, box: crop.Box, width: int, height: int, mirrored: bool = False) -> np.ndarray:
    out = torch.empty((height, width, 3), dtype=torch.uint8)
    crop.crop_into(out, opened, box, mirrored)
    return out.numpy().astype(int)


def reference(data: bytes, box: crop.Box, width: int, height: int) -> np.ndarray:
    """torchvision's resized_crop: all of the picture decoded, cut, resized by Pillow with an antialiased filter."""
    with Image.open(io.BytesIO(data)) as image:
        part = image.convert("RGB").crop(tuple(map(round, box)))
        return np.asarray(part.resize((width, height), Image.Resampling.BILINEAR), int)


def differences(side: int, copies: list[Encoded]) -> np.ndarray:
    """[crops, (mean, max)] of absolute differences of grey levels between ours and the reference."""
    found = []
    for number, (data, copy) in enumerate(zip(SCENES, copies, strict=True)):
        rng = random.Random(number)
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
        for _ in range(12):
            box = crop.aligned(crop.random_box(*size, 0.08, rng), *size, side, side)
            off = np.abs(cropped(Opened(copy, *size), box, side, side) - reference(data, box, side, side))
            found.append((off.mean(), off.max()))
    return np.array(found)


@cache
def stored(data: bytes, side: int) -> Stored:
    """The picture as `remote.prepare` stores it."""
    [one] = recode(data, (side,)).stored
    return one


def presized(data: bytes, side: int) -> Encoded:
    """The same, as the loader takes it up."""
    one = stored(data, side)
    return Encoded(one.data, (one.width, one.height))


# --- agreement with the reference ------------------------------------------------------------------------------------

# The tolerances are those that ARCHITECTURE.md states, in grey levels of 255: the mean over all crops, and the largest
# of a pixel. bench/loader.py gives the same figures for photographs.


@pytest.mark.parametrize(("side", "mean", "largest"), [(128, 1.0, 16), (224, 0.2, 20)])
def test_a_crop_of_a_file_is_the_reference_transform(side, mean, largest):
    off = differences(side, [Encoded(data) for data in SCENES])
    assert off[:, 0].mean() < mean
    assert off[:, 1].max() <= largest
    # Where all of the pixels were decoded they are the reference's, but for the rounding of the filter.
    assert np.median(off[:, 1]) <= (8 if side == 128 else 1)


@pytest.mark.parametrize(("side", "mean"), [(128, 1.0), (224, 0.25)])
def test_a_crop_of_a_packed_picture_is_the_reference_transform(side, mean):
    """Encoded once more, and decoded in part: what is lost is the second encoding's."""
    off = differences(side, [presized(data, FULL) for data in SCENES])
    assert off[:, 0].mean() < mean
    assert off[:, 1].max() <= 20


@pytest.mark.parametrize(("side", "copy", "mean"), [(128, 160, 5.5), (224, 352, 3.2)])
def test_a_crop_of_a_presized_picture_is_near_the_reference_transform(side, copy, mean):
    off = differences(side, [presized(data, copy) for data in SCENES])
    assert off[:, 0].mean() < mean


def centre(pixels: np.ndarray) -> np.ndarray:
    """Where a bright dot on black lies, as fractions of the width and the height."""
    light = pixels.sum(2).astype(float)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum() / light.shape[::-1]


@pytest.mark.parametrize("side", [48, 96, 128, 160, 224])
def test_the_box_is_the_same_part_of_the_picture_whichever_copy_it_is_taken_from(side):
    dot = Image.new("RGB", (600, 450))
    dot.paste((255, 255, 255), (290, 215, 311, 236))
    data = jpeg(dot, 95)
    rng = random.Random(3)
    copies = [Encoded(data), *(presized(data, px) for px in (FULL, 352, 160))]
    checked = 0
    for _ in range(30):
        box = crop.aligned(crop.random_box(600, 450, 0.2, rng), 600, 450, side, side)
        if not (box[0] < 280 and box[1] < 205 and box[2] > 321 and box[3] > 246):
            continue
        checked += 1
        expected = np.array([(300.5 - box[0]) / (box[2] - box[0]), (225.5 - box[1]) / (box[3] - box[1])])
        for copy in copies:
            found = centre(cropped(Opened(copy, 600, 450), box, side, side))
            # Half a pixel of what is decoded, which is no smaller than the copy's own or the crop's.
            pixel = max(450 / min(copy.width, copy.height), (box[2] - box[0]) / side) / (box[2] - box[0])
            assert np.abs(found - expected).max() < 0.5 * pixel + 0.002
    assert checked > 3


def test_a_mirrored_crop_is_the_crop_mirrored():
    for side in (32, 128):
        opened = Opened(Encoded(SCENES[0]), 500, 375)
        box = (50.0, 40.0, 350.0, 330.0)
        assert (cropped(opened, box, side, side)[:, ::-1] == cropped(opened, box, side, side, mirrored=True)).all()


def test_without_simplejpeg_pillow_gives_nearly_the_same_pixels(tmp_path):
    """A host that lacks it trains on the same pictures."""
    box = (60.0, 40.0, 420.0, 340.0)
    small = stored(SCENES[0], 352)
    (tmp_path / "whole").write_bytes(SCENES[0])
    (tmp_path / "small").write_bytes(small.data)
    code = f"""
import sys
sys.modules["simplejpeg"] = None
from pathlib import Path
import numpy as np, torch
from remote.data import crop, decode
from remote.data.datasets import Opened
assert "not installed" in decode.decoder_name(), decode.decoder_name()
made = []
for name, size in (("whole", None), ("small", {(small.width, small.height)})):
    for side in (48, 128, 224):
        out = torch.empty((side, side, 3), dtype=torch.uint8)
        copy = decode.Encoded(Path({str(tmp_path)!r}, name).read_bytes(), size)
        crop.crop_into(out, Opened(copy, 500, 375), {box}, False)
        made.append(out.numpy())
np.savez({str(tmp_path / "pillow.npz")!r}, *made)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    theirs = np.load(tmp_path / "pillow.npz")
    copies = [Encoded(SCENES[0])] * 3 + [presized(SCENES[0], 352)] * 3
    for copy, side, name in zip(copies, (48, 128, 224) * 2, theirs.files, strict=True):
        assert np.abs(cropped(Opened(copy, 500, 375), box, side, side) - theirs[name]).max() <= 2


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_random_boxes_stay_inside_and_keep_to_their_share():
    rng = random.Random(1)
    for width, height in ((60, 40), (40, 60), (500, 20), (20, 500), (28, 28)):
        for _ in range(300):
            left, upper, right, lower = crop.random_box(width, height, 0.3, rng)
            assert 0 <= left < right <= width + 1e-9
            assert 0 <= upper < lower <= height + 1e-9
            assert 3 / 4 - 1e-9 <= (right - left) / (lower - upper) <= 4 / 3 + 1e-9
            if min(width, height) > 20:
                assert (right - left) * (lower - upper) >= 0.3 * width * height - 1e-6


def test_aligned_boxes_stay_inside_near_where_they_were():
    rng = random.Random(2)
    for _ in range(2000):
        width, height = rng.randint(1, 900), rng.randint(1, 900)
        side = rng.choice([40, 65, 128, 224])
        box = crop.random_box(width, height, 0.08, rng)
        left, upper, right, lower = crop.aligned(box, width, height, side, side)
        assert 0 <= left < right <= width + 1e-9
        assert 0 <= upper < lower <= height + 1e-9
        shrink = max(1, int(min(box[2] - box[0], box[3] - box[1]) / side))
        assert np.abs(np.subtract((left, upper, right, lower), box)).max() <= max(1, shrink)


def test_the_middle_crop():
    # 256 x 512 resized to 255.36 on the short side, 224 of it kept: 224.56 of the picture's own pixels.
    left, upper, right, lower = crop.middle_box(512, 256, 224, 224)
    assert right - left == lower - upper == pytest.approx(256 / 1.14)
    assert (left + right, upper + lower) == pytest.approx((512, 256))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (90, 90), (2000, 31)])
@pytest.mark.parametrize(("width", "height"), [(32, 32), (128, 128), (176, 128)])
def test_pictures_of_any_size_can_be_cropped(size, width, height):
    file = io.BytesIO()
    Image.new("RGB", size, (10, 200, 60)).save(file, "JPEG", quality=100, subsampling=0)
    for copy in (Encoded(file.getvalue()), presized(file.getvalue(), FULL), presized(file.getvalue(), 16)):
        for box in (
            crop.middle_box(*size, width, height),
            crop.aligned(crop.random_box(*size, 0.08, random.Random(1)), *size, width, height),
        ):
            assert np.abs(cropped(Opened(copy, *size), box, width, height) - (10, 200, 60)).max() <= 6


# --- the reader ------------------------------------------------------------------------------------------------------


def test_a_crop_depends_on_seed_epoch_and_picture_alone(tmp_path):
    folder = gang.picture_folder(tmp_path / "folder", train=20, val=7, side=90)
    pack.prepare(folder, tmp_path / "packed", sides=(48, FULL), workers=1)
    for root, dataset in ((folder, "imagefolder"), (tmp_path / "packed", "packed")):
        training, _ = datasets.open_sources(gang.recipe(root, batch=2, dataset=dataset), lambda done, total: None)
        reader = Reader(training, 1)
        for side in (16, 80):
            request = Request(np.array([9]), side, side, epoch=4, min_scale=0.1)
            first, label = reader.batch(request, no_complaint)
            random.seed(0)
            torch.manual_seed(0)
            reader.batch(Request(np.array([3, 9]), side, side, 5, 0.1), no_complaint)
            again, _ = reader.batch(request, no_complaint)
            assert torch.equal(first, again)
            assert label.tolist() == [int(training.labels[9])]
            beside, _ = reader.batch(Request(np.array([2, 9, 5]), side, side, 4, 0.1), no_complaint)
            assert torch.equal(beside[1], first[0])
            other_seed, _ = Reader(training, 2).batch(request, no_complaint)
            other_epoch, _ = reader.batch(Request(np.array([9]), side, side, 5, 0.1), no_complaint)
            assert not torch.equal(first, other_seed)
            assert not torch.equal(first, other_epoch)


def test_a_folder_and_its_packed_set_show_the_same_crops(tmp_path):
    for split in ("train", "val"):
        for number, data in enumerate(SCENES):
            (tmp_path / "in" / split / f"class-{number}").mkdir(parents=True)
            (tmp_path / "in" / split / f"class-{number}" / "0.jpg").write_bytes(data)
    pack.prepare(tmp_path / "in", tmp_path / "out", workers=1)
    files, _ = datasets.open_sources(gang.recipe(tmp_path / "in", batch=2), lambda done, total: None)
    packs, _ = datasets.open_sources(gang.recipe(tmp_path / "out", batch=2, dataset="packed"), lambda done, total: None)
    for side, mean in ((32, 2.5), (128, 6.0), (224, 3.0), (320, 1.5)):
        for request in (Request(np.arange(4), side, side, 3, 0.3), Request(np.arange(4), side, side + 8)):
            mine, theirs = (Reader(source, 5).batch(request, no_complaint)[0].int() for source in (files, packs))
            assert (mine - theirs).abs().float().mean() < mean
