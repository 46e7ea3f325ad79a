"""A host's journal: many writers and whole lines; a full disk costs records and is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console.state.events import parse_host_line
from remote.wire.codec import Damaged, Event
from remote.wire.events import LogPrinted, RecordsDropped
from remote.wire.journal import Journal, NullJournal

ROOT = Path(__file__).parent.parent


def test_a_record_is_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    assert journal.emit(LogPrinted(text="a\nb"))
    assert journal.emit(LogPrinted(text="\udcff lone", rank=3))
    journal.close()
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert len(lines) == 2
    assert parse_host_line(lines[0], received_t=0.0, node=0, offset=0).event == LogPrinted(text="a\nb")
    assert (tmp_path / "journal.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_was_there_stays(tmp_path: Path) -> None:
    for text in ("one", "two"):
        journal = Journal(tmp_path / "journal.jsonl")
        journal.emit(LogPrinted(text=text))
        journal.close()
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert [parse_host_line(line, received_t=0.0, node=0, offset=0).event for line in lines] == [
        LogPrinted(text="one"),
        LogPrinted(text="two"),
    ]


def test_processes_that_append_at_once_never_mix_lines(tmp_path: Path) -> None:
    writers, each = 4, 400
    program = f"""
import sys
from pathlib import Path
from console.state.events import parse_host_line
from remote.wire.events import LogPrinted
from remote.wire.journal import Journal
journal = Journal(Path(sys.argv[1]))
sys.stdin.readline()
for number in range({each}):
    journal.emit(LogPrinted(text=str(number) + "x" * (number * 37 % 4000), rank=int(sys.argv[2])))
"""
    path = tmp_path / "journal.jsonl"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(rank)], cwd=ROOT, stdin=subprocess.PIPE)
        for rank in range(writers)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * writers
    numbers: dict[int | None, list[int]] = {}
    for line in path.read_bytes().splitlines():
        event = parse_host_line(line, received_t=0.0, node=0, offset=0).event
        assert isinstance(event, LogPrinted)
        numbers.setdefault(event.rank, []).append(int(event.text.rstrip("x")))
    assert numbers == {rank: list(range(each)) for rank in range(writers)}


def test_a_full_disk_drops_and_does_not_raise() -> None:
    journal = Journal(Path("/dev/full"))
    assert [journal.emit(LogPrinted(text=str(number))) for number in range(3)] == [False] * 3
    journal.close()


def test_a_journal_that_cannot_be_opened_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "nowhere" / "journal.jsonl")


FILLING = """
import resource, sys
from pathlib import Path
from console.state.events import parse_host_line
from remote.wire.events import LogPrinted
from remote.wire.journal import Journal

def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

journal = Journal(Path(sys.argv[1]))
print(journal.emit(LogPrinted(text="before")))
# The file may grow by so many bytes more and then is full, as its disk would be.
room(Path(sys.argv[1]).stat().st_size + int(sys.argv[2]))
print(*[journal.emit(LogPrinted(text="during")) for _ in range(3)])
room(resource.RLIM_INFINITY)
print(journal.emit(LogPrinted(text="after")))
"""


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_disk_that_fills_and_empties_again_costs_what_came_meanwhile(room: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(path), str(room)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["True", "False", "False", "False", "True"]
    told: list[Event] = []
    stumps = []
    for line in path.read_bytes().splitlines():
        try:
            told.append(parse_host_line(line, received_t=0.0, node=0, offset=0).event)
        except Damaged:
            stumps.append(line)
    before, dropped, after = told
    assert (before, after) == (LogPrinted(text="before"), LogPrinted(text="after"))
    assert isinstance(dropped, RecordsDropped)
    assert dropped.count == 3
    assert dropped.reason in ("File too large", "the disk filled within a record")
    assert [len(stump) for stump in stumps] == ([room] if room else [])


def test_a_journal_that_keeps_nothing() -> None:
    journal = NullJournal()
    assert journal.emit(LogPrinted(text="x"))
    journal.close()
