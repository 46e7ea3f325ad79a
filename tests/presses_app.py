"""How the keys of everywhere are tried."""

from __future__ import annotations

from pathlib import Path

from canned_source import scene
from desk import Desk, key

from console.tui.dialogs.choice import ChoiceDialog
from console.tui.dialogs.help import HelpScreen
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
    assert "Node details" in desk.text()
    await desk.press(*"save a check")
    await desk.pilot.pause(0.4)
    await desk.press("enter")
    await desk.pilot.pause()
    assert desk.source.sent == ["checkpoint"]


@key("app.leave")
async def _leave(desk: Desk) -> None:
    await desk.press("q")
    assert isinstance(desk.app.screen, ChoiceDialog)
    assert "costs $2.45 an" in desk.text()
    await desk.press("d")
    await desk.pilot.pause(0.05)
    assert desk.source.sent == ["detach"]
    assert desk.source.ended_in_order
    assert desk.app.return_value is None


@key("app.interrupt")
async def _interrupt(desk: Desk) -> None:
    await desk.press("ctrl+c")
    assert isinstance(desk.app.screen, ChoiceDialog)
    await desk.press("ctrl+c")
    assert desk.source.sent == ["stop"]
    assert desk.app.is_running
    desk.source.feed(scene("finished")[-1:])
    await desk.show()
    await desk.pilot.pause(0.05)
    assert desk.app.return_value == 0


@key("app.copy")
async def _copy(desk: Desk) -> None:
    await desk.press("3", "y")
    assert desk.app.clipboard.splitlines() == desk.pane("cost").lines()
    assert "on demand" in desk.app.clipboard


@key("app.picture")
async def _picture(desk: Desk) -> None:
    await desk.press("ctrl+s")
    (said,) = [toast for toast in desk.toasts if "Saved as" in toast]
    path = Path(said.removeprefix("Saved as "))
    try:
        assert path.read_text().startswith("<svg")
    finally:
        path.unlink()


@key("app.theme")
async def _theme(desk: Desk) -> None:
    await desk.press("ctrl+t")
    await desk.pilot.pause(0.3)
    await desk.press(*"nord")
    await desk.pilot.pause(0.4)
    await desk.press("enter")
    assert desk.app.theme == "nord"


@key("app.shell")
async def _shell(desk: Desk) -> None:
    asked: list[int] = []

    def shell(node: int) -> list[str]:
        asked.append(node)
        raise ValueError("Node 2 has no host yet.")

    desk.app.shell = shell
    await desk.press("down", "down", "!")
    assert asked == [2]
    assert "Node 2 has no host yet." in desk.toasts
