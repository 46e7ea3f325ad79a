"""How the keys of the panes are tried."""

from __future__ import annotations

from desk import Desk, key


@key("pane.zoom")
async def _zoom(desk: Desk) -> None:
    await desk.press("2", "z")
    assert desk.pane("progress").display
    assert desk.pane("progress").size.width > 110
    assert desk.pane("header").size.height == 2
    await desk.press("z")
    assert desk.pane("progress").size.width < 60


@key("pane.back")
async def _escape(desk: Desk) -> None:
    await desk.press("z", "escape")
    assert not desk.run_screen.has_class("single")


@key("pane.next")
async def _next(desk: Desk) -> None:
    await desk.press("tab")
    assert desk.app.focused is desk.pane("progress")


@key("pane.previous")
async def _previous(desk: Desk) -> None:
    await desk.press("shift+tab")
    assert desk.app.focused is desk.pane("alerts")


def _pane_key(place: int, name: str) -> None:
    @key(f"pane.{name}")
    async def test(desk: Desk) -> None:
        await desk.press("4" if place != 4 else "1", str(place))
        assert desk.app.focused is desk.pane(name)


for place, name in enumerate(("nodes", "progress", "cost", "log", "alerts"), start=1):
    _pane_key(place, name)
