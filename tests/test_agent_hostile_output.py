"""Ranks that print what no program should, from real processes through the real way: bounded, told apart, never in the
trainer's way, and never on the screen as they came."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest
from canned_source import T0, created

from console.fold.apply import apply
from console.state.events import Record, parse_host_line
from console.state.run import LOG_CHARS, Run
from remote.agent import output_file
from remote.agent.rank_output import OutputReader
from remote.wire import events as re
from remote.wire.events import LogPrinted
from remote.wire.journal import Journal
from remote.wire.layout import OUTPUTS
from remote.wire.rank_pipes import RankPipes

ROOT = Path(__file__).parent.parent
SPEAK = (
    "import os, sys; from remote.wire.rank_pipes import redirect_output; "
    "rank = int(sys.argv[1]); redirect_output(rank);"
)


class Told:
    """What came of a launcher's program that starts ranks."""

    def __init__(self, folder: Path, programs: list[str], launcher: str = "") -> None:
        """Each program is a rank's, in Python; `launcher` is what their launcher does beside."""
        script = launcher + (
            "\nimport subprocess, sys\n"
            f"ranks = [subprocess.Popen([sys.executable, '-c', {SPEAK!r} + program, str(rank)], close_fds=False)\n"
            f"         for rank, program in enumerate({programs!r})]\n"
            "sys.exit(max(rank.wait() for rank in ranks))\n"
        )
        pipes = RankPipes(len(programs))
        self.folder = folder / "logs"
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, OUTPUTS: pipes.env_value, "PYTHONPATH": str(ROOT)},
            pass_fds=pipes.inherited,
        )
        pipes.close_writing()
        journal = Journal(folder / "journal.jsonl")
        reader = OutputReader(process, journal, pipes, self.folder)
        process.wait(120)
        self.last = reader.finish()
        self.took_s = time.monotonic() - began
        journal.close()
        self.journal_bytes = (folder / "journal.jsonl").stat().st_size
        lines = (folder / "journal.jsonl").read_bytes().splitlines()
        events = [parse_host_line(line, received_t=0.0, node=0, offset=0).event for line in lines]
        self.events = [event for event in events if isinstance(event, LogPrinted)]
        assert len(self.events) == len(events)

    def of(self, local_rank: int | None) -> list[str]:
        return [event.text for event in self.events if event.local_rank == local_rank]


def test_each_rank_has_a_voice_of_its_own(tmp_path: Path) -> None:
    told = Told(
        tmp_path,
        ["print('of rank 0'); print('woe', file=sys.stderr)", "os.write(1, b'of rank 1, half a line')"],
        launcher="print('of the launcher', flush=True)",
    )
    assert told.of(None) == ["of the launcher"]
    assert sorted(told.of(0)) == ["of rank 0", "woe"]
    assert told.of(1) == ["of rank 1, half a line"]
    assert {event.text: event.stream for event in told.events}["woe"] == "stderr"
    assert told.last == "woe"
    assert (told.folder / "local-rank-0.stderr.log").read_text() == "woe\n"
    assert (told.folder / "local-rank-1.stdout.log").read_text() == "of rank 1, half a line"
    assert (told.folder / "launcher.stdout.log").read_text() == "of the launcher\n"
    assert not (told.folder / "local-rank-1.stderr.log").exists()


def test_a_rank_that_floods_hides_nobody_and_keeps_nobody(tmp_path: Path) -> None:
    """100,000 lines of one rank while another one says five: all five are told, and of the rest how many there were."""
    flood = "\nfor i in range(100_000): sys.stdout.write(f'flood {i}\\n')"
    told = Told(tmp_path, [flood, "\nfor i in range(5): print('calm', i, flush=True)"])
    assert told.of(1) == [f"calm {number}" for number in range(5)]
    lines = [text for text in told.of(0) if text.startswith("flood")]
    held_back = sum(int(text[1:].split()[0]) for text in told.of(0) if text.startswith("("))
    assert len(lines) + held_back == 100_000
    # 50 in each second that it printed in, and the last 20 once it is over.
    assert len(lines) <= 50 * (int(told.took_s) + 2) + 20
    assert lines[-20:] == [f"flood {number}" for number in range(99_980, 100_000)]
    assert lines[-21] != "flood 99979"
    assert (told.folder / "local-rank-0.stdout.log").read_bytes().count(b"\n") == 100_000, "the file has all"
    assert told.took_s < 60


def test_the_journal_grows_by_bytes_too_and_a_long_line_is_cut(tmp_path: Path) -> None:
    """Megabyte lines, 80 of them: each would pass as one line, together they are held to the allowance."""
    told = Told(tmp_path, ["\nfor i in range(80): sys.stdout.write(f'{i} ' + 'x' * 1_000_000 + '\\n')\nprint('end')"])
    assert max(len(text) for text in told.of(0)) == 4096
    # 64 KiB at once, 4 KiB a second, and the last 20 lines of 4 KiB each.
    most = 65_536 + 4096 * (told.took_s + 1) + 20 * 4096
    assert sum(len(text) for text in told.of(0)) <= most + 200
    assert told.journal_bytes < 2 * most + 10_000
    assert told.last == "end"
    assert sum(path.stat().st_size for path in told.folder.iterdir()) <= 2 * output_file.FILE_BYTES + (1 << 17)


NASTY = [
    b"\x1b[2J\x1b[H\x1b]0;title\x07\x1b]52;c;c2VjcmV0\x07 erased",
    b"[bold red]markup[/] [@click=app.quit]x[/]",
    "\u202eright to left\u202c \u2066isolated\u2069 \u061c\u200fmark".encode(),
    b"caf\xe9 \xff\xfe\xf0\x9f \xed\xa0\x80 bytes",
    b"\x00\x07\x08\r\x0b tab\tnul \x9b31m \x85",
    b"a" + "\u0301".encode() * 3000,
    b"\x1bP1;2q" + b"z" * 10_000,
    b"\r\n\r\n   \n",
]


def test_nothing_of_it_can_move_a_cursor(tmp_path: Path) -> None:
    told = Told(tmp_path, [f"\nfor line in {NASTY!r}: sys.stdout.buffer.write(line + b'\\n')\nprint('after')"])
    text = "\n".join(told.of(0))
    assert not set(text) & set("\x00\x07\x08\r\x0b\x1b\x7f\x85\x9b\u202e\u2066\u2069\u061c\u200f")
    assert "erased" in text
    assert "[@click=app.quit]x[/]" in text, "markup is text"
    assert told.of(0)[-1] == "after"
    assert all(len(line.encode()) <= 4096 for line in told.of(0))


def test_a_full_disk_ends_the_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_file, "FREE_BYTES", 1 << 60)
    told = Told(tmp_path, ["print('one', flush=True); print('two')"])
    assert told.of(0)[1:] == ["one", "two"] or "one" in told.of(0)
    assert any("logs/ keeps no more of stdout of local rank 0: less than" in text for text in told.of(0))


def test_a_full_file_is_kept_as_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_file, "FILE_BYTES", 100_000)
    told = Told(tmp_path, ["\nfor i in range(40_000): sys.stdout.write(f'line {i}\\n')"])
    now, before = told.folder / "local-rank-0.stdout.log", told.folder / "local-rank-0.stdout.log.1"
    assert now.stat().st_size <= 100_000
    assert before.stat().st_size <= 100_000 + (1 << 16)
    both = before.read_bytes() + now.read_bytes()
    assert both.endswith(b"line 39999\n")
    assert both[both.index(b"\n") + 1 :].startswith(b"line ")


def test_a_rank_that_fails_by_a_bug_leaves_its_traceback(tmp_path: Path) -> None:
    """torch keeps a rank's exception in a file of its launcher's; here it is in the log, as the rank's own output."""
    program = (
        "os.environ['LOCAL_RANK'] = '0'; from remote.train.launcher import rank_main; rank_main('no job', '/nowhere')"
    )
    told = Told(tmp_path, [program])
    assert told.of(0)[0] == "Traceback (most recent call last):"
    assert any("json.decoder.JSONDecodeError" in text for text in told.of(0))
    assert {event.stream for event in told.events} == {"stderr"}


def flooded(make: Callable[[int], str]) -> Run:
    run = reduce(apply, [created(16, 8)], Run())
    for number in range(4000):
        printed = LogPrinted(text=make(number), local_rank=number % 8)
        run = apply(run, Record(T0, T0, printed, number % 16, 0))
    return run


@pytest.mark.parametrize("make", [lambda n: "x" * 4096, lambda n: "🚀" * 1024, lambda n: f"{n}"])
def test_the_state_of_a_flood_is_bounded_in_bytes(make: Callable[[int], str]) -> None:
    run = flooded(make)
    assert run.log_lines == 4000
    assert sum(sys.getsizeof(line.text) for line in run.log) < 4 * LOG_CHARS + 200_000


def test_the_console_knows_the_rank_by_its_local_one() -> None:
    run = reduce(apply, [created(2, 2)], Run())
    started = re.RankStarted(rank=3, local_rank=1, world_size=4, pid=1, device="cpu")
    before = Record(T0, T0, LogPrinted(text="before it has a place", local_rank=1), 1, 0)
    after = Record(T0, T0, LogPrinted(text="after", local_rank=1), 1, 0)
    run = reduce(apply, [before, Record(T0, T0, started, 1, 0), after], run)
    assert [(line.text, line.rank) for line in run.log] == [("before it has a place", None), ("after", 3)]
