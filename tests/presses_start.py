"""How the keys of the start screen are tried."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from desk import Desk, key
from textual.pilot import Pilot
from textual.widgets import OptionList

from console.tui.choices import Choice
from console.tui.dialogs.choice import ChoiceDialog
from console.tui.start import Chosen, StartApp

RUN = "20260901-120000"


def profiles() -> Iterator[Choice]:
    for number in range(14):
        yield Choice(name=f"local-{number}", verb="start", state="profile", what="16 embedded hosts")
    yield Choice(
        name="imagenet", verb="start", state="profile", what="16 × p3, about $40", costs="It rents 16 × p3, about $40."
    )


def runs() -> Iterator[Choice]:
    yield Choice(name=f"{RUN}-a", verb="attach", other=("replay",), state="training", what="top-5 70 %", path="/a")
    yield Choice(name=f"{RUN}-b", verb="replay", other=("resume",), state="failed", what="MemoryError", path="/b")
    yield Choice(name=f"{RUN}-c", verb="", state="unreadable", what="is empty")


@asynccontextmanager
async def start(size: tuple[int, int] = (100, 30)) -> AsyncIterator[tuple[StartApp, Pilot[Chosen]]]:
    app = StartApp(profiles, runs)
    async with app.run_test(size=size) as pilot:
        while app._reading:
            await pilot.pause(0.01)
        yield app, pilot


def at(app: StartApp) -> str:
    options = app.query_one(OptionList)
    assert options.highlighted is not None
    return str(options.get_option_at_index(options.highlighted).id)


@key("start.down")
async def _down(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press("down", "down")
        assert at(app) == "local-2"


@key("start.up")
async def _up(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press("down", "down", "up")
        assert at(app) == "local-1"


@key("start.page_down")
async def _page_down(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press("pagedown")
        assert at(app) == "local-10"


@key("start.page_up")
async def _page_up(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press("pagedown", "down", "pageup")
        assert at(app) == "local-1"


@key("start.choose")
async def _choose(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press(*"local-7", "enter")
    assert app.return_value == Chosen("start", "local-7")
    async with start() as (app, pilot):
        await pilot.press(*"imagenet", "enter")
        assert isinstance(app.screen, ChoiceDialog)
        await pilot.press("enter")
        assert app.is_running, "the harmless answer has the focus"
        await pilot.press("enter", "s")
    assert app.return_value == Chosen("start", "imagenet")


@key("start.other")
async def _other(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press(*"training", "ctrl+g")
    assert app.return_value == Chosen("replay", f"{RUN}-a")
    async with start() as (app, pilot):
        await pilot.press(*"memory", "ctrl+g", "r")
    assert app.return_value == Chosen("resume", f"{RUN}-b")


@key("start.mark")
async def _mark(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press(*"training", "ctrl+o")
        await pilot.press(*["backspace"] * 8, *"memory", "enter")
    assert app.return_value == Chosen("replay", f"{RUN}-b", ("/a",))


@key("start.leave")
async def _leave(_: Desk) -> None:
    async with start() as (app, pilot):
        await pilot.press("escape")
    assert app.return_value is None
