"""A console under Pilot over a canned run, and the register of how each key is tried."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from canned_source import T0, CannedPlayer, CannedSource, scene
from textual.pilot import Pilot

from console.state.events import Record
from console.tui.app import ConsoleApp
from console.tui.screens.run import RunScreen
from console.tui.widgets.nodes import NodesPane
from console.tui.widgets.pane import Pane
from remote.wire import events as re


@pytest.fixture(autouse=True, scope="module")
def rare_collections() -> Iterator[None]:
    """Each app leaves 100,000 objects in cycles; looking through them so often took a third of these tests' time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 100)
    yield
    gc.set_threshold(*before)


class Desk:
    """A console under test."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[int], source: CannedSource) -> None:
        self.app, self.pilot, self.source = app, pilot, source

    async def press(self, *names: str) -> None:
        await self.pilot.press(*names)
        await self.pilot.pause()

    async def show(self) -> None:
        """What the timer does twice a second."""
        self.app.tick(force=True)
        await self.pilot.pause()

    async def worked(self, group: str) -> None:
        """Once the workers of a group are done."""
        while any(work.group == group and not work.is_finished for work in self.app.workers):
            await self.pilot.pause(0.01)
        await self.pilot.pause()

    @property
    def run_screen(self) -> RunScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, RunScreen)
        return screen

    def pane(self, name: str) -> Pane:
        return self.app.screen.query_one(f"#{name}", Pane)

    def text(self, name: str = "") -> str:
        """What a pane shows, or the whole screen."""
        if name:
            pane = self.pane(name)
            return "\n".join(pane.render_line(y).text.rstrip() for y in range(pane.scrollable_content_region.height))
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(line.text.rstrip() for line in lines)

    @property
    def toasts(self) -> list[str]:
        return [toast.message for toast in self.app._notifications]


@asynccontextmanager
async def desk(
    source: CannedSource | None = None, *, size: tuple[int, int] = (120, 40), read_only: bool = False
) -> AsyncIterator[Desk]:
    source = source or CannedSource(scene("training"))
    app = ConsoleApp(source, read_only=read_only)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Desk(app, pilot, source)


def player_of(desk: Desk) -> CannedPlayer:
    assert isinstance(desk.source, CannedPlayer)
    return desk.source


Press = Callable[[Desk], Awaitable[None]]
PRESSED: dict[str, tuple[str, Press]] = {}
"""For each key's id: in which console it is tried, and how."""


def key(name: str, console: str = "live") -> Callable[[Press], Press]:
    def register(test: Press) -> Press:
        PRESSED[name] = (console, test)
        return test

    return register


def nodes_pane(desk: Desk) -> NodesPane:
    pane = desk.pane("nodes")
    assert isinstance(pane, NodesPane)
    return pane


def printed(text: str) -> Record:
    """A line that rank 5 prints, after the canned run's last moment."""
    return Record(T0 + 100, T0 + 100, re.LogPrinted(text=text, rank=0), 0, 0)
