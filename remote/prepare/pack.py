"""Packs a data set: from a listing of pictures to packed sets, in many processes, each of which may be killed.

Theory. The pictures are listed once, and the listing is kept. It is cut into shards of some thousand pictures. One
process makes a shard: it writes the pictures at every size to files under other names, renames these when they are
whole on the disk, and writes the shard's record last. So a kill costs the shards that were being made and nothing else,
and the same command continues from there. ``packed.json`` is written last of all, and without it nothing reads the
folder.

No torch here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from remote.atomic_file import whole_file, write_whole
from remote.data import packed
from remote.data.packed import FULL, Contents
from remote.parent_death import end_with_parent
from remote.prepare import originals
from remote.prepare.encode import QUALITY
from remote.prepare.originals import Listing
from remote.prepare.shard import WORK, Odd, Shard, data_of, is_done, make, record_of

REPORT = "prepare-report.tsv"
"""Every picture that was left out or repaired, and why."""
SPLITS = ("train", "val")
SHARD = 4096
"""Pictures a file: 250 MB at 352 px. Fewer where the workers would have fewer than eight shards each."""
REPORT_S = 0.5
"""Seconds between two reports."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a packed set depends on besides its pictures; a destination is continued with the same settings only."""

    source: str
    sides: tuple[int, ...]
    quality: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is."""

    stage: str
    done: int
    total: int | None
    per_s: float | None = None
    eta_s: float | None = None


Report = Callable[[Progress], None]


def prepare(
    source: Path,
    destination: Path,
    *,
    sides: Sequence[int] = (160, 352, FULL),
    workers: int | None = None,
    quality: int = QUALITY,
    val_classes: Path | None = None,
    report: Report = lambda progress: None,
) -> tuple[Contents, list[Odd]]:
    """Makes the data set, or what is missing of it; calls `report` about twice a second.

    Returns what is there now and every picture that was left out or repaired.

    Raises:
        ValueError: the layout of the source is unknown, its two splits have different classes, or the destination
            was begun with other settings or is in use; the message is one sentence.
        OSError: something cannot be read or written, or the disk is full. Finished shards stay.
    """
    workers = workers or len(os.sched_getaffinity(0))
    settings = Settings(str(source.resolve()), tuple(sides), quality)
    destination.mkdir(parents=True, exist_ok=True)
    with _alone(destination):
        work = destination / WORK
        if (destination / packed.CONTENTS).exists():
            contents = Contents.read(destination)
            if contents.sides != settings.sides:
                raise ValueError(
                    f"{destination} holds a data set with the sizes {sizes_text(contents.sides)}; "
                    "choose another folder, or remove it"
                )
            shutil.rmtree(work, ignore_errors=True)
            return contents, _read_report(destination)
        _same_settings(work, settings, destination)
        listings = _listings(source, work, val_classes, report)
        shards = list(_cut(listings, _shard_length(work, listings, workers)))
        todo = [shard for shard in shards if not is_done(shard, destination, settings.sides)]
        _work_off(todo, shards, listings, destination, settings, workers, report)
        return _finish(shards, listings, destination, settings)


# --- the plan --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Holds the destination's lock, which the kernel releases however this process ends."""
    with (destination / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{destination} is being prepared by another process") from None
        yield


def _same_settings(work: Path, settings: Settings, destination: Path) -> None:
    path = work / "settings.json"
    if not path.exists():
        work.mkdir(exist_ok=True)
        write_whole(path, json.dumps(asdict(settings)).encode())
        return
    values = json.loads(path.read_text())
    begun = Settings(values["source"], tuple(values["sides"]), values["quality"])
    if begun != settings:
        raise ValueError(
            f"{destination} was begun from {begun.source} with --sizes {sizes_text(begun.sides)} "
            f"--quality {begun.quality}; continue with the same, or choose another folder"
        )


def _listings(source: Path, work: Path, val_classes: Path | None, report: Report) -> dict[str, Listing]:
    """Every split's pictures: listed now, or as they were listed when the work began."""
    listings: dict[str, Listing] = {}
    for split in SPLITS:
        path = work / f"{split}.npz"
        if path.exists():
            listings[split] = originals.read_listing(path)
            continue
        reported = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal reported
            if time.monotonic() - reported >= REPORT_S:
                reported = time.monotonic()
                report(Progress("list", done, total))

        listing = originals.list_split(source, split, val_classes if split == "val" else None, progress)
        if split == "val":
            listing = originals.same_classes(listings["train"], listing)
        listings[split] = listing
    for split, listing in listings.items():
        if not (work / f"{split}.npz").exists():
            originals.write_listing(work / f"{split}.npz", listing)
    return listings


def _shard_length(work: Path, listings: dict[str, Listing], workers: int) -> int:
    """Pictures a shard, as when the work began, whatever the number of workers is now."""
    path = work / "stretch.json"
    if not path.exists():
        length = max(64, min(SHARD, sum(map(len, listings.values())) // (8 * workers)))
        write_whole(path, json.dumps(length).encode())
    return int(json.loads(path.read_text()))


def _cut(listings: dict[str, Listing], length: int) -> Iterator[Shard]:
    for split, listing in listings.items():
        for number, start in enumerate(range(0, len(listing), length)):
            yield Shard(split, number, start, min(start + length, len(listing)))


# --- the work --------------------------------------------------------------------------------------------------------


def _work_off(
    todo: list[Shard],
    shards: list[Shard],
    listings: dict[str, Listing],
    destination: Path,
    settings: Settings,
    workers: int,
    report: Report,
) -> None:
    """Has processes make the shards in `todo`; the first error ends all of them."""
    total = sum(shard.stop - shard.start for shard in shards)
    before = total - sum(shard.stop - shard.start for shard in todo)
    for split in SPLITS:
        for side in settings.sides:
            (destination / packed.set_name(split, side)).mkdir(exist_ok=True)
    forks = multiprocessing.get_context("fork")
    counts = forks.RawArray("Q", max(1, workers))
    processes: dict[Connection, BaseProcess] = {}
    began = time.monotonic()

    def progress() -> Progress:
        new, seconds = sum(counts), time.monotonic() - began
        per_s = new / seconds if seconds > 0 else 0.0
        left = total - before - new
        return Progress("prepare", before + new, total, per_s if new else None, left / per_s if new else None)

    try:
        for number in range(min(workers, len(todo))):
            ours, theirs = forks.Pipe()
            arguments = (number, theirs, counts, listings, destination, settings)
            process = forks.Process(target=_worker, args=arguments, daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
        waiting = iter(todo)
        busy: set[Connection] = set()
        for ours in processes:
            ours.send(next(waiting))
            busy.add(ours)
        while busy:
            ready = set(multiprocessing.connection.wait(list(busy), REPORT_S))
            for ours in busy & ready:
                try:
                    error = ours.recv()
                except EOFError:
                    processes[ours].join(5)
                    code = processes[ours].exitcode
                    how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
                    raise OSError(
                        f"a process that prepared pictures was ended {how} (as the kernel does when memory runs out); "
                        "run the same command again, perhaps with fewer --workers: it continues where it was"
                    ) from None
                if error is not None:
                    raise error
                shard = next(waiting, None)
                if shard is None:
                    busy.discard(ours)
                else:
                    ours.send(shard)
            report(progress())
    finally:
        for started in processes.values():
            started.kill()
        for started in processes.values():
            started.join()


def _worker(
    number: int,
    pipe: Connection,
    counts: Any,
    listings: dict[str, Listing],
    destination: Path,
    settings: Settings,
) -> None:
    """Makes shards until it is killed; answers each with None, or with the error that ends the work."""
    end_with_parent(os.getppid())
    readers = {split: originals.Reader(listing) for split, listing in listings.items()}

    def count() -> None:
        counts[number] += 1

    while True:
        shard = pipe.recv()
        try:
            make(
                shard,
                listings[shard.split],
                readers[shard.split],
                destination,
                settings.sides,
                settings.quality,
                count,
            )
        except OSError as error:
            pipe.send(_disk_error(error, destination))
        except Exception as error:
            pipe.send(error)
            raise
        else:
            pipe.send(None)


def _disk_error(error: OSError, destination: Path) -> OSError:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return error
    return OSError(
        error.errno,
        f"{destination} cannot take more ({error.strerror}); free some space and run the same command again: "
        "it continues where it was",
    )


# --- the end ---------------------------------------------------------------------------------------------------------


def _finish(
    shards: list[Shard], listings: dict[str, Listing], destination: Path, settings: Settings
) -> tuple[Contents, list[Odd]]:
    """Joins the parts of the indices, and writes the report and the table of contents."""
    odd: list[Odd] = []
    files: dict[str, dict[str, Any]] = {}
    images: dict[str, int] = {}
    for split in SPLITS:
        mine = [shard for shard in shards if shard.split == split]
        left_out: set[int] = set()
        for shard in mine:
            record = record_of(shard, destination)
            assert record is not None, shard
            found = [Odd(**values) for values in record["odd"]]
            odd += found
            left_out |= {picture.index for picture in found if picture.what == "left out"}
            for side in settings.sides:
                path = data_of(destination, shard, side).relative_to(destination)
                files[str(path)] = record["files"][str(side)]
        names = [name for index, name in enumerate(listings[split].names) if index not in left_out]
        images[split] = len(names)
        if not names:
            raise ValueError(f"no picture of {settings.source} can be used for {split}; {destination / WORK} says why")
        text = "".join(f"{_one_line(name)}\n" for name in names)
        write_whole(destination / f"{split}.names", text.encode("utf-8", "replace"))
        for side in settings.sides:
            whole = np.concatenate([np.load(destination / WORK / shard.rows(side)) for shard in mine])
            assert len(whole) == len(names), (split, side, len(whole), len(names))
            with whole_file(destination / f"{packed.set_name(split, side)}.npy") as file:
                np.save(file, whole)
    small = [f"{split}.names" for split in SPLITS]
    small += [f"{packed.set_name(split, side)}.npy" for split in SPLITS for side in settings.sides]
    for name in small:
        path = destination / name
        files[name] = {"size": path.stat().st_size, "sha256": packed.sha256_of(path)}
    report = "".join(f"{picture.what}\t{_one_line(picture.name)}\t{_one_line(picture.why)}\n" for picture in odd)
    write_whole(destination / REPORT, f"what\tpicture\twhy\n{report}".encode("utf-8", "replace"))
    contents = Contents(tuple(listings["train"].classes), images, settings.sides, dict(sorted(files.items())))
    write_whole(destination / packed.CONTENTS, contents.to_json().encode())
    shutil.rmtree(destination / WORK, ignore_errors=True)
    return contents, odd


def _read_report(destination: Path) -> list[Odd]:
    try:
        lines = (destination / REPORT).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split("\t") for line in lines]
    return [Odd(-1, name, what, why) for what, name, why in (row for row in rows if len(row) == 3)]


# --- small parts -----------------------------------------------------------------------------------------------------


def _one_line(text: str) -> str:
    return " ".join(text.split())


def sizes_text(sides: Sequence[int]) -> str:
    """The sizes as the command line has them."""
    return ",".join(str(side or "full") for side in sides)
