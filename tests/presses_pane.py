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


@key("pane.hide")
async def _hide(desk: Desk) -> None:
    await desk.press("4", "H")
    assert not desk.pane("log").display
    assert desk.app.focused is desk.pane("alerts")
    await desk.press("4")
    assert desk.pane("log").display
    await desk.press("H", "2", "H", "3", "H", "5", "H", "H")
    assert desk.pane("nodes").display
    assert any("last pane" in toast for toast in desk.toasts)


@key("pane.wider")
async def _wider(desk: Desk) -> None:
    before = desk.pane("progress").size.width
    await desk.press("2", ">")
    assert desk.pane("progress").size.width > before


@key("pane.narrower")
async def _narrower(desk: Desk) -> None:
    before = desk.pane("nodes").size.width
    await desk.press("<")
    assert desk.pane("nodes").size.width < before


@key("pane.higher")
async def _higher(desk: Desk) -> None:
    before = desk.pane("nodes").size.height
    await desk.press("ctrl+down")
    assert desk.pane("nodes").size.height > before


@key("pane.lower")
async def _lower(desk: Desk) -> None:
    before = desk.pane("nodes").size.height
    await desk.press("ctrl+up")
    assert desk.pane("nodes").size.height < before


@key("pane.reset")
async def _reset(desk: Desk) -> None:
    before = desk.pane("nodes").size
    await desk.press("<", "<", "ctrl+down", "4", "H", "0")
    await desk.pilot.pause()
    assert desk.pane("log").display
    assert desk.pane("nodes").size == before


def _pane_key(place: int, name: str) -> None:
    @key(f"pane.{name}")
    async def test(desk: Desk) -> None:
        await desk.press("4" if place != 4 else "1", str(place))
        assert desk.app.focused is desk.pane(name)


for place, name in enumerate(("nodes", "progress", "cost", "log"), start=1):
    _pane_key(place, name)


@key("pane.alerts")
async def _alerts(desk: Desk) -> None:
    for name in ("5", "A"):
        await desk.press("1", name)
        assert desk.app.focused is desk.pane("alerts")
