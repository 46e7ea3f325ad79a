"""The run's journal on disk, read back whatever has happened to the file.

A stream of records and of losses, never an exception about the content. The file may be plain, gzip or Zstandard
(`console.journal.compressed`); cut at any byte; damaged on any line. A line longer than `LINE_BYTES` is skipped without
being held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.journal.compressed import CHUNK_BYTES, Broken, chunks
from console.state.events import Damaged, Record, Unknown, parse_run_line

LINE_BYTES: Final = 1 << 20
"""A longer line is damaged. The longest that we write are a RunCreated with its profile and a printed line of 4 KiB."""
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


def read(path: Path) -> Iterator[Record | Lost]:
    """The records of a run's journal and what was lost, in order.

    Raises:
        OSError: the file cannot be read at all.
        ValueError: it is compressed with Zstandard, and the package that reads that is not installed.
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
        content = chunks(file)
        while True:
            try:
                chunk = next(content, None)
            except Broken as error:
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
