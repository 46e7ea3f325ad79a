"""The main path on real parts: embedded SSH hosts, real gangs, real files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import small_run

from console.fleet.choose import provider_of
from console.journal import open_log
from console.live.live_run import LiveRun
from console.state.status import FINISHED, PAUSED, STOPPED
from console.views import nodes

pytestmark = pytest.mark.usefixtures("no_leftovers")


async def test_sixteen_hosts_train_and_leave_nothing(tmp_path: Path) -> None:
    live = small_run.start(small_run.profile(nodes=16, max_steps=5))
    await live.drive()
    run = live.run
    assert (run.status, run.exit_code) == (FINISHED, 0), run.reason
    assert run.training is not None
    assert run.training.world_size == 16
    assert [point.step for point in run.points] == [1, 2, 3, 4, 5]
    assert [[rank.rank for rank in node.ranks] for node in run.nodes] == [[node] for node in range(16)], "in order"
    assert len({node.fingerprint for node in run.nodes}) == 16
    assert all(nodes.util_pct_mean(node) is not None for node in run.nodes)
    # The same state from the file as from the wire, field by field.
    assert small_run.differences(run, open_log.fold(live.directory.journal)) == []
    # Given back: no process, no home folder, a bill that ended.
    assert small_run.none_left(tmp_path, 10) == {}
    assert not live.directory.homes.exists()
    receipt = json.loads((live.directory.path / "receipt.json").read_text())
    assert len(receipt["instances"]) == 16
    assert all(instance["stopped_t"] > instance["started_t"] for instance in receipt["instances"])


async def test_pause_stop_and_going_on_lose_no_step(tmp_path: Path) -> None:
    given = small_run.profile(max_steps=300)
    straight = small_run.start(given)
    await straight.drive()
    assert straight.run.status == FINISHED, straight.run.reason

    live = small_run.start(given)
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, lambda run: run.step is not None and run.step.step >= 3)
    await live.command("pause")
    await small_run.until(live, lambda run: all(node.status == "paused" for node in run.nodes))
    paused_at = live.run.step
    assert live.run.status == PAUSED
    # Nothing but a look at the processors comes while it is paused.
    paused_t = live.run.paused_since_t or 0.0
    await small_run.until(live, lambda run: (run.last_received_t or 0.0) > paused_t + 10)
    assert live.run.step is paused_at
    await live.command("resume")
    await small_run.until(live, lambda run: run.step is not None and run.step.step > paused_at.step)  # type: ignore[union-attr]
    await live.command("checkpoint")
    await small_run.until(live, lambda run: bool(run.checkpoints))
    await live.command("stop")
    await driving
    stopped = live.run
    assert (stopped.status, stopped.exit_code) == (STOPPED, 130), stopped.reason
    assert stopped.step is not None
    assert stopped.step.step < 300
    assert small_run.none_left(tmp_path, 10) == {}

    # In a new process one would begin with the journal alone; so here.
    past = open_log.fold(live.directory.journal)
    again = LiveRun(given, live.directory, provider_of(given, live.directory), past)
    again.resume()
    await again.drive()
    assert again.run.status == FINISHED, again.run.reason
    # No step lost, none repeated, and each loss bit for bit as if nothing had happened.
    assert [point.step for point in again.run.points] == list(range(1, 301))
    assert small_run.losses(again.run) == small_run.losses(straight.run)
    assert small_run.differences(again.run, open_log.fold(live.directory.journal)) == []


async def test_a_console_leaves_and_another_comes_back(tmp_path: Path) -> None:
    given = small_run.profile(max_steps=400)
    live = small_run.start(given)
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, lambda run: run.step is not None)
    await live.command("detach")
    await driving
    left_at = live.run.step
    assert left_at is not None
    assert live.run.live
    assert small_run.processes(tmp_path) != {}

    past = open_log.fold(live.directory.journal)
    assert not past.attached
    back = LiveRun(given, live.directory, provider_of(given, live.directory), past)
    assert await back.salvage() is True
    back.attach()
    driving = asyncio.create_task(back.drive())
    await small_run.until(back, lambda run: run.step is not None and run.step.step > left_at.step + 5)
    await back.command("stop")
    await driving
    assert back.run.status == STOPPED, back.run.reason
    # What happened while nobody was there is there too, once.
    assert [point.step for point in back.run.points] == list(range(1, len(back.run.points) + 1))
    assert small_run.differences(back.run, open_log.fold(live.directory.journal)) == []
    assert small_run.none_left(tmp_path, 10) == {}
