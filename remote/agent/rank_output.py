"""The output of a trainer and its ranks: as records for the console, bounded and stripped, and in full in files.

What a program on a host prints is not to be trusted: it may hold escape sequences, be one line of a gigabyte, or come
at a hundred thousand lines a second. Each rank has pipes of its own, so that its lines can be told from its neighbours'
and a rank that floods does not hide the others. In the journal a line is cut at 4 KiB; beyond 50 lines a second, or
64 KiB and from then on 4 KiB a second, lines are only counted (`remote.agent.allowance`), so a rank adds 15 MB an hour
at most. The output in full is in ``logs/`` beside the journal, the newest 32 MiB of each stream.

Standard library only.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from remote.agent.allowance import LINE_BYTES, Allowance
from remote.agent.output_file import OutputFile
from remote.wire.events import LogPrinted
from remote.wire.journal import Journal
from remote.wire.layout import LOGS
from remote.wire.rank_pipes import RankPipes

_CHUNK_BYTES = 1 << 16
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, PM, APC, SOS with their text
    r"|\x1b[ -/]*[0-~]?"  # any other escape, or the beginning of one
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # C0 but tab and newline, DEL, C1
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # marks that change the direction of writing
)


def plain(text: str) -> str:
    """The text without control sequences, control characters and marks that change the direction of writing."""
    return _ESCAPES.sub("", text.replace("\t", "    "))


def _shown(piece: bytes) -> str:
    """The line as it is journalled: a byte that is not UTF-8, or a tab, must not make it longer than `LINE_BYTES`."""
    text = plain(piece.decode("utf-8", "replace").rstrip("\r\n"))
    return text.encode()[:LINE_BYTES].decode("utf-8", "ignore")


class _Speaker:
    """A process that prints: a rank, or the launcher. Each has an allowance of its own."""

    def __init__(self, local_rank: int | None) -> None:
        """`local_rank`: None for the launcher."""
        self.local_rank = local_rank
        self.allowance = Allowance(time.monotonic())

    def __str__(self) -> str:
        return "the launcher" if self.local_rank is None else f"local rank {self.local_rank}"


class _Stream:
    """One pipe, and the beginning of a line that has not ended yet."""

    def __init__(self, fd: int, name: str, speaker: _Speaker, file: OutputFile | None) -> None:
        self.fd, self.name, self.speaker, self.file = fd, name, speaker, file
        self._held = b""
        self._cut = False
        """What comes until the next newline is the rest of a line that was cut."""

    def lines(self, chunk: bytes) -> list[bytes]:
        """The lines that a chunk ends. One that is longer than `LINE_BYTES` comes as soon as it is that long."""
        found = chunk.split(b"\n")
        if self._cut:
            if len(found) == 1:
                return []
            del found[0]
            self._cut = False
        else:
            found[0] = self._held + found[0]
        self._held = found.pop()
        if len(self._held) > LINE_BYTES:
            found.append(self._held)
            self._held, self._cut = b"", True
        return found

    def rest(self) -> bytes:
        """What came after the last newline."""
        held, self._held = self._held, b""
        return held


class OutputReader:
    """Reads the output of a trainer and its ranks, in a thread, into the journal and into files."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        journal: Journal,
        ranks: RankPipes | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder`: where the files are made; None for no files."""
        self._journal = journal
        self._lock = threading.Lock()
        self._last = {"stdout": b"", "stderr": b""}
        """The last line of each stream that was not blank."""
        self._process = process
        self._folder = folder
        self._streams = list(self._open(process, ranks))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _open(self, process: subprocess.Popen[bytes], ranks: RankPipes | None) -> Iterator[_Stream]:
        launcher = _Speaker(None)
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            if stream is not None:
                yield _Stream(stream.fileno(), name, launcher, self._file(f"launcher.{name}.log"))
        for local_rank, (out, err) in enumerate(ranks.reading if ranks else ()):
            speaker = _Speaker(local_rank)
            for fd, name in ((out, "stdout"), (err, "stderr")):
                yield _Stream(fd, name, speaker, self._file(f"local-rank-{local_rank}.{name}.log"))

    def _file(self, name: str) -> OutputFile | None:
        return OutputFile(self._folder / name) if self._folder is not None else None

    def finish(self) -> str:
        """Waits for what is still in the pipes; returns the last line that was not blank, preferably of stderr."""
        # A grandchild may hold a pipe open: its output is not worth a late report of the trainer's end.
        self._thread.join(2.0)
        with self._lock:
            for speaker in self._speakers():
                self._report_held_back(speaker, last=True)
            return _shown(self._last["stderr"])[:400] or _shown(self._last["stdout"])[:400]

    def _speakers(self) -> set[_Speaker]:
        return {stream.speaker for stream in self._streams}

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for stream in self._streams:
                selector.register(stream.fd, selectors.EVENT_READ, stream)
            while selector.get_map():
                for key, _ in selector.select(1.0):
                    stream = key.data
                    chunk = os.read(stream.fd, _CHUNK_BYTES)
                    with self._lock:
                        if chunk:
                            self._take(stream, chunk)
                        else:
                            selector.unregister(stream.fd)
                            self._end(stream)
                now = time.monotonic()
                with self._lock:
                    for speaker in self._speakers():
                        if speaker.allowance.is_over(now):
                            self._report_held_back(speaker, last=True)
                        elif speaker.allowance.is_due(now):
                            self._report_held_back(speaker)

    def _end(self, stream: _Stream) -> None:
        self._print(stream, stream.rest(), time.monotonic())
        if stream.file is not None:
            stream.file.close()
        owner = {"stdout": self._process.stdout, "stderr": self._process.stderr}[stream.name]
        if stream.speaker.local_rank is None and owner is not None:
            owner.close()
        else:
            os.close(stream.fd)

    def _take(self, stream: _Stream, chunk: bytes) -> None:
        self._keep(stream, chunk)
        lines, now = stream.lines(chunk), time.monotonic()
        for index, line in enumerate(lines):
            if not self._print(stream, line, now):
                # The rest of a flood's chunk is counted and not looked at, so that it costs the host no core.
                rest = lines[index + 1 :]
                stream.speaker.allowance.hold_back(stream.name, rest, now)
                self._last[stream.name] = next((text for text in reversed(rest) if text.strip()), line)[:LINE_BYTES]
                return

    def _keep(self, stream: _Stream, chunk: bytes) -> None:
        """Writes the chunk to the stream's file, which a failure ends."""
        if stream.file is None:
            return
        try:
            stream.file.write(chunk)
        except OSError as error:
            stream.file.close()
            stream.file = None
            text = f"{LOGS}/ keeps no more of {stream.name} of {stream.speaker}: {error.strerror or error}"
            self._emit(stream.speaker, "stderr", text)

    def _print(self, stream: _Stream, line: bytes, now: float) -> bool:
        """Journals a line, unless it is blank; False where it was held back."""
        line = line[:LINE_BYTES]
        if not line or line.isspace():
            return True
        speaker = stream.speaker
        self._last[stream.name] = line
        if speaker.allowance.is_due(now):
            self._report_held_back(speaker)
        # Before it is decoded: a trainer that floods must not cost the host a core.
        if not speaker.allowance.take(len(line), now):
            speaker.allowance.hold_back(stream.name, [line], now)
            return False
        text = _shown(line)
        if text.strip():
            self._emit(speaker, stream.name, text)
        return True

    def _report_held_back(self, speaker: _Speaker, *, last: bool = False) -> None:
        """Journals how many lines were held back; with `last`, since no more come, the last of them too."""
        allowance = speaker.allowance
        if not allowance.held_back:
            return
        tail = [(name, text) for name, line in allowance.tail if (text := _shown(line)).strip()] if last else []
        count = allowance.held_back - len(tail)
        allowance.held_back = 0
        allowance.tail.clear()
        if count:
            self._emit(speaker, "stderr", f"({count} more lines within a second)")
        for name, text in tail:
            allowance.overdraw(len(text.encode()))
            self._emit(speaker, name, text)

    def _emit(self, speaker: _Speaker, stream: str, text: str) -> None:
        self._journal.emit(LogPrinted(text=text, stream=stream, local_rank=speaker.local_rank))
