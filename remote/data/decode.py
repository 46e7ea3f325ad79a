"""Decodes pictures; of a JPEG only the part that a crop needs, at no more than the size that it needs.

JPEGs are decoded by simplejpeg where it is installed (libjpeg-turbo with a thin binding: two thirds of Pillow's time,
and the pixels come as an array). Pillow decodes them where it is not, and unusual files in any case: CMYK, stray bytes,
other formats. Both use libjpeg-turbo and give the same pixels. bench/loader.py compares decoders.

No torch here.
"""

from __future__ import annotations

import importlib
import io
import math
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, UnidentifiedImageError

from remote.data import tiles

Pixels = npt.NDArray[np.uint8]
"""[height, width, 3]."""
Box = tuple[int, int, int, int]
"""Left, upper, right, lower, in whole pixels of the whole picture."""

SHRINKS = (8, 4, 2, 1)
"""A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for less than the whole's time."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "TIFF", "GIF")
"""Formats that are opened. Pillow has more, some of which run other programs."""
MAX_PIXELS = 2**26
"""More pixels (8,192 x 8,192) are not decoded at full size, which would take 200 MB and a second."""


class Unusable(ValueError):
    """A picture that cannot be used; the message says why."""


class Decoded(NamedTuple):
    """A part of a picture, perhaps at a fraction of its size."""

    pixels: Pixels
    left: int
    """Where the part begins, in pixels of the decoded size."""
    upper: int
    repaired: str = ""
    """What had to be repaired; empty where nothing had to."""


class Encoded:
    """A picture in an encoded file."""

    def __init__(self, data: bytes, size: tuple[int, int] | None = None) -> None:
        """`size`: width and height, where they are known without the header. Raises Unusable where that is damaged."""
        self._data = data
        self._jpeg = data[:3] == b"\xff\xd8\xff"
        self._image: Image.Image | None = None
        known = size or (_jpeg_size(data) if self._jpeg else None)
        self._ordinary = known is not None
        if known is None:
            self._image = opened(data)
            known = self._image.size
        self.width, self.height = known
        if self.width * self.height > MAX_PIXELS * (64 if self._jpeg else 1):
            raise Unusable(f"{self.width:,} x {self.height:,} pixels are too many")

    def decode(self, box: Box, shrink: int) -> Decoded:
        """What covers `box`, at 1/`shrink` of the size, whose multiple the box has to be; `shrink` is 1 unless
        `can_shrink`. Raises Unusable."""
        data, left, upper = self._data, 0, 0
        if self._jpeg:
            part = tiles.cut(data, box)
            width, height = self.width, self.height
            if part is not None:
                data, left, upper, width, height = part.data, part.left, part.upper, part.width, part.height
            pixels = _decode_jpeg(data, width, height, shrink) if self._ordinary else None
            if pixels is not None:
                return Decoded(pixels, left // shrink, upper // shrink)
        image = opened(data) if self._image is None or data is not self._data else self._image
        if self._jpeg and shrink > 1:
            # Pillow takes the biggest shrink that leaves at least this size.
            image.draft("RGB", (max(1, image.width // shrink), max(1, image.height // shrink)))
        image, repaired = as_rgb(image)
        # A copy, since torch wants what it reads to be writable.
        return Decoded(np.array(image), left // shrink, upper // shrink, repaired)

    @property
    def can_shrink(self) -> bool:
        """True where it can be decoded at a fraction of its size."""
        return self._jpeg


def opened(data: bytes) -> Image.Image:
    """The picture as Pillow opens it, not decoded yet. Raises Unusable."""
    if not data:
        raise Unusable("the file is empty")
    # Pillow's limit would apply when a file is opened; ours applies to the pixels that are decoded.
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Unusable("it is not a picture that can be read") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise Unusable(str(error)) from None


def size_of(path: Path) -> tuple[int, int]:
    """A picture's width and height, from the file's header. Raises OSError where it cannot be read, else Unusable."""
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except UnidentifiedImageError:
        raise Unusable("it is not a picture that can be read") from None
    except (SyntaxError, ValueError) as error:
        raise Unusable(str(error)) from None


def as_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """The picture in RGB with 8 bits, and what had to be repaired for that, if anything.

    Raises Unusable where it is truncated or its pixels are not colours.
    """
    try:
        mode = image.mode
        if mode == "RGB":
            image.load()
            return image, ""
        if mode in ("I", "F") or mode.startswith("I;"):
            values = np.asarray(image, np.float64)
            if not np.isfinite(values).all() or values.min() < 0 or values.max() >= 2**16:
                raise Unusable(f"its pixels are not colours of 8 or 16 bits (mode {mode})")
            eight = (values / (257 if mode != "F" or values.max() > 255 else 1)).round().astype(np.uint8)
            return Image.fromarray(eight).convert("RGB"), "16 bits"
        note = {"CMYK": "CMYK", "YCCK": "CMYK", "LAB": "LAB"}.get(mode, "")
        if mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # in two steps, or Pillow warns that a palette's transparency is dropped
        return image.convert("RGB"), note
    except Unusable:
        raise
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise Unusable(str(error) or type(error).__name__) from None


def decoder_name() -> str:
    """This host's decoder for JPEGs and its version, for the log."""
    if _simplejpeg is not None:
        return f"simplejpeg {metadata.version('simplejpeg')}"
    return f"Pillow {PIL.__version__} (simplejpeg, which is faster, is not installed)"


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_simplejpeg: Any = _optional("simplejpeg")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of an ordinary JPEG; None where Pillow has to open it."""
    if _simplejpeg is None:
        return None
    try:
        height, width, colours, _ = _simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    # CMYK is left to Pillow, which reports it.
    return (width, height) if colours in ("YCbCr", "Gray", "RGB") else None


def _decode_jpeg(data: bytes, width: int, height: int, shrink: int) -> Pixels | None:
    """None where simplejpeg does not decode it; Pillow may, or says what is wrong."""
    if _simplejpeg is None:
        return None
    try:
        if shrink == 1:
            pixels: Pixels = _simplejpeg.decode_jpeg(data)
        else:
            pixels = _simplejpeg.decode_jpeg(
                data, min_width=math.ceil(width / shrink), min_height=math.ceil(height / shrink), min_factor=shrink
            )
    except ValueError:
        return None
    expected = math.ceil(height / shrink), math.ceil(width / shrink)
    return pixels if pixels.shape[:2] == expected else None
