"""The loader: processes that read batches ahead while the rank computes, across the ends of epochs and phases.

Theory. A rank has one set of processes for the whole run and two lanes, training and validation. A lane is a ring of
slots in shared memory. A batch is cut into pieces, so that all processes work on the batch that is needed next and the
first batch is there as early as possible. A plan has the batches of all phases, so a switch of phase is not special.
The rank asks for the first validation batches while it still takes an epoch's last steps, and the next epoch's first
batches are read while it evaluates. Memory is bounded by the slots. Pixels are decoded into the memory that the device
copies from, which saves the copy of a queue.

A process that ends is noticed at once: the rank waits for that event together with the results.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import select
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from remote.data.batch_plan import Request
from remote.data.batch_reader import Batch, Reader, without_missing
from remote.data.loader_process import BROKEN, COMPLAINT, DONE, FAILED, RESULT, TASK, Memory, Slot, Task, work

TRAINING, VALIDATION = 0, 1
"""The lanes."""
PIECE = 4, 32
"""Pictures in a piece, at least and at most: 5 to 40 ms of work."""
SLOTS = 4
"""Batches ahead, at least."""
LANE_BYTES = 512 << 20
"""Of a lane's slots together, though there are always two."""
QUIET_S = 30.0
"""A rank that waits for pictures longer than this reports it."""
NAMED = 100
"""Pictures that are named when they are left out or repaired; after that each hundredth is reported."""


@dataclass(frozen=True, slots=True)
class Room:
    """The size of a slot."""

    places: int
    """Pictures of the longest batch."""
    picture_bytes: int
    """Bytes of the biggest picture."""

    @classmethod
    def of(cls, batches: Iterable[tuple[int, int, int]]) -> Room:
        """For batches of (pictures, height, width)."""
        sizes = [(count, height * width * 3) for count, height, width in batches] or [(1, 1)]
        # Small pictures come in long batches: the biggest product decides; a place costs 16 bytes.
        places = max(count for count, _ in sizes)
        return cls(places, math.ceil(max(count * size for count, size in sizes) / places))


class Loader:
    """Reads the batches of plans, in `workers` processes ahead of time, or with 0 in the rank itself."""

    def __init__(
        self, readers: Sequence[Reader], workers: int, device: torch.device, complain: Callable[[str], None]
    ) -> None:
        """A lane for each reader. To be made before this process uses a GPU or joins a gang, since it forks.

        `complain` is called for each picture that is left out or repaired, once, and for a long wait.
        """
        self._complain = complain
        self._odd: list[set[int]] = [set() for _ in readers]
        self._readers = readers
        self._lanes = [Lane(number, Memory.new()) for number in range(len(readers))] if workers else []
        self._workers: list[BaseProcess] = []
        self._pinned = device.type == "cuda"
        self._unsent: deque[bytes] = deque()
        self._received = b""
        if workers:
            self._start(workers)

    def _start(self, workers: int) -> None:
        tasks, self._tasks = os.pipe()
        self._results, results = os.pipe()
        os.set_blocking(self._tasks, False)
        forks = multiprocessing.get_context("fork")
        for _ in range(workers):
            process: BaseProcess = forks.Process(target=self._work, args=(tasks, results, os.getpid()), daemon=True)
            process.start()
            self._workers.append(process)
        os.close(tasks)
        os.close(results)
        self._poll = select.poll()
        self._poll.register(self._results, select.POLLIN)
        for process in self._workers:
            self._poll.register(process.sentinel, select.POLLIN)

    def _work(self, tasks: int, results: int, parent: int) -> None:
        os.close(self._tasks)
        os.close(self._results)
        work(tasks, results, self._readers, [lane.memory for lane in self._lanes], parent)

    def batches(self, lane: int, plan: Iterable[Request], room: Room) -> Iterator[Batch]:
        """The plan's batches in order; begins to read them now, and drops those that the lane read before.

        A batch is valid until the next one is asked for; on a GPU until the current stream has done the work that it
        was given by then. Raises OSError with one sentence where a process ended or pictures cannot be read.
        """
        if not self._workers:
            return (self._readers[lane].batch(request, partial(self._seen_odd, lane)) for request in plan)
        mine = self._lanes[lane]
        while any(mine.pieces):
            self._receive(wait=True)
        self._resize(mine, room)
        mine.plan = iter(plan)
        self._feed(mine)
        return self._batches(mine, mine.stream)

    def close(self) -> None:
        """Ends the processes, whatever they are doing."""
        if not self._workers:
            return
        for process in self._workers:
            process.terminate()
        for process in self._workers:
            process.join()
        os.close(self._tasks)
        os.close(self._results)
        self._workers = []

    # --- a lane ---

    def _resize(self, lane: Lane, room: Room) -> None:
        lane.stream += 1
        lane.places, lane.slot_bytes = room.places, Slot.size(room.places, room.picture_bytes)
        workers = len(self._workers)
        lane.piece = min(max(PIECE[0], math.ceil(room.places / (2 * workers))), PIECE[1])
        # Two pieces waiting and one in work per process, beside the batch that the rank holds.
        busy = math.ceil(3 * workers * lane.piece / room.places) + 1
        slots = max(2, min(max(SLOTS, busy), LANE_BYTES // lane.slot_bytes))
        size = slots * lane.slot_bytes
        if size > lane.memory.size:
            unpin, lane.unpin = lane.unpin, None
            if unpin is not None:
                unpin()
            lane.memory.grow(size)
            if self._pinned:
                lane.unpin = self._pin(lane.memory)
        lane.pieces = [0] * slots
        lane.free = deque(range(slots))
        lane.coming.clear()
        lane.cooling.clear()

    def _pin(self, memory: Memory) -> Callable[[], Any] | None:
        """Pins the memory, so that the device copies from it asynchronously."""
        address = memory.tensor(torch.uint8, memory.size, 0).data_ptr()
        runtime: Any = torch.cuda.cudart()
        status = int(runtime.cudaHostRegister(address, memory.size, 0))
        if status:
            self._complain(f"the loader's {memory.size >> 20:,} MiB could not be pinned (CUDA error {status}): slower")
            self._pinned = False
            return None
        return lambda: runtime.cudaHostUnregister(address)

    def _feed(self, lane: Lane) -> None:
        """Gives the lane's free slots the next batches of its plan."""
        while lane.cooling:
            number, event = lane.cooling[0]
            if event is not None and not event.query():
                if lane.coming or lane.free:
                    break
                event.synchronize()  # the device is a whole ring behind
            lane.cooling.popleft()
            lane.free.append(number)
        while lane.free:
            request = next(lane.plan, None)
            if request is None:
                return
            number, count = lane.free.popleft(), len(request)
            lane.slot(number, request).pictures.numpy()[:] = request.pictures
            for first in range(0, count, lane.piece):
                task = Task(
                    lane.number,
                    number,
                    first,
                    min(first + lane.piece, count),
                    request.height,
                    request.width,
                    request.epoch,
                    request.min_scale,
                    lane.places,
                    lane.slot_bytes,
                    lane.memory.size,
                )
                self._unsent.append(TASK.pack(*task))
                lane.pieces[number] += 1
            lane.coming.append((number, request))
        self._send()

    def _batches(self, lane: Lane, stream: int) -> Iterator[Batch]:
        while lane.stream == stream:
            self._feed(lane)
            if not lane.coming:
                return
            number, request = lane.coming.popleft()
            self._receive(wait=False)
            while lane.pieces[number]:
                self._receive(wait=True)
            _, labels, pixels = lane.slot(number, request)
            yield without_missing(pixels, labels)
            if lane.stream == stream:
                event = None
                if self._pinned:
                    event = torch.cuda.Event()
                    event.record()
                lane.cooling.append((number, event))

    # --- the pipes ---

    def _send(self) -> None:
        while self._unsent:
            try:
                os.write(self._tasks, self._unsent[0])
            except BlockingIOError:
                return
            self._unsent.popleft()

    def _receive(self, wait: bool) -> None:
        """Handles the results that have come; with `wait`, waits for some."""
        self._send()
        while True:
            ready = dict(self._poll.poll(QUIET_S * 1000 if wait else 0))
            if self._results in ready:
                break
            if ready:
                raise OSError(self._ended(set(ready)))
            if not wait:
                return
            self._complain(f"no pictures for {QUIET_S:.0f} s: is the disk slow, or a loader process stopped?")
        self._received += os.read(self._results, 1 << 16)
        while len(self._received) >= RESULT.size:
            kind, lane, slot, picture, length = RESULT.unpack_from(self._received)
            if len(self._received) < RESULT.size + length:
                break
            text = self._received[RESULT.size : RESULT.size + length].decode(errors="replace")
            self._received = self._received[RESULT.size + length :]
            match kind:
                case _ if kind == DONE:
                    self._lanes[lane].pieces[slot] -= 1
                case _ if kind == COMPLAINT:
                    self._seen_odd(lane, picture, text)
                case _ if kind == FAILED:
                    raise OSError(text)
                case _:
                    assert kind == BROKEN
                    raise RuntimeError(f"in a loader process:\n{text}")
        self._send()

    def _ended(self, sentinels: set[int]) -> str:
        process = next(worker for worker in self._workers if worker.sentinel in sentinels)
        process.join()  # its sentinel closes a moment before its exit code is known
        code = process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (is the host out of memory?)" if code == -signal.SIGKILL else ""
        return f"a loader process (pid {process.pid}) {how}{hint}"

    def _seen_odd(self, lane: int, index: int, text: str) -> None:
        if index in self._odd[lane]:
            return
        self._odd[lane].add(index)
        count = sum(map(len, self._odd))
        if count <= NAMED:
            self._complain(f"{text} ({count} so far)" if count > 1 else text)
        elif count % NAMED == 0:
            self._complain(f"{count:,} pictures were left out or repaired so far")


@dataclass
class Lane:
    """A ring of slots, and the plan of its batches."""

    number: int
    memory: Memory
    plan: Iterator[Request] = field(default_factory=lambda: iter(()))
    stream: int = 0
    """Number of the plan."""
    places: int = 0
    slot_bytes: int = 0
    piece: int = 1
    pieces: list[int] = field(default_factory=list)
    """By slot: pieces that are not read yet."""
    free: deque[int] = field(default_factory=deque)
    coming: deque[tuple[int, Request]] = field(default_factory=deque)
    """Slot and request of the batches that are being read or are read, in order."""
    cooling: deque[tuple[int, Any]] = field(default_factory=deque)
    """Slots that the rank has used, each with the CUDA event after which it may be filled again."""
    unpin: Callable[[], Any] | None = None

    def slot(self, number: int, request: Request) -> Slot:
        """The slot, with the request's shape."""
        start = number * self.slot_bytes
        return Slot.of(self.memory, start, self.places, len(request), request.height, request.width)
