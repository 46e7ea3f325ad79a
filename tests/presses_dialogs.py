"""How the keys of dialogs and prompts are tried."""

from __future__ import annotations

from desk import Desk, key
from textual.widgets import Button

from console.tui.screens.run import RunScreen


@key("dialog.cancel")
async def _dialog_cancel(desk: Desk) -> None:
    await desk.press("x", "escape")
    assert isinstance(desk.app.screen, RunScreen)
    assert desk.source.sent == []


@key("dialog.left")
async def _dialog_left(desk: Desk) -> None:
    await desk.press("x", "left", "enter")
    assert desk.source.sent == ["stop"]


@key("dialog.right")
async def _dialog_right(desk: Desk) -> None:
    await desk.press("x", "left", "right")
    assert isinstance(desk.app.focused, Button)
    assert desk.app.focused.id == "answer-cancel"


@key("prompt.cancel")
async def _prompt_cancel(desk: Desk) -> None:
    await desk.press("T", "escape")
    assert isinstance(desk.app.screen, RunScreen)
    assert desk.source.sent == []
