"""How the keys of the alerts are tried."""

from __future__ import annotations

from canned_source import T0, CannedPlayer
from desk import Desk, key

from console.state import events as ce
from console.state.events import Record
from console.tui.screens.node import NodeScreen
from console.tui.widgets.alerts import AlertsPane


def raised(text: str, node: int | None = None, *, t: float = 100.0, **more: str) -> Record:
    """An alert that the console raises."""
    return Record(T0 + t, T0 + t, ce.AlertRaised(kind=more.pop("kind", "idle"), text=text, **more), node)


async def pane(desk: Desk) -> AlertsPane:
    """The alerts, maximised, with three of them; the newest, of node 2, is on top."""
    found = desk.pane("alerts")
    assert isinstance(found, AlertsPane)
    desk.source.feed([raised(f"alert {number}", number, t=97.0 + number) for number in range(3)])
    await desk.show()
    await desk.press("5", "z")
    return found


@key("alerts.down")
async def _down(desk: Desk) -> None:
    found = await pane(desk)
    await desk.press("down", "j", "j", "j")
    assert found.cursor == 2


@key("alerts.up")
async def _up(desk: Desk) -> None:
    found = await pane(desk)
    await desk.press("down", "down", "up", "k", "k")
    assert found.cursor == 0


@key("alerts.open")
async def _open(desk: Desk) -> None:
    await pane(desk)
    await desk.press("down", "enter")
    assert isinstance(desk.app.screen, NodeScreen)
    assert "Node 1" in desk.text()


@key("alerts.moment", "log")
async def _moment(desk: Desk) -> None:
    source = desk.source
    assert isinstance(source, CannedPlayer)
    source._records = [*source._records, raised("late", t=150)]
    source.seek(source.end)
    await desk.show()
    await desk.press("5", "t")
    assert source.now() == T0 + 150


@key("alerts.mute")
async def _mute(desk: Desk) -> None:
    await pane(desk)
    assert not desk.app.toasts.muted
    await desk.press("m")
    assert desk.app.toasts.muted
    assert "Alert bell off." in desk.toasts
    await desk.press("m")
    assert not desk.app.toasts.muted
