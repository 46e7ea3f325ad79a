"""How a picture is cropped: which part of it, and how that becomes the pixels of a batch.

A box is in pixels of the picture's full size, so it is the same part whichever copy it is taken from
(`remote.data.packed`) and at whichever fraction of the size it is decoded (`remote.data.decode`).
"""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from remote.data.datasets import Opened
from remote.data.decode import SHRINKS

RESIZE = 1.14
"""Validation pictures are resized to this times the crop's side (256/224), then cropped in the centre."""
EXACT_PX = 64
"""Crops up to this side are not aligned to whole pixels. There a pixel is much of the picture, and Pillow, which takes
fractions, is as fast as torch; at 224 px torch takes a quarter of Pillow's time (bench/loader.py)."""

Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels of the whole picture."""


def random_box(width: int, height: int, min_scale: float, rng: random.Random) -> Box:
    """A crop of `min_scale` to all of the area with a ratio of 3:4 to 4:3 (Szegedy et al. 2014, "Inception" crops)."""
    for _ in range(10):
        area = width * height * rng.uniform(min_scale, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, upper = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return left, upper, left + w, upper + h
    side_w, side_h = min(width, height * 4 / 3), min(height, width * 4 / 3)
    return _middle(width, height, side_w, side_h)


def middle_box(width: int, height: int, target_width: int, target_height: int) -> Box:
    """The centre crop that is `target` in size once the picture is resized to cover 1.14 times the target."""
    scale = RESIZE * max(target_width / width, target_height / height)
    return _middle(width, height, target_width / scale, target_height / scale)


def _middle(width: int, height: int, w: float, h: float) -> Box:
    left, upper = (width - w) / 2, (height - h) / 2
    return left, upper, left + w, upper + h


def aligned(box: Box, width: int, height: int, target_width: int, target_height: int) -> Box:
    """The box on whole pixels of the picture, as torchvision's random crop has it; where it can be decoded at 1/2, 1/4
    or 1/8 of the size, on whole pixels of that. Small crops (`EXACT_PX`) stay as they are."""
    if min(target_width, target_height) <= EXACT_PX:
        return box
    left, upper, right, lower = box
    shrink = _shrink(right - left, lower - upper, target_width, target_height)
    left, right = _whole(left, right, width, shrink)
    upper, lower = _whole(upper, lower, height, shrink)
    return left, upper, right, lower


def _whole(low: float, high: float, limit: int, shrink: int) -> tuple[int, int]:
    pixels, most = max(1, round((high - low) / shrink)), math.ceil(limit / shrink)
    first = min(round(low / shrink), max(0, most - pixels))
    return first * shrink, min((first + pixels) * shrink, limit)


def crop_into(out: Tensor, opened: Opened, box: Box, mirrored: bool) -> str:
    """Fills `out` (uint8 [height, width, 3]) with the box, resized with an antialiased bilinear filter.

    Returns what was repaired about the picture, empty where nothing was. Raises Unusable where it cannot be decoded.
    """
    picture, whole_width, whole_height = opened
    height, width, _ = out.shape
    sx, sy = picture.width / whole_width, picture.height / whole_height
    left, upper, right, lower = box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy
    shrink = _shrink(right - left, lower - upper, width, height) if picture.can_shrink else 1
    left, upper, right, lower = left / shrink, upper / shrink, right / shrink, lower / shrink
    most_x, most_y = math.ceil(picture.width / shrink), math.ceil(picture.height / shrink)
    if min(width, height) <= EXACT_PX:
        # Pillow's filter looks beyond the box, as far as its own width.
        margin_x, margin_y = max(1.0, (right - left) / width), max(1.0, (lower - upper) / height)
        x0, y0 = max(0, math.floor(left - margin_x)), max(0, math.floor(upper - margin_y))
        x1, y1 = math.ceil(right + margin_x), math.ceil(lower + margin_y)
    else:
        # Whole pixels of what is decoded: at most half a pixel from the box.
        x0, y0 = min(round(left), most_x - 1), min(round(upper), most_y - 1)
        x1, y1 = max(x0 + 1, math.floor(right + 0.5)), max(y0 + 1, math.floor(lower + 0.5))
    x1, y1 = min(x1, most_x), min(y1, most_y)
    need = x0 * shrink, y0 * shrink, min(x1 * shrink, picture.width), min(y1 * shrink, picture.height)
    pixels, off_x, off_y, repaired = picture.decode(need, shrink)
    if min(width, height) <= EXACT_PX:
        exact = left - off_x, upper - off_y, min(right - off_x, pixels.shape[1]), min(lower - off_y, pixels.shape[0])
        small = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, exact))
        out.numpy()[:] = small[:, ::-1] if mirrored else small
        return repaired
    part = torch.from_numpy(pixels[y0 - off_y : y1 - off_y, x0 - off_x : x1 - off_x]).permute(2, 0, 1)[None]
    if part.shape[2:] != (height, width):
        part = functional.interpolate(part, (height, width), mode="bilinear", antialias=True, align_corners=False)
    done = part[0].permute(1, 2, 0)
    out.copy_(done.flip(1) if mirrored else done)
    return repaired


def _shrink(box_width: float, box_height: float, width: int, height: int) -> int:
    """The smallest fraction of the size at which the box still has at least the crop's pixels."""
    return next(s for s in SHRINKS if s == 1 or (box_width >= s * width and box_height >= s * height))
