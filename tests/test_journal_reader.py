"""The journal on disk: what is written is read, and whatever happened to the file is counted, never raised."""

from __future__ import annotations

import errno
import gzip
import json
import random
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_story import differences, told

from console.journal.open_log import LogError, fold
from console.journal.reader import DAMAGED, LINE_BYTES, UNKNOWN, Lost, read
from console.journal.writer import RunJournal
from console.playback.replay import fold_items
from console.state.events import Record, record_line

RECORDS = told().records
LINES = [record_line(record).encode() + b"\n" for record in RECORDS]
WHOLE = b"".join(LINES)
COMMON = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def items(path: Path, content: bytes) -> list[Record | Lost]:
    """What is read of a file with this content."""
    path.write_bytes(content)
    return list(read(path))


def lost(found: list[Record | Lost]) -> list[Lost]:
    return [item for item in found if isinstance(item, Lost)]


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunJournal(path) as journal:
        journal.append(*RECORDS[:5])
        journal.append()
        for record in RECORDS[5:]:
            journal.append(record)
        assert list(read(path)) == RECORDS, "before it is closed, too"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == WHOLE


def test_live_and_replayed_state_are_equal_field_by_field(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunJournal(path) as journal:
        journal.append(*RECORDS)
    assert list(differences(fold_items(RECORDS), fold_items(read(path)))) == []


def test_a_torn_batch_costs_its_own_line_only(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(LINES[0] + LINES[1][:40])
    with RunJournal(path) as journal:
        journal.append(*RECORDS[2:4])
    found = list(read(path))
    assert [item for item in found if isinstance(item, Record)] == [RECORDS[0], *RECORDS[2:4]]
    assert [(item.line_number, item.kind) for item in lost(found)] == [(2, DAMAGED)]


def test_a_full_disk_is_a_sentence() -> None:
    with RunJournal(Path("/dev/full")) as journal, pytest.raises(OSError, match="journal cannot be written") as caught:
        journal.append(RECORDS[0])
    assert caught.value.errno == errno.ENOSPC
    assert "/dev/full" in str(caught.value)


def test_a_journal_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="journal cannot be opened"):
        RunJournal(tmp_path / "no" / "run.jsonl")


def test_a_journal_cut_at_any_byte(tmp_path: Path) -> None:
    ends = [0]
    for line in LINES:
        ends.append(ends[-1] + len(line))
    random_places = random.Random(1).sample(range(len(WHOLE)), 200)
    for cut in sorted({*random_places, *(end + by for end in ends[:40] for by in (-1, 0, 1) if end + by >= 0)}):
        found = items(tmp_path / "cut", WHOLE[:cut])
        whole = sum(end <= cut for end in ends[1:])
        torn = cut - ends[whole]
        # Without its newline the last line is still a record.
        complete = torn > 0 and torn == len(LINES[whole]) - 1
        assert found[: whole + complete] == RECORDS[: whole + complete]
        assert len(lost(found)) == (torn > 0 and not complete)
        fold_items(found)


@COMMON
@given(data=st.data(), count=st.integers(1, 5))
def test_bytes_flipped_anywhere(tmp_path: Path, data: st.DataObject, count: int) -> None:
    content = bytearray(WHOLE)
    for _ in range(count):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    found = items(tmp_path / "flipped", bytes(content))
    run = fold_items(found)
    lines = bytes(content).split(b"\n")
    assert len(found) == sum(bool(line) and not line.isspace() for line in lines)
    assert run.records + run.damaged + run.unknown == len(found)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@COMMON
@given(data=st.data())
def test_valid_json_with_wrong_values_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        values: dict[str, Any] = json.loads(LINES[place])
        values[data.draw(st.sampled_from(sorted(values)))] = data.draw(JUNK)
        lines[place] = json.dumps(values).encode() + b"\n"
    found = items(tmp_path / "junk", b"".join(lines))
    run = fold_items(found)
    assert len(found) == len(lines)
    assert run.records + run.damaged + run.unknown == len(lines)


def test_a_damaged_line_a_wrong_node_and_an_unknown_event_are_told_apart(tmp_path: Path) -> None:
    wrong = json.loads(LINES[20]) | {"node": 77}
    lines = [*LINES[:3], b"\x00\xff garbage\n", *LINES[3:20], json.dumps(wrong).encode() + b"\n", *LINES[20:]]
    lines.insert(30, b'{"received":1.0,"t":1.0,"event":"HostSang","song":"la"}\n')
    found = items(tmp_path / "run", b"".join(lines))
    assert [(item.line_number, item.kind) for item in lost(found)] == [(4, DAMAGED), (31, UNKNOWN)]
    run = fold_items(found)
    assert (run.records, run.damaged, run.unknown) == (len(RECORDS), 2, 1)


def test_blank_lines_and_crlf_are_nothing_lost(tmp_path: Path) -> None:
    found = items(tmp_path / "run", b"\n" + WHOLE.replace(b"\n", b"\r\n") + b"\n\n")
    assert found == RECORDS


def test_a_huge_line_is_damaged_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with path.open("wb") as file:
        file.write(LINES[0])
        for _ in range(64):
            file.write(b"x" * LINE_BYTES)
        file.write(b"\n" + LINES[1])
    tracemalloc.start()
    found = list(read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [item if isinstance(item, Record) else item.kind for item in found] == [RECORDS[0], DAMAGED, RECORDS[1]]
    assert isinstance(found[1], Lost)
    assert found[1].line_number == 2
    assert peak < 8 * LINE_BYTES


@pytest.mark.parametrize("length", [LINE_BYTES - 1, LINE_BYTES, LINE_BYTES + 1, LINE_BYTES + 300_000])
def test_lines_about_the_limit_keep_the_numbers(tmp_path: Path, length: int) -> None:
    found = items(tmp_path / "run", b"y" * length + b"\n" + LINES[0] + b"z" * length)
    assert [item.line_number for item in lost(found)] == [1, 3]
    assert found[1] == RECORDS[0]


# --- compressed ------------------------------------------------------------------------------------------------------


def test_gzip(tmp_path: Path) -> None:
    assert items(tmp_path / "run.jsonl.gz", gzip.compress(WHOLE)) == RECORDS
    members = gzip.compress(WHOLE[:1000]) + gzip.compress(WHOLE[1000:]) + b"\0" * 512
    assert items(tmp_path / "members.gz", members) == RECORDS


def test_gzip_cut_at_any_byte(tmp_path: Path) -> None:
    packed = gzip.compress(WHOLE)
    for cut in range(2, len(packed), 37):
        found = items(tmp_path / "cut.gz", packed[:cut])
        assert found[:-1] == RECORDS[: len(found) - 1]
        assert len(lost(found)) == 1
        assert isinstance(found[-1], Lost)
    assert items(tmp_path / "last.gz", packed[:-1])[:-1] == RECORDS


@COMMON
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_gzip_with_a_flipped_byte(tmp_path: Path, place: int, flip: int) -> None:
    packed = bytearray(gzip.compress(WHOLE))
    packed[place % len(packed)] ^= flip
    fold_items(items(tmp_path / "flipped.gz", bytes(packed)))


def test_a_gzip_bomb_takes_time_and_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(100):
            file.write(b"\0" * (1 << 20))
    tracemalloc.start()
    found = list(read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(lost(found)) == 1
    assert peak < 8 << 20


def test_a_journal_in_zstandard(tmp_path: Path) -> None:
    packed = zstandard.ZstdCompressor().compress(WHOLE)
    path = tmp_path / "run.jsonl.zst"
    assert items(path, packed) == RECORDS
    assert list(differences(fold(path), fold_items(RECORDS))) == []
    assert items(path, packed + packed) == RECORDS + RECORDS, "frames follow one another"
    cut = items(path, packed[: len(packed) // 2])
    assert cut[:-1] == RECORDS[: len(cut) - 1]
    assert [item.reason for item in lost(cut)] == ["the compressed data is cut off"]
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    damaged[-20:] = bytes(20)
    assert "the compressed data is " in lost(items(path, bytes(damaged)))[-1].reason


def test_a_zstandard_bomb_costs_time_and_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl.zst"
    packer = zstandard.ZstdCompressor().compressobj()
    with path.open("wb") as file:
        for _ in range(256):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())
    tracemalloc.start()
    found = list(read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(lost(found)) == 1
    assert peak < 100 << 20


def test_zstandard_without_its_package_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    path = tmp_path / "run.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(WHOLE))
    with pytest.raises(LogError, match=r"run.jsonl.zst is compressed with Zstandard: unpack it with `zstd -d`, or"):
        fold(path)
