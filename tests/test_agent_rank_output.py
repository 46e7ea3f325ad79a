"""What a trainer prints, from a real process: bounded, stripped, and never in the trainer's way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from console.state.events import parse_host_line
from remote.agent.rank_output import OutputReader, plain
from remote.wire.events import LogPrinted
from remote.wire.journal import Journal


def printed(folder: Path, program: str) -> tuple[list[LogPrinted], str]:
    """What is told of a process that runs a program in Python, and its last word."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    path = folder / "journal.jsonl"
    journal = Journal(path)
    reader = OutputReader(process, journal)
    process.wait(60)
    last = reader.finish()
    journal.close()
    events = [parse_host_line(line, received_t=0.0, node=0, offset=0).event for line in path.read_bytes().splitlines()]
    assert all(isinstance(event, LogPrinted) for event in events)
    return [event for event in events if isinstance(event, LogPrinted)], last


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 世界 ✓", "Grüße, 世界 ✓"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1;2q pixels \x1b\\after", "after"),
        ("\x1b]52;c;c2VjcmV0", ""),
        ("\x1b[2J\x1b[H\x1bc\x1b(Bx", "x"),
        ("a\x9b31mb\x90", "a31mb"),
        ("one\ttwo", "one    two"),
        ("bell\x07 null\0 back\b del\x7f", "bell null back del"),
        ("\u202eevil\u2066", "evil"),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_control_sequences_are_stripped(given: str, shown: str) -> None:
    assert plain(given) == shown


def test_lines_of_both_streams(tmp_path: Path) -> None:
    said, last = printed(
        tmp_path,
        "import sys; print('one\\n\\n   \\ntwo', flush=True); print('\\x1b[31mwoe', file=sys.stderr)",
    )
    assert sorted((event.stream, event.text) for event in said) == [
        ("stderr", "woe"),
        ("stdout", "one"),
        ("stdout", "two"),
    ]
    assert last == "woe"


def test_the_last_word_is_the_last_line_where_stderr_is_silent(tmp_path: Path) -> None:
    assert printed(tmp_path, "print('first'); print('last'); print()")[1] == "last"


def test_nothing_printed(tmp_path: Path) -> None:
    assert printed(tmp_path, "") == ([], "")


def test_a_line_without_an_end(tmp_path: Path) -> None:
    (event,), last = printed(tmp_path, "import sys; sys.stdout.write('no newline')")
    assert (event.text, last) == ("no newline", "no newline")


def test_a_line_of_a_megabyte_is_cut_and_costs_only_itself(tmp_path: Path) -> None:
    said, last = printed(tmp_path, "print('before'); print('x' * 1_000_000); print('after')")
    assert [event.text for event in said] == ["before", "x" * 4096, "after"]
    assert last == "after"


@pytest.mark.parametrize("written", ["b'\\xff' * 4000", "b'\\t' * 4000", "'é'.encode() * 4000", "b'\\xf0\\x9f' * 4000"])
def test_bytes_that_would_grow_are_bounded_too(written: str, tmp_path: Path) -> None:
    said, _ = printed(tmp_path, f"import sys; sys.stdout.buffer.write({written} + b'\\n')")
    assert all(len(event.text.encode()) <= 4096 for event in said)
    assert all(len(event.text.encode()) > 4092 for event in said if event.text.strip())


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (event,), _ = printed(tmp_path, "import sys; sys.stdout.buffer.write(b'caf\\xe9 \\x00\\x01 ok\\r\\n')")
    assert event.text == "caf\ufffd  ok"


def test_a_flood_is_counted_and_the_trainer_does_not_wait(tmp_path: Path) -> None:
    lines = 100_000
    began = time.monotonic()
    said, last = printed(tmp_path, f"import sys\nfor i in range({lines}): sys.stdout.write(f'line {{i}}\\n')")
    took = time.monotonic() - began
    told = [event for event in said if event.text.startswith("line")]
    held_back = [int(event.text[1:].split()[0]) for event in said if event.text.startswith("(")]
    assert all("more lines within a second" in event.text for event in said if event.text.startswith("("))
    # Whole seconds of the clock: a run of 0.2 s may lie in two of them.
    assert 50 + 20 <= len(told) <= 50 * (int(took) + 2) + 20
    assert [event.text for event in told[-20:]] == [f"line {i}" for i in range(lines - 20, lines)]
    assert len(told) + sum(held_back) == lines
    assert told[0].text == "line 0"
    assert last == f"line {lines - 1}", "the last word is known though it was held back"
    assert took < 30


def test_a_grandchild_that_holds_the_pipe_does_not_keep_the_end(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(child.pid)"
    )
    began = time.monotonic()
    (event,), _ = printed(tmp_path, program)
    subprocess.run(["kill", event.text], check=True)
    assert time.monotonic() - began < 20
