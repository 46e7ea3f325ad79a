"""The work of `remote.prepare.cli`: from a listing of pictures to packed sets, by many processes, safe against a kill.

Theory. The pictures are listed once, and the list is kept. It is cut into stretches of some thousand; a stretch is
worked on by one process, which writes its pictures at every size to files of their own under other names, and only when
they are whole on the disk gives them their names, the record of the stretch last. So a kill at any moment costs the
stretches that were being worked on and nothing else; the same command goes on where it ended. ``packed.json`` is
written last of all, and without it nothing reads the folder.

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
from remote.prepare.shard import WORK, Odd, Shard, data_of, do, is_done, record_of

REPORT = "prepare-report.tsv"
"""Every picture that was left out or repaired, and why."""
SPLITS = ("train", "val")
STRETCH = 4096
"""Pictures a file: 250 MB at 352 px. Fewer where the workers would have less than eight stretches each."""
SAY_S = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """What a prepared data set depends on besides its pictures; a destination is gone on with only under the same."""

    source: str
    sides: tuple[int, ...]
    quality: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    stage: str
    done: int
    total: int | None
    per_s: float | None = None
    eta_s: float | None = None


Say = Callable[[Progress], None]


def prepare(
    source: Path,
    destination: Path,
    *,
    sides: Sequence[int] = (160, 352, FULL),
    workers: int | None = None,
    quality: int = QUALITY,
    val_classes: Path | None = None,
    say: Say = lambda progress: None,
) -> tuple[Contents, list[Odd]]:
    """Makes the data set, or what of it is missing; tells `say` about twice a second how far it is.

    Returns what is there now and every picture that was left out or repaired.

    Raises:
        ValueError: the source is not laid out in a way that is known, its two splits have different classes, the
            destination was begun with other settings or is being worked on; one sentence.
        OSError: something cannot be read or written; a full disk too. What is done stays done.
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
        listings = _listings(source, work, val_classes, say)
        stretches = list(_cut(listings, _stretch_length(work, listings, workers)))
        todo = [one for one in stretches if not is_done(one, destination, settings.sides)]
        _work_off(todo, stretches, listings, destination, settings, workers, say)
        return _finish(stretches, listings, destination, settings)


# --- the plan --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Holds the destination's lock, which the kernel takes back however this process ends."""
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
            f"--quality {begun.quality}; go on with the same, or choose another folder"
        )


def _listings(source: Path, work: Path, val_classes: Path | None, say: Say) -> dict[str, Listing]:
    """Every split's pictures: listed now, or as they were listed when the work was begun."""
    listings: dict[str, Listing] = {}
    for split in SPLITS:
        path = work / f"{split}.npz"
        if path.exists():
            listings[split] = originals.read_listing(path)
            continue
        said = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said >= SAY_S:
                said = time.monotonic()
                say(Progress("list", done, total))

        listing = originals.list_split(source, split, val_classes if split == "val" else None, progress)
        if split == "val":
            listing = originals.same_classes(listings["train"], listing)
        listings[split] = listing
    for split, listing in listings.items():
        if not (work / f"{split}.npz").exists():
            originals.write_listing(work / f"{split}.npz", listing)
    return listings


def _stretch_length(work: Path, listings: dict[str, Listing], workers: int) -> int:
    """As it was when the work was begun, whatever the number of workers is now."""
    path = work / "stretch.json"
    if not path.exists():
        length = max(64, min(STRETCH, sum(map(len, listings.values())) // (8 * workers)))
        write_whole(path, json.dumps(length).encode())
    return int(json.loads(path.read_text()))


def _cut(listings: dict[str, Listing], length: int) -> Iterator[Shard]:
    for split, listing in listings.items():
        for number, start in enumerate(range(0, len(listing), length)):
            yield Shard(split, number, start, min(start + length, len(listing)))


# --- the work --------------------------------------------------------------------------------------------------------


def _work_off(
    todo: list[Shard],
    all_of_them: list[Shard],
    listings: dict[str, Listing],
    destination: Path,
    settings: Settings,
    workers: int,
    say: Say,
) -> None:
    """Has the stretches done by processes; the first error ends all of them."""
    total = sum(one.stop - one.start for one in all_of_them)
    before = total - sum(one.stop - one.start for one in todo)
    for split in SPLITS:
        for side in settings.sides:
            (destination / packed.set_name(split, side)).mkdir(exist_ok=True)
    forks = multiprocessing.get_context("fork")
    counts = forks.RawArray("Q", max(1, workers))
    crew: dict[Connection, BaseProcess] = {}
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
            crew[ours] = process
        waiting = iter(todo)
        busy: set[Connection] = set()
        for ours in crew:
            ours.send(next(waiting))
            busy.add(ours)
        while busy:
            ready = set(multiprocessing.connection.wait(list(busy), SAY_S))
            for ours in busy & ready:
                try:
                    error = ours.recv()
                except EOFError:
                    crew[ours].join(5)
                    code = crew[ours].exitcode
                    how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
                    raise OSError(
                        f"a process that prepared pictures was ended {how} (the kernel does so when memory runs out); "
                        "start again, with fewer --workers perhaps: it goes on where it was"
                    ) from None
                if error is not None:
                    raise error
                stretch = next(waiting, None)
                if stretch is None:
                    busy.discard(ours)
                else:
                    ours.send(stretch)
            say(progress())
    finally:
        for one in crew.values():
            one.kill()
        for one in crew.values():
            one.join()


def _worker(
    number: int,
    pipe: Connection,
    counts: Any,
    listings: dict[str, Listing],
    destination: Path,
    settings: Settings,
) -> None:
    """Does stretches until it is ended; answers each with None or the error that ends the work."""
    end_with_parent(os.getppid())
    readers = {split: originals.Reader(listing) for split, listing in listings.items()}

    def count() -> None:
        counts[number] += 1

    while True:
        stretch = pipe.recv()
        try:
            do(
                stretch,
                listings[stretch.split],
                readers[stretch.split],
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
        f"{destination} cannot take more ({error.strerror}); make room and say the same again: it goes on where it was",
    )


# --- the end ---------------------------------------------------------------------------------------------------------


def _finish(
    stretches: list[Shard], listings: dict[str, Listing], destination: Path, settings: Settings
) -> tuple[Contents, list[Odd]]:
    """Puts the pieces of the indices together, counts, and says that the data set is there."""
    odd: list[Odd] = []
    files: dict[str, dict[str, Any]] = {}
    images: dict[str, int] = {}
    for split in SPLITS:
        mine = [one for one in stretches if one.split == split]
        left_out: set[int] = set()
        for one in mine:
            record = record_of(one, destination)
            assert record is not None, one
            found = [Odd(**values) for values in record["odd"]]
            odd += found
            left_out |= {each.index for each in found if each.what == "left out"}
            for side in settings.sides:
                path = data_of(destination, one, side).relative_to(destination)
                files[str(path)] = record["files"][str(side)]
        names = [name for index, name in enumerate(listings[split].names) if index not in left_out]
        images[split] = len(names)
        if not names:
            raise ValueError(f"no picture of {settings.source} can be used for {split}; {destination / WORK} says why")
        text = "".join(f"{_one_line(name)}\n" for name in names)
        write_whole(destination / f"{split}.names", text.encode("utf-8", "replace"))
        for side in settings.sides:
            whole = np.concatenate([np.load(destination / WORK / one.rows(side)) for one in mine])
            assert len(whole) == len(names), (split, side, len(whole), len(names))
            with whole_file(destination / f"{packed.set_name(split, side)}.npy") as file:
                np.save(file, whole)
    small = [f"{split}.names" for split in SPLITS]
    small += [f"{packed.set_name(split, side)}.npy" for split in SPLITS for side in settings.sides]
    for name in small:
        path = destination / name
        files[name] = {"size": path.stat().st_size, "sha256": packed.sha256_of(path)}
    report = "".join(f"{one.what}\t{_one_line(one.name)}\t{_one_line(one.why)}\n" for one in odd)
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
    """As they are written on the command line."""
    return ",".join(str(side or "full") for side in sides)
