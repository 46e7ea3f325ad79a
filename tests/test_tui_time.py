"""Looking back at a live run on the screen: the past is marked as such, the run goes on, End returns to it."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from canned_source import T0, CannedPlayer, CannedSource, scene, tick
from desk import Desk, desk, rare_collections
from textual.widgets import Input

from console.journal.writer import RunJournal
from console.playback.rewind import Rewind
from console.tui.app import ConsoleApp
from console.tui.dialogs.choice import ChoiceDialog
from console.tui.screens.node import NodeScreen
from console.tui.widgets.timeline import Timeline

__all__ = ["rare_collections"]


@asynccontextmanager
async def live_desk(
    tmp_path: Path, *, size: tuple[int, int] = (120, 40), read_only: bool = False
) -> AsyncIterator[tuple[Desk, Rewind]]:
    """A console over a live run of four hosts whose journal has been read."""
    records = scene("training", nodes=4)
    journal = RunJournal(tmp_path / "run.jsonl")
    journal.append(*records)
    source = CannedSource(records)
    rewind = Rewind(source, journal.path)
    app = ConsoleApp(rewind, read_only=read_only)
    async with app.run_test(size=size) as pilot:
        while not rewind.markers:
            await pilot.pause(0.02)
        one = Desk(app, pilot, source)
        await one.show()
        yield one, rewind
    journal.close()


async def test_the_past_of_a_live_run_says_that_it_is_past(tmp_path: Path) -> None:
    async with live_desk(tmp_path) as (one, rewind):
        assert "● LIVE" in one.text("timeline")
        present = one.text("nodes")
        await one.press("[")
        assert "behind live · End: back to live" in one.text("timeline")
        assert one.run_screen.has_class("past")
        await one.press("g", *"0:40", "enter")
        assert "at 00:40" in one.text("timeline")
        assert one.text("nodes") != present
        # The run goes on, and what is shown stands still.
        shown = one.text("progress")
        one.source.feed(tick(4, 0, T0 + 300, 900))
        await one.show()
        assert one.text("progress") == shown
        assert "at 00:40 · 04:20 behind live" in one.text("timeline")
        await one.press("end")
        assert "● LIVE" in one.text("timeline")
        assert not one.run_screen.has_class("past")
        assert rewind.run is one.source.run


async def test_controls_act_on_the_run_as_it_is_now_and_say_so(tmp_path: Path) -> None:
    async with live_desk(tmp_path) as (one, rewind):
        await one.press("g", *"0:20", "enter", "c")
        assert one.source.sent == ["checkpoint"]
        assert any("applies to the live run" in toast for toast in one.toasts)
        await one.press("x")
        assert isinstance(one.app.screen, ChoiceDialog)
        step = one.source.run.step
        assert step is not None
        assert f"at step {step.step}" in one.text()
        await one.press("escape", "b")
        one.app.screen.query_one(Input).value = "77"
        await one.press("enter")
        assert one.source.arguments == {"usd": 77.0}
        await one.press("space")
        assert one.source.sent[-1] == "pause"
        assert rewind.behind_s is not None


async def test_the_past_plays_on_and_holds(tmp_path: Path) -> None:
    async with live_desk(tmp_path) as (one, rewind):
        await one.press("g", *"0:20", "enter", "p", "+", "+")
        assert rewind.playing
        assert rewind.speed == 4
        assert "▶ 4×" in one.text("timeline")
        await one.press("p")
        assert not rewind.playing
        await one.press("g", *"-0:10", "enter")
        assert rewind.now() == rewind.end - 10
        await one.press("home")
        assert rewind.now() == T0


async def test_end_and_home_are_the_panes_own_at_the_present(tmp_path: Path) -> None:
    async with live_desk(tmp_path) as (one, rewind):
        await one.press("4", "home", "end", "home")
        assert rewind.behind_s is None
        assert one.pane("log").scroll_offset.y == 0


async def test_looking_on_may_look_back_too(tmp_path: Path) -> None:
    async with live_desk(tmp_path, read_only=True) as (one, rewind):
        await one.press("{")
        assert rewind.behind_s is not None
        await one.press("space")
        assert rewind.playing
        assert one.source.sent == []


async def test_leaving_while_looking_back_asks_about_the_run_that_goes_on(tmp_path: Path) -> None:
    async with live_desk(tmp_path) as (one, _):
        await one.press("g", *"0:01", "enter", "q")
        assert isinstance(one.app.screen, ChoiceDialog)
        assert "The run is training" in one.text()


async def test_the_timeline_has_markers_that_a_mouse_finds() -> None:
    async with desk(CannedPlayer(scene("finished", nodes=4))) as one:
        timeline = one.pane("timeline")
        assert isinstance(timeline, Timeline)
        line = one.text("timeline")
        assert "┷" in line
        at = line.index("┷")
        await one.pilot.hover("#timeline", offset=(at, 0))
        assert "epoch" in str(timeline.tooltip)
        await one.pilot.mouse_down("#timeline", offset=(at, 0))
        first = one.source.now()
        await one.pilot.hover("#timeline", offset=(at + 30, 0))
        await one.pilot.pause()
        assert one.source.now() > first
        await one.pilot.mouse_up("#timeline", offset=(at + 30, 0))
        there = one.source.now()
        await one.pilot.hover("#timeline", offset=(at, 0))
        assert one.source.now() == there


async def test_a_slow_seek_keeps_the_screen_going_and_the_last_one_wins() -> None:
    player = CannedPlayer(scene("finished", nodes=4))
    player.slow = True
    async with desk(player) as one:
        player.seek(player.end)
        await one.press(*["["] * 5)
        one.run_screen.seek(T0 + 20)
        one.run_screen.seek(T0 + 30)
        while one.run_screen._moving:  # noqa: ASYNC110 (a thread seeks)
            await asyncio.sleep(0.01)
        assert player.now() == T0 + 30


async def test_a_log_that_is_still_read_says_how_far() -> None:
    player = CannedPlayer(scene("training", nodes=4))
    player.reading = 312_000
    async with desk(player) as one:
        assert "reading … 312,000 records" in one.text("timeline")


async def test_the_past_in_little_room(tmp_path: Path) -> None:
    async with live_desk(tmp_path, size=(40, 10)) as (one, _):
        await one.press("[")
        assert "behind live" in one.text("timeline")


async def test_the_end_is_the_present_though_the_clock_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with live_desk(tmp_path) as (one, rewind):
        ticks = itertools.count(1)
        now = one.source.now()
        monkeypatch.setattr(one.source, "now", lambda: now + next(ticks) * 1e-6)
        for keys in (["end"], ["g", *"100%", "enter"], ["g", *"-0", "enter"]):
            await one.press("[")
            assert "behind live" in one.text("timeline")
            await one.press(*keys)
            assert rewind.behind_s is None, keys
            assert "● LIVE" in one.text("timeline")


async def test_a_node_is_looked_back_at_and_stays_open(tmp_path: Path) -> None:
    async with live_desk(tmp_path) as (one, rewind):
        one.app.push_screen(NodeScreen(2, one.run_screen))
        await one.pilot.pause()
        assert "● LIVE" in one.text("timeline")
        present = one.text("facts")
        await one.press("g", *"0:40", "enter")
        assert isinstance(one.app.screen, NodeScreen)
        assert one.app.screen.has_class("past")
        assert "at 00:40" in one.text("timeline")
        assert one.text("facts") != present
        await one.press("right")
        assert isinstance(one.app.screen, NodeScreen)
        assert one.app.screen.node == 3
        assert "at 00:40" in one.text("timeline"), "the neighbour is shown at the same moment"
        await one.press("escape")
        assert one.app.screen is one.run_screen
        await one.show()
        assert "at 00:40" in one.text("timeline"), "the run's screen has the same clock"
        one.app.push_screen(NodeScreen(3, one.run_screen))
        await one.press("end")
        await one.show()
        assert "● LIVE" in one.text("timeline")
        assert not one.app.screen.has_class("past")
        assert rewind.behind_s is None


async def test_a_log_is_played_while_a_node_is_open() -> None:
    async with desk(CannedPlayer(scene("finished"))) as one:
        one.app.push_screen(NodeScreen(2, one.run_screen))
        await one.pilot.pause()
        playing = one.source.playing  # type: ignore[attr-defined]
        await one.press("space")
        assert one.source.playing is not playing  # type: ignore[attr-defined]
        await one.press("home")
        assert one.source.now() == one.source.start  # type: ignore[attr-defined]


class HeldPlayer(CannedPlayer):
    """A log whose steps take until they are let through."""

    def __init__(self) -> None:
        super().__init__(scene("finished"))
        self.slow = True
        self.through = threading.Event()
        self.steps = 0

    def step(self, records: int) -> None:
        assert self.through.wait(30)
        self.steps += 1
        super().step(records)


async def test_of_steps_that_take_their_time_none_is_lost_and_the_screen_turns_meanwhile() -> None:
    player = HeldPlayer()
    async with desk(player) as one:
        places = [player.now()]
        other = CannedPlayer(scene("finished"))
        for _ in range(3):
            other.step(-1)
            places.append(other.now())
        await one.press("[", "[", "[", "2")
        assert player.now() == places[0]
        assert one.app.focused is one.pane("progress"), "other keys are heard"
        player.through.set()
        await one.worked("seek")
        assert player.now() == places[3]


async def test_a_seek_leaves_out_the_steps_that_still_wait() -> None:
    player = HeldPlayer()
    async with desk(player) as one:
        await one.press("[", "[", "[", "home")
        player.through.set()
        await one.worked("seek")
        assert player.now() == player.start
        assert player.steps == 1, "the one under way"
