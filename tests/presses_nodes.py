"""How the keys of the nodes and a node are tried."""

from __future__ import annotations

from desk import Desk, key, nodes_pane
from textual.widgets import Input

from console.tui.dialogs.filter import FilterPrompt
from console.tui.screens.node import NodeScreen
from console.tui.screens.run import RunScreen
from console.tui.widgets.nodes import NodesPane


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


@key("nodes.view")
async def _view(desk: Desk) -> None:
    await desk.press("v")
    assert nodes_pane(desk)._grid is not None
    assert " 15 " in desk.text("nodes")
    assert "step  img/s" not in desk.text("nodes")
    await desk.press("v")
    assert "step  img/s" in desk.text("nodes")


@key("nodes.right")
async def _right(desk: Desk) -> None:
    await desk.press("right", "l")
    assert nodes_pane(desk).cursor == 0, "there is nothing beside a row"
    await desk.press("v", "right", "l")
    assert nodes_pane(desk).cursor == 2


@key("nodes.left")
async def _left(desk: Desk) -> None:
    await desk.press("v", "right", "right", "right", "left", "h")
    assert nodes_pane(desk).cursor == 1


@key("nodes.metric")
async def _metric(desk: Desk) -> None:
    await desk.press("m")
    assert "memory %" in desk.text("nodes").splitlines()[0]


@key("nodes.metric_before")
async def _metric_before(desk: Desk) -> None:
    await desk.press("M")
    assert "steps behind" in desk.text("nodes").splitlines()[0]
    await desk.press("m")
    assert "utilisation %" in desk.text("nodes").splitlines()[0]


@key("nodes.order")
async def _order(desk: Desk) -> None:
    await desk.press("o")
    assert "by utilisation" in desk.text()
    assert nodes_pane(desk)._shown_nodes[0] == 11, "the node that is least busy"
    await desk.press(*"ooooo")
    assert "by " not in desk.text().splitlines()[2], "and round again"


@key("nodes.backwards")
async def _backwards(desk: Desk) -> None:
    await desk.press("O")
    assert list(nodes_pane(desk)._shown_nodes) == list(range(15, -1, -1))


@key("nodes.filter")
async def _filter(desk: Desk) -> None:
    await desk.press("slash")
    assert isinstance(desk.app.screen, FilterPrompt)
    await desk.press(*"node>13")
    assert "2 of 16" in desk.text()
    await desk.press("enter")
    assert list(nodes_pane(desk)._shown_nodes) == [14, 15]
    assert "2 of 16: node>13" in desk.text()


@key("prompt.filter_cancel")
async def _filter_cancel(desk: Desk) -> None:
    await desk.press("slash", *"11", "enter", "slash")
    desk.app.screen.query_one(Input).value = "node<3"
    await desk.pilot.pause()
    assert len(desk.run_screen.query_one(NodesPane)._shown_nodes) == 3
    await desk.press("escape")
    assert "of 16: 11" in desk.text()


@key("nodes.unfilter")
async def _unfilter(desk: Desk) -> None:
    await desk.press("slash", *"slow", "enter")
    assert list(nodes_pane(desk)._shown_nodes) == [11]
    await desk.press("z", "escape")
    assert desk.run_screen.has_class("single"), "the first Esc is the filter's"
    assert len(nodes_pane(desk)._shown_nodes) == 16


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
