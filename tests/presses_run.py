"""How the keys of a live run are tried."""

from __future__ import annotations

from desk import Desk, key
from textual.widgets import Input

from console.tui.dialogs.choice import ChoiceDialog
from console.tui.dialogs.prompt import Prompt
from console.tui.screens.run import RunScreen


@key("run.start")
async def _start(desk: Desk) -> None:
    await desk.press("s")
    assert desk.source.sent == ["start"]


@key("run.pause")
async def _pause(desk: Desk) -> None:
    desk.source.controls = frozenset({"pause"})
    await desk.press("space")
    desk.source.controls = frozenset({"resume"})
    await desk.show()
    await desk.press("space")
    assert desk.source.sent == ["pause", "resume"]


@key("run.checkpoint")
async def _checkpoint(desk: Desk) -> None:
    await desk.press("c")
    assert desk.source.sent == ["checkpoint"]


@key("run.restart")
async def _restart(desk: Desk) -> None:
    await desk.press("r")
    assert desk.source.sent == ["restart"]


@key("run.stop")
async def _stop(desk: Desk) -> None:
    await desk.press("x")
    assert isinstance(desk.app.screen, ChoiceDialog)
    assert desk.source.sent == []
    await desk.press("enter")  # The harmless answer has the focus.
    assert desk.source.sent == []
    await desk.press("x", "x")
    assert desk.source.sent == ["stop"]


@key("run.terminate")
async def _terminate(desk: Desk) -> None:
    await desk.press("T")
    assert isinstance(desk.app.screen, Prompt)
    assert "saves $2.45 an hour" in desk.text()
    await desk.press(*"yes", "enter")
    assert isinstance(desk.app.screen, Prompt)
    assert desk.source.sent == []
    desk.app.screen.query_one(Input).value = "terminate"
    await desk.press("enter")
    assert desk.source.sent == ["terminate"]
    assert isinstance(desk.app.screen, RunScreen)


@key("run.budget")
async def _budget(desk: Desk) -> None:
    await desk.press("b")
    assert isinstance(desk.app.screen, Prompt)
    # 16 hosts at 0.153 an hour: 2.45.
    assert "Budget now $5.00, spent $0.06; at $2.45/h it lasts until" in desk.text()
    for typed, words in (("lots", '"lots" is not a dollar amount'), ("0.07", "$0.07 is too little: $0.06 is spent")):
        desk.app.screen.query_one(Input).value = typed
        await desk.press("enter")
        assert isinstance(desk.app.screen, Prompt)
        assert words in " ".join(desk.text().split())
        assert desk.source.sent == []
    desk.app.screen.query_one(Input).value = "$1,060.50"
    await desk.press("enter")
    assert isinstance(desk.app.screen, RunScreen)
    assert (desk.source.sent, desk.source.arguments) == (["budget"], {"usd": 1060.5})
