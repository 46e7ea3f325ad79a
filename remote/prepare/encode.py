"""Encodes a picture as the JPEGs that are stored: at several sizes, cut into tiles (`remote.data.tiles`).

Unusual pictures are converted (CMYK, 16 bits, too many pixels); unusable ones are refused with the reason (empty,
truncated, not a picture). As in the reference transform, the EXIF orientation is ignored.

No torch here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from remote.data.decode import MAX_PIXELS, Unusable, as_rgb, opened
from remote.data.packed import FULL
from remote.data.tiles import Grid

QUALITY = 92
"""Of pictures that are resized, as libjpeg counts. ImageNet's own are between 70 and 96."""
LONGEST = 65_000
"""A JPEG's side has at most 65,535 pixels, and tiles are padded."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One picture at one size."""

    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Recoded:
    """One picture at every size."""

    stored: tuple[Stored, ...]
    repaired: str
    """What was odd about it; empty where nothing was."""


def recode(data: bytes, sides: Sequence[int], quality: int = QUALITY) -> Recoded:
    """The picture with each of `sides` as its shorter side, never enlarged; `FULL` is its own size.

    Raises:
        Unusable: it cannot be used; why.
    """
    image = opened(data)
    whole = image.size
    jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    note = ""
    if whole[0] * whole[1] > MAX_PIXELS:
        if not jpeg or whole[0] * whole[1] > MAX_PIXELS * 64:
            raise Unusable(f"{whole[0]:,} x {whole[1]:,} pixels are too many")
        shrink = next(s for s in (2, 4, 8) if whole[0] * whole[1] <= MAX_PIXELS * s * s)
        image.draft("RGB", (whole[0] // shrink, whole[1] // shrink))
        note = f"{whole[0]:,} x {whole[1]:,} pixels were too many"
    elif FULL not in sides and jpeg:
        # Decoded at twice the size that is needed, which leaves no visible difference.
        image.draft("RGB", (2 * max(sides) * whole[0] // min(whole), 2 * max(sides) * whole[1] // min(whole)))
    as_it_was: dict[str, Any] = {}
    if isinstance(image, JpegImagePlugin.JpegImageFile) and not note and image.mode == "RGB":
        sampling = JpegImagePlugin.get_sampling(image)
        as_it_was = {"qtables": image.quantization, "subsampling": sampling if sampling in (0, 1, 2) else 2}
    image, odd = as_rgb(image)
    if max(image.size) > LONGEST:
        raise Unusable(f"{image.width:,} x {image.height:,} pixels are too long for a JPEG")
    stored: dict[int, Stored] = {}
    start, shorter = image.size, min(image.size)
    # From the biggest down: each size is made from the one before, which is a fraction of the work.
    for side in sorted(sides, key=lambda side: side or LONGEST, reverse=True):
        if side != FULL and shorter > side:
            width, height = (round(length * side / shorter) for length in start)
            image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3)
            as_it_was = {}
        stored[side] = _encoded(image, as_it_was or {"quality": quality, "subsampling": 2})
    return Recoded(tuple(stored[side] for side in sides), "; ".join(filter(None, (odd, note))))


def _encoded(image: Image.Image, options: dict[str, Any]) -> Stored:
    """The picture in tiles. At full size it keeps its own quantisation tables, so that little is lost."""
    block_px = 8 if options.get("subsampling") == 0 else 16
    grid = Grid.of(image.width, block_px)
    width = grid.columns * grid.blocks * block_px
    whole = image
    if width != image.width:
        pixels = np.pad(np.asarray(image), ((0, 0), (0, width - image.width), (0, 0)), mode="edge")
        whole = Image.fromarray(pixels)
    file = io.BytesIO()
    whole.save(file, "JPEG", restart_marker_blocks=grid.blocks, optimize=True, **options)
    return Stored(file.getvalue(), image.width, image.height)
