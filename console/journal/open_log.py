"""A log of any form, told apart by its content: a run's journal, a fast.ai debug.log, a DAWNBench table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from console.journal import dawnbench, fastai2018, reader
from console.journal.fold_log import fold_items
from console.journal.reader import Line, Lost
from console.state.events import Damaged, Record, Unknown, parse_run_line
from console.state.run import Run

JOURNAL: Final = "journal"
FASTAI_2018: Final = "fast.ai 2018"
DAWNBENCH: Final = "DAWNBench"

HEAD_LINES: Final = 100
"""So many lines are looked at to tell what a file is: a damaged first line must not hide a journal."""
JOURNAL_BEGINS: Final = b'{"received":'


class LogError(ValueError):
    """A file that is not a log; the sentence names the file, and the line where there is one."""


@dataclass(frozen=True, slots=True)
class Log:
    """A file that holds a run."""

    path: Path
    form: str
    """`JOURNAL`, `FASTAI_2018` or `DAWNBENCH`."""

    def items(self) -> Iterator[Record | Lost]:
        """Its records and what was lost, in order, read anew on each call.

        Raises:
            LogError: the file cannot be read any more.
        """
        try:
            if self.form == FASTAI_2018:
                yield from fastai2018.records(reader.lines(self.path), run_id=self.path.name)
            elif self.form == DAWNBENCH:
                beside = dawnbench.entry_beside(self.path)
                yield from dawnbench.records(reader.lines(self.path), run_id=self.path.name, entry=beside)
            else:
                yield from reader.read(self.path)
        except OSError as error:
            raise LogError(f"{self.path}: {error.strerror or error}") from error


def open_log(path: Path | str) -> Log:
    """The log at `path`, its form told by its content.

    Raises:
        LogError: there is no such file, it cannot be read, or it is not a log.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise LogError(f"{path} is a directory, not a log")
        if not path.is_file() and path.exists():
            raise LogError(f"{path} is not a regular file, so it cannot be read twice")
        head = list(islice(reader.lines(path), HEAD_LINES))
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise error if isinstance(error, LogError) else LogError(f"{path} {error}") from error
    texts = [line for line in head if isinstance(line, Line)]
    form = _form(texts)
    if form is not None:
        return Log(path, form)
    if not head:
        raise LogError(f"{path} is empty")
    first = next((line for line in head if not isinstance(line, Line) or line.text.strip()), head[0])
    number = first.number if isinstance(first, Line) else first.line_number
    why = _why_not(first)
    raise LogError(
        f"{path}, line {number}: {why}; this is not a journal of a run, a fast.ai debug.log or a DAWNBench table"
    )


def _form(head: list[Line]) -> str | None:
    for line in head:
        if line.text.startswith(JOURNAL_BEGINS):
            return JOURNAL
        if line.text.startswith(b"{"):
            try:
                parse_run_line(line.text)
            except Unknown:
                return JOURNAL
            except Damaged:
                continue
            return JOURNAL
    if len(head) == 1 and head[0].text and JOURNAL_BEGINS.startswith(head[0].text):
        return JOURNAL
    texts = [line.text.decode("utf-8", "replace") for line in head]
    if any(map(fastai2018.is_line, texts)):
        return FASTAI_2018
    return DAWNBENCH if dawnbench.is_table(texts) else None


def _why_not(first: Line | Lost) -> str:
    if isinstance(first, Lost):
        return first.reason
    text = first.text[:200]
    if text.startswith(_PICTURES):
        return "an image"
    if b"\0" in text or any(byte < 9 for byte in text):
        return "binary data"
    return f"{text[:40].decode('utf-8', 'replace')!r}"


_PICTURES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")


def fold(path: Path | str) -> Run:
    """The run in a log, folded to its end. Raises LogError."""
    return fold_items(open_log(path).items())
