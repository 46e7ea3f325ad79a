"""Runs on rented hosts, by the commands that a user types: a fake EC2, and a machine with a real sshd an instance."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import small_rental
import small_run
from fake_cloud import FakeCloud
from fake_instances import Machines
from small_rental import console

from console.fleet.choose import provider_of
from console.journal import open_log
from console.journal.directory import RunDirectory, all_runs
from console.live.live_run import LiveRun
from console.profile.load import load
from console.state.events import Record
from console.state.run import Run
from console.state.status import FINISHED, STOPPED
from remote.wire.events import LeaseMoved

pytestmark = pytest.mark.usefixtures("no_leftovers")


def last_run() -> RunDirectory:
    return all_runs()[-1]


def begun(path: Path) -> LiveRun:
    profile = load(str(path))
    directory = RunDirectory.create(profile.name)
    directory.take()
    live = LiveRun(profile, directory, provider_of(profile, directory))
    live.begin()
    return live


@pytest.mark.timeout(900)
def test_sixteen_hosts_from_the_plan_to_the_receipt(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path
) -> None:
    for zone, usd in (("us-east-1a", 0.31), ("us-east-1b", 0.21), ("us-east-1c", 0.25)):
        cloud.set_price("g4dn.xlarge", zone, "spot", usd, datetime.now(UTC) - timedelta(hours=1))
    profile = str(small_rental.profile(tmp_path, cache_home, nodes=16, max_steps=12))

    planned = console("plan", profile, "--json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert cloud.left_over() == []

    ran = console(profile, "--headless")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    run = open_log.fold(last_run().journal)
    assert run.status == FINISHED
    assert [point.step for point in run.points] == list(range(1, 13))
    assert run.training is not None
    assert run.training.world_size == 16

    # All in the cheapest zone, asked for once, each host pinned to a key of its own that no other has.
    assert len(cloud.calls("RunInstances")) == 1
    assert {billing.zone for node in run.nodes for billing in node.billing} == {"us-east-1b"}
    assert {billing.usd_per_h for node in run.nodes for billing in node.billing} == {0.21}
    assert len({node.fingerprint for node in run.nodes}) == 16
    # The bill goes from EC2's own start to EC2's own end.
    reservations = cloud.client("ec2").describe_instances()["Reservations"]
    truth = {one["InstanceId"]: one for reservation in reservations for one in reservation["Instances"]}
    assert {one["State"]["Name"] for one in truth.values()} == {"terminated"}
    for node in run.nodes:
        (billing,) = node.billing
        assert billing.stopped_t is not None
        assert abs(billing.started_t - truth[billing.instance_id]["LaunchTime"].timestamp()) <= 1
    receipt = json.loads((last_run().path / "receipt.json").read_text())
    assert len(receipt["instances"]) == 16
    # A minute at least of each, at the spot price; 200 GiB of gp3 for as long as it was there; no public address.
    hours = sum(max(60.0, one["stopped_t"] - one["started_t"]) for one in receipt["instances"]) / 3600
    volume_usd_per_h = 200 * 0.08 / 720
    assert receipt["cost_usd"] == pytest.approx(hours * (0.21 + volume_usd_per_h), rel=0.01)
    assert plan["price"]["fleet_usd_per_h"] == pytest.approx(16 * (0.21 + volume_usd_per_h))
    assert cloud.left_over() == []


async def test_a_spot_notice_moves_the_run_to_another_instance(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path
) -> None:
    live = begun(small_rental.profile(tmp_path, cache_home, max_steps=2500, on_loss="replace"))
    driving = asyncio.create_task(live.drive())
    run = await small_run.until(live, lambda run: run.step is not None and run.step.step >= 3)
    old = run.nodes[1].billing[-1].instance_id
    await asyncio.to_thread(cloud.notice, old, 120.0)
    run = await small_run.until(live, lambda run: run.nodes[1].interruption is not None)
    run = await small_run.until(live, lambda run: run.attempt == 2 and run.training is not None)
    assert run.training is not None
    assert run.training.start_step == max(one.step for one in run.checkpoints)
    assert [one.instance_id == old for one in run.nodes[1].billing] == [True, False]
    await asyncio.to_thread(cloud.interrupt, old)
    await asyncio.wait_for(driving, 200)
    assert live.run.status == FINISHED, live.run.reason
    assert [point.step for point in live.run.points] == list(range(1, 2501))
    assert small_run.differences(live.run, open_log.fold(live.directory.journal)) == []
    assert all(one.stopped_t is not None for node in live.run.nodes for one in node.billing)
    assert cloud.left_over() == []


async def test_an_instance_that_ec2_takes_without_a_word_is_replaced_on_demand(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path
) -> None:
    live = begun(small_rental.profile(tmp_path, cache_home, max_steps=600, on_loss="replace-on-demand"))
    driving = asyncio.create_task(live.drive())
    await small_run.until(live, lambda run: run.step is not None and run.step.step >= 2)
    await live.command("checkpoint")
    run = await small_run.until(live, lambda run: any(one.fetched for one in run.checkpoints))
    await asyncio.to_thread(cloud.interrupt, run.nodes[0].billing[-1].instance_id)
    await asyncio.wait_for(driving, 200)
    assert live.run.status == FINISHED, live.run.reason
    assert [point.step for point in live.run.points] == list(range(1, 601))
    assert [one.market for one in live.run.nodes[0].billing] == ["spot", "on-demand"]
    assert "EC2: " in " ".join(alert.text for alert in live.run.alerts)
    assert cloud.left_over() == []


async def test_a_host_that_ssh_cannot_reach_is_not_lost(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path
) -> None:
    # A lease that outlasts the way to "unreachable" on a busy machine: nobody can move it meanwhile.
    live = begun(small_rental.profile(tmp_path, cache_home, max_steps=100_000, on_loss="replace", lease_minutes=10.0))
    driving = asyncio.create_task(live.drive())

    def trains(run: Run) -> bool:
        return run.step is not None and run.step.step >= 2

    run = await small_run.until(live, trains)
    instance = run.nodes[1].billing[-1].instance_id
    await asyncio.to_thread(machines.unplug, instance)
    run = await small_run.until(live, lambda run: run.nodes[1].status == "unreachable")
    steps = run.step.step if run.step else 0
    await small_run.until(live, lambda run: run.step is not None and run.step.step > steps + 3)
    await asyncio.to_thread(machines.plug, instance)
    await small_run.until(live, lambda run: run.nodes[1].status == "training")
    assert live.run.attempt == 1
    await live.command("stop")
    await asyncio.wait_for(driving, 120)
    assert live.run.status == STOPPED, live.run.reason
    assert cloud.left_over() == []


def test_a_killed_console_s_run_is_found_and_ended_by_the_next(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path
) -> None:
    profile = small_rental.profile(tmp_path, cache_home, max_steps=100_000)
    command = [sys.executable, "-m", "console", str(profile), "--headless"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert first.stdout is not None
    for line in first.stdout:
        if "first step" in line:
            break
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert cloud.left_over() != []
    run_id = last_run().run_id
    listed = console("ps")
    assert run_id in listed.stdout
    ended = console("terminate", run_id)
    assert ended.returncode == 0, ended.stderr
    assert cloud.left_over() == []
    assert last_run().ended()


def test_a_lease_that_nobody_moves_powers_the_instances_off(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path
) -> None:
    """With the console dead, the agents save a checkpoint and power their hosts off; EC2 terminates what is off."""
    profile = small_rental.profile(tmp_path, cache_home, max_steps=100_000, lease_minutes=0.3)
    command = [sys.executable, "-m", "console", str(profile), "--headless"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert first.stdout is not None
    for line in first.stdout:
        if "first step" in line:
            break
    first.send_signal(signal.SIGKILL)
    first.wait()
    machines.wait_off(timeout_s=120)
    assert cloud.instances("pending", "running") == []
    told = console("attach")
    assert "its console was gone and its hosts ended with their lease" in told.stderr, told.stderr
    run = open_log.fold(last_run().journal)
    assert not run.live
    assert all(one.stopped_t is not None for node in run.nodes for one in node.billing)
    assert cloud.left_over() == []


def test_no_secret_is_written_anywhere(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted in the environment, in the credentials and in the profile; looked for in all that was written or sent."""
    planted = {"secret": "plantedsecret0123456789abcdef", "token": "plantedtoken0123456789abcdef"}
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", planted["secret"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", planted["token"])
    run = 'env = { OMP_NUM_THREADS = "1", WANDB_API_KEY = "plantedenv0123456789abcdef" }'
    profile = small_rental.profile(tmp_path, cache_home, max_steps=4, run=run)
    said = [console("plan", str(profile)), console(str(profile), "--headless"), console("ps"), console("runs")]
    cloud.misbehave("RunInstances", error="UnauthorizedOperation", times=1)
    said.append(console(str(profile), "--headless"))
    assert said[1].returncode == 0, said[1].stdout + said[1].stderr
    assert said[-1].returncode == 6, said[-1].stdout + said[-1].stderr
    for one in said:
        assert "Traceback" not in one.stderr
        assert "planted" not in one.stdout + one.stderr
    for call in cloud.calls():
        assert "planted" not in repr(call.params), call.action
    state_home = tmp_path / "state"
    written = [path for path in state_home.rglob("*") if path.is_file()]
    assert any(path.name == "run.jsonl" for path in written)
    for path in written:
        assert b"planted" not in path.read_bytes(), path
    # The run's own private key is its owner's alone, and the launch's went with the launch.
    for path in written:
        if b"PRIVATE KEY" in path.read_bytes():
            assert (path.name, path.stat().st_mode & 0o077) == ("key", 0), path
    assert cloud.left_over() == []


async def test_a_raised_budget_moves_the_hosts_own_timers(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path
) -> None:
    """An attended lease ends no later than the budget; a raise reaches the timer that powers each host off."""
    path = small_rental.profile(tmp_path, cache_home, max_steps=100_000, lease_minutes=60)
    path.write_text(path.read_text().replace("[budget]\n", "[budget]\nmax_usd = 0.10\n"))
    live = begun(path)
    driving = asyncio.create_task(live.drive())
    run = await small_run.until(live, lambda run: run.step is not None and run.step.step >= 2)
    instances = [node.billing[-1].instance_id for node in run.nodes]

    def lefts() -> list[float]:
        """Seconds until each host powers itself off."""
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        files = [machines.path(one, "/run/fastconsole/lease") for one in instances]
        return [int(file.read_text()) - uptime_s for file in files]

    rate = run.nodes[0].billing[-1].usd_per_h
    assert rate is not None
    assert max(lefts()) < 0.10 / (2 * rate) * 3600 + 300
    moved = [asyncio.Event() for _ in instances]

    def look(before: Run, after: Run, record: Record | None) -> None:
        if record is not None and isinstance(record.event, LeaseMoved) and record.node is not None:
            moved[record.node].set()

    live.observe(look)
    await live.command("budget", usd=50.0)
    await asyncio.wait_for(asyncio.gather(*(one.wait() for one in moved)), 60)
    assert min(lefts()) > 3500
    await live.command("stop")
    await asyncio.wait_for(driving, 120)
    assert live.run.budget_usd == 50.0
    assert cloud.left_over() == []


def test_a_budget_below_the_first_minute_rents_nothing(cloud: FakeCloud, tmp_path: Path, cache_home: Path) -> None:
    refused = console(str(small_rental.profile(tmp_path, cache_home)), "--headless", "--budget", "0.005")
    assert refused.returncode == 6, refused.stdout + refused.stderr
    assert "budget.max_usd is $0.005" in refused.stdout
    assert cloud.calls("RunInstances") == []
    assert cloud.left_over() == []
