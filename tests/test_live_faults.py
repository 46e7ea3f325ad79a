"""Faults by doing them: kill -9 of the console, of a host, of a rank, of an agent, while a run is running."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_run

from console.fleet.choose import provider_of
from console.journal import open_log
from console.journal.directory import all_runs
from console.live.live_run import LiveRun
from console.state.run import Run
from console.state.status import FAILED, FINISHED, STOPPED, UNREACHABLE

pytestmark = pytest.mark.usefixtures("no_leftovers")


def stepped(run: Run) -> bool:
    return run.step is not None and run.step.step >= 2


async def test_a_killed_rank_is_restarted_with_the_gang(tmp_path: Path) -> None:
    live = small_run.start(small_run.profile(max_steps=150))
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, stepped)
    await live.command("checkpoint")
    run = await small_run.until(live, lambda run: bool(run.checkpoints))
    rank = run.nodes[1].ranks[0]
    os.kill(rank.pid, signal.SIGKILL)
    # Whatever the other rank has to say of it, and when, the one that was killed is named as the first to fail.
    await small_run.until(live, lambda run: any(alert.kind == "rank" and alert.node == 1 for alert in run.alerts))
    assert live.run.first_error is not None
    assert live.run.first_error.node == 1
    assert "SIGKILL" in live.run.first_error.text
    await driving
    assert live.run.status == FINISHED, live.run.reason
    # The gang went on from the checkpoint; each step stands once.
    assert [point.step for point in live.run.points] == list(range(1, 151))
    assert all(node.restarts == 1 for node in live.run.nodes)
    assert small_run.differences(live.run, open_log.fold(live.directory.journal)) == []
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_killed_rank_without_a_restart_left_ends_the_run(tmp_path: Path) -> None:
    live = small_run.start(small_run.profile(max_steps=5000, max_restarts=0))
    driving = asyncio.create_task(live.drive())
    run = await small_run.until(live, stepped)
    os.kill(run.nodes[1].ranks[0].pid, signal.SIGKILL)
    await asyncio.wait_for(driving, 60)
    assert (live.run.status, live.run.exit_code) == (FAILED, 3)
    assert "node 1" in live.run.reason
    assert "SIGKILL" in live.run.reason
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_killed_host_ends_the_run_and_it_can_go_on(tmp_path: Path) -> None:
    given = small_run.profile(max_steps=400)
    live = small_run.start(given)
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, stepped)
    await live.command("checkpoint")
    await small_run.until(live, lambda run: any(checkpoint.fetched for checkpoint in run.checkpoints))
    pid = live.directory.read_fleet()[1]["pids"]["1"][0]
    os.kill(pid, signal.SIGKILL)
    await asyncio.wait_for(driving, 60)
    assert (live.run.status, live.run.exit_code) == (FAILED, 3)
    assert "node 1: lost" in live.run.reason
    assert str(pid) in live.run.reason
    assert small_run.none_left(tmp_path, 10) == {}

    again = LiveRun(given, live.directory, provider_of(given, live.directory), open_log.fold(live.directory.journal))
    kept = max(checkpoint.step for checkpoint in again.run.checkpoints if checkpoint.fetched)
    again.resume()
    driving = asyncio.create_task(again.drive())
    await small_run.until(again, lambda run: run.training is not None and run.training.start_step == kept)
    await again.command("stop")
    await driving
    assert again.run.status == STOPPED
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_killed_agent_ends_the_run(tmp_path: Path) -> None:
    live = small_run.start(small_run.profile(max_steps=5000))
    driving = asyncio.create_task(live.drive())
    run = await small_run.until(live, stepped)
    agent = run.nodes[0].agent
    assert agent is not None
    os.kill(agent.pid, signal.SIGKILL)
    await asyncio.wait_for(driving, 60)
    assert live.run.status == FAILED
    assert "node 0" in live.run.reason
    assert f"the agent (pid {agent.pid}) died" in live.run.reason
    assert small_run.none_left(tmp_path, 10) == {}


def test_a_killed_console_leaves_nothing_and_the_next_start_tells(tmp_path: Path) -> None:
    profile = tmp_path / "small.toml"
    profile.write_text(small_run.profile(max_steps=100_000, lease_minutes=0.2).text)
    command = [sys.executable, "-m", "console"]
    console = subprocess.Popen([*command, str(profile)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert console.stdout is not None
    for line in console.stdout:
        if "first step" in line:
            break
    console.kill()
    console.wait()
    killed = time.monotonic()
    # The hosts notice that nobody moves their lease any more, save a checkpoint and end themselves.
    assert small_run.none_left(tmp_path / "state", 60) == {}
    assert time.monotonic() - killed < 60
    (directory,) = all_runs()
    assert not directory.ended()

    told = subprocess.run([*command, "attach"], capture_output=True, text=True)
    assert told.returncode != 0
    assert "Traceback" not in told.stderr
    assert "its console was gone and its hosts ended with their lease" in told.stderr
    assert "checkpoint of step" in told.stderr
    run = open_log.fold(directory.journal)
    assert not run.live
    assert any(checkpoint.fetched for checkpoint in run.checkpoints)
    assert all(billing.stopped_t for node in run.nodes for billing in node.billing)


async def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        live = small_run.start(small_run.profile(fleet=f'provider = "local"\nnodes = 2\nbase_port = {port}\n'))
        await live.drive()
    assert (live.run.status, live.run.exit_code) == (UNREACHABLE, 6)
    assert str(port) in live.run.reason
    assert "use" in live.run.reason
    assert small_run.none_left(tmp_path, 30) == {}


async def test_a_rendezvous_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        live = small_run.start(small_run.profile(run=f"rdzv_port = {port}"))
        await live.drive()
    assert (live.run.status, live.run.exit_code) == (UNREACHABLE, 6)
    assert f"node 0: port {port}, for the rendezvous, cannot be used" in live.run.reason
    assert small_run.none_left(tmp_path, 30) == {}
