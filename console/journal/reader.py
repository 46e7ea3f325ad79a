"""The run's journal on disk: records appended as lines, and read back whatever has happened to the file.

Writing: one ``write(2)`` a batch on a file opened with O_APPEND, so that what was appended survives the console's
death. Where a batch was torn (a full disk, a power cut), the next begins on a line of its own.

Reading: a stream of records and of losses, never an exception about the content. The file may be plain, gzip or
Zstandard, told apart by its first bytes; cut at any byte; damaged on any line. A line longer than `LINE_BYTES` is
skipped without being held.
"""

from __future__ import annotations

import functools
import importlib
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

from console.events import Damaged, Record, Unknown, parse_run_line, record_line

LINE_BYTES: Final = 1 << 20
"""A longer line is damaged. The longest that we write are a RunCreated with its profile and a printed line of 4 KiB."""
CHUNK_BYTES: Final = 1 << 18
NEWLINE: Final = 0x0A

DAMAGED: Final = "damaged"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Lost:
    """A line that could not be read."""

    line_number: int
    """From 1."""
    kind: str
    """``damaged``, or ``unknown`` for a whole record of an event that this version does not know."""
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file."""

    number: int
    """From 1."""
    offset: int
    """Of its first byte in the uncompressed file."""
    text: bytes
    """Without its newline."""


# --- writing ---------------------------------------------------------------------------------------------------------


class RunJournal:
    """A run's ``run.jsonl``, open for appending by the one console that holds the run.

    Raises OSError with a sentence where the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # 0600: host addresses and the profile are nobody else's business.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _said(error, path, "the run's journal cannot be opened") from error
        size = os.fstat(self._file).st_size
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def append(self, *records: Record) -> None:
        """Appends a batch and hands it to the operating system.

        Raises:
            OSError: not all of it could be written (the disk is full); the journal stays readable.
        """
        if records:
            self.append_text("".join(f"{record_line(record)}\n" for record in records))

    def append_text(self, lines: str) -> None:
        """Appends whole lines as they are. Raises OSError as `append` does."""
        # A lone surrogate, which a host's JSON can hold, goes back to the escape that it came from.
        rest = memoryview((b"\n" if self._torn else b"") + lines.encode("utf-8", "backslashreplace"))
        try:
            while rest:
                written = os.write(self._file, rest)
                self._torn = rest[written - 1] != NEWLINE if written else self._torn
                rest = rest[written:]
        except OSError as error:
            raise _said(error, self.path, "the run's journal cannot be written") from error

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> RunJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _said(error: OSError, path: Path, what: str) -> OSError:
    return type(error)(error.errno, f"{what}: {error.strerror}", str(path))


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> Iterator[Record | Lost]:
    """The records of a run's journal and what was lost, in order.

    Raises:
        OSError: the file cannot be read at all.
        ValueError: it is compressed in a way that this Python cannot read.
    """
    for line in lines(path):
        item = line if isinstance(line, Lost) else _item(line)
        if item is not None:
            yield item


def _item(line: Line) -> Record | Lost | None:
    try:
        return parse_run_line(line.text)
    except Damaged as error:
        # A blank line is what a torn batch leaves behind when the next one begins on a line of its own.
        return Lost(line.number, DAMAGED, str(error)) if line.text and not line.text.isspace() else None
    except Unknown as error:
        return Lost(line.number, UNKNOWN, f"{error!s:.80}")


class Growing:
    """A plain journal that somebody else writes, read as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset, self._number = 0, 1
        self._skipping = False

    def read(self, most_bytes: int = CHUNK_BYTES) -> list[Record | Lost] | None:
        """The next whole lines' records and losses, of about so many bytes; None where there is no whole line more.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read(max(most_bytes, LINE_BYTES + 1))
        if (end := data.rfind(b"\n", 0, most_bytes)) < 0 and (end := data.find(b"\n")) < 0:
            # No end of a line: it is being written, or it is longer than a line may be.
            if len(data) <= LINE_BYTES:
                return None
            self._offset += len(data)
            self._skipping = True
            return []
        items: list[Record | Lost] = []
        for text in data[:end].split(b"\n"):
            if self._skipping or len(text) > LINE_BYTES:
                self._skipping = False
                items.append(Lost(self._number, DAMAGED, f"longer than {LINE_BYTES} bytes"))
            elif (item := _item(Line(self._number, self._offset, text))) is not None:
                items.append(item)
            self._number += 1
        self._offset += end + 1
        return items


def lines(path: Path) -> Iterator[Line | Lost]:
    """The lines of a plain, gzip or Zstandard file; see `read` for what it raises.

    Lost: a line that is too long, or what follows where compressed data breaks off.
    """
    number, offset = 1, 0
    held, skipping = b"", False
    with path.open("rb") as file:
        chunks = _chunks(file)
        while True:
            try:
                chunk = next(chunks, None)
            except _Broken as error:
                yield Lost(number, DAMAGED, str(error))
                return
            if chunk is None:
                break
            pieces = chunk.split(b"\n")
            if len(pieces) == 1:
                if not skipping:
                    held += chunk
                    if len(held) > LINE_BYTES:
                        yield Lost(number, DAMAGED, f"longer than {LINE_BYTES} bytes")
                        offset += len(held)
                        held, skipping = b"", True
                else:
                    offset += len(chunk)
                continue
            pieces[0] = held + pieces[0]
            held = pieces.pop()
            for piece in pieces:
                if skipping:
                    skipping = False
                elif len(piece) > LINE_BYTES:
                    yield Lost(number, DAMAGED, f"longer than {LINE_BYTES} bytes")
                else:
                    yield Line(number, offset, piece)
                number += 1
                offset += len(piece) + 1
        if held:
            yield Line(number, offset, held)


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
