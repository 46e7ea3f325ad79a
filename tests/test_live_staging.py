"""Staging on the main path: real hosts, a real gang that waits for its data, a console that leaves and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_run
from fake_bucket import FakeBucket
from gang import picture_folder
from openssh import Cluster

from console.fleet.aws import offers
from console.fleet.choose import provider_of
from console.fold.apply import apply
from console.journal import open_log
from console.live.live_run import LiveRun
from console.planning.offer import DataSet
from console.profile.load import parse
from console.profile.schema import Profile, ProfileError
from console.reports import headline
from console.reports.narrator import Narrator
from console.state.events import Record
from console.state.outcome import Exit
from console.state.run import Node, Run
from console.state.status import FAILED, FINISHED, UNREACHABLE
from console.views import nodes, staging
from remote.staging.partial_file import PIECE_BYTES, PartialFile
from remote.wire.codec import Event
from remote.wire.events import StagingEnded, StagingProgressed

pytestmark = pytest.mark.usefixtures("no_leftovers")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    fake = FakeBucket()
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in fake.env.items():
        monkeypatch.setenv(name, value)
    yield fake
    fake.stop()


def staged(given: Profile, source: str, target: str) -> Profile:
    """The profile with a folder of pictures that is copied from `source` to `target`."""
    text = given.text.replace(
        'dataset = "shapes"\ndir = "', f'dataset = "imagefolder"\nstage_from = "{source}"\ndir = "'
    )
    text = text.replace('dir = "~/.fastconsole/data"', f'dir = "{target}"')
    return parse(text, path=given.path, overrides=given.overrides)


def put(bucket: FakeBucket, folder: Path, prefix: str) -> None:
    for path in folder.rglob("*.jpg"):
        bucket.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


def copied(node: Node) -> bool:
    return node.staged is not None and node.staged.ok


async def test_a_gang_waits_for_its_data_from_s3(tmp_path: Path, bucket: FakeBucket) -> None:
    put(bucket, picture_folder(tmp_path / "pictures", 64, 16), "sets/pictures")
    live = small_run.start(staged(small_run.profile(max_steps=4), "s3://sets/sets/pictures", str(tmp_path / "target")))
    lines: list[str] = []
    started: list[bool] = []
    narrator = Narrator()

    def tell(before: Run, after: Run, record: object) -> None:
        lines.extend(narrator.narrate(before, after, record) if record is not None else [])  # type: ignore[arg-type]
        if after.gang_started and not before.gang_started:
            started.append(all(map(copied, before.nodes)))

    live.observe(tell)
    await live.drive()
    run = live.run
    assert (run.status, run.exit_code) == (FINISHED, 0), run.reason
    assert started == [True]
    assert any("stage: all 2 nodes done" in line for line in lines), lines
    # The two share the folder: one copies, the other finds it done.
    ends = [node.staged for node in run.nodes if node.staged is not None]
    assert sorted(end.fetched_bytes > 0 for end in ends) == [False, True]
    assert {end.files for end in ends} == {80}
    assert small_run.differences(run, open_log.fold(live.directory.journal)) == []
    # No address is in the journal, nor in anything else that the run leaves.
    for path in live.directory.path.rglob("*"):
        assert not path.is_file() or b"X-Amz-Signature" not in path.read_bytes(), path


async def test_a_console_that_leaves_and_comes_back_renews_what_has_expired(
    tmp_path: Path, bucket: FakeBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, picture_folder(tmp_path / "pictures", 64, 16), "pictures")
    given = staged(small_run.profile(nodes=1, max_steps=4), "s3://sets/pictures", str(tmp_path / "target"))
    # Addresses that are past their time when they come.
    monkeypatch.setattr("console.live.presigned.VALID_S", -1)
    live = small_run.start(given)
    driving = asyncio.create_task(live.drive())
    await small_run.until(
        live, lambda run: any(node.staging and node.staging.activity == "renew" for node in run.nodes)
    )
    assert "node 0: waits for the laptop: its addresses have expired" in headline.headline(live.run, live.now())
    await live.command("detach")
    await driving
    assert live.run.live
    assert not live.run.gang_started

    monkeypatch.setattr("console.live.presigned.VALID_S", 3600)
    back = LiveRun(given, live.directory, provider_of(given, live.directory), open_log.fold(live.directory.journal))
    assert await back.salvage() is True
    back.attach()
    await back.drive()
    assert (back.run.status, back.run.exit_code) == (FINISHED, 0), back.run.reason
    assert copied(back.run.nodes[0])
    assert small_run.none_left(tmp_path, 10) == {}


async def test_a_mount_that_one_host_lacks_is_said_with_the_host(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    servers = Cluster(tmp_path / "cluster", 2)
    try:
        picture_folder(servers.servers[0].home / "mount", 32, 8)
        given = small_run.profile(fleet=servers.fleet(), run=f'python = "{sys.executable}"', max_steps=2)
        live = small_run.start(staged(given, "~/mount", "~/copy"))
        await live.drive()
    finally:
        servers.stop()
    run = live.run
    assert (run.status, run.exit_code) == (FAILED, Exit.FAILED), run.reason
    assert run.reason == (
        f"node 1: {servers.servers[1].home}/mount is not there on this host; is it mounted? (data.stage_from)"
    )


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("s3://no-such-bucket/pictures", "there is no S3 bucket no-such-bucket (data.stage_from)"),
        ("s3://sets/elsewhere", "s3://sets/elsewhere holds nothing (data.stage_from); is the prefix right?"),
    ],
    ids=["bucket", "prefix"],
)
async def test_a_source_that_is_not_there_ends_the_launch_before_a_host_is_made(
    bucket: FakeBucket, tmp_path: Path, source: str, sentence: str
) -> None:
    live = small_run.start(staged(small_run.profile(), source, str(tmp_path / "target")))
    await live.drive()
    run = live.run
    assert (run.status, run.exit_code, run.reason) == (UNREACHABLE, Exit.UNREACHABLE, sentence)
    assert all(node.address is None for node in run.nodes)


def test_a_plan_says_how_much_is_copied_or_that_it_is_not_there(bucket: FakeBucket, tmp_path: Path) -> None:
    bucket.put("set/packed.json", b"{}")
    bucket.put("set/train-160/00000.data", b"x" * 998)
    found = offers.ask(staged(small_run.profile(), "s3://sets/set", str(tmp_path)))
    assert found.data_set == DataSet(objects=2, total_bytes=1000, packed=True)
    assert (found.wrong, found.silent) == ((), ())
    missing = offers.ask(staged(small_run.profile(), "s3://no-such-bucket/set", str(tmp_path)))
    assert missing.wrong == ("there is no S3 bucket no-such-bucket (data.stage_from)",)
    bucket.stop()
    silent = offers.ask(staged(small_run.profile(), "s3://sets/set", str(tmp_path)), patience_s=0.5)
    assert silent.wrong == ()
    assert len(silent.silent) == 1


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("imagenet", "/data", "data.stage_from is 'imagenet'; accepted is \"s3://bucket/prefix\", or the path"),
        ("s3:/bucket", "/data", "data.stage_from is 's3:/bucket'; accepted is \"s3://bucket/prefix\""),
        ("s3://Bucket/x", "/data", "data.stage_from is 's3://Bucket/x'; accepted is"),
        ("s3://bucket/x", "data", "data.dir is 'data'; with data.stage_from accepted is a path from the root"),
        ("s3://bucket/x", "~/.fastconsole/data", "data.dir is missing: say where the copy of data.stage_from lands"),
        ("/fsx", "/fsx/copy", "one may not lie within the other"),
        ("/fsx/set", "/fsx/", "one may not lie within the other"),
    ],
)
def test_mistakes_in_a_profile(source: str, target: str, sentence: str) -> None:
    with pytest.raises(ProfileError) as wrong:
        staged(small_run.profile(), source, target)
    assert sentence in str(wrong.value)


def test_shapes_are_made_and_not_copied() -> None:
    with pytest.raises(ProfileError, match="the data set shapes is made on the hosts"):
        parse(small_run.profile().text.replace("[data]", '[data]\nstage_from = "/fsx/shapes"'), path=Path("mine.toml"))


async def test_an_agent_that_is_killed_costs_only_what_was_on_its_way(tmp_path: Path, bucket: FakeBucket) -> None:
    put(bucket, picture_folder(tmp_path / "pictures", 64, 16), "pictures")
    bucket.put("pictures/other.bin", os.urandom(6 * PIECE_BYTES))
    bucket.faults.bytes_per_s = 4e6
    target = tmp_path / "target"
    live = small_run.start(staged(small_run.profile(nodes=1, max_steps=2), "s3://sets/pictures", str(target)))
    driving = asyncio.create_task(live.drive())
    # A piece of one connection takes two seconds: some are whole now, and others on their way.
    run = await small_run.until(
        live, lambda run: any(node.staging and node.staging.done_bytes > 4.5 * PIECE_BYTES for node in run.nodes)
    )
    assert run.nodes[0].agent is not None
    os.kill(run.nodes[0].agent.pid, signal.SIGKILL)
    await driving
    assert live.run.status == FAILED
    assert "the agent" in live.run.reason
    assert "died" in live.run.reason
    # The kernel ends the copy with its agent.
    assert small_run.none_left(tmp_path, 10) == {}
    there = PartialFile(target / "other.bin", 6 * PIECE_BYTES, version(bucket, "pictures/other.bin"))
    pieces = len(there.there)
    there.close()
    assert 1 <= pieces < 6

    bucket.faults.bytes_per_s = None
    reads = len(bucket.reads)
    past = open_log.fold(live.directory.journal)
    again = LiveRun(live.profile, live.directory, provider_of(live.profile, live.directory), past)
    again.resume()
    await again.drive()
    assert (again.run.status, again.run.exit_code) == (FINISHED, 0), again.run.reason
    assert [key for key, _ in bucket.reads[reads:]].count("pictures/other.bin") == 6 - pieces


def version(bucket: FakeBucket, key: str) -> str:
    return str(bucket.client().head_object(Bucket=bucket.bucket, Key=key)["ETag"].strip('"'))


def moved(activity: str, done: int, total: int | None, rate: float | None = None, left_s: float | None = None) -> Event:
    return StagingProgressed(
        source="/fsx", activity=activity, done_bytes=done, total_bytes=total, bytes_per_s=rate, left_s=left_s
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (moved("copy", 1_200_000_000, 8_400_000_000, 310e6, 23.4), "1.2 of 8.4 GB, 310 MB/s, 0:23 left"),
        (moved("copy", 0, 150_000_000_000, 1.25e6, 120_000.0), "0 of 150 GB, 1.2 MB/s, 33:20:00 left"),
        (moved("copy", 1234, None), "1.2 kB"),
        (moved("verify", 500, 900), "500 of 900 B, verifies what is there"),
        (moved("list", 0, None), "looks what is there"),
        (moved("wait", 0, None), "another node that shares its folder copies it"),
        (moved("renew", 5, 9), "waits for the laptop: its addresses have expired"),
    ],
)
def test_how_far_it_is_in_words(said: StagingProgressed, words: str) -> None:
    assert staging.words(said) == words
    run = apply(Run(), Record(received_t=1.0, t=1.0, event=said, node=0, offset=0))
    assert nodes.stages(run)[0].detail == f"node 0: {words}"


def test_the_slowest_host_is_named() -> None:
    run = Run()
    for node, done in ((0, 900), (1, 200), (2, 500)):
        run = apply(run, Record(received_t=1.0, t=1.0, event=moved("copy", done, 1000), node=node, offset=0))
    assert nodes.stages(run)[0].detail == "node 1: 0.2 of 1 kB"
    for node in (0, 2):
        ended = StagingEnded(source="/fsx", files=1, total_bytes=1000, fetched_bytes=1000, seconds=1.0)
        run = apply(run, Record(received_t=2.0, t=2.0, event=ended, node=node, offset=1))
    assert (nodes.stages(run)[0].nodes_done, nodes.stages(run)[0].nodes) == (2, 3)
