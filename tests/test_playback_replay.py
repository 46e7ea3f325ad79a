"""Logs told apart, the two foreign ones folded, and a log played back and forth."""

from __future__ import annotations

import asyncio
import gzip
import random
import re as regex
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_story import START_T, created, differences, folded, told, trained

from console.billing import cost
from console.journal import fastai2018, fastai2018_phases
from console.journal.open_log import DAWNBENCH, FASTAI_2018, JOURNAL, LogError, fold, open_log
from console.journal.reader import Line, Lost
from console.playback.replay import Replay, fold_items
from console.playback.source import Player
from console.state.events import Record, RunCreated, record_line
from console.state.outcome import CUT_OFF, Exit, exit_of, outcome
from console.state.status import ENDED, MISSED, REACHED
from console.views import progress
from remote.wire import codec
from remote.wire import events as re
from remote.wire.schedule import Phase, lr_at

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
DEBUG_LOG = DATA / "fastai-2018" / "debug.log"
TABLES = DATA / "dawnbench"
needs_debug_log = pytest.mark.skipif(not DEBUG_LOG.exists(), reason="the log of 2018 is not part of the project")
needs_tables = pytest.mark.skipif(not TABLES.exists(), reason="DAWNBench's tables are not part of the project")

EIGHT_MACHINES = tuple(
    Phase(
        start_epoch=start,
        end_epoch=end,
        image_size=size,
        batch_size_per_gpu=batch,
        lr_start=lr_start,
        lr_end=lr_end,
        min_scale=min_scale,
        rectangular=rectangular,
    )
    for start, end, size, batch, lr_start, lr_end, min_scale, rectangular in (
        (0, 6, 128, 128, 1.92, 3.84, 0.08, False),
        (6, 11, 128, 256, 3.84, 3.84, 0.08, False),
        (11, 14, 128, 256, 3.84, 1.92, 0.08, False),
        (14, 17, 224, 128, 1.92, 1.92, 0.087, False),
        (17, 23, 224, 224, 1.92, 0.336, 0.087, False),
        (23, 29, 224, 224, 0.336, 0.0336, 0.087, False),
        (29, 37, 288, 128, 0.0192, 0.00192, 0.5, True),
    )
)


def journal_of(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(record_line(record) + "\n" for record in records))
    return path


# --- told apart ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200), "line 1: an image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200), "line 1: an image"),
        (bytes(range(256)) * 50, "line 1: binary data"),
        (b"\n\nDear diary,\nit rained.\n", "line 3: 'Dear diary,'"),
        (b'{\n  "version": "v1.0"\n}\n', "line 1: '{'"),
        (b'{"received": "yesterday"}\n', None),
        (b"1,2,3,4\n", "line 1"),
        (b"x" * (3 << 20), "line 1: longer"),
    ],
    ids=["empty", "png", "jpeg", "binary", "prose", "json", "ours-damaged", "csv", "one-long-line"],
)
def test_what_is_no_log_is_a_sentence(tmp_path: Path, content: bytes, says: str | None) -> None:
    path = tmp_path / "it.jsonl"
    path.write_bytes(content)
    if says is None:
        assert fold(path).damaged == 1
        return
    with pytest.raises(LogError) as caught:
        open_log(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="No such file"):
        open_log(tmp_path / "missing.jsonl")
    with pytest.raises(LogError, match="is a directory"):
        open_log(tmp_path)
    with pytest.raises(LogError, match="not a regular file"):
        open_log("/dev/null")


def test_a_journal_is_known_at_any_length_and_by_a_later_line(tmp_path: Path) -> None:
    records = told().records
    whole = journal_of(tmp_path / "run", records).read_bytes()
    cut = tmp_path / "cut"
    for length in (*range(1, 30), 500):
        cut.write_bytes(whole[:length])
        run = fold(cut)
        assert (run.records, run.damaged) == (0, 1)
    cut.write_bytes(b"\xffxx" + whole[3:])
    assert open_log(cut).form == JOURNAL
    run = fold(cut)
    assert run.damaged == 1
    assert len(run.epochs) == 3
    cut.write_bytes(gzip.compress(whole))
    assert list(differences(fold(cut), folded(records))) == []


# --- the run of 2018 -------------------------------------------------------------------------------------------------


@needs_debug_log
def test_the_log_of_2018() -> None:
    log = open_log(DEBUG_LOG)
    assert log.form == FASTAI_2018
    run = fold(DEBUG_LOG)
    assert (run.damaged, run.unknown) == (0, 0)
    assert len(run.epochs) == 37
    assert run.epochs[-1].event.top5 == 0.93178
    assert run.epochs[-1].event.top1 == 0.76014
    assert len(run.points) == 888
    assert run.created is not None
    assert (run.created.nnodes, run.created.nproc_per_node, run.world_size) == (8, 8, 64)
    assert run.target is not None
    assert (run.target.epoch, run.target.value) == (29, 0.93012)
    assert round(run.target.elapsed_s / 60, 2) == 18.88
    assert run.training is not None
    assert run.step is not None
    assert run.step.step == run.training.total_steps == run.epochs[-1].event.step
    assert outcome(run) == REACHED
    assert exit_of(run) == Exit.DONE
    evaluations = [item for item in log.items() if isinstance(getattr(item, "event", None), re.EvaluationProgressed)]
    assert len(evaluations) == 45
    assert evaluations[-1].event.done == evaluations[-1].event.total  # type: ignore[union-attr]
    spent = cost.cost(run, run.last_received_t or 0.0)
    assert spent.on_demand_usd == pytest.approx(90.24, abs=0.01)
    assert "estimated" in spent.note


@needs_debug_log
def test_its_phases_are_the_eight_machine_recipe() -> None:
    text = DEBUG_LOG.read_text().splitlines()[0]
    phases = fastai2018_phases.phases_of(text)
    for ours, theirs in zip(EIGHT_MACHINES, phases, strict=True):
        assert theirs.lr_start == pytest.approx(ours.lr_start)
        assert theirs.lr_end == pytest.approx(ours.lr_end)
        assert (theirs.start_epoch, theirs.end_epoch, theirs.image_size, theirs.batch_size_per_gpu) == (
            ours.start_epoch, ours.end_epoch, ours.image_size, ours.batch_size_per_gpu,
        )  # fmt: skip
        assert (theirs.min_scale, theirs.rectangular) == (ours.min_scale, ours.rectangular)


@needs_debug_log
def test_its_logged_learning_rates_are_those_of_our_schedule() -> None:
    """The log prints a change of the rate at an epoch's first and last step; the step line after it says at which."""
    compared = 0
    waiting: list[float] = []
    epoch_before = -1
    for line in DEBUG_LOG.read_text().splitlines():
        if changed := regex.search(r"Changing LR from \S+ to (\S+)$", line):
            waiting.append(float(changed[1]))
        elif found := regex.search(r"Epoch: \[(\d+)\]\[(\d+)/(\d+)\]", line):
            epoch, epoch_step, steps = (int(number) for number in found.groups())
            for rate in waiting:
                step = 1 if epoch != epoch_before else steps
                assert step == 1 or epoch_step == steps
                assert rate == pytest.approx(lr_at(EIGHT_MACHINES, epoch, step, steps), rel=1e-9), (epoch, step)
                compared += 1
            waiting.clear()
            epoch_before = epoch
    assert compared == 59


@needs_debug_log
def test_its_steps_carry_rate_and_throughput() -> None:
    steps = [
        item.event for item in open_log(DEBUG_LOG).items() if isinstance(getattr(item, "event", None), re.StepEnded)
    ]
    assert [step.step for step in steps] == sorted({step.step for step in steps})
    for step in steps:
        assert step.lr == pytest.approx(lr_at(EIGHT_MACHINES, step.epoch, step.epoch_step, step.steps_per_epoch))
    first = steps[0]
    assert (first.step, first.loss, first.step_s, first.data_s) == (5, 6.8484, 0.13, 0.005)
    assert first.img_per_s == pytest.approx(128 * 64 / 0.13)
    last = next(step for step in steps if step.epoch_step == step.steps_per_epoch)
    assert last.img_per_s * last.step_s == pytest.approx(1_281_167 - 156 * 8192)
    # The rates a GPU that the facts name, by phase, within a few hundredths.
    for epoch, img_per_s in ((3, 955), (8, 1405), (20, 640), (33, 362)):
        rates = sorted(step.img_per_s / 64 for step in steps if step.epoch == epoch)
        assert rates[len(rates) // 2] == pytest.approx(img_per_s, rel=0.06)


@needs_debug_log
def test_it_may_be_cut_and_damaged_anywhere(tmp_path: Path) -> None:
    whole = DEBUG_LOG.read_bytes()
    path = tmp_path / "cut.log"
    chance = random.Random(2)
    for cut in sorted(chance.sample(range(60, len(whole)), 12)):
        path.write_bytes(whole[:cut])
        run = fold(path)
        assert run.damaged <= 1
        assert run.status not in ENDED
        assert outcome(run) == (REACHED if run.target else CUT_OFF)
        assert exit_of(run) == (Exit.DONE if run.target else Exit.FAILED)
    lines = whole.split(b"\n")
    for place in chance.sample(range(20, len(lines)), 100):
        line = bytearray(lines[place])
        for _ in range(3):
            if line:
                line[chance.randrange(len(line))] = chance.randrange(256)
        lines[place] = bytes(line)
    path.write_bytes(b"\n".join(lines))
    run = fold(path)
    assert 50 <= run.damaged + run.unknown <= 130
    assert len(run.epochs) >= 30
    path.write_bytes(gzip.compress(whole))
    assert len(fold(path).epochs) == 37


STAMP = "2018-09-05 12:37:52,222 - logger.py:99 - "


def read_2018(*texts: str) -> list[Record | Lost]:
    lines = [Line(number, 100 * number, text.encode()) for number, text in enumerate(texts, 1)]
    return list(fastai2018.records(lines, run_id="debug.log"))


def test_lines_of_2018_that_are_unknown_or_damaged_are_counted() -> None:
    found = read_2018(
        STAMP + "Distributed: success (0/16)",
        STAMP + "Something new",
        "no stamp at all",
        STAMP + "Epoch: [0][5/",
        STAMP + "~~0\tnan\t1.0\t2.0",
        STAMP.replace("09-05", "13-45") + "Loading model",
        STAMP + "Epoch: [0][9/5]\tTime 0.1 (0.1)\tLoss 1 (1)\tAcc@1 1 (1)\tAcc@5 1 (1)\tData 0 (0)\tBW 1 1",
    )
    assert [(item.line_number, item.kind) for item in found if isinstance(item, Lost)] == [
        (2, "unknown"), (3, "damaged"), (4, "damaged"), (5, "damaged"), (6, "damaged"), (7, "damaged"),
    ]  # fmt: skip
    run = fold_items(found)
    assert run.created is not None
    assert run.created.nnodes == 2


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text(max_size=60) | st.text(max_size=60).map(lambda text: STAMP + text), max_size=8))
def test_any_lines_can_be_read_as_2018(texts: list[str]) -> None:
    fold_items(read_2018(*(text.replace("\ud800", "").encode("utf-8", "replace").decode() for text in texts)))


@pytest.mark.parametrize(
    "phases",
    ["[]", "[{}]", "[{'ep': (0, 0), 'lr': (1, 2), 'sz': 1, 'bs': 1}]", "[{'ep': 'x'}]", "[1]", "[{'ep': 10**9}]",
     "[" * 300 + "]", "[{'ep': (0, 2), 'lr': (1, 2)}]"],
)  # fmt: skip
def test_phases_that_make_no_sense_are_refused(phases: str) -> None:
    with pytest.raises(ValueError, match=r"phases|epoch"):
        fastai2018_phases.phases_of(f'Namespace(phases="{phases}", x=1)')


# --- DAWNBench -------------------------------------------------------------------------------------------------------


@needs_tables
@pytest.mark.parametrize(
    ("stem", "nnodes", "epochs", "minutes", "usd"),
    [
        ("fastai_resnet50_p3_16_machine_pytorch", 16, 38, 18.09, 118.07),
        ("fastai_resnet50_p3_8_machine_pytorch", 8, 36, 18.88, 61.63),
        ("alibabacloud_resnet50_gn6e_16_machine_tensorflow", 16, 28, 2.63, 14.42),
    ],
)
def test_dawnbench_tables(tmp_path: Path, stem: str, nnodes: int, epochs: int, minutes: float, usd: float) -> None:
    table = TABLES / f"{stem}.tsv"
    assert open_log(table).form == DAWNBENCH
    run = fold(table)
    goal = progress.target(run)
    assert (run.damaged, run.unknown) == (0, 0)
    assert goal is not None
    assert goal.time_to_target_s is not None
    assert goal.cost_on_demand_usd is not None
    assert round(goal.time_to_target_s / 60, 2) == minutes
    assert goal.cost_on_demand_usd == pytest.approx(usd, abs=0.01)
    assert [epoch.event.epoch for epoch in run.epochs] == list(range(epochs))
    assert run.nnodes == nnodes
    assert run.world_size == nnodes * 8
    assert exit_of(run) == Exit.DONE
    # The file's name is no data: without the entry beside it the fleet is unknown.
    alone = tmp_path / f"{stem}.tsv"
    alone.write_bytes(table.read_bytes())
    run = fold(alone)
    assert run.created is not None
    assert (run.created.nnodes, run.world_size, run.nnodes) == (None, None, 0)
    assert cost.cost(run, 1e9).on_demand_usd is None
    assert run.target is not None
    assert round(run.target.elapsed_s / 60, 2) == minutes


TABLE = "epoch\thours\ttop1Accuracy\ttop5Accuracy\n1\t0.1\t50.0\t80.0\n2\t0.2\t70.0\t92.9999\n3\t0.3\t75.0\t93.0"


def test_a_table_without_its_last_newline(tmp_path: Path) -> None:
    path = tmp_path / "it.tsv"
    for content in (TABLE, TABLE + "\n", TABLE.replace("\n", "\r\n"), TABLE.split("\n", 1)[1]):
        path.write_bytes(content.encode())
        run = fold(path)
        assert [epoch.event.epoch for epoch in run.epochs] == [0, 1, 2]
        assert run.target is not None
        assert run.target.elapsed_s == pytest.approx(0.3 * 3600)
    path.write_text(TABLE.rsplit("\n", 1)[0])
    assert exit_of(fold(path)) == Exit.MISSED


def test_damaged_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "it.tsv"
    path.write_text(TABLE + "\n4\tnan\t1\t1\n5\t1\t1\n6\t0.4\t101\t1\n-1\t1\t1\t1\n7\t1e99\t1\t1\n8\t0.5\t\t94\nx")
    run = fold(path)
    assert run.damaged == 6
    assert [epoch.event.epoch for epoch in run.epochs] == [0, 1, 2, 7]
    assert run.epochs[-1].event.top1 is None


def test_a_broken_entry_beside_a_table_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "it.tsv"
    path.write_text(TABLE)
    for content in ("{", "[]", '{"hardware": 5, "costPerHour": "x", "timestamp": []}', '{"hardware": "0 p3.16xlarge"}'):
        path.with_suffix(".json").write_text(content)
        assert fold(path).nnodes == 0
    path.with_suffix(".json").write_text('{"hardware": "2 p3.16xlarge (AWS)", "costPerHour": 48.96}')
    run = fold(path)
    assert run.nnodes == 2
    assert cost.cost(run, 1e6).on_demand_usd == pytest.approx(0.3 * 48.96)


# --- playing ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    records = trained(epochs=40, steps_per_epoch=6).records
    return journal_of(tmp_path_factory.mktemp("played") / "run.jsonl", records), records


def test_a_replay_is_a_player(played: tuple[Path, list[Record]]) -> None:
    replay = Replay(played[0])
    assert isinstance(replay, Player)
    assert replay.controls == frozenset()
    assert replay.title == "run.jsonl"
    assert (replay.start, replay.end) == (START_T, played[1][-1].received_t)
    assert replay.now() == START_T
    assert replay.playing
    assert len(played[1]) > 1500, "more than a few snapshots"


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(places=st.lists(st.floats(-0.1, 1.1), min_size=1, max_size=8))
def test_a_seek_is_the_fold_from_the_start(played: tuple[Path, list[Record]], places: list[float]) -> None:
    replay = Replay(played[0])
    for place in places:
        t = replay.start + place * (replay.end - replay.start)
        replay.seek(t)
        clamped = min(max(t, replay.start), replay.end)
        assert replay.now() == clamped
        expected = folded([record for record in played[1] if record.received_t <= clamped])
        assert list(differences(replay.run, expected)) == []


def test_a_seek_folds_no_more_than_a_block(played: tuple[Path, list[Record]]) -> None:
    assert not Replay(played[0]).slow, "bench/seek.py: 500 records are some 15 ms"


def test_steps_move_by_what_changes_the_picture(played: tuple[Path, list[Record]]) -> None:
    replay = Replay(played[0])
    replay.seek(START_T + 10)
    before = replay.run
    seen = []
    for _ in range(3):
        replay.step(1)
        seen.append(replay.run)
    assert not replay.playing
    assert all(a is not b for a, b in pairwise([before, *seen]))
    assert all((a.step, a.epochs) != (b.step, b.epochs) or a.records < b.records for a, b in pairwise(seen))
    replay.step(-2)
    assert list(differences(replay.run, seen[0])) == []
    replay.step(-100_000)
    assert replay.run.records == 1
    replay.step(100_000)
    assert replay.now() == replay.end
    replay.step(0)


async def test_the_clock_runs_stops_at_the_end_and_loops(played: tuple[Path, list[Record]]) -> None:
    replay = Replay(played[0], speed=200.0)
    work = asyncio.create_task(replay.work())
    try:
        await asyncio.sleep(0.4)
        assert replay.start < replay.now() < replay.end
        assert replay.run.records > 1
        replay.playing = False
        await asyncio.sleep(0.1)
        still, run = replay.now(), replay.run
        await asyncio.sleep(0.15)
        assert (replay.now(), replay.run) == (still, run), "the same object while nothing changed"
    finally:
        work.cancel()
    replay.playing = True
    replay.advance(1e6)
    assert replay.now() == replay.end
    assert not replay.playing
    replay.playing = replay.loop = True
    replay.advance(1e6)
    assert replay.now() == replay.start
    assert replay.playing
    await replay.command("pause")


async def test_what_is_left_of_a_long_log_is_read_while_it_plays(tmp_path: Path) -> None:
    records = told().records
    many = [*records[:-1]] + [records[4]] * 3000 + [records[-1]]
    path = journal_of(tmp_path / "run", many)
    replay = Replay(path, speed=1e9, at_once_s=0)
    assert replay.reading == 2000
    assert exit_of(replay.exit_run()) == Exit.DONE
    work = asyncio.create_task(replay.work())
    while replay.reading is not None:
        assert replay.playing, "the end of what is read is not the end of the log"
        await asyncio.sleep(0.01)
    work.cancel()
    assert replay.whole.status == "reached"


def test_a_log_with_nothing_but_damage_plays(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"received":\n' * 3)
    replay = Replay(path)
    replay.seek(5)
    replay.step(1)
    replay.advance(1.0)
    assert replay.run.damaged == 3


def test_a_clock_that_jumps_does_not_tear_the_order(tmp_path: Path) -> None:
    records = trained(epochs=3).records
    far = records[40]
    records[40] = Record(far.received_t + 9e9, far.t, far.event, far.node, far.offset)
    back = records[60]
    records[60] = Record(5.0, back.t, back.event, back.node, back.offset)
    replay = Replay(journal_of(tmp_path / "run", records))
    assert replay.end == records[-1].received_t
    replay.seek(replay.end)
    assert replay.run.records == len(records)


def test_exit_codes_of_logs() -> None:
    assert exit_of(told().run) == Exit.DONE
    cut = trained(top5=0.1)
    assert (outcome(cut.run), exit_of(cut.run)) == (CUT_OFF, Exit.FAILED)
    done = cut.hears(0, re.TrainingEnded(step=12, epoch=2, reason="finished", elapsed_s=15.0))
    assert (outcome(done.run), exit_of(done.run)) == (MISSED, Exit.MISSED)
    aimless = [
        Record(record.received_t, record.t, _aimless(record.event), record.node, record.offset)
        for record in done.records
    ]
    assert exit_of(folded(aimless)) == Exit.DONE
    assert exit_of(trained().run) == Exit.DONE, "the target is in the log, whatever came after"


def _aimless(event: codec.Event) -> codec.Event:
    return created(target_metric=None, target_value=None) if isinstance(event, RunCreated) else event
