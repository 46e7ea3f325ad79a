"""A run that another laptop launched: found by its instances' tags, come to without trust on first use, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import fake_init
import pytest
import small_rental
import small_run
from fake_cloud import FakeCloud
from fake_instances import Machines
from small_rental import console

from console.discovery.adopt import adopt, named
from console.discovery.find import look
from console.fleet.aws.cloud import Cloud
from console.fleet.aws.tags import HOST_KEY_TAG, MANIFEST_TAG
from console.fleet.provider import ProviderError
from console.journal import open_log
from console.journal.directory import RunDirectory, all_runs
from console.paths import runs_home
from console.state.run import Run
from console.state.status import STOPPED
from remote.wire.layout import host_folder

pytestmark = pytest.mark.usefixtures("no_leftovers")

SECRET = "hunter2-of-the-other-laptop"


class Laptop:
    """A laptop: a state folder, to which `at` leads for a while."""

    def __init__(self, folder: Path) -> None:
        self.home = folder

    @contextmanager
    def at(self) -> Iterator[None]:
        """Commands are typed here."""
        before = os.environ["XDG_STATE_HOME"]
        os.environ["XDG_STATE_HOME"] = str(self.home)
        try:
            yield
        finally:
            os.environ["XDG_STATE_HOME"] = before

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        with self.at():
            return console(*words)

    def starts(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        command = [sys.executable, "-m", "console", *words]
        with self.at():
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self) -> RunDirectory:
        """Its one run."""
        with self.at():
            (run,) = all_runs()
        return run


@pytest.fixture
def laptops(tmp_path: Path) -> tuple[Laptop, Laptop]:
    """The one that launches, and the other one."""
    return Laptop(tmp_path / "first"), Laptop(tmp_path / "second")


def until_line(process: subprocess.Popen[str], words: str) -> list[str]:
    """Its lines up to the one that holds the words."""
    seen = []
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return seen
    raise AssertionError("".join(seen))


def wait_for(what: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)


def profile(tmp_path: Path, cache_home: Path, **more: object) -> str:
    """A run of short epochs that would go on for hours."""
    path = small_rental.profile(tmp_path, cache_home, max_steps=100_000, **more)  # type: ignore[arg-type]
    text = path.read_text().replace("batch_size_per_gpu = 8", "batch_size_per_gpu = 324")
    path.write_text(text.replace('OMP_NUM_THREADS = "1"', f'OMP_NUM_THREADS = "1", SITE_TOKEN = "{SECRET}"'))
    return str(path)


def charter_of(machines: Machines, cloud: FakeCloud, run_id: str, node: int = 0) -> str:
    """The charter as a node's host holds it."""
    instance = sorted(one.instance_id for one in cloud.instances("running"))[node]
    return machines.path(instance, f"{fake_init.HOME}/{host_folder(run_id, node)}/charter.jsonl").read_text()


def test_the_run_of_a_lost_laptop_is_come_to_watched_and_stopped(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path, laptops: tuple[Laptop, Laptop]
) -> None:
    first, second = laptops
    launching = first.starts(profile(tmp_path, cache_home), "--headless", "--budget", "40")
    until_line(launching, "epoch 1")
    run_id = first.run().run_id
    moved = first.types("budget", run_id, "55")
    assert moved.returncode == 0, moved.stderr
    wait_for(lambda: "BudgetMoved" in charter_of(machines, cloud, run_id))
    launching.send_signal(signal.SIGKILL)
    launching.wait()
    before = open_log.fold(first.run().journal)

    listed = second.types("ps")
    assert f"{run_id}\telsewhere" in listed.stdout
    coming = second.starts("attach", run_id[:-2], "--headless")
    said = until_line(coming, "epoch 2")
    assert any("whose console may still be attached and does not know" in line for line in said), said
    here = second.run()
    assert (here.run_id, stat.S_IMODE(here.path.stat().st_mode)) == (run_id, 0o700)
    assert {stat.S_IMODE(path.stat().st_mode) for path in here.path.iterdir() if path.is_file()} == {0o600}
    coming.send_signal(signal.SIGINT)
    rest = coming.communicate(timeout=120)[0]
    assert coming.returncode == 130, "".join(said) + rest
    assert cloud.left_over() == []

    run = open_log.fold(here.journal)
    assert run.status == STOPPED
    assert any(one.fetched for one in run.checkpoints)
    same_story(before, run)
    assert run.budget_usd == 55
    # Its own key was let in, and the first laptop's is nowhere on the second.
    assert (here.path / "key").read_bytes() != (first.run().path / "key").read_bytes()
    written = [path for path in here.path.rglob("*") if path.is_file() and path.name != "env.json"]
    assert [path.name for path in written if SECRET.encode() in path.read_bytes()] == []
    # It can be gone on with from here: what the profile kept for itself came from the hosts.
    again = second.types("resume", run_id, "--budget", "0.000001")
    assert "is spent" in again.stderr


def same_story(first: Run, second: Run) -> None:
    """What the first laptop saw, the second has seen too, and at the same times but for the way of a record."""
    assert [one.event.epoch for one in second.epochs][: len(first.epochs)] == [one.event.epoch for one in first.epochs]
    assert small_run.losses(first).items() <= small_run.losses(second).items()
    assert [node.billing[0].instance_id for node in first.nodes] == [
        node.billing[0].instance_id for node in second.nodes
    ]
    for one, other in zip(first.nodes, second.nodes, strict=True):
        assert one.fingerprint == other.fingerprint
        # Only the end is another: the first laptop did not live to see it.
        different = small_run.differences(one.billing[0], other.billing[0], "billing")
        assert {difference.partition(":")[0] for difference in different} <= {"billing.stopped_t", "billing.reason"}
    assert first.started_t == second.started_t
    assert [move.max_usd for move in first.budget_moves] == [move.max_usd for move in second.budget_moves]
    for point, other_point in zip(first.points, second.points, strict=False):
        assert abs(point.received_t - other_point.received_t) < 5


def test_stop_and_terminate_from_another_laptop(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path, laptops: tuple[Laptop, Laptop]
) -> None:
    first, second = laptops
    launching = first.starts(profile(tmp_path, cache_home), "--headless")
    until_line(launching, "epoch 1")
    run_id = first.run().run_id
    # While the first console lives: it is not told, and sees that its hosts are gone.
    stopped = second.types("stop", run_id)
    assert stopped.returncode == 0, stopped.stderr
    assert f"run {run_id}: stopped: " in stopped.stderr
    launching.communicate(timeout=120)
    assert launching.returncode != 0
    assert cloud.left_over() == []
    run = open_log.fold(second.run().journal)
    assert any(one.fetched for one in run.checkpoints)

    launching = first.starts(profile(tmp_path, cache_home), "--headless")
    until_line(launching, "first step")
    launching.send_signal(signal.SIGKILL)
    launching.wait()
    with first.at():
        run_id = max(run.run_id for run in all_runs())
    # No host has to be reached for it.
    for one in cloud.instances("running"):
        machines.unplug(one.instance_id)
    ended = second.types("terminate", run_id, "--region", "us-east-1")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("is terminated") == 2
    assert cloud.left_over() == []
    again = second.types("terminate", run_id)
    assert (again.returncode, again.stdout) == (2, "")
    assert f"there is no run {run_id}, neither on this laptop nor in " in again.stderr


def test_laptops_that_take_turns(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path, laptops: tuple[Laptop, Laptop]
) -> None:
    """Who comes back to a run that another laptop has driven since knows what was done there."""
    first, second = laptops
    launching = first.starts(profile(tmp_path, cache_home), "--headless", "--budget", "40")
    until_line(launching, "first step")
    run_id = first.run().run_id
    launching.send_signal(signal.SIGHUP)
    launching.communicate(timeout=60)
    # Nobody else has come to it: what is here is enough.
    journal = first.run().journal
    inode = journal.stat().st_ino
    there = first.starts("attach", run_id, "--headless")
    until_line(there, "step")
    there.send_signal(signal.SIGHUP)
    there.communicate(timeout=60)
    assert journal.stat().st_ino == inode

    moved = second.types("budget", run_id, "77")
    assert moved.returncode == 0, moved.stderr
    assert f"run {run_id}: the budget is now $77.00" in moved.stderr

    stopped = first.types("stop", run_id)
    assert stopped.returncode == 0, stopped.stderr
    assert "a console on another laptop has driven it since; reading it anew" in stopped.stderr
    run = open_log.fold(first.run().journal)
    assert (run.status, run.budget_usd) == (STOPPED, 77)
    assert len(list(first.run().path.glob("run-until-*.jsonl"))) == 1
    assert cloud.left_over() == []


async def test_whoever_cannot_be_told_from_an_impostor_is_not_connected_to(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path, laptops: tuple[Laptop, Laptop]
) -> None:
    first, second = laptops
    launching = first.starts(profile(tmp_path, cache_home, nodes=1), "--headless")
    await asyncio.to_thread(until_line, launching, "first step")
    run_id = first.run().run_id
    launching.send_signal(signal.SIGKILL)
    await asyncio.to_thread(launching.wait)
    (instance,) = [one.instance_id for one in cloud.instances("running")]
    client = cloud.client("ec2")

    def tag(name: str, value: str | None) -> str:
        (said,) = client.describe_tags(Filters=[{"Name": "key", "Values": [name]}])["Tags"]
        if value is None:
            client.delete_tags(Resources=[instance], Tags=[{"Key": name}])
        else:
            client.create_tags(Resources=[instance], Tags=[{"Key": name, "Value": value}])
        return str(said["Value"])

    async def refusal() -> str:
        with second.at():
            seen = await look(Cloud(patience_s=30.0), patience_s=30.0)
            with pytest.raises(ProviderError) as caught:
                await adopt(Cloud(), named(run_id, seen), lambda said: None, patience_s=0.5)
            # Nothing is left half done.
            assert list(runs_home().glob("*")) == list((runs_home().parent / "coming").glob("*")) == []
        text = str(caught.value)
        assert "\n" not in text
        return text

    # The host presents another key than the one that its instance's tag names.
    impostor = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    genuine = tag(HOST_KEY_TAG, impostor)
    assert "presented another host key than the one pinned for it" in await refusal()
    # No tag, no trust.
    tag(HOST_KEY_TAG, None)
    assert f"{instance} of run {run_id} lack the tags {HOST_KEY_TAG}" in await refusal()
    client.create_tags(Resources=[instance], Tags=[{"Key": HOST_KEY_TAG, "Value": genuine}])
    # A first record that somebody changed on the host could have anything rented.
    kept = tag(MANIFEST_TAG, "0" * 64)
    assert f"hold another first record than the tag {MANIFEST_TAG} names" in await refusal()
    client.create_tags(Resources=[instance], Tags=[{"Key": MANIFEST_TAG, "Value": kept}])
    path = machines.path(instance, f"{fake_init.HOME}/{host_folder(run_id, 0)}/charter.jsonl")
    words = path.read_text()
    path.write_text(words.replace('"nnodes":1', '"nnodes":9'))
    assert "it was changed on the hosts, and is not trusted" in await refusal()
    path.write_text(words)

    # Instance Connect is not allowed, and then not on the image.
    cloud.misbehave("SendSSHPublicKey", error="AccessDeniedException", times=None)
    said = await refusal()
    assert "this laptop's key could not be admitted: AWS ec2-instance-connect Send" in said
    assert "profiles/aws-iam-policy.json" in said
    cloud.released()
    machines.run(instance, "sed", "-i", "s#/run/instance-connect/%u##", "/etc/ssh/sshd_config")
    machines.run(instance, "sh", "-c", "kill -HUP $(cat /run/sshd.pid)")
    said = await refusal()
    assert "EC2 Instance Connect is not on its image" in said
    assert f"fastconsole terminate {run_id}" in said

    # Its host is dead, and EC2 does not know.
    await asyncio.to_thread(machines.halt, instance)
    assert "node 0 cannot be reached (only 127.0.0.1/32 may: fleet.ssh_from)" in await refusal()
    client.terminate_instances(InstanceIds=[instance])
    assert f"run {run_id} has ended" in await refusal()


def test_no_such_run(cloud: FakeCloud, laptops: tuple[Laptop, Laptop], monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = laptops[1]
    for command in ("attach", "stop"):
        done = laptop.types(command, "nobody")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "there is no run nobody, neither on this laptop nor in the " in done.stderr
    cloud.misbehave("DescribeInstances", region="eu-west-1", error="UnauthorizedOperation", times=None)
    for command in ("attach", "stop", "terminate"):
        done = laptop.types(command, "nobody")
        assert done.returncode == 6
        assert "eu-west-1" in done.stderr
    cloud.released()
    cloud.misbehave("DescribeRegions", error="AuthFailure", times=None)
    done = laptop.types("attach", "nobody")
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert "AWS does not accept these credentials" in done.stderr
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    done = laptop.types("attach", "nobody")
    assert (done.returncode, done.stderr) == (2, "fastconsole: there is no run nobody; fastconsole runs lists them\n")


def test_what_a_charter_holds(
    cloud: FakeCloud, machines: Machines, tmp_path: Path, cache_home: Path, laptops: tuple[Laptop, Laptop]
) -> None:
    """Everything of the console's own that counts, on every host, with no secret in it."""
    first, second = laptops
    launching = first.starts(profile(tmp_path, cache_home), "--headless")
    until_line(launching, "first step")
    run_id = first.run().run_id
    wait_for(lambda: all('"command":"start"' in charter_of(machines, cloud, run_id, node) for node in (0, 1)))
    for node in (0, 1):
        words = charter_of(machines, cloud, run_id, node)
        assert words.count('"event":"InstanceStarted"') == 2
        assert words.splitlines()[0] == first.run().journal.read_text().splitlines()[0]
        assert SECRET not in words
    assert second.types("clean", "--run", run_id, "--yes").returncode == 0
    launching.communicate(timeout=120)
    assert cloud.left_over() == []
