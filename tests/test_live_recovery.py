"""Recovery from the loss of a host: a replacement comes, or the gang continues with fewer; no step is taken twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import small_run

from console.journal import open_log
from console.live.live_run import LiveRun
from console.state.run import Run
from console.state.status import FAILED, FINISHED, STOPPED
from remote.wire.codec import encode
from remote.wire.events import SpotNoticed
from remote.wire.layout import JOURNAL, host_folder

pytestmark = pytest.mark.usefixtures("no_leftovers")


def begun(on_loss: str, *, nodes: int = 2, max_steps: int = 500) -> LiveRun:
    fleet = f'provider = "local"\nnodes = {nodes}\non_loss = "{on_loss}"\n'
    return small_run.start(small_run.profile(fleet=fleet, max_steps=max_steps))


async def checkpointed(live: LiveRun) -> int:
    """Lets it take some steps and have a checkpoint on the laptop; the checkpoint's step."""
    await small_run.until(live, lambda run: run.step is not None and run.step.step >= 2)
    await live.command("checkpoint")
    run = await small_run.until(live, lambda run: any(checkpoint.fetched for checkpoint in run.checkpoints))
    return max(checkpoint.step for checkpoint in run.checkpoints if checkpoint.fetched)


def kill_host(live: LiveRun, node: int) -> None:
    os.kill(live.directory.read_fleet()[1]["pids"][str(node)][0], signal.SIGKILL)


def whole(live: LiveRun, steps: int) -> None:
    assert live.run.status == FINISHED, live.run.reason
    assert [point.step for point in live.run.points] == list(range(1, steps + 1))
    assert small_run.differences(live.run, open_log.fold(live.directory.journal)) == []


@pytest.mark.parametrize("node", [0, 1])
async def test_another_host_takes_the_place_of_one_that_died(node: int, tmp_path: Path) -> None:
    """Also of node 0, which holds the rendezvous, and of the one whose disk holds the checkpoints."""
    live = begun("replace")
    driving = asyncio.create_task(live.drive())
    kept = await checkpointed(live)
    kill_host(live, node)
    run = await small_run.until(live, lambda run: run.attempt == 2 and run.training is not None)
    assert run.training is not None
    assert run.training.start_step >= kept
    assert len(run.nodes[node].billing) == 2
    assert [billing.stopped_t is None for billing in run.nodes[node].billing] == [False, True]
    await asyncio.wait_for(driving, 120)
    whole(live, 500)
    assert live.run.nodes[node].replacement == ""
    assert small_run.none_left(tmp_path, 10) == {}


async def test_the_gang_goes_on_with_fewer(tmp_path: Path) -> None:
    live = begun("shrink", nodes=3)
    driving = asyncio.create_task(live.drive())
    kept = await checkpointed(live)
    kill_host(live, 0)
    run = await small_run.until(live, lambda run: run.attempt == 2 and run.training is not None)
    assert run.training is not None
    assert run.training.world_size == 2
    assert run.training.start_step >= kept
    assert run.nodes[0].status == "dropped"
    await asyncio.wait_for(driving, 120)
    whole(live, 500)
    assert any("goes on without it" in alert.text and alert.node == 0 for alert in live.run.alerts)
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_doomed_host_is_drained_before_it_goes(tmp_path: Path) -> None:
    """A spot notice: a checkpoint at once, another host beside the training, then the change."""
    live = begun("replace", max_steps=1500)
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, lambda run: run.step is not None and run.step.step >= 2)
    notice = encode(SpotNoticed(action="terminate", deadline_t=time.time() + 120), time.time())
    journal = live.directory.homes / "node-01" / host_folder(live.run.run_id, 1) / JOURNAL
    with journal.open("a") as file:
        file.write(notice + "\n")
    run = await small_run.until(live, lambda run: run.attempt == 2 and run.training is not None)
    last = max(checkpoint.step for checkpoint in run.checkpoints)
    assert run.training is not None
    assert run.training.start_step == last
    orders = [alert.text for alert in run.alerts]
    assert any("another host is asked for" in text for text in orders)
    await asyncio.wait_for(driving, 120)
    whole(live, 1500)
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_stop_while_the_gang_is_down(tmp_path: Path) -> None:
    live = begun("replace", max_steps=5000)
    driving = asyncio.create_task(live.drive())
    await checkpointed(live)
    kill_host(live, 1)
    await small_run.until(live, lambda run: any(node.replacement for node in run.nodes))
    await live.command("stop")
    await asyncio.wait_for(driving, 90)
    assert live.run.status == STOPPED, live.run.reason
    assert any(checkpoint.fetched for checkpoint in live.run.checkpoints)
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_fallen_gang_without_a_lost_host_fails_as_ever(tmp_path: Path) -> None:
    live = begun("replace", max_steps=5000)
    driving = asyncio.create_task(live.drive())

    def ranks(run: Run) -> bool:
        return run.step is not None and run.step.step >= 2

    run = await small_run.until(live, ranks)
    agent = run.nodes[0].agent
    assert agent is not None
    os.kill(agent.pid, signal.SIGKILL)
    await asyncio.wait_for(driving, 60)
    assert live.run.status == FAILED, live.run.reason
    assert f"the agent (pid {agent.pid}) died" in live.run.reason
    assert small_run.none_left(tmp_path, 10) == {}
