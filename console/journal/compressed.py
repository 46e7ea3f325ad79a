"""The bytes of a log that is plain, gzip or Zstandard, told apart by its first bytes.

gzip is in Python; Zstandard needs the package ``zstandard`` (the extra ``zstd``).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

CHUNK_BYTES: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


class Broken(Exception):
    """Compressed data that ends early or is damaged."""


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """The uncompressed content in pieces, none of them larger than a compressed chunk can make it.

    Raises:
        Broken: the compressed data is damaged or cut off; what came before it is good.
        ValueError: it is Zstandard, and the package that reads it is not installed.
    """
    head = file.read(CHUNK_BYTES)
    if head.startswith(_GZIP):
        # 16: a gzip header, which zlib checks.
        yield from _decompressed(file, head, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error)
    elif head.startswith(_ZSTANDARD):
        try:
            import zstandard
        except ImportError:
            raise ValueError(
                "is compressed with Zstandard: unpack it with `zstd -d`, or install the package zstandard"
            ) from None
        # Not its stream_reader, which ends in silence where the data is cut off.
        yield from _decompressed(file, head, _Zstandard, zstandard.ZstdError)
    else:
        while head:
            yield head
            head = file.read(CHUNK_BYTES)


def _decompressed(file: BinaryIO, head: bytes, new: Callable[[], Any], broken: type[Exception]) -> Iterator[bytes]:
    """The stream's members one after another, each chunk bounded, so that a bomb costs time and no memory."""
    member, started = new(), False
    data = head
    while data or (data := file.read(CHUNK_BYTES)):
        try:
            out = member.decompress(data, CHUNK_BYTES)
        except broken as error:
            raise Broken(f"the compressed data is damaged: {error}") from None
        started = True
        if out:
            yield out
        if member.eof:
            data = member.unused_data.lstrip(b"\0")
            member, started = new(), False
        else:
            data = member.unconsumed_tail
            if not out and not data:
                continue
    if started:
        raise Broken("the compressed data is cut off")


class _Zstandard:
    """The package's decompressor with the interface of zlib's."""

    # It cannot bound its output; a block of 128 KiB takes 4 bytes at least, so this input bounds it to 32 MiB.
    _TAKEN_BYTES: Final = 1024

    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data) + self.unconsumed_tail

    def decompress(self, data: bytes, _max_bytes: int) -> bytes:
        self.unconsumed_tail = data[self._TAKEN_BYTES :]
        return bytes(self._inner.decompress(data[: self._TAKEN_BYTES]))
