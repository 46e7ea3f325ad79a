"""Copies a data set to this host, before the gang starts: ``python -m remote.staging FOLDER AGENT_PID``, by the agent.

Many ranges are read at once, each written where it belongs (`remote.staging.partial_file`), and a file gets its name
when it is whole and its checksum is right. A packed set's table of contents is written last, so that a folder is either
a data set or unfinished. `remote.staging.s3.MARK`, kept in the folder, notes what was checked: a host that has it all
looks at the sizes and times of its files and copies nothing. Hosts that share the folder take turns, and the second
finds it done.

A break costs what was on its way: the next process goes on with the pieces that are on the disk.

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
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from remote.atomic_file import write_whole
from remote.staging import free_space
from remote.staging.destination import Landing, content
from remote.staging.folder import Folder
from remote.staging.origin import Broken, Expired, Item, Refused, Source
from remote.staging.partial_file import PIECE_BYTES, Partial
from remote.staging.process import DONE, REFUSED
from remote.staging.s3 import Bucket, contents
from remote.wire.events import StagingEnded, StagingProgressed
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import ADDRESSES, CONTENTS, JOB, JOURNAL, S3

_TELL_S = 1.0
_RATE_WINDOW_S = 10.0
_TRIES = 8
"""Reads in a row that break before it is given up: a minute or more."""
_LONGEST_WAIT_S = 8.0
_FRESH_REFUSED = 3
"""New addresses in a row that S3 calls expired before it is given up: the laptop's own login is."""
_HASH_BYTES = 4 << 20

T = TypeVar("T")


class Copy:
    """One copy of a data set to one folder."""

    def __init__(self, source: Source, target: Path, journal: Journal, threads: int) -> None:
        self._source = source
        self._target = target
        self._landing = Landing(target)
        self._journal = journal
        self._threads = threads
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._activity, self._trouble = "list", ""
        self._total: int | None = None
        self._there = self._fetched = 0
        self._files = 0
        self._began = time.monotonic()
        self._rates: deque[tuple[float, int]] = deque([(self._began, 0)])
        self._again: set[str] = set()
        """Files that came with a wrong checksum once."""

    def run(self) -> StagingEnded:
        """Makes the copy. Raises Refused."""
        teller = threading.Thread(target=self._tell, daemon=True)
        self._say()
        teller.start()
        try:
            with self._landing.alone(self._waits):
                self._copy()
        except OSError as error:
            raise Refused(self._os_sentence(error)) from None
        finally:
            self._stop.set()
            teller.join()
        return StagingEnded(
            source=self._source.name,
            files=self._files,
            total_bytes=self._total or 0,
            fetched_bytes=self._fetched,
            seconds=round(time.monotonic() - self._began, 3),
        )

    def _waits(self, waits: bool) -> None:
        self._activity = "wait" if waits else "list"

    def _copy(self) -> None:
        items, table = self._patiently(lambda: contents(self._source, self._source.items()))
        self._total, self._files = sum(item.size for item in items) + len(table), len(items) + bool(table)
        checked = self._landing.take_up(self._source.name, items, table)
        wanted, present = [], []
        for item in items:
            path = self._target / item.name
            try:
                stat = path.stat()
            except OSError:
                wanted.append(item)
                continue
            if checked.get(item.name) == [stat.st_size, stat.st_mtime_ns, item.sha256 or item.version]:
                self._there += item.size
            elif stat.st_size == item.size:
                present.append(item)
            else:
                wanted.append(item)
        if table and (wanted or present):
            # From here on it is unfinished, whatever it was.
            (self._target / CONTENTS).unlink(missing_ok=True)
        wanted += self._verify(present)
        self._fetch(sorted(wanted, key=lambda item: item.name))
        if table and content(self._target / CONTENTS) != table:
            write_whole(self._target / CONTENTS, table)
        self._there += len(table)

    # --- what is there already ---

    def _verify(self, present: list[Item]) -> list[Item]:
        """Those of the files that are not what the source has."""
        wrong: list[Item] = []
        if not present:
            return wrong
        self._activity = "verify"

        def verify(item: Item) -> None:
            path = self._target / item.name
            kind, expected = self._source.digest(item)
            if kind:
                good = self._digest(kind, path) == expected
            else:
                good = item.mtime_ns is not None and path.stat().st_mtime_ns == item.mtime_ns
            with self._lock:
                if good:
                    self._there += item.size
                    self._landing.note(item)
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

    # --- the copy ---

    def _fetch(self, wanted: list[Item]) -> None:
        partials: dict[str, Partial] = {}
        pieces: list[tuple[Item, int]] = []
        needed = 0
        for item in wanted:
            path = self._target / item.name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Hundreds of files may be open at once, and of a folder of pictures not all.
            if item.size > 0 and path.with_name(f"{path.name}.part").exists():
                partial = Partial(path, item.size, item.sha256 or item.version)
                self._there += sum(end - start for start, end in map(partial.span, partial.there))
                needed -= os.stat(partial.part).st_blocks * 512
                partial.close()
            needed += item.size
        refusal = free_space.refusal(self._target, needed)
        if refusal:
            raise Refused(refusal)
        self._activity = "copy"
        self._rates = deque([(time.monotonic(), 0)])

        def begun(item: Item) -> Partial:
            with self._lock:
                partial = partials.get(item.name)
                if partial is None:
                    path = self._target / item.name
                    partial = partials[item.name] = Partial(path, item.size, item.sha256 or item.version)
                return partial

        def fetch(one: tuple[Item, int]) -> None:
            item, number = one
            partial = begun(item)
            if number >= 0 and number not in partial.there:
                self._fetch_piece(item, partial, number)
            with self._lock:
                missing[item.name] -= 1
                last = missing[item.name] == 0
            if last:
                self._finish(item, partial)
                del partials[item.name]

        missing: dict[str, int] = {}
        for item in wanted:
            count = -(-item.size // PIECE_BYTES) if item.size else 1
            missing[item.name] = count
            pieces += [(item, number if item.size else -1) for number in range(count)]
        try:
            self._at_once(pieces, fetch)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                # The journal may be on this disk, and has to say why: the piece that is least of a loss goes.
                self._make_room(partials)
            raise
        finally:
            for partial in partials.values():
                partial.close()

    def _fetch_piece(self, item: Item, partial: Partial, number: int) -> None:
        at, end = partial.span(number)

        def read() -> None:
            nonlocal at
            for block in self._source.read(item, at, end):
                partial.write(at, block)
                at += len(block)
                with self._lock:
                    self._fetched += len(block)
                    self._there += len(block)
                if self._stop.is_set():
                    raise InterruptedError(errno.EINTR, "stopped", item.name)

        self._patiently(read, lambda: at)
        partial.note(number)

    def _finish(self, item: Item, partial: Partial) -> None:
        """Checks a file that is all there and gives it its name, or fetches it again, once."""
        kind, expected = self._source.digest(item)
        if kind and self._digest(kind, partial.part) != expected:
            partial.forget()
            with self._lock:
                self._there -= item.size
                twice = item.name in self._again
                self._again.add(item.name)
            if twice:
                raise Refused(
                    f"{self._source.name}/{item.name} came twice with another {kind.upper()} than it should have; its "
                    "copy there is damaged: put it there again"
                )
            self._trouble = f"{item.name} came with a wrong {kind.upper()} and is fetched again"
            fresh = Partial(partial.path, item.size, item.sha256 or item.version)
            try:
                for number in range(fresh.pieces):
                    self._fetch_piece(item, fresh, number)
                self._finish(item, fresh)
            finally:
                fresh.close()
            return
        partial.install(item.mtime_ns)
        with self._lock:
            self._landing.note(item)

    def _make_room(self, partials: dict[str, Partial]) -> None:
        least = min(partials.values(), key=lambda partial: len(partial.there), default=None)
        if least is not None:
            with contextlib.suppress(OSError):
                least.forget()

    # --- many at once, and again ---

    def _at_once(self, work: Sequence[T], do: Callable[[T], None]) -> None:
        """Does each piece of work, some at a time; raises what the first that failed raised."""
        left: queue.SimpleQueue[T] = queue.SimpleQueue()
        for one in work:
            left.put(one)

        def worker() -> None:
            while not self._stop.is_set():
                try:
                    one = left.get_nowait()
                except queue.Empty:
                    return
                try:
                    do(one)
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

    def _patiently(self, act: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """What `act` returns, tried again where it broke and with new addresses where the old had expired."""
        tries = fresh = 0
        before = progress()
        while True:
            serial = getattr(self._source, "serial", 0)
            try:
                return act()
            except Broken as broken:
                tries = 1 if progress() > before else tries + 1
                before = progress()
                self._trouble = str(broken)
                if tries >= _TRIES:
                    raise Refused(f"{self._source.name} cannot be read: {broken}, {_TRIES} times in a row") from None
                self._stop.wait(min(0.25 * 2**tries, _LONGEST_WAIT_S))
            except Expired as expired:
                fresh = 1 if progress() > before else fresh + 1
                before = progress()
                if fresh > _FRESH_REFUSED:
                    raise Refused(
                        f"{expired}: new addresses are refused too; has the laptop's AWS login expired (aws sso login)?"
                    ) from None
                self._renew(serial)
            if self._stop.is_set():
                raise InterruptedError(errno.EINTR, "stopped", self._source.name)

    def _renew(self, serial: int) -> None:
        """Waits until the laptop has sent addresses that are newer; the host's lease bounds it."""
        assert isinstance(self._source, Bucket)
        while not self._source.renew(serial):
            self._activity = "renew"
            if self._stop.wait(0.2):
                return
        self._activity = "copy"

    # --- what is said ---

    def _tell(self) -> None:
        while not self._stop.wait(_TELL_S):
            self._say()

    def _say(self) -> None:
        now = time.monotonic()
        with self._lock:
            there, fetched, total = self._there, self._fetched, self._total
            self._rates.append((now, fetched))
            while len(self._rates) > 2 and now - self._rates[0][0] > _RATE_WINDOW_S:
                self._rates.popleft()
            since, before = self._rates[0]
        rate = (fetched - before) / (now - since) if now > since else 0.0
        self._journal.emit(
            StagingProgressed(
                source=self._source.name,
                activity=self._activity,
                done_bytes=there,
                total_bytes=total,
                bytes_per_s=rate if self._activity == "copy" else None,
                left_s=(total - there) / rate if total is not None and rate > 0 and self._activity == "copy" else None,
                detail=self._trouble,
            )
        )
        self._trouble = ""

    def _os_sentence(self, error: OSError) -> str:
        where = error.filename or self._target
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk of {self._target} is full; free some space, or name another disk in data.dir"
        return f"{where}: {error.strerror or error}"


def main(folder: Path) -> int:
    """Makes the copy that the job asks for; what became of it is in the journal."""
    journal = Journal(folder / JOURNAL)
    job = Job.from_json((folder / JOB).read_text())
    addresses = folder / ADDRESSES
    target = Path(job.recipe.data_dir).expanduser()
    # Embedded hosts share a few cores; elsewhere a connection to S3 brings 50 to 90 MB/s, and waits rather than works.
    threads = 4 if job.embedded else min(32, max(8, 4 * (os.cpu_count() or 1)))
    try:
        source: Source
        if job.stage_from.startswith(S3):
            source = Bucket(job.stage_from.rstrip("/"), addresses)
        else:
            source = Folder(Path(job.stage_from).expanduser())
            place, goal = Path(job.stage_from).expanduser().resolve(), target.resolve()
            if place == goal or place in goal.parents or goal in place.parents:
                raise Refused(f"data.dir ({target}) and data.stage_from ({place}) lie within each other on this host")
        ended = Copy(source, target, journal, threads).run()
    except Refused as refused:
        ended = StagingEnded(source=job.stage_from, ok=False, reason=str(refused))
    finally:
        addresses.unlink(missing_ok=True)
    # A full disk must not keep the console waiting for this word.
    for _ in range(60):
        if journal.emit(ended):
            return DONE if ended.ok else REFUSED
        time.sleep(1.0)
    return REFUSED
