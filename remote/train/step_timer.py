"""The run's training time, and what a rank's steps spend their time on."""

from __future__ import annotations

import resource
import time
from collections import deque

import torch

from remote.rank_env import RankEnv
from remote.wire.events import RankProgressed
from remote.wire.journal import Journal

REPORT_S = 1.0
"""Seconds between a rank's progress records."""
_PAGE_MIB = resource.getpagesize() / 2**20


class Clock:
    """Training seconds over all attempts, without pauses."""

    def __init__(self) -> None:
        self._base_s = 0.0
        self._since: float | None = None

    def start(self, elapsed_s: float) -> None:
        """Continues from `elapsed_s`."""
        self._base_s = elapsed_s
        self._since = time.monotonic()

    def pause(self) -> None:
        """Stops."""
        self._base_s = self.read()
        self._since = None

    def resume(self) -> None:
        """Continues after a pause."""
        self._since = time.monotonic()

    def read(self) -> float:
        """Seconds so far."""
        return self._base_s + (time.monotonic() - self._since if self._since is not None else 0.0)


class Marks:
    """Four moments of one step: the batch is there, then the rank's own gradients, those of all ranks, the update.

    On a GPU they are events in its stream, read some steps later, so that nothing waits for them.
    """

    def __init__(self, cuda: bool) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(4)] if cuda else []
        self._times = [0.0] * 4

    def mark(self, moment: int) -> None:
        """Sets moment 0, 1, 2 or 3 to now."""
        if self._events:
            self._events[moment].record()
        else:
            self._times[moment] = time.perf_counter()

    def computed(self) -> None:
        """Sets moment 1 to now."""
        self.mark(1)

    def over(self) -> bool:
        """True if the last moment has passed."""
        return not self._events or self._events[3].query()

    def seconds(self) -> tuple[float, float, float]:
        """Seconds from each moment to the next: compute, all-reduce, optimiser."""
        if self._events:
            pairs = zip(self._events, self._events[1:], strict=False)
            first, second, third = (begin.elapsed_time(end) / 1000 for begin, end in pairs)
        else:
            first, second, third = (b - a for a, b in zip(self._times, self._times[1:], strict=False))
        return first, second, third


class Meter:
    """A rank's time and memory per step, reported once a second."""

    def __init__(self, env: RankEnv, journal: Journal) -> None:
        self._env = env
        self._journal = journal
        self._cuda = env.device.type == "cuda"
        self._running: deque[Marks] = deque()
        self._spare: list[Marks] = []
        self.forget()

    def forget(self) -> None:
        """Starts a new second, after a pause or an evaluation."""
        self._spare += self._running
        self._running.clear()
        self._reset()

    def _reset(self) -> None:
        self._began = time.perf_counter()
        self._steps = 0
        self._images = 0
        self._step_s = self._data_s = 0.0
        self._parts_s = [0.0, 0.0, 0.0]
        self._parts = 0

    def marks(self) -> Marks:
        """For the step that begins; those of earlier steps are used again."""
        return self._spare.pop() if self._spare else Marks(self._cuda)

    def stepped(self, marks: Marks, step: int, images: int, step_s: float, data_s: float) -> None:
        """Counts a step that this rank's host has ended; its device may still be at it."""
        self._running.append(marks)
        self._steps += 1
        self._images += images
        self._step_s += step_s
        self._data_s += data_s
        while self._running and self._running[0].over():
            done = self._running.popleft()
            for part, seconds in enumerate(done.seconds()):
                self._parts_s[part] += seconds
            self._parts += 1
            self._spare.append(done)
        now = time.perf_counter()
        if now - self._began < REPORT_S:
            return
        own_s, others_s, move_s = (seconds / self._parts if self._parts else None for seconds in self._parts_s)
        used, reserved, peak = memory_mib(self._env.device)
        self._journal.emit(
            RankProgressed(
                rank=self._env.rank,
                step=step,
                img_per_s=self._images / (now - self._began),
                step_s=self._step_s / self._steps,
                data_s=self._data_s / self._steps,
                compute_s=None if own_s is None or others_s is None else own_s + others_s,
                # A single rank waits for no other: the rest is the time of the call.
                allreduce_s=others_s if self._env.world_size > 1 or others_s is None else 0.0,
                optimizer_s=move_s,
                mem_used_mib=used,
                mem_reserved_mib=reserved,
                mem_peak_mib=peak,
            )
        )
        self._reset()


def memory_mib(device: torch.device) -> tuple[float | None, float | None, float | None]:
    """(used, reserved, peak) memory of this process in MiB.

    On a GPU that of its tensors, as torch's allocator counts it; on a CPU its resident memory, without a reserve.
    """
    if device.type == "cuda":
        used, reserved, peak = (
            ask(device) / 2**20
            for ask in (torch.cuda.memory_allocated, torch.cuda.memory_reserved, torch.cuda.max_memory_allocated)
        )
        return used, reserved, peak
    try:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None, None, None
    return pages * _PAGE_MIB, None, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
