"""The journal and the state that it folds to, kept equal, whatever a host sends."""

from __future__ import annotations

from pathlib import Path

from run_story import created, differences

from console.journal.open_log import fold
from console.journal.store import RunStore
from console.state.events import Record
from console.state.run import Run
from remote.wire.codec import encode
from remote.wire.events import HostSampled

SAMPLE = encode(HostSampled(cpu_util_pct=40.0, mem_used_mib=500.0, mem_total_mib=16_000.0), 1.0).encode()
NEWER = b'{"event":"HostSang","t":1.0,"song":"la"}'
LINES = [SAMPLE, NEWER, b"no JSON", b'{"event":"HostSampled"}', SAMPLE]


def test_a_hosts_unreadable_lines_are_counted_by_their_kind_and_journaled(tmp_path: Path) -> None:
    store, told = RunStore(tmp_path / "run.jsonl"), list[Record | None]()
    store.observe(lambda before, after, record: told.append(record))
    store.witness(created(nnodes=1))
    store.take_lines(0, LINES, 0)
    store.close()
    run = store.run
    assert (run.nodes[0].records, run.unknown, run.damaged) == (2, 1, 2)
    assert [record is None for record in told] == [False, False, True, True, True, False]
    assert list(differences(fold(tmp_path / "run.jsonl"), run)) == []
    # Whole, since a later version of this program may know the event.
    assert b'"event":"HostSang","t":1.0,"song":"la"}\n' in (tmp_path / "run.jsonl").read_bytes()


def test_lines_that_are_known_already_are_passed_over(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run.jsonl", Run())
    store.witness(created(nnodes=1))
    store.take_lines(0, LINES[:1], 0)
    before = store.run
    store.take_lines(0, LINES[:1], 0)
    assert store.run is before
    store.take_lines(0, [SAMPLE, SAMPLE], 0)
    store.close()
    assert store.run.nodes[0].records == 2
    assert store.run.nodes[0].last_offset == len(SAMPLE) + 1
