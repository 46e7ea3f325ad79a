"""How the keys of everywhere are tried."""

from __future__ import annotations

from canned_source import scene
from desk import Desk, key

from console.tui.screens.dialog import Dialog
from console.tui.screens.help import HelpScreen
from console.tui.screens.run import RunScreen


@key("app.help")
async def _help(desk: Desk) -> None:
    await desk.press("?")
    assert isinstance(desk.app.screen, HelpScreen)
    assert "Save a checkpoint now" in desk.text()
    assert "a log's clock" not in desk.text()


@key("help.close")
async def _help_close(desk: Desk) -> None:
    await desk.press("?", "escape", "?", "question_mark", "?", "q")
    assert isinstance(desk.app.screen, RunScreen)
    assert desk.app.is_running


@key("app.palette")
async def _palette(desk: Desk) -> None:
    await desk.press("ctrl+p")
    await desk.pilot.pause(0.3)
    assert "Everything about the node under the cursor" in desk.text()
    await desk.press(*"save a check")
    await desk.pilot.pause(0.4)
    await desk.press("enter")
    await desk.pilot.pause()
    assert desk.source.sent == ["checkpoint"]


@key("app.leave")
async def _leave(desk: Desk) -> None:
    await desk.press("q")
    assert isinstance(desk.app.screen, Dialog)
    assert "costs $2.45 an hour" in desk.text()
    await desk.press("d")
    await desk.pilot.pause(0.05)
    assert desk.source.sent == ["detach"]
    assert desk.source.ended_in_order
    assert desk.app.return_value is None


@key("app.interrupt")
async def _interrupt(desk: Desk) -> None:
    await desk.press("ctrl+c")
    assert isinstance(desk.app.screen, Dialog)
    await desk.press("ctrl+c")
    assert desk.source.sent == ["stop"]
    assert desk.app.is_running
    desk.source.feed(scene("finished")[-1:])
    await desk.show()
    await desk.pilot.pause(0.05)
    assert desk.app.return_value == 0
