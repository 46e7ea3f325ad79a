"""The screen under Pilot: every key, every pane at every moment, hostile text, small terminals."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest
from canned_source import MOMENTS, T0, CannedPlayer, CannedSource, scene, tick
from desk import Desk, desk, rare_collections
from textual.widgets import Input

from console.playback.source import Player, Source
from console.state import events as ce
from console.state.events import Record
from console.tui.app import ConsoleApp
from console.tui.dialogs.questions import parse_position
from console.tui.draw import ink
from console.tui.screens.node import NodeScreen
from console.tui.screens.run import RunScreen

__all__ = ["rare_collections"]

SIZES = [(40, 10), (80, 24), (120, 40), (200, 60)]


@pytest.fixture(autouse=True, scope="module")
def _rare_collections() -> Iterator[None]:
    """Each app leaves 100,000 objects in cycles; looking through them so often took a third of these tests' time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    yield
    gc.set_threshold(*before)


# --- commands that cannot be -----------------------------------------------------------------------------------------


CONTROL_KEYS = ("s", "space", "c", "x", "T", "r", "b")


async def test_what_makes_no_sense_now_gets_a_sentence() -> None:
    async with desk(CannedSource(scene("training"), controls=frozenset())) as one:
        for count, pressed in enumerate(CONTROL_KEYS, start=1):
            await one.press(pressed)
            assert one.source.sent == []
            assert isinstance(one.app.screen, RunScreen)
            assert len(one.toasts) == count
            assert one.toasts[-1] in ("The run is already training.", "This run takes no commands from here.")


async def test_a_log_takes_no_commands_and_says_so() -> None:
    async with desk(CannedPlayer(scene("training"))) as one:
        await one.press("c")
        assert any("A log cannot take commands" in toast for toast in one.toasts)


async def test_read_only_has_no_controls() -> None:
    async with desk(read_only=True) as one:
        await one.press(*CONTROL_KEYS)
        assert one.source.sent == []
        assert one.toasts == []
        assert isinstance(one.app.screen, RunScreen)
        bar = one.text("keybar")
        assert "checkpoint" not in bar
        assert "stop" not in bar
        await one.press("?")
        assert "Save a checkpoint now" not in one.text()
        await one.press("escape", "q")
        await one.pilot.pause(0.05)
        assert one.source.sent == []


async def test_a_command_that_fails_is_a_sentence() -> None:
    source = CannedSource(scene("training"))
    source.refuses = OSError("the [bold]channel[/] to node 3 is closed")
    async with desk(source) as one:
        await one.press("c")
        assert any("channel" in toast for toast in one.toasts)
        await one.press("q", "d")
        assert one.app.is_running


async def test_a_budget_that_was_overtaken_is_a_sentence() -> None:
    source = CannedSource(scene("training"))
    source.refuses = ValueError("$1.00 is too little: $0.99 is spent")
    async with desk(source) as one:
        await one.press("b")
        one.app.screen.query_one(Input).value = "60"
        await one.press("enter")
        assert any("$0.99 is spent" in toast for toast in one.toasts)


async def test_without_a_price_no_budget_is_asked_for() -> None:
    records = scene("training")
    block = ce.InstanceStarted(instance_id="i-x", started_t=T0, usd_per_h=None, usd_per_h_on_demand=24.48)
    async with desk(CannedSource([*records, Record(T0 + 90, T0 + 90, block, 3)])) as one:
        await one.press("b")
        assert isinstance(one.app.screen, RunScreen)
        assert any("no known price" in toast for toast in one.toasts)


async def test_pending_commands_show_in_the_header() -> None:
    async with desk(CannedSource(scene("paused"))) as one:
        assert "pausing 12/16" in one.text("header")
        assert "PAUSED" in one.text("header")


# --- where the run comes from ----------------------------------------------------------------------------------------


async def test_the_source_may_be_made_after_the_first_paint() -> None:
    gate = asyncio.Event()
    source = CannedSource(scene("training"))

    async def make() -> Source:
        await gate.wait()
        return source

    app = ConsoleApp(make)
    async with app.run_test(size=(80, 24)) as pilot:
        one = Desk(app, pilot, source)
        assert "STARTING" in one.text("header")
        await one.press("c")
        assert any("No run yet." in toast for toast in one.toasts)
        gate.set()
        await pilot.pause()
        await one.show()
        assert "TRAINING" in one.text("header")


@pytest.mark.parametrize("broken", ["factory", "work"])
async def test_a_source_that_fails_is_a_sentence_and_no_crash(broken: str) -> None:
    source = CannedSource(scene("training"))
    source.fails = RuntimeError("the [red]journal[/red] cannot be written")

    def make() -> Source:
        raise ValueError("profile local: no such key")

    app = ConsoleApp(make if broken == "factory" else source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        one = Desk(app, pilot, source)
        assert ("no such key" if broken == "factory" else "[red]journal[/red]") in one.text("header")
        assert app.failure is not None
        await one.press("q")
        if broken == "work":
            await one.press("d")
        await pilot.pause(0.05)
    assert app.return_value == (1 if broken == "factory" else None) or broken == "work"


async def test_the_screen_repaints_only_when_there_is_something_new() -> None:
    async with desk() as one:
        before = one.app._moment
        one.app.tick()
        assert one.app._moment is before
        one.source.feed(tick(16, 0, T0 + 200, 400))
        one.app.tick()
        assert one.app._moment is not before
        assert "400" in one.text("nodes")


def test_the_screen_imports_nothing_heavy() -> None:
    heavy = "asyncssh boto3 botocore torch numpy console.live.live_run console.ssh.connect "
    heavy += "console.fleet.provider console.playback.replay console.journal.open_log"
    script = f"import sys, console.tui.app; print([name for name in {heavy.split()!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


# --- every pane at every moment --------------------------------------------------------------------------------------

SHOWN = {
    "empty": ("NO RUN YET", "No hosts yet"),
    "launching": ("LAUNCHING", "ship 12/16", "rendezvous"),
    "training": ("TRAINING", "healthy", "epoch 7/20", "78.0 %", "$0.06", "simulated", "CPU", "slower: data"),
    "failed": ("FAILED", "MemoryError", "first failure"),
    "paused": ("PAUSED", "pausing 12/16"),
    "finished": ("TARGET REACHED", "03:07", "93.1 %", "$0.1353", "on demand"),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_moment(moment: str) -> None:
    async with desk(CannedSource(scene(moment))) as one:
        shown = one.text()
        for words in SHOWN[moment]:
            assert words in shown, shown


@pytest.mark.parametrize("moment", MOMENTS)
async def test_every_pane_at_every_size(moment: str) -> None:
    # Few nodes: what is tried is the layout, and Pilot waits for every line to be painted.
    async with desk(CannedSource(scene(moment, nodes=4, gpus=8)), size=SIZES[0]) as one:
        for size in SIZES[:2]:
            await one.pilot.resize_terminal(*size)
            for place in range(1, 6):
                one.run_screen.action_pane(place)
                await one.pilot.pause()
                assert one.app.focused is not None
                assert one.app.focused.size.height > 0
                shown = one.text().splitlines()
                assert len(shown) == size[1]
                assert max(map(ink.cells, shown)) <= size[0]
        one.app.push_screen(NodeScreen(3, one.run_screen))
        await one.pilot.pause()
        assert max(map(ink.cells, one.text().splitlines())) <= SIZES[1][0]


async def test_resizing_through_all_sizes() -> None:
    async with desk(CannedSource(scene("training", nodes=128, gpus=1))) as one:
        for size in [*SIZES, (10, 3), (300, 80), (80, 24)]:
            await one.pilot.resize_terminal(*size)
            await one.pilot.pause()
        assert "TRAINING" in one.text("header")


async def test_the_closing_panel_is_put_away_and_stays_away() -> None:
    async with desk(CannedSource(scene("finished"))) as one:
        assert one.pane("summary").display
        await one.press("escape")
        await one.show()
        assert not one.pane("summary").display


async def test_leaving_after_the_end_needs_no_question_and_gives_the_exit_code() -> None:
    async with desk(CannedSource(scene("failed"))) as one:
        await one.press("q")
        await one.pilot.pause(0.05)
        assert one.app.return_value == 3


async def test_clicks() -> None:
    async with desk(size=(80, 24)) as one:
        await one.pilot.click("#tabs", offset=(14, 0))
        assert one.app.focused is one.pane("progress")
        await one.pilot.click("#keybar", offset=(2, 0))
        await one.pilot.pause()
        assert one.source.sent == ["start"]
    async with desk(CannedPlayer(scene("finished"))) as one:
        await one.pilot.click("#timeline", offset=(60, 0))
        assert T0 + 60 < one.source.now() < T0 + 140


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\tb", "a    b"),
        ("\u202eabc", "abc"),
        ("\x1b]0;title\x07rest", "rest"),
        ("e\u0301\u0301\u0301\u0301", "e\u0301\u0301"),
    ],
)
def test_clean(text: str, wanted: str) -> None:
    assert ink.clean(text) == wanted


def test_clean_is_bounded() -> None:
    assert len(ink.clean("x" * 10**6)) < 3000


@pytest.mark.parametrize("width", [0, 1, 2, 5, 9])
def test_fit_fills_its_columns(width: int) -> None:
    for text in ("", "abc", "火車の旅", "a long line"):
        assert ink.cells(ink.fit(text, width)) == width


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("3:20", ("s", 200.0)),
        ("1:02:03", ("s", 3723.0)),
        ("90", ("s", 90.0)),
        ("50%", ("%", 0.5)),
        ("e12", ("e", 12.0)),
        ("", None),
        ("e", None),
        ("-3", ("-", 3.0)),
        ("1:2:3:4", None),
        ("٣", ("s", 3.0)),
        ("9" * 400, None),
    ],
)
def test_a_place_in_a_log(typed: str, wanted: tuple[str, float] | None) -> None:
    assert parse_position(typed) == wanted


def test_the_canned_player_is_a_player() -> None:
    assert isinstance(CannedPlayer(scene("training")), Player)
    assert not isinstance(CannedSource(), Player)
