"""The run's journal on disk, as it is written.

One ``write(2)`` a batch on a file opened with O_APPEND, so that what was appended survives the console's death. Where
a batch was torn (a full disk, a power cut), the next begins on a line of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from console.journal.reader import NEWLINE
from console.state.events import Record, record_line


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
            raise _with_sentence(error, path, "the run's journal cannot be opened") from error
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
            raise _with_sentence(error, self.path, "the run's journal cannot be written") from error

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


def _with_sentence(error: OSError, path: Path, what: str) -> OSError:
    return type(error)(error.errno, f"{what}: {error.strerror}", str(path))
