"""How the keys of the log are tried."""

from __future__ import annotations

from desk import Desk, key, printed

from console.tui.widgets.log import LogPane


@key("log.follow")
async def _follow(desk: Desk) -> None:
    log = desk.pane("log")
    assert isinstance(log, LogPane)
    await desk.press("4", "f")
    held = desk.text("log").splitlines()[0]
    desk.source.feed([printed(f"line {number}") for number in range(40)])
    await desk.show()
    assert desk.text("log").splitlines()[0] == held
    assert not log.following
    await desk.press("f")
    assert "line 39" in desk.text("log")
    await desk.press("up")
    assert not log.following
    await desk.press("end")
    assert log.following
