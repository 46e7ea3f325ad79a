"""Copies a data set to this host before the gang starts: ``python -m remote.staging FOLDER AGENT_PID``, by the agent.

Many ranges are read at once, each written where it belongs (`remote.staging.partial_file`), and a file gets its name
when it is whole and its checksum is right. A packed set's table of contents is written last, so that a folder is either
a data set or unfinished. `remote.staging.destination.MARK`, a file in the folder, notes what was checked: a host that
has it all compares the sizes and times of its files and copies nothing. Hosts that share the folder take turns, and the
second finds the copy made.

A process that ends early costs what was on its way: the next one continues with the pieces that are on the disk.

Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from remote.atomic_file import write_whole
from remote.staging import free_space
from remote.staging.destination import Destination, content
from remote.staging.folder import Folder
from remote.staging.origin import Item, Refused, Source, contents
from remote.staging.partial_file import PIECE_BYTES, PartialFile
from remote.staging.process import DONE, REFUSED
from remote.staging.progress import Progress
from remote.staging.retry import Retry
from remote.staging.s3 import Bucket
from remote.wire.events import StagingEnded
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import ADDRESSES, CONTENTS, JOB, JOURNAL, S3

_HASH_BYTES = 4 << 20
_EMPTY = -1
"""Stands for the number of a piece in a file that has none."""

T = TypeVar("T")


class Copy:
    """One copy of a data set to one folder."""

    def __init__(self, source: Source, target: Path, journal: Journal, threads: int) -> None:
        self._source = source
        self._target = target
        self._destination = Destination(target)
        self._threads = threads
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._progress = Progress(source.name, journal)
        self._retry = Retry(source, self._progress, self._stop)
        self._files = 0
        self._began = time.monotonic()
        self._again: set[str] = set()
        """Names of files that came with a wrong checksum once."""

    def run(self) -> StagingEnded:
        """Makes the copy. Raises Refused."""
        reporter = threading.Thread(target=self._progress.report_until, args=(self._stop,), daemon=True)
        self._progress.report()
        reporter.start()
        try:
            with self._destination.alone(self._set_waiting):
                self._copy()
        except OSError as error:
            raise Refused(self._sentence(error)) from None
        finally:
            self._stop.set()
            reporter.join()
        return StagingEnded(
            source=self._source.name,
            files=self._files,
            total_bytes=self._progress.total or 0,
            fetched_bytes=self._progress.fetched,
            seconds=round(time.monotonic() - self._began, 3),
        )

    def _set_waiting(self, waits: bool) -> None:
        self._progress.activity = "wait" if waits else "list"

    def _copy(self) -> None:
        items, table = self._retry.call(lambda: contents(self._source, self._source.items()))
        self._progress.total = sum(item.size for item in items) + len(table)
        self._files = len(items) + bool(table)
        checked = self._destination.take_up(self._source.name, items, table)
        wanted, present = [], []
        for item in items:
            path = self._target / item.name
            try:
                stat = path.stat()
            except OSError:
                wanted.append(item)
                continue
            if checked.get(item.name) == [stat.st_size, stat.st_mtime_ns, item.sha256 or item.version]:
                self._progress.found(item.size)
            elif stat.st_size == item.size:
                present.append(item)
            else:
                wanted.append(item)
        if table and (wanted or present):
            # From here on the folder is unfinished, whatever it was.
            (self._target / CONTENTS).unlink(missing_ok=True)
        wanted += self._verify(present)
        self._fetch(sorted(wanted, key=lambda item: item.name))
        if table and content(self._target / CONTENTS) != table:
            write_whole(self._target / CONTENTS, table)
        self._progress.found(len(table))

    # --- files that are there ---

    def _verify(self, present: list[Item]) -> list[Item]:
        """Those of the files whose content is not the source's."""
        wrong: list[Item] = []
        if not present:
            return wrong
        self._progress.activity = "verify"

        def verify(item: Item) -> None:
            path = self._target / item.name
            kind, expected = self._source.digest(item)
            if kind:
                good = self._digest(kind, path) == expected
            else:
                good = item.mtime_ns is not None and path.stat().st_mtime_ns == item.mtime_ns
            with self._lock:
                if good:
                    self._progress.found(item.size)
                    self._destination.note(item)
                else:
                    wrong.append(item)

        self._at_once(present, verify)
        return wrong

    def _digest(self, kind: str, path: Path) -> str:
        digest = hashlib.new(kind, usedforsecurity=False)
        with path.open("rb", buffering=0) as file:
            block = memoryview(bytearray(_HASH_BYTES))
            while got := file.readinto(block):
                digest.update(block[:got])
                if self._stop.is_set():
                    raise InterruptedError(errno.EINTR, "stopped", str(path))
        return digest.hexdigest()

    # --- files that are fetched ---

    def _fetch(self, wanted: list[Item]) -> None:
        self._check_space(wanted)
        self._progress.begin_copy()
        partials: dict[str, PartialFile] = {}
        pieces: list[tuple[Item, int]] = []
        missing: dict[str, int] = {}
        for item in wanted:
            missing[item.name] = -(-item.size // PIECE_BYTES) or 1
            pieces += [(item, number if item.size else _EMPTY) for number in range(missing[item.name])]

        def begun(item: Item) -> PartialFile:
            with self._lock:
                partial = partials.get(item.name)
                if partial is None:
                    partial = partials[item.name] = self._partial(item)
                return partial

        def fetch(piece: tuple[Item, int]) -> None:
            item, number = piece
            partial = begun(item)
            if number != _EMPTY and number not in partial.there:
                self._fetch_piece(item, partial, number)
            with self._lock:
                missing[item.name] -= 1
                last = missing[item.name] == 0
            if last:
                self._finish(item, partial)
                del partials[item.name]

        try:
            self._at_once(pieces, fetch)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                # The journal may be on this disk, and has to say why: the file with the fewest pieces goes.
                self._make_room(partials)
            raise
        finally:
            for partial in partials.values():
                partial.close()

    def _check_space(self, wanted: list[Item]) -> None:
        """Raises Refused where what is missing does not fit; counts the pieces that are there."""
        needed = 0
        for item in wanted:
            path = self._target / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Opened one by one: hundreds of files may be open at once, and of a folder of pictures not all.
            if item.size > 0 and path.with_name(f"{path.name}.part").exists():
                partial = self._partial(item)
                self._progress.found(sum(end - start for start, end in map(partial.span, partial.there)))
                needed -= os.stat(partial.part).st_blocks * 512
                partial.close()
            needed += item.size
        refusal = free_space.refusal(self._target, needed)
        if refusal:
            raise Refused(refusal)

    def _partial(self, item: Item) -> PartialFile:
        return PartialFile(self._target / item.name, item.size, item.sha256 or item.version)

    def _fetch_piece(self, item: Item, partial: PartialFile, number: int) -> None:
        at, end = partial.span(number)

        def read() -> None:
            nonlocal at
            for block in self._source.read(item, at, end):
                partial.write(at, block)
                at += len(block)
                self._progress.fetch(len(block))
                if self._stop.is_set():
                    raise InterruptedError(errno.EINTR, "stopped", item.name)

        self._retry.call(read, lambda: at)
        partial.note(number)

    def _finish(self, item: Item, partial: PartialFile) -> None:
        """Checks a file whose pieces are all there and gives it its name, or fetches it again, once."""
        kind, expected = self._source.digest(item)
        if kind and self._digest(kind, partial.part) != expected:
            partial.forget()
            self._progress.found(-item.size)
            with self._lock:
                twice = item.name in self._again
                self._again.add(item.name)
            if twice:
                raise Refused(
                    f"{self._source.name}/{item.name} came twice with another {kind.upper()} than it should have: its "
                    "copy there is damaged; upload it again"
                )
            self._progress.trouble = f"{item.name} came with a wrong {kind.upper()} and is fetched again"
            fresh = self._partial(item)
            try:
                for number in range(fresh.pieces):
                    self._fetch_piece(item, fresh, number)
                self._finish(item, fresh)
            finally:
                fresh.close()
            return
        partial.install(item.mtime_ns)
        with self._lock:
            self._destination.note(item)

    def _make_room(self, partials: dict[str, PartialFile]) -> None:
        least = min(partials.values(), key=lambda partial: len(partial.there), default=None)
        if least is not None:
            with contextlib.suppress(OSError):
                least.forget()

    def _at_once(self, work: Sequence[T], do: Callable[[T], None]) -> None:
        """Does each piece of work, some at a time; raises what the first that failed raised."""
        left: queue.SimpleQueue[T] = queue.SimpleQueue()
        for piece in work:
            left.put(piece)

        def worker() -> None:
            while not self._stop.is_set():
                try:
                    piece = left.get_nowait()
                except queue.Empty:
                    return
                try:
                    do(piece)
                except BaseException as error:
                    with self._lock:
                        self._failure = self._failure or error
                    self._stop.set()

        threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(self._threads, len(work)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _sentence(self, error: OSError) -> str:
        where = error.filename or self._target
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk of {self._target} is full; free some space, or name another disk in data.dir"
        return f"{where}: {error.strerror or error}"


def main(folder: Path) -> int:
    """Makes the copy that the job asks for and reports its end in the journal; returns the exit status."""
    journal = Journal(folder / JOURNAL)
    job = Job.from_json((folder / JOB).read_text())
    addresses = folder / ADDRESSES
    target = Path(job.recipe.data_dir).expanduser()
    # Embedded hosts share a few cores; elsewhere a connection to S3 brings 50 to 90 MB/s, and waits rather than works.
    threads = 4 if job.embedded else min(32, max(8, 4 * (os.cpu_count() or 1)))
    try:
        ended = Copy(_source(job, addresses, target), target, journal, threads).run()
    except Refused as refused:
        ended = StagingEnded(source=job.stage_from, ok=False, reason=str(refused))
    finally:
        addresses.unlink(missing_ok=True)
    # Repeated, since the console waits for this event, which a full disk may refuse at first.
    for _ in range(60):
        if journal.emit(ended):
            return DONE if ended.ok else REFUSED
        time.sleep(1.0)
    return REFUSED


def _source(job: Job, addresses: Path, target: Path) -> Source:
    """Where the job says to copy from. Raises Refused."""
    if job.stage_from.startswith(S3):
        return Bucket(job.stage_from.rstrip("/"), addresses)
    folder = Path(job.stage_from).expanduser()
    origin, goal = folder.resolve(), target.resolve()
    if origin == goal or origin in goal.parents or goal in origin.parents:
        raise Refused(f"data.dir ({target}) and data.stage_from ({origin}) lie within each other on this host")
    return Folder(folder)
