"""Where the panes stand: layouts by size, borders that keys and the mouse move, panes hidden."""

from __future__ import annotations

import pytest
from canned_source import CannedPlayer, CannedSource, scene
from desk import Desk, desk, rare_collections
from textual.geometry import Region

from console import config
from console.config import Config
from console.tui.app import ConsoleApp
from console.tui.terminal import title_of
from console.tui.widgets.columns import PaneColumns

__all__ = ["rare_collections"]


def columns(one: Desk) -> list[list[str]]:
    return [[str(child.id) for child in column] for column in one.app.screen.query_one(PaneColumns).columns]


async def test_columns_by_the_width_of_the_terminal() -> None:
    async with desk(CannedSource(scene("training", nodes=4)), size=(200, 50)) as one:
        assert columns(one) == [["nodes", "alerts"], ["progress", "cost"], ["log"]]
        await one.pilot.resize_terminal(120, 40)
        await one.pilot.pause()
        assert columns(one) == [["nodes", "log"], ["progress", "cost", "alerts"]]
        await one.pilot.resize_terminal(80, 24)
        await one.pilot.pause()
        assert columns(one) == [["nodes"]]


@pytest.mark.parametrize("size", [(120, 40), (100, 30), (200, 50), (300, 80)])
async def test_the_panes_fill_the_body_and_never_overlap(size: tuple[int, int]) -> None:
    async with desk(CannedSource(scene("failed", nodes=16)), size=size) as one:
        body, nodes = one.app.screen.query_one(PaneColumns), one.pane("nodes")
        # To the ends of what a border may be moved, and with fewer panes.
        for move, keys in (
            (lambda: None, ""),
            (lambda: body.widen(nodes, -1.0), ""),
            (lambda: body.widen(nodes, 1.0), ""),
            (lambda: body.heighten(nodes, 1.0), ""),
            (lambda: None, "5H"),
            (lambda: None, "3H"),
        ):
            move()
            await one.press(*keys)
            regions = list(body.regions.values())
            assert sum(region.area for region in regions) == body.size.area
            assert all(region.width > 8 and region.height >= 3 for region in regions)
            for region in regions:
                assert not any(region.overlaps(other) for other in regions if other is not region)


async def test_the_mouse_drags_the_borders() -> None:
    async with desk(CannedSource(scene("training", nodes=4))) as one:
        nodes, log = one.pane("nodes"), one.pane("log")
        edge = nodes.region.right - 1
        await one.pilot.mouse_down(offset=(edge, nodes.region.y + 3))
        await one.pilot.hover(offset=(edge - 20, nodes.region.y + 3))
        await one.pilot.mouse_up(offset=(edge - 20, nodes.region.y + 3))
        await one.pilot.pause()
        assert nodes.region.right == edge - 19
        edge = nodes.region.bottom - 1
        await one.pilot.mouse_down(offset=(10, edge))
        await one.pilot.hover(offset=(10, edge + 6))
        await one.pilot.mouse_up(offset=(10, edge + 6))
        await one.pilot.pause()
        assert nodes.region.bottom == edge + 7
        assert log.region.y == nodes.region.bottom


async def test_a_single_pane_says_why_it_has_no_border() -> None:
    async with desk(CannedSource(scene("training", nodes=4)), size=(80, 24)) as one:
        await one.press("<", "ctrl+up")
        assert sum("No border" in toast for toast in one.toasts) == 2


async def test_a_layout_of_ones_own(tmp_path: object) -> None:
    source = CannedSource(scene("training", nodes=4))
    app = ConsoleApp(source, config=Config(layout="one"))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert columns(Desk(app, pilot, source)) == [["nodes"]]
    app = ConsoleApp(source, config=Config(layout="columns"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert len(columns(Desk(app, pilot, source))) == 2
    assert config.LAYOUTS == ("auto", "columns", "one")


async def test_a_pane_that_grows_pushes_the_others() -> None:
    source = CannedSource(scene("launching", nodes=2))
    async with desk(source) as one:
        nodes, log = one.pane("nodes").region, one.pane("log").region
        assert nodes.bottom == log.y
        source.run = CannedSource(scene("training", nodes=16)).run
        await one.show()
        await one.pilot.pause()
        grown = one.pane("nodes").region
        by = grown.height - nodes.height
        assert by > 5
        assert one.pane("log").region == Region(log.x, log.y + by, log.width, log.height - by)


def heading(shown: str, words: str) -> int:
    """The line of the help that is this heading."""
    (line,) = (at for at, line in enumerate(shown.splitlines()) if line.strip(" │▁▂▃▄▅▆▇█") == words)
    return line


async def test_help_begins_with_the_keys_of_the_pane_that_has_the_focus() -> None:
    async with desk(CannedSource(scene("training", nodes=4)), size=(120, 160)) as one:
        await one.press("4", "?")
        shown = one.text()
        assert heading(shown, "Log") < heading(shown, "Run") < heading(shown, "Everywhere")
        assert heading(shown, "Nodes")
        await one.press("escape", "1", "?")
        shown = one.text()
        assert heading(shown, "Nodes") < heading(shown, "Run")


async def test_the_palette_has_the_actions_of_panes_without_the_focus() -> None:
    async with desk(CannedSource(scene("training", nodes=4))) as one:
        await one.press("1", "ctrl+p")
        await one.pilot.pause(0.2)
        await one.press(*"newest lines")
        await one.pilot.pause(0.3)
        assert "Follow the newest lines" in one.text()


async def test_the_title_says_how_far() -> None:
    async with desk(CannedSource(scene("training"))) as one:
        title = title_of(one.run_screen.present())
        assert title.endswith("training · local")
        assert title.split()[1] == "%"


async def test_a_title_carries_no_escape() -> None:
    source = CannedSource(scene("training", nodes=4))
    source.title = "\x1b]2;evil\x07name"
    async with desk(source) as one:
        assert title_of(one.run_screen.present()).endswith("· name")


async def test_who_only_looks_on_has_no_shell() -> None:
    source = CannedSource(scene("training", nodes=4))
    app = ConsoleApp(source, read_only=True, shell=lambda node: ["false"])
    async with app.run_test(size=(120, 40)) as pilot:
        one = Desk(app, pilot, source)
        await one.press("!")
        assert one.toasts == []
        await one.press("?")
        assert "Shell on the node" not in one.text()


async def test_the_help_of_a_log_has_no_keys_of_a_run() -> None:
    async with desk(CannedPlayer(scene("finished", nodes=4)), size=(120, 160)) as one:
        await one.press("?")
        shown = one.text()
        assert "Save a checkpoint now" not in shown
        assert "Last record" in shown
