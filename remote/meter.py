"""Where the time goes: the run's training seconds, and a rank's seconds a step."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from remote.events import RankProgressed
from remote.journal import Journal
from remote.place import Place

SAY_S = 1.0
"""Seconds between a rank's progress records."""


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


class Meter:
    """Where a rank's time goes, said once a second. On a GPU it reads only what is long past, and waits for nothing."""

    def __init__(self, place: Place, journal: Journal) -> None:
        self._place = place
        self._journal = journal
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.forget()

    def forget(self) -> None:
        """Begins anew after a pause or an evaluation."""
        self._began = time.perf_counter()
        self._steps = 0
        self._images = 0
        self._step_s = self._data_s = self._compute_s = 0.0
        self._computes = 0
        self._events.clear()

    def computing(self) -> Callable[[], None]:
        """Call what it returns when the gradients are there."""
        if self._place.device.type == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()

            def computed() -> None:
                end.record()
                self._events.append((begin, end))

            return computed
        began = time.perf_counter()

        def computed_here() -> None:
            self._compute_s += time.perf_counter() - began
            self._computes += 1

        return computed_here

    def stepped(self, step: int, images: int, step_s: float, data_s: float) -> None:
        """One step of this rank is through."""
        self._steps += 1
        self._images += images
        self._step_s += step_s
        self._data_s += data_s
        now = time.perf_counter()
        if now - self._began < SAY_S:
            return
        while self._events and self._events[0][1].query():
            begin, end = self._events.pop(0)
            self._compute_s += begin.elapsed_time(end) / 1000
            self._computes += 1
        self._journal.emit(
            RankProgressed(
                rank=self._place.rank,
                step=step,
                img_per_s=self._images / (now - self._began),
                step_s=self._step_s / self._steps,
                data_s=self._data_s / self._steps,
                compute_s=self._compute_s / self._computes if self._computes else None,
            )
        )
        events = self._events[:]
        self.forget()
        self._events = events
