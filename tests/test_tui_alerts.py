"""The alerts on the screen: the open ones first, in words that say what to do; a toast and a bell once for each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from canned_source import T0, CannedPlayer, CannedSource, scene
from desk import Desk, desk, rare_collections
from presses_alerts import raised

from console.state import events as ce
from console.state.events import Record
from console.state.run import Run
from console.tui.app import ConsoleApp
from console.tui.draw.moment import moment_of
from console.tui.widgets.alerts import strip_alert
from console.views import alerts

__all__ = ["rare_collections"]


def cleared(name: str, t: float) -> Record:
    return Record(T0 + t, T0 + t, ce.AlertCleared(id=name))


def rows(one: Desk) -> list[str]:
    return [line.strip() for line in one.text("alerts").splitlines() if line.strip()]


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the terminal's bell rang: under Pilot there is no terminal that would."""
    rung: list[int] = []
    monkeypatch.setattr(ConsoleApp, "bell", lambda self: rung.append(1))
    return rung


async def test_open_ones_are_first_and_the_worst_of_them() -> None:
    records = [
        *scene("training", nodes=4),
        raised("GPU 3 idles", 1, t=90, id="idle:1"),
        raised("no step for 01:30", t=95, id="stall:gang", kind="stall", severity="critical"),
        raised("a checkpoint failed", 2, t=96, kind="checkpoint"),
        raised("was slow", 3, t=80, id="straggler:3", kind="straggler"),
        cleared("straggler:3", 99),
    ]
    async with desk(CannedSource(records, now=T0 + 130)) as one:
        await one.press("5", "z")
        assert rows(one) == [
            "✗ 01:35 for 00:35 stall no step for 01:30",
            "! 01:30 for 00:40 idle node 1 GPU 3 idles",
            "! 01:20 took 00:19 straggler node 3 was slow",
            "! 01:36 checkpoint node 2 a checkpoint failed",
        ]
        assert "2 open" in str(one.pane("alerts").border_title)
        assert "no step for 01:30" in one.text("strip")
        assert "2 open" in one.text("strip")


async def test_the_same_of_many_nodes_is_one_line() -> None:
    cut = [Record(T0 + 100, T0 + 100, ce.HostUnreachable(reason="cut"), node) for node in range(16)]
    async with desk(CannedSource([*scene("training"), *cut])) as one:
        await one.press("5", "z")
        assert rows(one) == ["! 01:40 for 00:00 host nodes 0-15 unreachable: cut"]


async def test_the_one_under_the_cursor_is_whole() -> None:
    text = "GPUs 1, 2 at 3 % while the gang trains: " + "and so on " * 12 + "END"
    async with desk(CannedSource([*scene("training"), raised(text, 1)])) as one:
        assert "END" not in one.text("alerts")
        await one.press("5")
        assert "END" in one.text("alerts")


async def test_a_toast_and_a_bell_once_for_each(bells: list[int]) -> None:
    source = CannedSource([*scene("training"), raised("was there before", 1)])
    async with desk(source) as one:
        assert one.toasts == []
        assert bells == []
        source.feed([raised("[b]GPU 3[/b] idles", 1, id="idle:1")])
        await one.show()
        await one.show()
        assert [toast.replace("\\", "") for toast in one.toasts] == ["node 1: [b]GPU 3[/b] idles"]
        assert len(bells) == 1
        source.feed([cleared("idle:1", 110)])
        await one.show()
        assert len(one.toasts) == len(bells) == 1
        source.feed([raised(f"number {number}", number) for number in range(9)])
        await one.show()
        assert len(one.toasts) == 5
        assert "6 more alerts (press 5)" in one.toasts
        assert len(bells) == 2


async def test_what_is_muted_rings_nothing(bells: list[int]) -> None:
    first, *rest = scene("training")
    text = '[alerts]\nmute = ["straggler"]\n'
    muted = [replace(first, event=replace(first.event, profile_text=text)), *rest]
    source = CannedSource(muted)
    async with desk(source) as one:
        source.feed([raised("slow", 1, kind="straggler")])
        await one.show()
        assert one.toasts == bells == []
        await one.press("5", "m")
        source.feed([raised("idles", 1)])
        await one.show()
        assert bells == []
        assert len(one.toasts) == 2
    source = CannedSource([replace(first, event=replace(first.event, profile_text="[alerts]\nbell = false\n")), *rest])
    async with desk(source) as one:
        source.feed([raised("idles", 1), raised("for information", 2, severity="info")])
        await one.show()
        assert bells == []
        assert len(one.toasts) == 2


async def test_a_log_that_plays_calls_nobody(bells: list[int]) -> None:
    player = CannedPlayer([*scene("training"), raised("idles", 1), raised("idles", 2, t=120)])
    async with desk(player) as one:
        player.seek(T0 + 90)
        await one.show()
        player.seek(T0 + 130)
        await one.show()
        assert "idles" in one.text("alerts")
        assert one.toasts == bells == []


async def test_an_alert_of_nobody_goes_to_its_moment_or_says_so() -> None:
    async with desk(CannedPlayer([*scene("training"), raised("budget", t=60), *scene("training")[-1:]])) as one:
        await one.press("5", "enter")
        assert one.source.now() == T0 + 60


def test_groups_of_nothing() -> None:
    assert alerts.groups(Run()) == []
    assert alerts.open_count(Run()) == 0


def test_the_strip_of_a_run_that_ended_well_is_empty() -> None:
    source = CannedSource([*scene("finished"), raised("x", 1, id="idle:1")])
    assert strip_alert(moment_of(source, read_only=False)) is None
