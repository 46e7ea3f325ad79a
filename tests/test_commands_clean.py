"""`clean`: what runs left behind at AWS is listed, and ended once somebody says so; what may still train is spared."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import small_rental
import tagged
from fake_cloud import FakeCloud
from run_story import told, trained

from console.journal.directory import RunDirectory
from console.paths import runs_home
from console.state.events import Record, record_line

OLD = "imagenet-20260101-120000-ab12"


def known(run_id: str, records: list[Record]) -> RunDirectory:
    """A run of this laptop's."""
    directory = RunDirectory(runs_home() / run_id)
    directory.path.mkdir(parents=True, mode=0o700)
    directory.journal.write_text("".join(record_line(record) + "\n" for record in records))
    return directory


def listed(done: subprocess.CompletedProcess[str]) -> list[tuple[str, str, str]]:
    """Run, status and kind of each line."""
    assert "Traceback" not in done.stderr
    header, *lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert header[:3] == ["run", "status", "kind"]
    assert all(len(line) == len(header) for line in lines)
    return [(line[0], line[1], line[2]) for line in lines]


def everything_of(cloud: FakeCloud, run_id: str, region: str = "us-east-1") -> None:
    """All kinds of things that a run may leave."""
    client = cloud.client("ec2", region)
    tagged.launch(cloud, run_id, 2, region=region, kind="g5.xlarge", groups=(tagged.group(cloud, run_id, region),))

    def specification(kind: str) -> list[dict[str, object]]:
        return [{"ResourceType": kind, "Tags": tagged.tags(run_id)}]

    client.create_placement_group(
        GroupName=f"fastconsole-{run_id}", Strategy="cluster", TagSpecifications=specification("placement-group")
    )
    client.allocate_address(Domain="vpc", TagSpecifications=specification("elastic-ip"))
    client.create_volume(AvailabilityZone=f"{region}a", Size=200, TagSpecifications=specification("volume"))
    client.create_key_pair(KeyName=f"fastconsole-{run_id}", TagSpecifications=specification("key-pair"))


def test_nothing_is_left(cloud: FakeCloud) -> None:
    done = small_rental.console("clean")
    assert (done.returncode, listed(done), done.stderr.count("\n")) == (0, [], 1)
    assert re.search(r"nothing is left behind in \d+ regions", done.stderr)


def test_what_an_ended_run_left_is_listed_and_ended(cloud: FakeCloud) -> None:
    known("over", told().records)
    everything_of(cloud, "over")
    everything_of(cloud, "over", "eu-west-1")
    somebody_s = cloud.client("ec2").create_security_group(GroupName="theirs", Description="theirs")["GroupId"]
    before = cloud.left_over()

    shown = small_rental.console("clean")
    kinds = ["instance", "instance", "volume", "elastic-ip", "placement-group", "security-group", "key-pair"]
    assert listed(shown) == [("over", "left behind", kind) for kind in kinds * 2]
    # Where nobody can be asked, nothing happens.
    assert shown.returncode == 3
    assert "14 things of 1 run, $" in shown.stderr
    assert "say --yes" in shown.stderr
    assert cloud.left_over() == before

    done = small_rental.console("clean", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" is terminated") == 4
    assert done.stderr.count(" is deleted") == 10
    assert cloud.left_over() == [f"us-east-1 security group {somebody_s} theirs"]


def test_what_may_still_train_is_spared_unless_it_is_named(cloud: FakeCloud) -> None:
    known("alone", trained().records)
    tagged.launch(cloud, "alone")
    tagged.launch(cloud, "far-away")
    before = cloud.left_over()
    done = small_rental.console("clean", "--yes")
    assert listed(done) == [("alone", "no console here", "instance"), ("far-away", "elsewhere", "instance")]
    assert done.returncode == 0
    assert "run alone may still train, without a console: fastconsole attach alone" in done.stderr
    assert "run far-away, launched by ada@lovelace may still train" in done.stderr
    assert cloud.left_over() == before

    named = small_rental.console("clean", "--run", "far", "--yes")
    assert (named.returncode, listed(named)) == (0, [("far-away", "elsewhere", "instance")])
    named = small_rental.console("clean", "--run", "alone", "--yes")
    assert named.returncode == 0
    assert cloud.left_over() == []
    again = small_rental.console("clean", "--run", "alone", "--yes")
    assert (again.returncode, "nothing is left of run alone" in again.stderr) == (0, True)


def test_a_run_that_a_console_here_drives_is_never_touched(cloud: FakeCloud) -> None:
    directory = known("driven", trained().records)
    assert directory.take()
    tagged.launch(cloud, "driven")
    try:
        done = small_rental.console("clean", "--yes")
        assert listed(done) == [("driven", "driven here", "instance")]
        named = small_rental.console("clean", "--run", "driven", "--yes")
    finally:
        directory.leave()
    assert done.returncode == 0
    assert (named.returncode, named.stdout) == (2, "")
    assert "fastconsole stop driven ends it in order" in named.stderr
    assert cloud.calls("TerminateInstances") == []


def test_groups_of_a_run_that_has_just_begun_elsewhere_may_be_those_of_a_launch(cloud: FakeCloud) -> None:
    young = time.strftime("imagenet-%Y%m%d-%H%M%S-cd34", time.gmtime(time.time() - 600))
    for run_id in (OLD, young):
        tagged.group(cloud, run_id)
    done = small_rental.console("clean", "--yes")
    assert sorted(listed(done)) == [
        (OLD, "left behind", "security-group"),
        (young, "beginning elsewhere", "security-group"),
    ]
    assert done.returncode == 0
    assert [line.rpartition("-")[0].split()[-1] for line in cloud.left_over()] == [f"fastconsole-{young}"[:-5]]


def test_what_cannot_be_deleted_is_named_with_the_command_that_does_it(cloud: FakeCloud) -> None:
    group = tagged.group(cloud, OLD)
    cloud.client("ec2").create_placement_group(
        GroupName="fastconsole-pg",
        Strategy="cluster",
        TagSpecifications=[{"ResourceType": "placement-group", "Tags": tagged.tags(OLD)}],
    )
    cloud.misbehave("DeleteSecurityGroup", error="UnauthorizedOperation", times=None)
    done = small_rental.console("clean", "--yes")
    assert done.returncode == 3
    assert f"`aws ec2 delete-security-group --region us-east-1 --group-id {group}`" in done.stderr
    assert "profiles/aws-iam-policy.json" in done.stderr
    # The rest went all the same.
    assert cloud.left_over() == [f"us-east-1 security group {group} fastconsole-{OLD}"]


def test_a_rate_limit_and_a_broken_connection_are_got_over(cloud: FakeCloud) -> None:
    known("over", told().records)
    tagged.launch(cloud, "over", groups=(tagged.group(cloud, "over"),))
    # Once more than boto3 tries by itself.
    cloud.misbehave("TerminateInstances", error="RequestLimitExceeded", times=6)
    cloud.misbehave("TerminateInstances", cut="after")
    cloud.misbehave("DeleteSecurityGroup", error="RequestLimitExceeded", times=2)
    done = small_rental.console("clean", "--yes")
    assert done.returncode == 0, done.stderr
    assert cloud.left_over() == []


def test_instances_that_may_not_be_ended_are_named(cloud: FakeCloud) -> None:
    known("over", told().records)
    (instance,) = tagged.launch(cloud, "over")
    cloud.misbehave("TerminateInstances", error="UnauthorizedOperation", times=None)
    done = small_rental.console("clean", "--yes")
    assert done.returncode == 3
    assert f"`aws ec2 terminate-instances --region us-east-1 --instance-ids {instance}`" in done.stderr
    assert done.stderr.count("\n") == 2


def test_a_region_that_does_not_answer_is_no_clean_region(cloud: FakeCloud) -> None:
    cloud.misbehave("DescribeVolumes", region="eu-west-1", error="UnauthorizedOperation", times=None)
    done = small_rental.console("clean", "--yes")
    assert done.returncode == 6
    assert "what is in eu-west-1 is not known" in done.stderr


# --- asking ----------------------------------------------------------------------------------------------------------


@contextmanager
def at_a_terminal(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command with a terminal; the process and the terminal's other end."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "console", *words]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def until_asked(terminal: int) -> str:
    """What the terminal shows up to the question."""
    seen = ""
    while ": type " not in seen or not seen.endswith(": "):
        try:
            seen += os.read(terminal, 4096).decode()
        except OSError:  # EIO: the program has ended
            raise AssertionError(f"no question in {seen!r}") from None
    return seen


@pytest.mark.parametrize(("answer", "code", "left"), [("yes", 0, 0), ("y", 3, 1), ("", 3, 1)])
def test_the_word_has_to_be_typed(cloud: FakeCloud, answer: str, code: int, left: int) -> None:
    tagged.group(cloud, OLD)
    with at_a_terminal("clean") as (process, terminal):
        assert "type yes to delete it" in until_asked(terminal)
        os.write(terminal, f"{answer}\n".encode())
        assert process.wait(30) == code
    assert len(cloud.left_over()) == left


def test_a_run_that_may_still_train_has_to_be_typed_by_its_name(cloud: FakeCloud) -> None:
    tagged.launch(cloud, "far-away", 2)
    with at_a_terminal("clean", "--run", "far") as (process, terminal):
        assert "type far-away to terminate 2 instances" in until_asked(terminal)
        os.write(terminal, b"yes\n")
        assert process.wait(30) == 3
    assert len(cloud.instances("running")) == 2


def test_interrupted_at_the_question(cloud: FakeCloud) -> None:
    tagged.group(cloud, OLD)
    with at_a_terminal("clean") as (process, terminal):
        until_asked(terminal)
        process.send_signal(2)
        assert process.wait(30) == 130
    assert len(cloud.left_over()) == 1
