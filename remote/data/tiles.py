"""JPEGs that can be decoded in part, because restart markers cut them into tiles.

A random crop covers less than half of a picture on average, and decoding is most of a loader's work. In a plain JPEG a
block can be decoded only after all the blocks before it. A restart marker (ITU T.81, B.2.4.4: RST0 to RST7 in turn, two
bytes) ends that dependence, so a picture with one after every few blocks is a grid of tiles that can be extracted: the
tiles that a crop needs, with the header's height and width changed, are a JPEG themselves, which any decoder reads, and
its pixels are exactly those of the whole picture.

The markers cost about 2 % of the bytes. A row of tiles has to end where a row of blocks does, so the encoder pads the
picture on the right, with its last column, to a whole number of tiles; the padding is never used.

Standard library only.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

TILE_PX = 64
"""About the width of a tile. Narrower ones fit a crop better and cost more bytes; at 64 the markers are 2 %."""
_RESTART = re.compile(b"\xff[\xd0-\xd7]")
"""Does not occur within a tile: there a byte 0xFF is followed by a zero."""
_MARKERS = tuple(bytes((0xFF, 0xD0 + number)) for number in range(8))
_END = b"\xff\xd9"
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CONTEXT = 2
"""Pixels around a crop whose blocks its own pixels depend on: colour is stored at half the size and blended."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The tiles of a picture."""

    blocks: int
    """Width of a tile in blocks (MCUs): the restart interval."""
    columns: int
    """Tiles in a row."""

    @classmethod
    def of(cls, width: int, block_px: int) -> Grid:
        """The grid for a picture of this width: tiles of about `TILE_PX`, chosen for the least padding."""
        need = math.ceil(width / block_px)
        wanted = TILE_PX // block_px
        if need <= wanted:
            return cls(need, 1)
        sizes = range(max(1, wanted * 3 // 4), wanted * 3 // 2 + 1)
        blocks = min(sizes, key=lambda size: (math.ceil(need / size) * size, abs(size - wanted)))
        return cls(blocks, math.ceil(need / blocks))


@dataclass(frozen=True, slots=True)
class Part:
    """A JPEG of some of a picture's tiles."""

    data: bytes
    left: int
    """Its position in the picture, in pixels."""
    upper: int
    width: int
    height: int


def cut(data: bytes, box: tuple[int, int, int, int]) -> Part | None:
    """The tiles that `box` (left, upper, right, lower) needs; None where the picture is not cut into tiles.

    Pixels inside the box are exactly those of the whole picture; the part may extend beyond the box.
    """
    frame = _frame(data)
    if frame is None:
        return None
    size_at, scan, block_w, block_h, blocks = frame
    height, width = (int.from_bytes(data[at : at + 2], "big") for at in (size_at, size_at + 2))
    tile_w = blocks * block_w
    columns, odd = divmod(width, tile_w)
    rows = -(-height // block_h)
    tiles = _RESTART.split(data[scan : data.rindex(_END)])
    if odd or len(tiles) != columns * rows:
        return None
    left, upper, right, lower = box
    first, last = max(0, left - _CONTEXT) // tile_w, min(columns, -(-(right + _CONTEXT) // tile_w))
    top, bottom = max(0, upper - _CONTEXT) // block_h, min(rows, -(-(lower + _CONTEXT) // block_h))
    chosen: list[bytes] = []
    for row in range(top, bottom):
        chosen += tiles[row * columns + first : row * columns + last]
    part_w, part_h = (last - first) * tile_w, min(bottom * block_h, height) - top * block_h
    size = part_h.to_bytes(2, "big") + part_w.to_bytes(2, "big")
    count = len(chosen)
    pieces = [b""] * (2 * count + 1)
    pieces[0] = data[:size_at] + size + data[size_at + 4 : scan]
    pieces[1::2] = chosen
    pieces[2::2] = (_MARKERS * (count // 8 + 1))[:count]
    pieces[-1] = _END
    return Part(b"".join(pieces), first * tile_w, top * block_h, part_w, part_h)


def _frame(data: bytes) -> tuple[int, int, int, int, int] | None:
    """Offsets of height and width and of the first tile, a block's width and height in pixels, and the restart interval
    in blocks; None for anything but a baseline JPEG with restart markers and a single scan."""
    at, size_at, blocks = 2, 0, 0
    block_w = block_h = 8
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, length = data[at + 1], (data[at + 2] << 8) + data[at + 3]
        if kind in (0xC0, 0xC1):
            size_at = at + 5
            components = data[at + 9]
            if components > 1:
                sampling = [data[at + 11 + 3 * number] for number in range(components)]
                block_w, block_h = (
                    8 * max(factor >> 4 for factor in sampling),
                    8 * max(factor & 15 for factor in sampling),
                )
        elif kind in _START_OF_FRAME:
            return None
        elif kind == 0xDD:
            blocks = (data[at + 4] << 8) + data[at + 5]
        elif kind == 0xDA:
            scan = at + 2 + length
            return (size_at, scan, block_w, block_h, blocks) if size_at and blocks else None
        at += 2 + length
    return None
