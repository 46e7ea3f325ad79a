"""The Progress pane and the header: the race, the time that is left, the curves, and what is laid over them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from canned_source import MOMENTS, T0, CannedPlayer, CannedSource, scene
from desk import Desk, desk, rare_collections
from long_ago import DATA, LOG_8, TABLE_16, items
from textual.events import MouseScrollUp
from textual.widgets import SelectionList

from console.compare import eta, past_runs
from console.format import percent
from console.state import events as ce
from console.state.events import Record, record_line
from console.tui.dialogs.past_runs import PastRunsDialog
from console.tui.draw import chart, figures, ink, plots
from console.tui.draw.braille import Canvas, Curve
from console.tui.draw.chart import Chart
from console.tui.draw.moment import Moment
from console.tui.draw.plots import Look
from console.tui.widgets.header import Header
from console.tui.widgets.progress import ProgressPane
from remote.wire import events as re

__all__ = ["rare_collections"]


def race_log() -> CannedPlayer:
    """The log of the 8 machines of 2018, at its 21st epoch's end."""
    player = CannedPlayer(items(LOG_8))
    ends = [record.received_t for record in items(LOG_8) if isinstance(record.event, re.EpochEnded)]
    player.seek(ends[20])
    return player


def progress_of(one: Desk) -> ProgressPane:
    pane = one.pane("progress")
    assert isinstance(pane, ProgressPane)
    return pane


# --- one look --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_one_look_at_the_header_says_how_it_is_how_far_how_long_how_much(size: tuple[int, int]) -> None:
    async with desk(race_log(), size=size) as one:
        shown = one.text("header")
        for answer in ("TRAINING", "healthy", "epoch 21/37", "55 %", "2:50 behind", "85.9 %", "05:12–13:42", "$11.6"):
            assert answer in shown, answer


def test_the_header_says_as_much_as_fits() -> None:
    run = CannedSource(scene("training")).run
    header = Header("header")
    for width in range(40, 160):
        for line in header.draw(Moment(run=run, now=T0 + 100, title="local"), width, 2)[0]:
            assert ink.width_of(line) <= width
    wide = "".join(text for line in header.draw(Moment(run=run, now=T0 + 100), 140, 2)[0] for text, _ in line)
    assert "93 % in " in wide


async def test_the_race_and_the_time_left_are_sentences_in_the_pane() -> None:
    async with desk(race_log()) as one:
        await one.press("2", "z")
        shown = one.text("progress")
        race = "race   2:50 behind, $17.50 less at 85.9 % · fast.ai and DIU, 2018 at 89.6 % now"
        assert race in shown
        assert "left   top-5 93.0 % in 05:12–13:42  by the ghost's pace" in shown
        assert "··· fast.ai and DIU, 2" in shown


async def test_without_a_record_nobody_is_raced_and_the_time_left_is_said_or_is_a_dash() -> None:
    async with desk() as one:
        shown = one.text("progress")
        assert "race" not in shown
        run = one.source.run
        left = eta.eta(run, one.source.now())
        assert left is not None
        assert figures.span_words(left.low_s, left.high_s) in shown
    early = [record for record in scene("training") if not isinstance(record.event, (re.EpochEnded, re.StepEnded))]
    async with desk(CannedSource(early)) as one:
        assert "in —" in one.text("progress")
        assert "93 % in —" in one.text("header")


async def test_the_phase_has_a_bar_of_its_own() -> None:
    log = race_log()
    # The fifth phase has the epochs 17 to 22; four of its six are over.
    assert figures.phase_done(log.run) == pytest.approx(4 / 6, abs=0.01)
    for width in range(20, 120):
        line = figures.figures(Moment(run=log.run, now=log.now()), width)[0]
        assert ink.width_of(line) <= max(width, 26)
    async with desk(log) as one:
        assert "━━" in one.text("progress").splitlines()[0]
    assert figures.phase_done(CannedSource(scene("training")).run) is None


def test_ranges_in_words() -> None:
    assert figures.span_words(250, 390) == "04:10–06:30"
    assert figures.span_words(250, None) == "04:10 or more"
    assert figures.span_words(250, 250.4) == "04:10"
    race = Moment(run=race_log().run, now=race_log().now()).race
    assert race is not None
    for width in range(12, 120):
        assert ink.width_of(figures.race_line(race, width)) <= max(width, 20)
    beyond = figures.race_line(replace(race, ahead_s=None), 100)
    assert "past the ghost's best" in "".join(text for text, _ in beyond)


async def test_the_closing_panel_tells_how_the_race_ended() -> None:
    player = CannedPlayer(items(LOG_8))
    async with desk(player, size=(160, 40)) as one:
        assert "race 0:48 behind, $55.00 less than fast.ai and DIU, 2018" in one.text("summary")


# --- curves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
def test_charts_have_the_room_that_they_are_given_whatever_is_looked_at(moment: str) -> None:
    run = CannedSource(scene(moment, nodes=2)).run
    shown = Moment(run=run, now=run.last_received_t or 0.0)
    for width, height in ((15, 3), (38, 9), (76, 20), (118, 34), (198, 54)):
        for look in (Look(), Look(view="loss", log=True), Look(axis="time", cross=12.0), Look(span=(3.0, 3.0001))):
            for alone in (False, True):
                lines, areas = plots.draw(shown, look, width, height, alone=alone)
                assert len(lines) in (0, height)
                assert all(ink.width_of(line) <= width for line in lines)
                assert all(area.left + area.columns <= width and area.top + area.rows <= height for area in areas)


def test_a_curve_is_cut_off_at_the_edges_and_a_far_point_costs_nothing() -> None:
    canvas = Canvas(10, 2, (0.0, 10.0), (0.0, 1.0))
    canvas.draw(Curve([-1e12, 1e12], [0.0, 1.0], "loss"))
    assert [text.count("⠒") + text.count("⠉") + text.count("⣀") + text.count("⠤") for text, _ in canvas.row(0)] != [0]
    canvas = Canvas(10, 2, (0.0, 10.0), (0.0, 1.0))
    canvas.draw(Curve([0.0, 5.0, 20.0], [0.0, 5.0, -5.0], "loss"))
    # Over the top it runs along the edge.
    assert "⠉" in "".join(text for text, _ in canvas.row(0))


def test_labels_are_round_numbers() -> None:
    one = Chart((), (Curve([0.0, 1100.0], [0.013, 6.9], "loss"),), "time", (0.0, 1200.0), "")
    drawn = ["".join(text for text, _ in line) for line in chart.draw(one, 60, 14)]
    assert [line[:7].strip("┤│ ") for line in drawn[1:-1] if "┤" in line] == ["6", "4", "2", "0"]
    for label in ("00:00", "10:00", "time"):
        assert label in drawn[-1]
    drawn = ["".join(text for text, _ in line) for line in chart.draw(replace(one, log=True), 60, 14)]
    assert [line[:7].strip("┤│ ") for line in drawn[1:-1] if "┤" in line] == ["10", "1", "0.1", "0.01"]
    assert chart.x_words("step", 1240.4) == "step 1,240"
    assert chart.x_words("epoch", 3.417) == "epoch 3.42"
    assert chart.value_words("share", 0.6321) == "63.2 %"
    assert chart.value_words("rate", 28_450.4) == "28,450"
    assert chart.value_words("", None) == "—"


async def test_the_crosshair_follows_the_mouse_and_the_wheel_zooms_there() -> None:
    async with desk() as one:
        await one.press("2", "z")
        pane = progress_of(one)
        area = pane._areas[0]
        at = (area.left + area.columns // 2 + 1, area.top + 3)
        await one.pilot.hover("#progress", offset=at)
        await one.pilot.pause()
        assert pane.look.cross == pytest.approx(155, rel=0.05)
        assert "loss " in one.text("progress").splitlines()[-1]
        await one.pilot._post_mouse_events([MouseScrollUp], "#progress", offset=at)
        await one.pilot.pause()
        assert pane.look.span is not None
        assert pane.look.span[0] < 155 < pane.look.span[1]


async def test_the_view_that_has_nothing_more_to_show_is_no_trap() -> None:
    async with desk(race_log()) as one:
        await one.press("2", "z", "v")
        one.source.seek(one.source.start)  # type: ignore[attr-defined]
        await one.show()
        assert "No training yet" in one.text("progress")
        await one.press("v", "a", "left", "up", "shift+left", "0", "y")
        assert one.app.is_running


# --- past runs -------------------------------------------------------------------------------------------------------


def past_run(home: Path, name: str, *, epochs: int = 17, damaged: bool = False) -> Path:
    """A run directory of a run that was a little better."""
    folder = home / "fastconsole" / "runs" / name
    folder.mkdir(parents=True)
    lines = []
    for record in scene("finished", nodes=2):
        event = record.event
        if isinstance(event, ce.RunCreated):
            event = replace(event, run_id=name)
        if isinstance(event, re.EpochEnded):
            if event.epoch >= epochs:
                continue
            event = replace(event, elapsed_s=event.elapsed_s * 0.8)
        lines.append(record_line(Record(record.received_t, record.t, event, record.node, record.offset)))
    (folder / "run.jsonl").write_text("" if damaged else "\n".join(lines) + "\n")
    return folder / "run.jsonl"


async def compared(one: Desk, *paths: str) -> None:
    await one.run_screen.compare_with(tuple(paths))
    await one.pilot.pause()


async def test_past_runs_are_chosen_from_a_list_and_laid_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    past_run(tmp_path, "local-20260901-a")
    past_run(tmp_path, "local-20260902-b", epochs=3)
    async with desk() as one:
        await one.press("2", "z", "o")
        await one.worked("compare")
        assert isinstance(one.app.screen, PastRunsDialog)
        assert one.app.screen.query_one(SelectionList).option_count == 2
        await one.press("space", "down", "space", "enter")
        await one.worked("compare")
        assert {past.name for past in one.run_screen.compared.pasts} == {"local-20260901-a", "local-20260902-b"}
        shown = one.text("progress")
        assert "local-20260901-a" in shown
        assert "local-20260902-b" in shown
        # Where there is no record, the first of them is raced.
        assert "race   past the ghost's best" in shown
        await one.press("G", "left")
        shown = one.text("progress")
        assert "race   0:1" in shown
        assert "behind" in shown
        assert "local-2026090" in shown.splitlines()[-1]
        await one.press("G")
        assert "race" not in one.text("progress")


async def test_the_race_with_a_past_run_is_by_its_own_clock(tmp_path: Path) -> None:
    path = past_run(tmp_path, "better")
    async with desk() as one:
        await compared(one, str(path))
        race = one.app._screen.moment.race
        assert race is not None
        assert race.ghost == "better"
        # The same accuracies at four fifths of the time.
        assert race.ahead_s == pytest.approx(-0.2 * race.own_s, rel=0.01)
        assert race.ahead_epoch_s == pytest.approx(race.ahead_s)
        await one.press("2", "z")
        assert "; by epoch 0:1" in one.text("progress")
        await compared(one)
        assert one.app._screen.moment.race is None


async def test_a_log_that_cannot_be_read_is_a_sentence_and_the_others_are_there(tmp_path: Path) -> None:
    good, empty = past_run(tmp_path, "good"), past_run(tmp_path, "empty", damaged=True)
    text = tmp_path / "letter.txt"
    text.write_text("Dear all,\n")
    nothing = tmp_path / "launch.jsonl"
    nothing.write_text("\n".join(record_line(record) for record in scene("launching", nodes=1)) + "\n")
    async with desk() as one:
        await compared(one, str(empty), str(text), str(nothing), str(good))
        assert [past.name for past in one.run_screen.compared.pasts] == ["good"]
        said = " ".join(one.toasts)
        for words in ("empty", "letter.txt", "took no step"):
            assert words in said
        assert one.run_screen.compared.loading == ""


async def test_the_title_says_that_a_log_is_still_read(tmp_path: Path) -> None:
    path, gate = past_run(tmp_path, "past"), threading.Event()
    async with desk() as one:
        # The only thread that reads logs is busy until the gate opens.
        with ThreadPoolExecutor(1) as threads:
            asyncio.get_running_loop().set_default_executor(threads)
            threads.submit(gate.wait)
            try:
                reading = asyncio.create_task(one.run_screen.compare_with((str(path), str(tmp_path / "nowhere"))))
                await one.pilot.pause()
                await one.show()
                assert str(one.pane("progress").border_subtitle) == "reading 1 of 2 …"
                assert "reading 1 of 2 …" in one.text()
            finally:
                gate.set()
            await reading
        await one.show()
        assert not one.pane("progress").border_subtitle
        assert [past.name for past in one.run_screen.compared.pasts] == ["past"]


async def test_two_real_logs_of_2018_over_each_other() -> None:
    items(TABLE_16)
    async with desk(race_log()) as one:
        await compared(one, str(DATA / TABLE_16))
        await one.press("2", "z", "v", "v")
        shown = one.text("progress")
        assert "━ fastai_resnet50_p3_16_machine_pytorch.tsv" in shown
        await one.press("G")
        assert "fastai_resnet50_p3_16_machine" in one.text("progress").split("race")[1].splitlines()[0]


def test_a_run_is_found_by_its_id_its_folder_and_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = past_run(tmp_path, "mine")
    found = past_runs.found()
    assert [one.name for one in found] == ["mine"]
    for name in ("mine", str(path.parent), str(path)):
        assert past_runs.load(name).trace.name == "mine"
    assert past_runs.load("mine").ghost is not None


def test_the_share_of_the_devices_peak_is_a_curve() -> None:
    records = []
    for record in scene("training", nodes=2, gpus=8):
        event = record.event
        if isinstance(event, re.TrainingStarted):
            event = replace(event, peak_flops=125e12)
        if isinstance(event, re.PhaseStarted):
            event = replace(event, flops_per_image=24e9)
        records.append(Record(record.received_t, record.t, event, record.node, record.offset))
    run = CannedSource(records).run
    # 750 images a second and device, 24 billion operations each, of 125 trillion.
    assert run.points[-1].peak_share == pytest.approx(750 * 24e9 / 125e12, rel=0.03)
    shown = Moment(run=run, now=T0 + 100)
    assert "share of peak" in plots.views_of(shown)
    said = "".join(text for line in figures.figures(shown, 100) for text, _ in line)
    assert f"{percent(run.points[-1].peak_share, 0)} of peak" in said
