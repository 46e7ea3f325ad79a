"""How the keys of the nodes and a node are tried."""

from __future__ import annotations

from desk import Desk, key, nodes_pane

from console.tui.screens.node import NodeScreen
from console.tui.screens.run import RunScreen


@key("nodes.down")
async def _down(desk: Desk) -> None:
    await desk.press("down", "j")
    assert nodes_pane(desk).cursor == 2


@key("nodes.up")
async def _up(desk: Desk) -> None:
    await desk.press("down", "down", "up", "k", "k")
    assert nodes_pane(desk).cursor == 0


@key("nodes.page_down")
async def _page_down(desk: Desk) -> None:
    await desk.press("pagedown", "pagedown")
    assert nodes_pane(desk).cursor == 15


@key("nodes.page_up")
async def _page_up(desk: Desk) -> None:
    await desk.press("pagedown", "pagedown", "pageup")
    assert nodes_pane(desk).cursor == 5


@key("nodes.open")
async def _open(desk: Desk) -> None:
    await desk.press("down", "down", "down", "enter")
    assert isinstance(desk.app.screen, NodeScreen)
    shown = desk.text()
    for fact in ("Node 3", "127.0.0.1:40025", "SHA256:q1W2", "pid 4711", "6030", "joined the gang as node 3"):
        assert fact in shown
    assert "node 4" not in shown


@key("node.next")
async def _neighbour(desk: Desk) -> None:
    await desk.press("enter", "right")
    assert "Node 1 " in desk.text()


@key("node.previous")
async def _neighbour_before(desk: Desk) -> None:
    await desk.press("enter", "left")
    assert "Node 15 " in desk.text()


@key("node.back")
async def _node_back(desk: Desk) -> None:
    await desk.press("enter", "escape")
    assert isinstance(desk.app.screen, RunScreen)
