"""TODO docstring: console/journal/compressed.py."""

from __future__ import annotations

import functools
import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final

CHUNK_BYTES: Final = 1 << 18


class _Broken(Exception):
    """Compressed data that ends early or is damaged."""


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    head = file.read(CHUNK_BYTES)
    if head.startswith(b"\x1f\x8b"):
        # 16: a gzip header, which zlib checks.
        yield from _decompressed(file, head, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error)
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _unzstd(file, head)
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
            raise _Broken(f"the compressed data is damaged: {error}") from None
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
        raise _Broken("the compressed data is cut off")


def _unzstd(file: BinaryIO, head: bytes) -> Iterator[bytes]:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            zstd: Any = importlib.import_module(name)
        except ImportError:
            continue
        source: Any = zstd.ZstdFile(_Prefixed(head, file))
        error_kinds: tuple[type[Exception], ...] = (zstd.ZstdError, EOFError)
        break
    else:
        try:
            zstd = importlib.import_module("zstandard")
        except ImportError:
            raise ValueError(
                "is compressed with Zstandard, which this Python cannot read: unpack it with `zstd -d`, "
                "or install the package zstandard"
            ) from None
        # Not its stream_reader, which ends in silence where the data is cut off.
        yield from _decompressed(file, head, functools.partial(_Zstandard, zstd), zstd.ZstdError)
        return
    while True:
        try:
            out = source.read(CHUNK_BYTES)
        except error_kinds as error:
            raise _Broken(f"the compressed data is damaged or cut off: {error}") from None
        if not out:
            return
        yield out


class _Zstandard:
    """The package zstandard's decompressor with the face of zlib's."""

    # It cannot bound what comes out; a block of 128 KiB takes 4 bytes at least, so that this keeps it to 32 MiB.
    _TAKEN_BYTES: Final = 1024

    def __init__(self, zstandard: Any) -> None:
        self._inner: Any = zstandard.ZstdDecompressor().decompressobj()
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


class _Prefixed:
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head, self._file = head, file

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._file.read(size)
        taken = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(taken) :]
        return taken
