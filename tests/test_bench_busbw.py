"""Bus bandwidth: the formula, and real ranks that measure it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from gang import forks

from remote import busbw


def test_bus_bandwidth_does_not_depend_on_the_ranks_where_a_ring_is_bound_by_its_links() -> None:
    # Links of 10 GB/s: a ring of n takes 2 (n - 1) / n * bytes / 10 GB/s.
    for ranks in (2, 4, 128):
        seconds = 2 * (ranks - 1) / ranks * 51e6 / 10e9
        assert busbw.busbw_gb_s(51_000_000, seconds, ranks) == pytest.approx(10.0)


def test_sizes_grow_fourfold_up_to_the_largest() -> None:
    assert list(busbw.sizes(4, 70)) == [4, 16, 64]


def _rank(rank: int, ranks: int, store: Path, out: Path) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = store.read_text()
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    busbw.main(["--smallest", "1024", "--largest", "65536", "--repetitions", "3", "--json"])


def test_three_ranks_measure_and_the_first_of_them_tells(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(probe.getsockname()[1]))
    outs = [tmp_path / f"out-{rank}" for rank in range(3)]
    ranks = [forks.Process(target=_rank, args=(rank, 3, tmp_path / "port", outs[rank])) for rank in range(3)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join(60)
    assert [one.exitcode for one in ranks] == [0, 0, 0]
    rows = [json.loads(line) for line in outs[0].read_text().splitlines() if line.startswith("{")]
    assert [row["size_bytes"] for row in rows] == [1024, 4096, 16384, 65536]
    assert all(row["ranks"] == 3 and row["seconds"] > 0 for row in rows)
    assert all(row["busbw_gb_s"] == pytest.approx(row["algbw_gb_s"] * 4 / 3) for row in rows)
    assert [out.read_text() for out in outs[1:]] == ["", ""]
