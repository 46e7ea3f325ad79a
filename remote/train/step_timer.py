"""Where the time goes: the run's training seconds, and a rank's seconds a step."""

from __future__ import annotations

import resource
import time
from collections import deque

import torch

from remote.rank_env import RankEnv
from remote.wire.events import RankProgressed
from remote.wire.journal import Journal

SAY_S = 1.0
"""Seconds between a rank's progress records."""
_PAGE_MIB = resource.getpagesize() / 2**20


class Clock:
    """Training seconds over all attempts, pauses left out."""

    def __init__(self) -> None:
        self._base_s = 0.0
        self._since: float | None = None

    def start(self, elapsed_s: float) -> None:
        """Goes on from `elapsed_s`."""
        self._base_s = elapsed_s
        self._since = time.monotonic()

    def pause(self) -> None:
        """Stops."""
        self._base_s = self.read()
        self._since = None

    def resume(self) -> None:
        """Goes on."""
        self._since = time.monotonic()

    def read(self) -> float:
        """Seconds so far."""
        return self._base_s + (time.monotonic() - self._since if self._since is not None else 0.0)


class Marks:
    """Four moments of one step: the batch there, the rank's own gradients, everybody's, the parameters moved.

    On a GPU they are events in its stream, read when they are long past; nothing waits for them.
    """

    def __init__(self, cuda: bool) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(4)] if cuda else []
        self._times = [0.0] * 4

    def mark(self, moment: int) -> None:
        """This is moment 0, 1, 2 or 3."""
        if self._events:
            self._events[moment].record()
        else:
            self._times[moment] = time.perf_counter()

    def computed(self) -> None:
        """This is moment 1."""
        self.mark(1)

    def over(self) -> bool:
        """True if the last moment has passed."""
        return not self._events or self._events[3].query()

    def seconds(self) -> tuple[float, float, float]:
        """Between the moments."""
        if self._events:
            pairs = zip(self._events, self._events[1:], strict=False)
            first, second, third = (begin.elapsed_time(end) / 1000 for begin, end in pairs)
        else:
            first, second, third = (b - a for a, b in zip(self._times, self._times[1:], strict=False))
        return first, second, third


class Meter:
    """Where a rank's time and memory go, said once a second."""

    def __init__(self, env: RankEnv, journal: Journal) -> None:
        self._env = env
        self._journal = journal
        self._cuda = env.device.type == "cuda"
        self._running: deque[Marks] = deque()
        self._spare: list[Marks] = []
        self.forget()

    def forget(self) -> None:
        """Begins anew after a pause or an evaluation."""
        self._spare += self._running
        self._running.clear()
        self._again()

    def _again(self) -> None:
        self._began = time.perf_counter()
        self._steps = 0
        self._images = 0
        self._step_s = self._data_s = 0.0
        self._parts_s = [0.0, 0.0, 0.0]
        self._parts = 0

    def marks(self) -> Marks:
        """For the step that begins; a GPU's are used again and again."""
        return self._spare.pop() if self._spare else Marks(self._cuda)

    def stepped(self, marks: Marks, step: int, images: int, step_s: float, data_s: float) -> None:
        """One step of this rank is through, on the host's side at least."""
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
        if now - self._began < SAY_S:
            return
        own_s, others_s, move_s = (one / self._parts if self._parts else None for one in self._parts_s)
        used, reserved, peak = memory_mib(self._env.device)
        self._journal.emit(
            RankProgressed(
                rank=self._env.rank,
                step=step,
                img_per_s=self._images / (now - self._began),
                step_s=self._step_s / self._steps,
                data_s=self._data_s / self._steps,
                compute_s=None if own_s is None or others_s is None else own_s + others_s,
                # A gang of one waits for nobody: what is left there is the time of asking.
                allreduce_s=others_s if self._env.world_size > 1 or others_s is None else 0.0,
                optimizer_s=move_s,
                mem_used_mib=used,
                mem_reserved_mib=reserved,
                mem_peak_mib=peak,
            )
        )
        self._again()


def memory_mib(device: torch.device) -> tuple[float | None, float | None, float | None]:
    """What this process uses, what it holds in reserve for that, and the most that it has used, in MiB.

    On a GPU its tensors there; on a CPU its resident memory, of which nothing is in reserve.
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
