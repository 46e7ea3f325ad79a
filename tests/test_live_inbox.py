"""Orders from one process to the console that drives a run: real files, a real other side."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import small_run
from test_policy_decide import connected, story

from console.fleet.choose import provider_of
from console.journal.directory import RunDirectory
from console.live import inbox
from console.live.live_run import LiveRun
from console.state import events as ce


def test_an_order_is_carried_out_once_and_answered(tmp_path: Path) -> None:
    assert inbox.take(tmp_path) == []
    with ThreadPoolExecutor() as pool:
        given = pool.submit(inbox.give, tmp_path, "budget", {"usd": 60.0}, patience_s=30)
        order = taken(tmp_path)
        assert (order.command, order.arguments) == ("budget", {"usd": 60.0})
        assert inbox.take(tmp_path) == []
        inbox.answer(tmp_path, order, "too little")
        assert given.result() == "too little"
    assert list((tmp_path / inbox.FOLDER).iterdir()) == []


def test_orders_of_two_are_each_answered(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        given = [pool.submit(inbox.give, tmp_path, "budget", {"usd": usd}, patience_s=30) for usd in (1.0, 2.0)]
        while not all(order.done() for order in given):
            for order in inbox.take(tmp_path):
                inbox.answer(tmp_path, order, f"{order.arguments['usd']}")
        assert [order.result() for order in given] == ["1.0", "2.0"]


def test_an_order_that_nobody_takes_is_taken_back(tmp_path: Path) -> None:
    with pytest.raises(inbox.NoAnswer) as caught:
        inbox.give(tmp_path, "budget", {"usd": 60.0}, patience_s=0)
    assert not caught.value.taken
    assert inbox.take(tmp_path) == []


def test_an_order_that_was_taken_is_waited_for_longer(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        given = pool.submit(inbox.give, tmp_path, "budget", {"usd": 60.0}, patience_s=0.3)
        order = taken(tmp_path)
        with pytest.raises(TimeoutError):
            given.result(timeout=0.8)
        inbox.answer(tmp_path, order, "")
        assert given.result() == ""


def test_a_console_that_dies_with_an_order_in_hand_keeps_nobody_waiting(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        given = pool.submit(inbox.give, tmp_path, "budget", {"usd": 60.0}, patience_s=0.3, answer_s=0.3)
        taken(tmp_path)
        with pytest.raises(inbox.NoAnswer) as caught:
            given.result(timeout=30)
    assert caught.value.taken


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"command": "budget", "arguments": 3, "t": 1}', '{"command": "stop", "arguments": {}, "t": 9}'],
)
def test_what_is_no_order_or_has_lain_too_long_is_refused(tmp_path: Path, text: str) -> None:
    folder = tmp_path / inbox.FOLDER
    folder.mkdir()
    (folder / "a.json").write_text(text)
    assert inbox.take(tmp_path) == []
    assert json.loads((folder / "a.answer").read_text())["refusal"]
    assert not (folder / "a.json").exists()


@pytest.mark.parametrize(
    ("status", "command", "arguments", "sentence"),
    [
        ("reached", "budget", {"usd": 60.0}, "The run has already finished."),
        ("stopped", "stop", {}, "The run has already stopped."),
        ("stopped", "dance", {}, "'dance' is not a command."),
        ("stopped", "budget", {"euros": 60.0}, "unexpected keyword argument 'euros'"),
    ],
)
async def test_an_order_that_cannot_be_carried_out_is_answered_in_a_sentence(
    tmp_path: Path, status: str, command: str, arguments: dict[str, float], sentence: str
) -> None:
    profile, directory = small_run.profile(), RunDirectory(tmp_path / "run-1")
    directory.path.mkdir()
    written = connected(story(), 0, 1).says(ce.RunEnded(status=status, exit_code=0, reason="over"))
    live = LiveRun(profile, directory, provider_of(profile, directory), written.run)
    given = asyncio.create_task(asyncio.to_thread(inbox.give, directory.path, command, arguments, patience_s=30))
    while not given.done():
        await live._take_orders()
        await asyncio.sleep(0.01)
    assert sentence in given.result()
    assert live.run.status == status


def taken(path: Path) -> inbox.Order:
    """Waits for an order."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for order in inbox.take(path):
            return order
    raise AssertionError("no order came")
