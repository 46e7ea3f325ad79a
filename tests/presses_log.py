"""How the keys of the log are tried."""

from __future__ import annotations

from canned_source import T0, scene
from desk import Desk, key, printed

from console.state.events import Record
from console.tui.screens.run import RunScreen
from console.tui.widgets.log import LogPane
from remote.wire import events as re


def log_pane(desk: Desk) -> LogPane:
    log = desk.pane("log")
    assert isinstance(log, LogPane)
    return log


async def lines(desk: Desk, count: int = 40) -> LogPane:
    """The log, maximised, after so many lines."""
    desk.source.feed([printed(f"line {number}") for number in range(count)])
    await desk.show()
    await desk.press("4", "z")
    return log_pane(desk)


def cursor_line(desk: Desk) -> str:
    """The text of the line under the cursor."""
    log = log_pane(desk)
    return log._log_rows[log._cursor].entry.line.text


@key("log.follow")
async def _follow(desk: Desk) -> None:
    log = log_pane(desk)
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


@key("log.filter")
async def _filter(desk: Desk) -> None:
    await lines(desk)
    await desk.press("slash", *"line node=0 7")
    assert "4 rows" in desk.text()
    await desk.press("enter")
    assert isinstance(desk.app.screen, RunScreen)
    assert "line 17" in desk.text("log")
    assert "line 18" not in desk.text("log")


@key("log.clear")
async def _clear(desk: Desk) -> None:
    await lines(desk)
    await desk.press("slash", *"line 7", "enter", "escape")
    assert "line 38" in desk.text("log")
    assert desk.pane("log").size.width > 110
    await desk.press("escape")
    assert desk.pane("log").size.width < 110


@key("log.search")
async def _search(desk: Desk) -> None:
    log = await lines(desk)
    await desk.press("ctrl+f", *"LINE (")
    assert "Invalid regex: missing ), unterminated subpattern at character 6." in desk.text()
    await desk.press("escape")
    await desk.press("ctrl+f", *"line [12]$", "enter")
    assert "2 matches" in str(log.border_subtitle)
    assert "line 39" in desk.text("log"), "what is not found stays"


@key("log.next")
async def _next(desk: Desk) -> None:
    await lines(desk)
    await desk.press("ctrl+f", *"line [12]$", "enter", "n")
    assert cursor_line(desk) == "line 1"
    await desk.press("n")
    assert cursor_line(desk) == "line 2"
    await desk.press("n")
    assert cursor_line(desk) == "line 1"


@key("log.previous")
async def _previous(desk: Desk) -> None:
    await lines(desk)
    await desk.press("N")
    assert any("Ctrl-F" in toast for toast in desk.toasts)
    await desk.press("ctrl+f", *"line [12]$", "enter", "N")
    assert cursor_line(desk) == "line 2"
    await desk.press("N")
    assert cursor_line(desk) == "line 1"


@key("log.open")
async def _open(desk: Desk) -> None:
    said = [Record(T0 + 100, T0 + 100, re.LogPrinted(text="all the same", rank=node), node, 0) for node in range(16)]
    desk.source.feed(said)
    await desk.show()
    await desk.press("4", "z")
    assert desk.text("log").count("all the same") == 1
    assert "×16 ranks 0-15" in desk.text("log")
    await desk.press("enter")
    assert desk.text("log").count("all the same") == 17
    await desk.press("down", "down", "enter")
    assert desk.text("log").count("all the same") == 1
    desk.source.feed([printed("begin " + "x" * 300 + " end")])
    await desk.show()
    await desk.press("f")
    assert " end" not in desk.text("log")
    await desk.press("enter")
    assert " end" in desk.text("log")


@key("log.error")
async def _error(desk: Desk) -> None:
    await lines(desk)
    await desk.press("e")
    assert any("Nothing has failed" in toast for toast in desk.toasts)
    desk.source.feed(scene("failed")[-6:])
    await desk.show()
    await desk.press("e")
    assert "rank 3 failed" in cursor_line(desk)


@key("log.copy")
async def _copy(desk: Desk) -> None:
    await lines(desk)
    await desk.press("up", "y")
    assert desk.app.clipboard == "line 38"


@key("log.pager")
async def _pager(desk: Desk) -> None:
    await lines(desk)
    await desk.press("o")
    # Under Pilot there is no terminal to give to a pager: it is said, and the screen stays.
    assert any("No terminal" in toast for toast in desk.toasts), desk.toasts
    assert isinstance(desk.app.screen, RunScreen)


@key("log.up")
async def _up(desk: Desk) -> None:
    await lines(desk)
    await desk.press("up", "k")
    assert cursor_line(desk) == "line 37"


@key("log.down")
async def _down(desk: Desk) -> None:
    log = await lines(desk)
    await desk.press("up", "up", "up", "down", "j")
    assert cursor_line(desk) == "line 38"
    assert not log.following


@key("log.page_up")
async def _page_up(desk: Desk) -> None:
    await lines(desk, 100)
    await desk.press("pageup")
    assert cursor_line(desk) == "line 79"
    assert "line 79" in desk.text("log")


@key("log.page_down")
async def _page_down(desk: Desk) -> None:
    await lines(desk, 100)
    await desk.press("pageup", "pageup", "pagedown")
    assert cursor_line(desk) == "line 79"


@key("log.oldest")
async def _oldest(desk: Desk) -> None:
    await lines(desk, 100)
    await desk.press("home")
    assert log_pane(desk)._cursor == 0
    assert "joined the gang as node 0" in desk.text("log")


@key("log.newest")
async def _newest(desk: Desk) -> None:
    log = await lines(desk, 100)
    await desk.press("home", "end")
    assert log.following
    assert "line 99" in desk.text("log")
