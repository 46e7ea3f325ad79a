"""How the keys of a log that plays are tried."""

from __future__ import annotations

from canned_source import T0
from desk import Desk, key, player_of

from console.tui.dialogs.prompt import Prompt


@key("play.toggle", "log")
async def _toggle(desk: Desk) -> None:
    player = player_of(desk)
    player.seek(T0 + 60)
    await desk.press("space")
    assert player.playing
    assert "▶" in desk.text("timeline")
    await desk.press("space")
    assert not player.playing


@key("play.back", "log")
async def _back(desk: Desk) -> None:
    epochs = len(desk.source.run.epochs)
    await desk.press("[", "[")
    assert len(desk.source.run.epochs) < epochs


@key("play.forward", "log")
async def _forward(desk: Desk) -> None:
    player_of(desk).seek(T0 + 30)
    epochs = len(desk.source.run.epochs)
    await desk.press("]")
    assert len(desk.source.run.epochs) == epochs + 1


@key("play.faster", "log")
async def _faster(desk: Desk) -> None:
    await desk.press("+", *["="] * 9)
    assert player_of(desk).speed == 64
    assert "64×" in desk.text("timeline")


@key("play.slower", "log")
async def _slower(desk: Desk) -> None:
    await desk.press(*["-"] * 5)
    assert player_of(desk).speed == 0.25


@key("play.go_to", "log")
async def _go_to(desk: Desk) -> None:
    await desk.press("g", *"e3", "enter")
    assert len(desk.source.run.epochs) == 3
    await desk.press("g", *"0:30", "enter")
    assert desk.source.now() == T0 + 30
    await desk.press("g", *"tomorrow", "enter")
    assert isinstance(desk.app.screen, Prompt)
    await desk.press("escape")
    assert desk.source.now() == T0 + 30
    await desk.press("g", *"e99", "enter")
    assert any("17 epochs" in toast for toast in desk.toasts)


@key("play.start", "log")
async def _home(desk: Desk) -> None:
    await desk.press("home")
    assert desk.source.now() == T0


@key("play.end", "log")
async def _end(desk: Desk) -> None:
    player_of(desk).seek(T0)
    await desk.press("end")
    assert desk.source.now() == player_of(desk).end


@key("play.loop", "log")
async def _loop(desk: Desk) -> None:
    await desk.press("L")
    await desk.show()
    assert desk.source.now() == T0
    assert player_of(desk).playing


@key("play.next_marker", "log")
async def _next_marker(desk: Desk) -> None:
    player_of(desk).seek(T0 + 30)
    await desk.press("}")
    assert desk.source.now() == next(one.t for one in player_of(desk).markers if one.t > T0 + 30)
    assert any("epoch 1 ended" in toast for toast in desk.toasts)


@key("play.marker_before", "log")
async def _marker_before(desk: Desk) -> None:
    player = player_of(desk)
    await desk.press("{", "{", "{")
    assert [desk.source.now()] == [one.t for one in player.markers if one.t < player.end][-3:][:1]
    await desk.press(*["{"] * 60)
    assert any("No earlier marker" in toast for toast in desk.toasts)
