"""Pictures of every pane and screen, as text: at three sizes, at four moments of a run, by a clock that stands still.

``pytest tests/test_tui_pictures.py --snapshot-update`` takes them anew; what changed is then read in the diff.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TypeVar

import pytest
from canned_source import CannedPlayer, CannedSource, lost, scene
from desk import Desk, rare_collections
from drawing import Drawings, drawn
from presses_start import start
from syrupy.assertion import SnapshotAssertion
from textual.app import App
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input

from console.tui import themes
from console.tui.app import ConsoleApp
from console.tui.screens.node import NodeScreen
from console.tui.widgets.pane import Pane

__all__ = ["rare_collections"]

SIZES = [(80, 24), (120, 40), (200, 60)]
PANES = ("nodes", "progress", "cost", "log", "alerts")
MOMENTS = ("launching", "training", "lost", "finished")
T = TypeVar("T")


@cache
def source(moment: str) -> CannedSource:
    """A run of 16 hosts with 8 GPUs each."""
    return CannedSource(lost(gpus=8) if moment == "lost" else scene(moment, gpus=8))


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Drawings)


@asynccontextmanager
async def console(source: CannedSource, size: tuple[int, int]) -> AsyncIterator[Desk]:
    app = ConsoleApp(source)
    app.theme = themes.DARK.name
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        await still(app, pilot)
        yield Desk(app, pilot, source)


async def still(app: App[T], pilot: Pilot[T]) -> App[T]:
    """The app once nothing on its screen moves."""
    before, shown = [Strip.blank(1)], []
    while before != shown:
        await pilot.pause()
        before, shown = shown, app.screen._compositor.render_strips()
    return app


def size_name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("size", SIZES, ids=size_name)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_run(moment: str, size: tuple[int, int], picture: SnapshotAssertion) -> None:
    async with console(source(moment), size) as one:
        assert drawn(await still(one.app, one.pilot)) == picture(name="screen")
        if one.pane("summary").display:
            one.run_screen.action_back()
        for place, name in enumerate(PANES, start=1):
            one.run_screen.action_pane(place)
            if size != SIZES[0]:
                one.run_screen.action_zoom()
            assert drawn(await still(one.app, one.pilot), one.pane(name).region) == picture(name=name)
            if size != SIZES[0]:
                one.run_screen.action_zoom()
        one.app.push_screen(NodeScreen(3, one.run_screen))
        assert drawn(await still(one.app, one.pilot)) == picture(name="node")


@pytest.mark.parametrize("size", SIZES, ids=size_name)
async def test_dialogs(size: tuple[int, int], picture: SnapshotAssertion) -> None:
    app: App[int]
    async with console(CannedSource(scene("training", nodes=4)), size) as one:
        app = one.app
        for name, key in {"stop": "x", "terminate": "T", "budget": "b", "leave": "q", "help": "?"}.items():
            await one.press(key)
            for line in app.screen.query(Input):
                line.cursor_blink = False
            await still(app, one.pilot)
            assert drawn(app, app.screen.query_one(".box").region) == picture(name=name)
            await one.press("escape")
        await one.press("1", "slash", *"util<50")
        for line in app.screen.query(Input):
            line.cursor_blink = False
        await still(app, one.pilot)
        assert drawn(app, app.screen.query_one(".filter").region) == picture(name="filter")


@pytest.mark.parametrize("size", SIZES, ids=size_name)
async def test_log(size: tuple[int, int], picture: SnapshotAssertion) -> None:
    """A log that stands at an epoch; and the run's end, told by the closing panel."""
    player = CannedPlayer(scene("failed", nodes=8))
    async with console(player, size) as one:
        closing = one.pane("summary")
        assert drawn(one.app, closing.region) == picture(name="closing")
        player.seek(player.start + 60)
        one.app.tick(force=True)
        assert drawn(await still(one.app, one.pilot)) == picture(name="past")


@pytest.mark.parametrize("size", SIZES, ids=size_name)
async def test_start(size: tuple[int, int], picture: SnapshotAssertion) -> None:
    async with start(size) as (app, pilot):
        app.theme = themes.DARK.name
        app.query_one(Input).cursor_blink = False
        await pilot.pause()
        assert drawn(app) == picture(name="all")
        await pilot.press(*"imagenet", "enter")
        await pilot.pause()
        assert drawn(app, app.screen.query_one(".box").region) == picture(name="asks")


async def test_a_pane_of_another_tone_is_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures hold tones, too, and not only characters."""
    async with console(source("launching"), SIZES[0]) as one:
        before = drawn(await still(one.app, one.pilot))
        header = one.pane("header")
        draw = type(header).draw
        monkeypatch.setattr(header, "draw", lambda *given: ([recoloured(line) for line in draw(header, *given)[0]], ()))
        Pane.redraw(header)
        after = drawn(await still(one.app, one.pilot))
        assert before != after
        height = SIZES[0][1]
        assert before.splitlines()[:height] == after.splitlines()[:height]


def recoloured(line: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((text, "bad" if tone == "strong" else tone) for text, tone in line)
