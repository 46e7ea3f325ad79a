"""The budget of a run on real hosts: moved from the screen, from another terminal, and of a run that nobody watches."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

import pytest
import small_run

from console.fleet.choose import provider_of
from console.journal import open_log, reader
from console.live.live_run import LiveRun
from console.profile.schema import Profile
from console.state import events as ce
from console.state.run import Run
from console.state.status import OVER_BUDGET, STOPPED
from remote.wire import events as re

pytestmark = pytest.mark.usefixtures("no_leftovers")

USD_PER_S = 2 * 7.344 / 3600
"""Two hosts of `small_run`."""
SLACK_S = 60.0
"""A lease is a number of seconds from when its host hears of it, and a busy machine hears late."""
ROOT = Path(__file__).parent.parent


def budgeted(usd: float, **changes: object) -> Profile:
    """A profile whose lease is far longer than any of these tests."""
    given = small_run.profile(max_steps=100_000, lease_minutes=60, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(given, budget=dataclasses.replace(given.budget, max_usd=usd))


def stepped(run: Run) -> bool:
    return run.step is not None and run.step.step >= 2


def deadlines(run: Run) -> list[float]:
    """What the hosts said last of their leases."""
    return [node.lease_deadline_t or 0.0 for node in run.nodes]


def ends_t(run: Run, usd: float) -> float:
    """When so many dollars are spent, both hosts running on."""
    starts = [node.billing[-1].started_t for node in run.nodes]
    return (usd / USD_PER_S * 2 + sum(starts)) / 2


async def fastconsole(*words: str) -> tuple[int, str]:
    """The program in another process: its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", *words),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert out == b"", out
    return process.returncode or 0, err.decode()


async def test_another_budget_moves_the_leases_of_the_hosts_at_once(tmp_path: Path) -> None:
    live = small_run.start(budgeted(50.0))
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, stepped)
    # Lower: the leases end where it ends, and not an hour from now.
    await live.command("budget", usd=2.0)
    run = await small_run.until(live, lambda run: all(0 < t <= ends_t(run, 2.0) + SLACK_S for t in deadlines(run)))
    assert run.budget_usd == 2.0
    # Higher: they are prolonged before they end.
    await live.command("budget", usd=50.0)
    run = await small_run.until(live, lambda run: all(t > ends_t(run, 2.0) + 600 for t in deadlines(run)))
    # Nothing that could not be held is taken.
    with pytest.raises(ValueError, match="is too little"):
        await live.command("budget", usd=0.001)
    assert live.run.budget_usd == 50.0
    # From another terminal, by name or by its beginning.
    code, said = await fastconsole("budget", run.run_id, "30")
    assert code == 0, said
    assert "the budget is now $30.00; at the present price it lasts until" in said
    assert [(move.max_usd, move.by) for move in live.run.budget_moves] == [
        (2.0, "operator"), (50.0, "operator"), (30.0, "another terminal"),
    ]  # fmt: skip
    code, said = await fastconsole("budget", run.run_id, "0.01")
    assert (code, said.count("\n")) == (2, 1)
    assert "is too little" in said
    await live.command("stop")
    await driving
    assert live.run.status == STOPPED, live.run.reason
    paper = json.loads((live.directory.path / "receipt.json").read_text())
    assert paper["budget"]["max_usd"] == 30.0
    assert len(paper["budget"]["moves"]) == 3
    assert paper["still_running"] == []
    assert paper["idle_usd"]["launch"] > 0
    assert small_run.differences(live.run, open_log.fold(live.directory.journal)) == []
    code, said = await fastconsole("budget", run.run_id, "60")
    assert code == 2
    assert f"has ended; fastconsole resume {run.run_id} --budget 60 resumes it" in said
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_budget_below_the_lease_bounds_it_from_the_first_moment(tmp_path: Path) -> None:
    live = small_run.start(budgeted(2.0))
    driving = asyncio.create_task(live.drive())
    run = await small_run.until(live, stepped)
    first = ends_t(run, 2.0)
    # The job that a host starts with holds its first lease; its agent speaks of it only when it moves by much.
    for node in (0, 1):
        (job,) = live.directory.homes.rglob(f"runs/{run.run_id}/node-{node:02d}/job.json")
        assert json.loads(job.read_text())["lease_s"] < 3600
    assert not any(t > first + SLACK_S for t in deadlines(run))
    await live.command("terminate")
    await driving
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_run_without_a_console_gets_its_budget_by_a_visit(tmp_path: Path) -> None:
    given = budgeted(3.0)
    live = small_run.start(given)
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, stepped)
    await live.command("detach")
    await driving
    left_at = live.run.step
    assert left_at is not None
    code, said = await fastconsole("budget", live.run.run_id, "0.02")
    assert code == 2
    assert "is too little" in said
    code, said = await fastconsole("budget", live.run.run_id, "40")
    assert code == 0, said
    assert "the budget is now $40.00" in said
    assert "not reached" not in said
    run = open_log.fold(live.directory.journal)
    assert run.live
    assert not run.attached
    assert [(move.max_usd, move.by) for move in run.budget_moves] == [(40.0, "another terminal")]
    assert live.directory.console_pid() is None

    # The last words of the hosts are of a time after the visit: whoever comes next reads them.
    back = LiveRun(given, live.directory, provider_of(given, live.directory), run)
    assert live.directory.take()
    back.attach()
    driving = asyncio.create_task(back.drive())
    await small_run.until(back, lambda run: run.step is not None and run.step.step > left_at.step + 5)
    await back.command("stop")
    await driving
    told = leases(live.directory.journal)
    for node in (0, 1):
        left = [deadline_t for of_node, reason, deadline_t in told if of_node == node and reason == "the console left"]
        # First to where 3 dollars end, then to where 40 do, which is hours away.
        assert len(left) == 2, told
        assert left[0] <= ends_t(run, 3.0) + SLACK_S
        assert ends_t(run, 3.0) + 3600 < left[1] <= ends_t(run, 40.0) + SLACK_S
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_run_that_its_budget_ended_needs_a_larger_one_to_go_on(tmp_path: Path) -> None:
    # It lasts 110 s, and an end in order may take 100.
    live = small_run.start(budgeted(110 * USD_PER_S))
    working = asyncio.create_task(live.work())
    run = await small_run.until(live, lambda run: not run.live)
    assert (run.status, run.exit_code) == (OVER_BUDGET, 4), run.reason
    assert live.directory.ended()
    with pytest.raises(ValueError, match="to resume, set one of more than"):
        await live.command("start")
    await live.command("budget", usd=50.0)
    assert live.directory.ended(), "a budget that is set after the end does not resume the run"
    await live.command("start")
    await small_run.until(live, lambda run: run.attempt == 2)
    await small_run.until(live, lambda run: run.training is not None)
    await live.command("stop")
    run = await small_run.until(live, lambda run: not run.live)
    assert (run.status, run.attempt) == (STOPPED, 2), run.reason
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert small_run.differences(live.run, open_log.fold(live.directory.journal)) == []
    assert small_run.none_left(tmp_path, 10) == {}


async def test_resume_rents_nothing_for_a_budget_that_is_spent(tmp_path: Path) -> None:
    live = small_run.start(budgeted(110 * USD_PER_S))
    await live.drive()
    assert live.run.status == OVER_BUDGET, live.run.reason
    live.directory.leave()
    records = len(list(reader.read(live.directory.journal)))
    for words in ([], ["--budget", "0.05"]):
        code, said = await fastconsole("resume", live.run.run_id, *words)
        assert (code, said.count("\n")) == (2, 1), said
    assert len(list(reader.read(live.directory.journal))) == records
    assert small_run.none_left(tmp_path, 10) == {}


def leases(path: Path) -> list[tuple[int | None, str, float]]:
    """What the hosts said of their leases: node, why, and until when."""
    return [
        (record.node, record.event.reason, record.event.deadline_t)
        for record in reader.read(path)
        if isinstance(record, ce.Record) and isinstance(record.event, re.LeaseMoved)
    ]
