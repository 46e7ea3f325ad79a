"""How the keys of the curves are tried."""

from __future__ import annotations

from desk import Desk, key
from textual.widgets import Input

from console.tui.dialogs.past_runs import PastRunsDialog
from console.tui.screens.run import RunScreen
from console.tui.widgets.progress import ProgressPane


async def curves(desk: Desk, *keys: str) -> ProgressPane:
    """The pane by itself, with these keys pressed."""
    await desk.press("2", "z")
    pane = desk.pane("progress")
    assert isinstance(pane, ProgressPane)
    await desk.press(*keys)
    return pane


@key("progress.view")
async def _view(desk: Desk) -> None:
    pane = await curves(desk)
    shown = desk.text("progress")
    for name in ("loss", "top-5, top-1", "img/s", "lr"):
        assert f"╭ {name}" in shown
    await desk.press("v", "v", "v")
    assert pane.look.view == "img/s"
    shown = desk.text("progress")
    assert "╭ img/s" in shown
    assert "╭ loss" not in shown


@key("progress.view_back")
async def _view_back(desk: Desk) -> None:
    pane = await curves(desk, "V")
    assert pane.look.view == "lr"
    await desk.press("v")
    assert pane.look.view == ""


@key("progress.axis")
async def _axis(desk: Desk) -> None:
    await curves(desk, "v")
    assert desk.text("progress").rstrip(" │╯\n").endswith("step")
    await desk.press("a")
    assert desk.text("progress").rstrip(" │╯\n").endswith("epoch")
    await desk.press("a")
    assert desk.text("progress").rstrip(" │╯\n").endswith("time")
    await desk.press("a")
    assert desk.text("progress").rstrip(" │╯\n").endswith("step")


@key("progress.log")
async def _log(desk: Desk) -> None:
    await curves(desk, "v", "y")
    shown = desk.text("progress")
    assert "log)" in shown
    assert "5┤" in shown
    await desk.press("y")
    assert "log)" not in desk.text("progress")


@key("progress.left")
async def _left(desk: Desk) -> None:
    pane = await curves(desk, "left")
    newest = pane.look.cross
    assert newest == 302  # Steps taken: seven epochs of 40, and 22.
    shown = desk.text("progress").splitlines()[-1]
    assert "step 302 · loss 1." in shown
    assert "top-5 78.0 %" in shown
    await desk.press("left", "left")
    assert pane.look.cross is not None
    assert pane.look.cross < 302


@key("progress.right")
async def _right(desk: Desk) -> None:
    pane = await curves(desk, "left", "left", "left", "left")
    before = pane.look.cross or 0.0
    await desk.press("right")
    assert pane.look.cross is not None
    assert pane.look.cross > before
    await desk.press(*["right"] * 120)
    assert pane.look.cross == 310  # The end of the axis, a round number.


@key("progress.in")
async def _in(desk: Desk) -> None:
    pane = await curves(desk, "left", "up", "up")
    span = pane.look.span
    assert span is not None
    assert span[1] - span[0] < 100
    assert span[0] < 302 <= span[1]


@key("progress.out")
async def _out(desk: Desk) -> None:
    pane = await curves(desk, "up", "up", "down")
    assert pane.look.span is not None
    await desk.press("down", "down")
    assert pane.look.span is None


@key("progress.pan_back")
async def _pan_back(desk: Desk) -> None:
    pane = await curves(desk, "up", "up")
    before = pane.look.span
    await desk.press("shift+left")
    assert before is not None
    assert pane.look.span is not None
    assert pane.look.span[0] < before[0]
    await desk.press(*["shift+left"] * 40)
    assert pane.look.span[0] == 0


@key("progress.pan_on")
async def _pan_on(desk: Desk) -> None:
    pane = await curves(desk, "up", "up", "shift+left", "shift+left", "shift+right")
    before = pane.look.span
    await desk.press("shift+right")
    assert before is not None
    assert pane.look.span is not None
    assert pane.look.span[0] > before[0]


@key("progress.whole")
async def _whole(desk: Desk) -> None:
    pane = await curves(desk, "left", "up", "0")
    assert (pane.look.span, pane.look.cross) == (None, None)


@key("progress.compare")
async def _compare(desk: Desk) -> None:
    await curves(desk, "o")
    await desk.worked("compare")
    assert isinstance(desk.app.screen, PastRunsDialog)


@key("prompt.runs_cancel")
async def _runs_cancel(desk: Desk) -> None:
    await _compare(desk)
    await desk.press("escape")
    assert isinstance(desk.app.screen, RunScreen)
    assert desk.run_screen.compared.pasts == ()


@key("prompt.runs_take")
async def _runs_take(desk: Desk) -> None:
    await _compare(desk)
    desk.app.screen.query_one(Input).value = "/nowhere/run.jsonl"
    await desk.press("enter")
    await desk.worked("compare")
    assert isinstance(desk.app.screen, RunScreen)
    assert any("/nowhere/run.jsonl" in toast for toast in desk.toasts)


@key("progress.ghost")
async def _ghost(desk: Desk) -> None:
    await curves(desk, "G")
    assert any(toast == "Ghost off." for toast in desk.toasts)
