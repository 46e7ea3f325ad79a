"""What a trainer prints: as records for the console, bounded in length and in rate and stripped; and whole, in files.

What a program on a host prints is not to be trusted: it may hold escape sequences, be one line of a gigabyte, or come
a hundred thousand lines a second. Each rank has pipes of its own, so that its lines can be told from its neighbours'
and a rank that floods does not hide the others. In the journal a line is cut at 4 KiB, and of more than 50 lines a
second, or 64 KiB and from then on 4 KiB a second, the rest is counted and said: a rank adds 15 MB an hour at most. What
came at all is in ``logs/`` beside the journal, the newest 32 MiB of each stream.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from remote.wire.events import LogPrinted
from remote.wire.journal import Journal
from remote.wire.layout import LOGS
from remote.wire.rank_pipes import RankPipes

LINE_BYTES = 4096
LINES_PER_S = 50
"""Of each rank, and of their launcher."""
BURST_BYTES = 1 << 16
BYTES_PER_S = 1 << 12
"""After a burst; a line each 20 ms of 80 letters."""
LAST_LINES = 20
"""Of a flood that is over, so many last lines are told after all: a traceback comes last."""
FILE_BYTES = 16 << 20
"""Of a stream's file; a full one is kept as the one before."""
FREE_BYTES = 512 << 20
"""The disk is the checkpoints' first: with less left nothing is kept of what is printed."""

_CHUNK_BYTES = 1 << 16
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, PM, APC, SOS with their text
    r"|\x1b[ -/]*[0-~]?"  # any other escape, or the beginning of one
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # C0 but tab and newline, DEL, C1
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # marks that turn the direction of writing
)


def plain(text: str) -> str:
    """The text without control sequences, control characters and marks that turn the direction of writing."""
    return _ESCAPES.sub("", text.replace("\t", "    "))


def _shown(piece: bytes) -> str:
    """The line as it is told: a byte that is no UTF-8, or a tab, must not make it longer than it may be."""
    text = plain(piece.decode("utf-8", "replace").rstrip("\r\n"))
    return text.encode()[:LINE_BYTES].decode("utf-8", "ignore")


class OutputFile:
    """A stream as it came, byte for byte, in a file and the one before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._size = 0
        self._unlooked = 0

    def write(self, chunk: bytes) -> None:
        """Appends.

        Raises:
            OSError: it cannot be written, or the disk is nearly full.
        """
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._open()
        assert self._file is not None
        self._unlooked -= len(chunk)
        if self._unlooked < 0:
            self._unlooked = 1 << 20
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize < FREE_BYTES:
                raise OSError(f"less than {FREE_BYTES >> 20} MiB are left on the disk")
        self._file.write(chunk)
        self._size += len(chunk)
        if self._size >= FILE_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._open()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


class _Voice:
    """Who prints: a rank, or their launcher. Its allowance is its own."""

    def __init__(self, local_rank: int | None) -> None:
        self.local_rank = local_rank
        self._second = 0
        self._said = 0
        self._bytes = float(BURST_BYTES)
        self._at = time.monotonic()
        self._quiet = self._at
        self.held_back = 0
        self.tail: deque[tuple[str, bytes]] = deque(maxlen=LAST_LINES)
        """The last of those held back, with their stream: of a rank that fell, the last words are what one wants."""

    def hold_back(self, name: str, lines: Sequence[bytes], now: float) -> None:
        """Counts lines that are not told."""
        self._quiet = now + 1.0
        self.held_back += len(lines)
        self.tail.extend((name, line[:LINE_BYTES]) for line in lines[-LAST_LINES:])

    def is_quiet(self, now: float) -> bool:
        """True where a flood is over: for a second nothing was held back."""
        return self.held_back > 0 and now > self._quiet

    def owe(self, size: int) -> None:
        """Takes from the allowance what was told beyond it."""
        self._bytes -= size

    def may_say(self, size: int, now: float) -> bool:
        """True if a line of so many bytes may be told now; it is counted where it may."""
        if int(now) != self._second:
            self._second, self._said = int(now), 0
        self._bytes = min(BURST_BYTES, self._bytes + (now - self._at) * BYTES_PER_S)
        self._at = now
        if self._said >= LINES_PER_S or self._bytes < size:
            return False
        self._said += 1
        self._bytes -= size
        return True

    def silenced(self, now: float) -> bool:
        """True for lines held back in an earlier second, of which has to be told."""
        return self.held_back > 0 and int(now) != self._second


class _Stream:
    """One pipe: its lines as far as they have come."""

    def __init__(self, fd: int, name: str, voice: _Voice, file: OutputFile | None) -> None:
        self.fd, self.name, self.voice, self.file = fd, name, voice, file
        self._held = b""
        self._tail = False
        """What comes until the next newline is the rest of a line that was cut."""

    def lines(self, chunk: bytes) -> list[bytes]:
        """The lines that a chunk ends, each cut at `LINE_BYTES`; a longer one as soon as it is that long."""
        found = chunk.split(b"\n")
        if self._tail:
            if len(found) == 1:
                return []
            del found[0]
            self._tail = False
        else:
            found[0] = self._held + found[0]
        self._held = found.pop()
        if len(self._held) > LINE_BYTES:
            found.append(self._held)
            self._held, self._tail = b"", True
        return found

    def rest(self) -> bytes:
        """What came after the last newline."""
        held, self._held = self._held, b""
        return held


class OutputReader:
    """Reads what a trainer and its ranks print, in a thread, into the journal and into files."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        journal: Journal,
        ranks: RankPipes | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder`: where the files go; None for none."""
        self._journal = journal
        self._lock = threading.Lock()
        self._last = {"stdout": b"", "stderr": b""}
        self._process = process
        self._folder = folder
        self._streams = list(self._open(process, ranks))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _open(self, process: subprocess.Popen[bytes], ranks: RankPipes | None) -> Iterator[_Stream]:
        launcher = _Voice(None)
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            if stream is not None:
                yield _Stream(stream.fileno(), name, launcher, self._file(f"launcher.{name}.log"))
        for local_rank, (out, err) in enumerate(ranks.reading if ranks else ()):
            voice = _Voice(local_rank)
            for fd, name in ((out, "stdout"), (err, "stderr")):
                yield _Stream(fd, name, voice, self._file(f"local-rank-{local_rank}.{name}.log"))

    def _file(self, name: str) -> OutputFile | None:
        return OutputFile(self._folder / name) if self._folder is not None else None

    def finish(self) -> str:
        """Waits for what is still in the pipes; the last line that was not empty, preferably of stderr."""
        # A grandchild may hold a pipe open; its words can wait, the end of the trainer cannot.
        self._thread.join(2.0)
        with self._lock:
            for voice in {stream.voice for stream in self._streams}:
                self._say_held_back(voice, last=True)
            return _shown(self._last["stderr"])[:400] or _shown(self._last["stdout"])[:400]

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
                    for voice in {stream.voice for stream in self._streams}:
                        if voice.is_quiet(now):
                            self._say_held_back(voice, last=True)
                        elif voice.silenced(now):
                            self._say_held_back(voice)

    def _end(self, stream: _Stream) -> None:
        self._say(stream, stream.rest(), time.monotonic())
        if stream.file is not None:
            stream.file.close()
        owner = {"stdout": self._process.stdout, "stderr": self._process.stderr}[stream.name]
        if stream.voice.local_rank is None and owner is not None:
            owner.close()
        else:
            os.close(stream.fd)

    def _take(self, stream: _Stream, chunk: bytes) -> None:
        self._keep(stream, chunk)
        lines, now = stream.lines(chunk), time.monotonic()
        for place, line in enumerate(lines):
            if not self._say(stream, line, now):
                # Of a flood the rest of the chunk is counted and not looked at, so that it costs the host no core.
                rest = lines[place + 1 :]
                stream.voice.hold_back(stream.name, rest, now)
                self._last[stream.name] = next((one for one in reversed(rest) if one.strip()), line)[:LINE_BYTES]
                return

    def _keep(self, stream: _Stream, chunk: bytes) -> None:
        if stream.file is None:
            return
        try:
            stream.file.write(chunk)
        except OSError as error:
            stream.file.close()
            stream.file = None
            text = f"{LOGS}/ keeps no more of {stream.name} of {_who(stream.voice)}: {error.strerror or error}"
            self._journal.emit(LogPrinted(text=text, stream="stderr", local_rank=stream.voice.local_rank))

    def _say(self, stream: _Stream, line: bytes, now: float) -> bool:
        """Tells a line; False where it was held back."""
        # Held back before it is decoded: a trainer that floods must not cost the host a core.
        line = line[:LINE_BYTES]
        if not line or line.isspace():
            return True
        voice = stream.voice
        self._last[stream.name] = line
        if voice.silenced(now):
            self._say_held_back(voice)
        if not voice.may_say(len(line), now):
            voice.hold_back(stream.name, [line], now)
            return False
        text = _shown(line)
        if text.strip():
            self._journal.emit(LogPrinted(text=text, stream=stream.name, local_rank=voice.local_rank))
        return True

    def _say_held_back(self, voice: _Voice, *, last: bool = False) -> None:
        """`last`: and tells the last of them, since no more come."""
        if not voice.held_back:
            return
        tail = [(name, text) for name, line in voice.tail if (text := _shown(line)).strip()] if last else []
        count = voice.held_back - len(tail)
        voice.held_back = 0
        voice.tail.clear()
        if count:
            text = f"({count} more lines within a second)"
            self._journal.emit(LogPrinted(text=text, stream="stderr", local_rank=voice.local_rank))
        for name, text in tail:
            voice.owe(len(text.encode()))
            self._journal.emit(LogPrinted(text=text, stream=name, local_rank=voice.local_rank))


def _who(voice: _Voice) -> str:
    return "the launcher" if voice.local_rank is None else f"local rank {voice.local_rank}"
