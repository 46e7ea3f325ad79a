"""A run's past: looking back is the fold from the start, while it grows, in little memory, from another thread."""

from __future__ import annotations

import asyncio
import random
import threading
from pathlib import Path

import pytest
from canned_source import T0, CannedSource, scene, tick
from run_story import differences, folded, told, trained

from console.journal.fold_log import fold_items
from console.journal.reader import LINE_BYTES, Growing, Lost
from console.journal.writer import RunJournal
from console.playback import markers
from console.playback.follow import Watched
from console.playback.history import History
from console.playback.rewind import Rewind
from console.playback.source import Player
from console.state.events import Record
from console.state.run import Run
from console.state.series import Series
from remote.wire import events as re


def long_story() -> list[Record]:
    return trained(epochs=40, steps_per_epoch=6).records


def test_any_place_is_the_fold_from_the_start() -> None:
    records = long_story()
    past = History()
    past.extend(records)
    chance = random.Random(1)
    for _ in range(40):
        place = chance.randrange(len(records) + 1)
        assert list(differences(past.run(place), folded(records[:place]))) == []
    assert past.run(len(records)) is past.latest


def test_states_are_given_up_where_there_are_too_many() -> None:
    records = long_story()[:1200]
    past = History(block=50, states_bytes=1)
    for begin in range(0, len(records), 70):
        past.extend(records[begin : begin + 70])
        for place in (begin, begin // 2, begin // 3):
            assert list(differences(past.run(place), folded(records[:place]))) == []
    assert past.slow
    assert len(past._states) <= 3


def test_a_look_back_that_took_long_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    past = History()
    past.extend(long_story())
    monkeypatch.setattr("console.playback.history.LONG_S", 1e9)
    past.run(700)
    assert not past.slow
    monkeypatch.setattr("console.playback.history.LONG_S", 0.0)
    assert past.slow


def test_lost_lines_are_counted_where_they_were() -> None:
    records = long_story()[:40]
    items: list[Record | Lost] = [Lost(1, "damaged", "x"), *records[:20], Lost(22, "unknown", "y"), *records[20:]]
    past = History()
    past.extend(items)
    assert (past.run(1).damaged, past.run(1).unknown, past.run(22).unknown) == (1, 0, 1)
    assert past.start == records[0].received_t
    assert list(differences(past.latest, fold_items(items))) == []


def test_one_thread_adds_while_another_looks_back() -> None:
    records = long_story()
    past, wrong, done = History(), [], threading.Event()

    def look() -> None:
        chance = random.Random(2)
        while not done.is_set():
            place = chance.randrange(len(past) + 1)
            run = past.run(place)
            if run.records != place or [one.step for one in run.points] != sorted(one.step for one in run.points):
                wrong.append(place)

    looking = threading.Thread(target=look)
    looking.start()
    for begin in range(0, len(records), 37):
        past.extend(records[begin : begin + 37])
    done.set()
    looking.join()
    assert wrong == []
    assert list(differences(past.latest, folded(records))) == []


def test_a_series_that_two_grow_from_stays_what_it_was() -> None:
    first: Series[int] = Series([1, 2])
    one, other = first.append(3), first.append(4)
    assert (list(one), list(other), list(first), list(one.append(5))) == ([1, 2, 3], [1, 2, 4], [1, 2], [1, 2, 3, 5])


# --- a journal that grows --------------------------------------------------------------------------------------------


def test_a_journal_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    records = told().records
    growing = Growing(path)
    with pytest.raises(OSError, match="No such file"):
        growing.read()
    with RunJournal(path) as journal:
        journal.append(*records[:5])
        assert growing.read() == records[:5]
        assert growing.read() is None
        # Half a line is no line yet.
        whole = path.read_bytes()
        journal.append(records[5])
        after = path.read_bytes()
        path.write_bytes(after[:-20])
        assert growing.read() is None
        path.write_bytes(after)
        assert growing.read() == [records[5]]
        assert len(after) > len(whole)
        journal.append_text('{"received":\n\n')
        journal.append(*records[6:])
        items = growing.read()
        assert items is not None
        assert [item for item in items if isinstance(item, Record)] == records[6:]
        assert [item.line_number for item in items if isinstance(item, Lost)] == [7]


def test_a_line_without_end_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    records = told().records
    growing = Growing(path)
    with RunJournal(path) as journal:
        journal.append_text("x" * (LINE_BYTES * 2 + 50))
        read = []
        while (items := growing.read()) is not None:
            read += items
        journal.append(records[0])
        while (items := growing.read()) is not None:
            read += items
    assert [type(item) for item in read] == [Lost, Record]


# --- a live run and its past -----------------------------------------------------------------------------------------


async def rewound(tmp_path: Path) -> tuple[Rewind, CannedSource, RunJournal, asyncio.Task[None]]:
    """A live source whose journal has been read."""
    records = scene("training", nodes=4)
    journal = RunJournal(tmp_path / "run.jsonl")
    journal.append(*records)
    live = CannedSource(records)
    rewind = Rewind(live, journal.path)
    work = asyncio.create_task(rewind.work())
    while rewind.reading is not None or not rewind.markers:  # noqa: ASYNC110 (a thread reads)
        await asyncio.sleep(0.01)
    return rewind, live, journal, work


async def test_one_looks_back_while_the_run_goes_on(tmp_path: Path) -> None:
    rewind, live, journal, work = await rewound(tmp_path)
    records = scene("training", nodes=4)
    assert isinstance(rewind, Player)
    assert (rewind.run, rewind.behind_s, rewind.now()) == (live.run, None, live.now())
    rewind.seek(T0 + 40)
    assert list(differences(rewind.run, folded([one for one in records if one.received_t <= T0 + 40]))) == []
    assert rewind.behind_s == live.now() - T0 - 40
    shown = rewind.run
    more = [Record(T0 + 500, T0 + 500, re.LogPrinted(text="later", rank=0), 0, 0)]
    journal.append(*more)
    live.feed(more)
    assert rewind.run is shown
    assert rewind.behind_s == 460
    assert rewind.whole is live.run
    # What is commanded is commanded of the run that goes on.
    await rewind.command("checkpoint")
    assert live.sent == ["checkpoint"]
    rewind.seek(rewind.end)
    assert (rewind.run, rewind.behind_s) == (live.run, None)
    work.cancel()


async def test_steps_back_and_forward_again_end_in_the_present(tmp_path: Path) -> None:
    rewind, live, _, work = await rewound(tmp_path)
    rewind.step(1)
    assert rewind.behind_s is None
    rewind.step(-1)
    assert rewind.behind_s is not None
    assert not rewind.playing
    before = rewind.now()
    rewind.step(-3)
    assert rewind.now() < before
    for _ in range(10):
        rewind.step(1)
    assert rewind.behind_s is None
    assert rewind.run is live.run
    rewind.step(-100_000)
    assert rewind.run.records == 1
    work.cancel()


async def test_a_past_that_plays_comes_to_the_present(tmp_path: Path) -> None:
    rewind, live, _, work = await rewound(tmp_path)
    rewind.seek(live.now() - 30)
    rewind.speed, rewind.playing = 600.0, True
    while rewind.behind_s is not None:  # noqa: ASYNC110 (a clock runs)
        await asyncio.sleep(0.01)
    assert rewind.run is live.run
    work.cancel()


async def test_who_looks_on_follows_the_run_that_another_console_drives(tmp_path: Path) -> None:
    journal = RunJournal(tmp_path / "run.jsonl")
    journal.append(*scene("training", nodes=4))
    watched = Watched(journal.path, "small")
    rewind = Rewind(watched, journal.path)
    work = asyncio.create_task(rewind.work())
    while not watched.run.records:  # noqa: ASYNC110 (a thread reads)
        await asyncio.sleep(0.01)
    assert rewind.controls == frozenset()
    journal.append(*tick(4, 0, T0 + 300, 987))
    while watched.run.step is None or watched.run.step.step != 987:  # noqa: ASYNC110 (a thread reads)
        await asyncio.sleep(0.01)
    assert rewind.run is watched.run
    with pytest.raises(ValueError, match="only looks on"):
        await rewind.command("stop")
    work.cancel()


def test_markers_name_what_happened() -> None:
    past = History()
    past.extend(told().records)
    kinds = [one.kind for one in past.markers]
    assert kinds.count(markers.EPOCH) == 3
    assert kinds.count(markers.PHASE) == 2
    assert markers.KEY in kinds
    assert markers.ALERT in kinds
    assert "pause, by operator" in [one.text for one in past.markers]
    assert [one.t for one in past.markers] == sorted(one.t for one in past.markers)
    assert past.markers[-1].text == "reached"


def test_an_empty_history() -> None:
    past = History()
    assert (len(past), past.start, past.end, past.index_at(5.0), past.step(0, -1)) == (0, 0.0, 0.0, 0, 0)
    assert past.run(0).records == Run().records
