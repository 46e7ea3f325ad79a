"""The run's whole log in ``$PAGER``: every line of the journal, not only those that the screen keeps."""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from textual.app import App
from textual.content import Content

from console.format import long_clock, plain
from console.playback.source import Chronicle, Source
from console.state.run import Run
from console.tui.suspend import lend
from console.tui.widgets.log import LogPane
from console.views import log
from console.views.log import Entry


async def page(app: App[int], source: Source | None, asked: LogPane.Paged) -> None:
    """Writes the log to a file and lends the terminal to the pager; errors are shown as a toast."""
    if source is None:
        return
    words = ["less"]
    try:
        with tempfile.TemporaryDirectory(prefix="fastconsole-") as folder:
            path = Path(folder) / f"{plain(source.run.run_id, 60).replace('/', '-') or 'run'}.log"
            count = await asyncio.to_thread(_write, path, source, asked)
            if not count:
                raise OSError("no line matches")
            words = shlex.split(os.environ.get("PAGER") or "less") or ["less"]
            # -R is safe: the file holds no escape sequences.
            status = await lend(app, [*words, str(path)], {"LESS": os.environ.get("LESS", "-RS")})
            if status > 0:
                raise OSError(f"{words[0]} ended with exit status {status}")
    except (OSError, ValueError) as error:
        reason = str(error)
        if isinstance(error, FileNotFoundError) and error.filename == words[0]:
            reason = f"{words[0]} is not installed; set PAGER to another program"
        app.notify(Content(f"Cannot open the log: {reason}").markup, severity="warning", timeout=6)


def _write(path: Path, source: Source, asked: LogPane.Paged) -> int:
    """Writes the lines that pass the filter; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8", errors="replace") as file:
        _head(file, source.run, asked)
        started = source.run.started_t or 0.0
        for entry in _lines(source, asked.node):
            if asked.test(entry):
                count += 1
                file.write(written(entry, started))
    return count


def _head(file: TextIO, run: Run, asked: LogPane.Paged) -> None:
    file.write(f"# run {plain(run.run_id, 80)}: time, node.rank, stream, line\n")
    if asked.node is not None:
        file.write(f"# node {asked.node} only\n")
    if asked.typed:
        file.write(f"# filter: {plain(asked.typed, 500)}\n")
    file.write("# Lines that a rank printed too fast for the journal are in logs/node-NN/ of the run's directory.\n")


def _lines(source: Source, node: int | None) -> Iterator[Entry]:
    chronicle: object = source if isinstance(source, Chronicle) else getattr(source, "present", None)
    if not isinstance(chronicle, Chronicle):
        yield from log.entries(source.run, node)
        return
    number = 0
    for number, line in enumerate(chronicle.whole_log(), start=1):
        if node is None or line.node == node:
            yield Entry(number, line, line.rank)


def written(entry: Entry, started: float) -> str:
    """The line as it is written to the file, safe for a terminal."""
    line = entry.line
    since_ms = max(0, round((line.received_t - started) * 1000))
    who = "" if line.node is None else str(line.node) if entry.rank is None else f"{line.node}.{entry.rank}"
    clock = f"{long_clock(since_ms // 1000)}.{since_ms % 1000:03}"
    return f"{clock:>12} {who:>8} {plain(line.stream, 8):<8} {plain(line.text, strip=False)}\n"
