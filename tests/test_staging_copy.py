"""The copy of a data set to a host: whole or unfinished, continued after every break, one sentence where it fails."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_bucket import FakeBucket
from gang import recipe, said

from remote.staging import free_space
from remote.staging.copy import main
from remote.staging.destination import MARK
from remote.staging.partial_file import PIECE_BYTES, PartialFile
from remote.staging.process import DONE, REFUSED
from remote.wire.events import StagingEnded, StagingProgressed
from remote.wire.job import Job
from remote.wire.layout import ADDRESSES, CONTENTS

BIG = 3 * PIECE_BYTES + 12_345


@pytest.fixture
def bucket() -> Iterator[FakeBucket]:
    fake = FakeBucket()
    yield fake
    fake.stop()


def packed(big: int = 1000) -> dict[str, bytes]:
    """The files of a packed set, as far as staging knows them: whatever they hold, their table names it."""
    files = {
        "train.names": b"a\nb\n",
        "train-160.npy": os.urandom(1000),
        "train-160/00000.data": os.urandom(big),
        "train-160/00001.data": os.urandom(2000),
        "val-160/00000.data": b"",
    }
    table = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    return files | {CONTENTS: json.dumps({"format": 1, "files": table}).encode()}


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def put(bucket: FakeBucket, files: dict[str, bytes], prefix: str = "imagenet/") -> None:
    for name, data in files.items():
        bucket.put(prefix + name, data)


def host(tmp_path: Path, source: str, target: Path, name: str = "host") -> Path:
    """A run's folder on a host, whose job says to copy."""
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    job = Job(
        run_id="test",
        node=0,
        nnodes=1,
        nproc_per_node=1,
        recipe=recipe(target, 8),
        address="127.0.0.1",
        stage_from=source,
    )
    (folder / "job.json").write_text(job.to_json())
    return folder


def address(bucket: FakeBucket, folder: Path, prefix: str = "imagenet/", valid_s: int = 3600) -> None:
    """What the laptop sends: the list, with a signed address each."""
    listed = bucket.client().list_objects_v2(Bucket=bucket.bucket, Prefix=prefix)["Contents"]
    objects = [
        [one["Key"].removeprefix(prefix), one["Size"], one["ETag"].strip('"'), bucket.signed(one["Key"], valid_s)]
        for one in listed
    ]
    said = {"serial": time.time_ns(), "objects": objects}
    beside = folder / "beside"
    beside.write_bytes(gzip.compress(json.dumps(said).encode()))
    beside.replace(folder / ADDRESSES)


def ended(folder: Path) -> StagingEnded:
    """How the last copy ended."""
    last: StagingEnded = said(folder, StagingEnded)[-1]
    assert "\n" not in last.reason
    return last


def holds(target: Path, files: dict[str, bytes]) -> bool:
    return all((target / name).read_bytes() == data for name, data in files.items())


def leftovers(target: Path) -> list[str]:
    return [path.name for path in target.rglob("*") if path.name.endswith((".part", ".map"))]


# --- from a folder ---------------------------------------------------------------------------------------------------


def test_a_folder_is_copied_checked_and_not_copied_again(tmp_path: Path) -> None:
    files = packed()
    source, target = write(tmp_path / "source", files), tmp_path / "target"
    folder = host(tmp_path, str(source), target)
    assert main(folder) == DONE
    assert holds(target, files)
    assert leftovers(target) == []
    first = ended(folder)
    assert (first.ok, first.files, first.total_bytes) == (True, len(files), sum(map(len, files.values())))
    assert first.fetched_bytes == sum(len(data) for name, data in files.items() if name != CONTENTS)
    began_ns = (target / "train-160/00000.data").stat().st_ctime_ns

    assert main(folder) == DONE
    assert (ended(folder).ok, ended(folder).fetched_bytes) == (True, 0)
    assert (target / "train-160/00000.data").stat().st_ctime_ns == began_ns


def test_a_folder_that_is_no_packed_set_is_copied_by_size_and_time(tmp_path: Path) -> None:
    files = {f"train/{label}/{number}.jpg": os.urandom(500) for label in "ab" for number in range(20)}
    source, target = write(tmp_path / "source", files), tmp_path / "target"
    folder = host(tmp_path, str(source), target)
    assert main(folder) == DONE
    assert holds(target, files)
    # One picture is another now: that one is copied, and no other.
    (source / "train/a/3.jpg").write_bytes(os.urandom(500))
    assert main(folder) == DONE
    assert ended(folder).fetched_bytes == 500
    assert (target / "train/a/3.jpg").read_bytes() == (source / "train/a/3.jpg").read_bytes()


def test_the_table_of_contents_is_there_only_when_all_it_names_is(tmp_path: Path) -> None:
    files = packed()
    source, target = write(tmp_path / "source", files), tmp_path / "target"
    folder = host(tmp_path, str(source), target)
    assert main(folder) == DONE
    # The set was prepared anew: until the new one is whole, the folder is none.
    newer = packed()
    write(source, newer)
    (source / "train-160/00001.data").write_bytes(os.urandom(2000))
    assert main(folder) == REFUSED
    assert "came twice with another SHA256 than it should have" in ended(folder).reason
    assert "train-160/00001.data" in ended(folder).reason
    assert not (target / CONTENTS).exists()
    write(source, newer)
    assert main(folder) == DONE
    assert holds(target, newer)


def test_a_file_that_rotted_is_found_and_copied_again(tmp_path: Path) -> None:
    files = packed()
    source, target = write(tmp_path / "source", files), tmp_path / "target"
    folder = host(tmp_path, str(source), target)
    assert main(folder) == DONE
    with (target / "train-160/00000.data").open("r+b") as file:
        file.write(b"another beginning")
    assert main(folder) == DONE
    assert ended(folder).fetched_bytes == 1000
    assert holds(target, files)


def test_two_nodes_that_share_a_folder_take_turns(tmp_path: Path) -> None:
    files = packed()
    source, target = write(tmp_path / "source", files), tmp_path / "target"
    hosts = [host(tmp_path, str(source), target, name) for name in ("one", "two")]
    statuses: list[int] = []
    both = [threading.Thread(target=lambda one=one: statuses.append(main(one))) for one in hosts]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert statuses == [DONE, DONE]
    assert holds(target, files)
    fetched = sorted(ended(one).fetched_bytes for one in hosts)
    assert fetched[0] == 0
    assert fetched[1] > 3000


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    files = packed()
    source, target = write(tmp_path / "source", files), write(tmp_path / "target", {"thesis.tex": b"years of work"})
    folder = host(tmp_path, str(source), target)
    assert main(folder) == REFUSED
    assert "holds other files (thesis.tex, for example); name an empty folder in data.dir" in ended(folder).reason
    assert {path.name for path in target.iterdir()} == {"thesis.tex", ".staging.lock"}


def test_what_came_from_another_source_is_left_alone(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", packed()), write(tmp_path / "other", packed())
    target = tmp_path / "target"
    assert main(host(tmp_path, str(one), target)) == DONE
    folder = host(tmp_path, str(other), target)
    assert main(folder) == REFUSED
    assert f"holds what was copied from {one}; name another folder" in ended(folder).reason


def test_a_set_that_somebody_put_there_by_hand_is_verified_and_kept(tmp_path: Path) -> None:
    files = packed()
    source, target = write(tmp_path / "source", files), write(tmp_path / "target", files)
    (target / "train-160.npy").write_bytes(b"x" * 1000)
    folder = host(tmp_path, str(source), target)
    assert main(folder) == DONE
    assert ended(folder).fetched_bytes == 1000
    assert holds(target, files)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda root: None, "is not there on this host; is it mounted? (data.stage_from)"),
        (lambda root: root.write_bytes(b""), "is not a folder on this host"),
        (lambda root: root.mkdir(), "holds no files (data.stage_from)"),
        (lambda root: write(root, {CONTENTS: b"{"}), "packed.json is damaged (JSONDecodeError): prepare the data set"),
        (
            lambda root: write(root, {CONTENTS: b'{"files": {"a": {"size": 1, "sha256": "00"}}}'}),
            "/a is missing, which its packed.json names",
        ),
        (
            lambda root: write(root, {"a": b"12", CONTENTS: b'{"files": {"a": {"size": 1, "sha256": "00"}}}'}),
            "/a has 2 bytes and its packed.json says 1; copy it there again",
        ),
    ],
    ids=["missing", "file", "empty", "damaged table", "file missing", "another size"],
)
def test_a_source_that_cannot_be_copied(tmp_path: Path, change: Callable[[Path], object], sentence: str) -> None:
    change(tmp_path / "source")
    folder = host(tmp_path, str(tmp_path / "source"), tmp_path / "target")
    assert main(folder) == REFUSED
    assert sentence in ended(folder).reason


def test_a_table_that_points_elsewhere_writes_nothing_there(tmp_path: Path, bucket: FakeBucket) -> None:
    put(bucket, {"../evil": b"x"}, "imagenet/")
    folder = host(tmp_path, "s3://sets/imagenet", tmp_path / "target")
    address(bucket, folder)
    assert main(folder) == REFUSED
    assert "'../evil', which would be written outside the folder" in ended(folder).reason
    assert not (tmp_path / "evil").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    source = write(tmp_path / "source", packed())
    folder = host(tmp_path, str(source), tmp_path / "source" / "train.names" / "below")
    assert main(folder) == REFUSED
    assert "lie within each other" in ended(folder).reason
    (tmp_path / "file").write_bytes(b"")
    folder = host(tmp_path, str(source), tmp_path / "file" / "below")
    assert main(folder) == REFUSED
    assert "cannot be made or written (data.dir): Not a directory" in ended(folder).reason


# --- room ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 100 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_what_does_not_fit_is_said_before_a_byte_is_copied(tmp_path: Path, small_disk: Path) -> None:
    source = write(tmp_path / "source", {"a": b""})
    os.truncate(source / "a", 60_000_000)
    folder = host(tmp_path, str(source), small_disk / "set")
    assert main(folder) == REFUSED
    assert "60.0 MB more do not fit on the disk of" in ended(folder).reason
    assert "105 MB are free" in ended(folder).reason
    assert [path.name for path in (small_disk / "set").iterdir() if path.name not in (MARK, ".staging.lock")] == []
    assert free_space.in_memory(small_disk / "set")


def test_a_disk_that_fills_meanwhile_is_said_though_the_journal_is_on_it(
    tmp_path: Path, small_disk: Path, bucket: FakeBucket
) -> None:
    files = packed(BIG - PIECE_BYTES)
    put(bucket, files)
    folder = host(small_disk, "s3://sets/imagenet", small_disk / "set")
    address(bucket, folder)
    bucket.faults.bytes_per_s = 5e6
    statuses: list[int] = []
    copying = threading.Thread(target=lambda: statuses.append(main(folder)))
    copying.start()
    end = time.monotonic() + 30
    while not (small_disk / "set/train-160/00000.data.part").exists():
        assert not statuses, ended(folder).reason
        assert time.monotonic() < end
        time.sleep(0.01)
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk / 'other'}", "bs=64k"], capture_output=True)
    copying.join(60)
    assert statuses == [REFUSED]
    assert "is full; free some space, or name another disk in data.dir" in ended(folder).reason
    (small_disk / "other").unlink()
    bucket.faults.bytes_per_s = None
    address(bucket, folder)
    assert main(folder) == DONE
    assert holds(small_disk / "set", files)


# --- from S3 ---------------------------------------------------------------------------------------------------------


def test_a_bucket_is_copied_by_ranges_and_its_addresses_are_deleted(tmp_path: Path, bucket: FakeBucket) -> None:
    files = packed(BIG)
    put(bucket, files)
    target = tmp_path / "target"
    folder = host(tmp_path, "s3://sets/imagenet", target)
    address(bucket, folder)
    assert main(folder) == DONE
    assert holds(target, files)
    assert leftovers(target) == []
    big = [span for key, span in bucket.reads if key == "imagenet/train-160/00000.data"]
    assert sorted(big)[:2] == ["bytes=0-8388607", f"bytes={2 * PIECE_BYTES}-{3 * PIECE_BYTES - 1}"]
    assert len(big) == 4
    assert not (folder / ADDRESSES).exists()
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"Signature" not in everything

    reads = len(bucket.reads)
    address(bucket, folder)
    assert main(folder) == DONE
    # The table of contents alone is read, to see that it is the same.
    assert [key for key, _ in bucket.reads[reads:]] == ["imagenet/packed.json"]
    assert ended(folder).fetched_bytes == 0


def test_objects_that_are_no_packed_set_are_checked_by_their_md5(tmp_path: Path, bucket: FakeBucket) -> None:
    put(bucket, {"train/a/1.jpg": b"one", "train/b/2.jpg": b"two"}, "pictures/")
    bucket.faults.spoil["pictures/train/a/1.jpg"] = 1
    folder = host(tmp_path, "s3://sets/pictures", tmp_path / "target")
    address(bucket, folder, "pictures/")
    assert main(folder) == DONE
    assert holds(tmp_path / "target", {"train/a/1.jpg": b"one", "train/b/2.jpg": b"two"})
    assert [key for key, _ in bucket.reads].count("pictures/train/a/1.jpg") == 2


def test_a_connection_that_breaks_goes_on_where_it_broke(tmp_path: Path, bucket: FakeBucket) -> None:
    files = packed(BIG)
    put(bucket, files)
    folder = host(tmp_path, "s3://sets/imagenet", tmp_path / "target")
    address(bucket, folder)
    bucket.faults.cut_after, bucket.faults.cuts = 3 << 20, 6
    assert main(folder) == DONE
    assert holds(tmp_path / "target", files)
    # What had come before the break was not read again.
    assert bucket.sent_bytes <= sum(map(len, files.values())) + len(files[CONTENTS])


@pytest.mark.parametrize(
    ("refuse", "sentence"),
    [
        (
            ("403 Forbidden", "AccessDenied", "Access Denied"),
            "s3://sets/imagenet/packed.json: access refused (AccessDenied: Access Denied); the laptop's AWS user needs "
            "s3:GetObject on it",
        ),
        (("404 Not Found", "NoSuchKey", ""), "s3://sets/imagenet/packed.json is not there any more (NoSuchKey)"),
        (("412 Precondition Failed", "PreconditionFailed", ""), "packed.json was changed while it was copied"),
        (("301 Moved Permanently", "PermanentRedirect", ""), "says that the bucket is in another region"),
        (("400 Bad Request", "Odd", "so"), "answered 400 Odd so"),
    ],
    ids=["403", "404", "412", "301", "400"],
)
def test_what_s3_refuses_for_good_is_said_at_once(
    tmp_path: Path, bucket: FakeBucket, refuse: tuple[str, str, str], sentence: str
) -> None:
    put(bucket, packed())
    bucket.faults.refuse = refuse
    folder = host(tmp_path, "s3://sets/imagenet", tmp_path / "target")
    address(bucket, folder)
    assert main(folder) == REFUSED
    assert sentence in ended(folder).reason
    assert len(bucket.reads) == 1


def test_a_server_that_stumbles_is_asked_again(tmp_path: Path, bucket: FakeBucket) -> None:
    files = packed()
    put(bucket, files)
    bucket.faults.refuse, bucket.faults.refusals = ("503 Slow Down", "SlowDown", "Please reduce your request rate"), 3
    folder = host(tmp_path, "s3://sets/imagenet", tmp_path / "target")
    address(bucket, folder)
    assert main(folder) == DONE
    assert holds(tmp_path / "target", files)


def test_an_object_that_changes_meanwhile_is_not_mixed_of_two(tmp_path: Path, bucket: FakeBucket) -> None:
    put(bucket, {"a": os.urandom(PIECE_BYTES + 1)})
    folder = host(tmp_path, "s3://sets/imagenet", tmp_path / "target")
    address(bucket, folder)
    bucket.put("imagenet/a", os.urandom(PIECE_BYTES + 1))
    assert main(folder) == REFUSED
    assert "s3://sets/imagenet/a was changed while it was copied; start again" in ended(folder).reason
    assert not (tmp_path / "target" / "a").exists()


def test_a_wrong_checksum_twice_is_the_sources(tmp_path: Path, bucket: FakeBucket) -> None:
    files = packed()
    put(bucket, files)
    bucket.faults.spoil["imagenet/train-160/00000.data"] = 2
    folder = host(tmp_path, "s3://sets/imagenet", tmp_path / "target")
    address(bucket, folder)
    assert main(folder) == REFUSED
    assert "s3://sets/imagenet/train-160/00000.data came twice with another SHA256" in ended(folder).reason
    assert not (tmp_path / "target" / CONTENTS).exists()


def test_expired_addresses_wait_for_new_ones(tmp_path: Path, bucket: FakeBucket) -> None:
    files = packed()
    put(bucket, files)
    folder = host(tmp_path, "s3://sets/imagenet", tmp_path / "target")
    address(bucket, folder, valid_s=-1)
    statuses: list[int] = []
    copying = threading.Thread(target=lambda: statuses.append(main(folder)))
    copying.start()
    end = time.monotonic() + 30
    while not any(one.activity == "renew" for one in said(folder, StagingProgressed)):
        assert time.monotonic() < end
        time.sleep(0.02)
    address(bucket, folder)
    copying.join(30)
    assert statuses == [DONE]
    assert holds(tmp_path / "target", files)


def test_a_copy_that_is_killed_goes_on_with_what_it_has(tmp_path: Path, bucket: FakeBucket) -> None:
    files = packed(12 * PIECE_BYTES)
    put(bucket, files)
    target = tmp_path / "target"
    folder = host(tmp_path, "s3://sets/imagenet", target)
    address(bucket, folder)
    # Some seconds for the first eight pieces, so that the copy has something to say before it is killed.
    bucket.faults.bytes_per_s = 4e6
    command = [sys.executable, "-m", "remote.staging", str(folder), str(os.getpid())]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
    path = target / "train-160/00000.data"
    noted = path.with_name("00000.data.map")
    end = time.monotonic() + 30
    while (
        not noted.exists()
        or noted.read_bytes().partition(b"\n")[2].count(b"\1") < 3
        or not any(one.activity == "copy" and one.bytes_per_s for one in said(folder, StagingProgressed))
    ):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    digest = hashlib.sha256(files["train-160/00000.data"]).hexdigest()
    partial = PartialFile(path, 12 * PIECE_BYTES, digest)
    there = len(partial.there)
    partial.close()
    assert 3 <= there < 12

    bucket.faults.bytes_per_s = None
    reads = len(bucket.reads)
    assert main(folder) == DONE
    assert holds(target, files)
    again = [key for key, _ in bucket.reads[reads:]].count("imagenet/train-160/00000.data")
    assert again == 12 - there
    progress = [one for one in said(folder, StagingProgressed) if one.activity == "copy" and one.bytes_per_s]
    assert progress
    assert all(one.total_bytes == sum(map(len, files.values())) for one in progress)


def test_pieces_of_another_version_count_for_nothing(tmp_path: Path) -> None:
    one = PartialFile(tmp_path / "file", BIG, "one")
    one.write(0, memoryview(b"x" * PIECE_BYTES))
    one.note(0)
    one.close()
    again = PartialFile(tmp_path / "file", BIG, "one")
    assert again.there == {0}
    again.close()
    other = PartialFile(tmp_path / "file", BIG, "other")
    assert other.there == set()
    other.close()
