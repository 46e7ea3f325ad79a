"""What a trainer prints, as records: bounded in length and in rate, control sequences stripped.

What a program on a host prints is not to be trusted: it may hold escape sequences, be one line of a gigabyte, or come
a hundred thousand lines a second. Lines are cut at 4 KiB; of more than 50 a second the rest is counted and said.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from typing import IO

from remote.events import LogPrinted
from remote.journal import Journal

LINE_BYTES = 4096
LINES_PER_S = 50

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, PM, APC, SOS with their text
    r"|\x1b[ -/]*[0-~]?"  # any other escape, or the beginning of one
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # C0 but tab and newline, DEL, C1
    r"|[\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # marks that turn the direction of writing
)


def plain(text: str) -> str:
    """The text without control sequences, control characters and marks that turn the direction of writing."""
    return _ESCAPES.sub("", text.replace("\t", "    "))


def _shown(piece: bytes) -> str:
    """The line as it is told: a byte that is no UTF-8, or a tab, must not make it longer than it may be."""
    text = plain(piece.decode("utf-8", "replace").rstrip("\r\n"))
    return text.encode()[:LINE_BYTES].decode("utf-8", "ignore")


class OutputReader:
    """Reads a process's stdout and stderr, each in a thread, into the journal."""

    def __init__(self, process: subprocess.Popen[bytes], journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._second = 0
        self._said = 0
        self._held_back = 0
        self._last = {"stdout": b"", "stderr": b""}
        self._threads = []
        for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            if stream is not None:
                thread = threading.Thread(target=self._read, args=(stream, name), daemon=True)
                thread.start()
                self._threads.append(thread)

    def finish(self) -> str:
        """Waits for what is still in the pipes; the last line that was not empty, preferably of stderr."""
        for thread in self._threads:
            # A grandchild may hold the pipe open; its words can wait, the end of the trainer cannot.
            thread.join(2.0)
        with self._lock:
            self._say_held_back()
            return _shown(self._last["stderr"])[:400] or _shown(self._last["stdout"])[:400]

    def _read(self, stream: IO[bytes], name: str) -> None:
        with stream:
            # readline's bound cuts an endless line into pieces; all but its first are dropped.
            tail = False
            while piece := stream.readline(LINE_BYTES):
                if not tail:
                    self._say(piece, name)
                tail = not piece.endswith(b"\n")

    def _say(self, piece: bytes, name: str) -> None:
        # Held back before it is decoded: a trainer that floods must not cost the host a core.
        if piece.isspace():
            return
        with self._lock:
            self._last[name] = piece
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._said = second, 0
                self._say_held_back()
            self._said += 1
            if self._said > LINES_PER_S:
                self._held_back += 1
                return
            text = _shown(piece)
            if text.strip():
                self._journal.emit(LogPrinted(text=text, stream=name))

    def _say_held_back(self) -> None:
        if self._held_back:
            text = f"({self._held_back} more lines within a second)"
            self._held_back = 0
            self._journal.emit(LogPrinted(text=text, stream="stderr"))
