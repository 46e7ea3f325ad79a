"""A run's past, to go back in: any moment of it is a fold of some hundred records away.

The items of a log (its records, and the lines that were lost) come in order, all at once or as they are written. They
are kept packed, 500 to a block, some 40 bytes each; with a state of the run at every block, which shares with its
neighbours all that did not change between them. Where there are more blocks than states can be held, every second
state is given up, and a way back is twice as long. So ten hours of a run take tens of megabytes, not a gigabyte.

One thread may add while another looks back.
"""

from __future__ import annotations

import pickle
import threading
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from console import markers, state
from console.events import Record
from console.journal import DAMAGED, UNKNOWN, Lost
from console.markers import Marker
from console.state import Run
from remote import events as re

Item = Record | Lost

BLOCK: Final = 500
"""Items to a block, a multiple of `NEAR`: about 10 ms to unpack and fold."""
PARTS_HELD: Final = 200_000
"""Nodes and ranks in all states together, each about 300 bytes where all of them changed since the state before."""
FEWEST_STATES: Final = 64
NEAR: Final = 100
"""A way back leaves a state so often behind it, for the next step back."""
NEAR_HELD: Final = 64

QUIET: Final = (
    re.HostSampled,
    re.RankProgressed,
    re.EvaluationProgressed,
    re.LeaseMoved,
    re.LogPrinted,
)
"""Events that a step passes over: they come by the second and change no more than a gauge."""


def fold_items(items: Iterable[Item], run: Run | None = None) -> Run:
    """The run after the items; a fresh one before where none is given."""
    run = Run() if run is None else run
    apply = state.apply
    for item in items:
        run = apply(run, item) if item.__class__ is Record else lost(run, item)  # type: ignore[arg-type]
    return run


def lost(run: Run, item: Lost) -> Run:
    """The run with a lost line counted."""
    return state.lose(run, damaged=item.kind == DAMAGED, unknown=item.kind == UNKNOWN)


class History:
    """Items in order, the time of each, and the run after any number of them."""

    def __init__(self, *, block: int = BLOCK, parts_held: int = PARTS_HELD, fewest_states: int = FEWEST_STATES) -> None:
        """`block`: items to a block; `parts_held` and `fewest_states`: when states are given up."""
        self._block, self._parts_held, self._fewest_states = block, parts_held, fewest_states
        self._near_every = min(NEAR, block // 2)
        self.latest = Run()
        """The run after all items."""
        self.markers: list[Marker] = []
        """In the order of the items."""
        self._blocks: list[bytes] = []
        self._tail: list[Item] = []
        """The items after the last whole block."""
        self._states: list[Run] = [self.latest]
        self._stride = 1
        """Blocks from one state to the next."""
        self._times = array("d")
        self._marks = array("q")
        """Places after an item that changes the picture."""
        self._settled = 0.0
        """The last time that no later stamp has put in doubt."""
        self._doubtful: int | None = None
        """Where the items begin whose time the next stamp may still put in doubt."""
        self._lock = threading.Lock()
        self._walking = threading.Lock()
        self._near: OrderedDict[int, Run] = OrderedDict()
        self._unpacked: OrderedDict[int, list[Item]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    @property
    def start(self) -> float:
        """When the first item came; 0 before there is one."""
        return self._times[0] if self._times else 0.0

    @property
    def end(self) -> float:
        """When the last item came."""
        return self._times[-1] if self._times else 0.0

    @property
    def stride_records(self) -> int:
        """So many items at most are folded for a look back."""
        return self._stride * self._block

    @property
    def busy(self) -> bool:
        """True while some thread folds its way back."""
        return self._walking.locked()

    # --- growing -----------------------------------------------------------------------------------------------------

    def extend(self, items: Iterable[Item]) -> None:
        """More items, after those that are there."""
        run = self.latest
        for item in items:
            if isinstance(item, Record):
                after = state.apply(run, item)
                self.markers += markers.between(run, after, item)
                run = after
                marked = not isinstance(item.event, QUIET)
            else:
                run, marked = lost(run, item), False
            with self._lock:
                self._tail.append(item)
                self._stamp(item)
                if marked:
                    self._marks.append(len(self._times))
                self.latest = run
            if len(self._tail) == self._block:
                self._pack(run)

    def _pack(self, run: Run) -> None:
        # Level 1: a third of the time of the default, for a fifth more bytes.
        packed = zlib.compress(pickle.dumps(self._tail, pickle.HIGHEST_PROTOCOL), 1)
        with self._lock:
            self._blocks.append(packed)
            self._tail = []
            if len(self._blocks) % self._stride == 0:
                self._states.append(run)
            parts = 1 + sum(1 + len(node.ranks) for node in run.nodes)
            if len(self._states) > max(self._fewest_states, self._parts_held // parts):
                self._states = self._states[::2]
                self._stride *= 2

    def _stamp(self, item: Item) -> None:
        """Gives the item a time. Times never fall; a lost line has that of the one before.

        A clock that was set back, or a damaged stamp far ahead, must not tear the order: a stamp counts only where the
        next one does not lie before it.
        """
        times = self._times
        if not isinstance(item, Record):
            times.append(times[-1] if times else 0.0)
            return
        received = item.received
        if self._doubtful is None:
            # The lines that were lost before the first record came when it did.
            for place in range(len(times)):
                times[place] = received
            self._settled = received
        elif received + 1.0 < times[-1]:
            for place in range(self._doubtful, len(times)):
                times[place] = self._settled
        else:
            self._settled = times[-1]
        self._doubtful = len(times)
        times.append(max(received, self._settled))

    # --- looking back ------------------------------------------------------------------------------------------------

    def place(self, t: float) -> int:
        """How many items had come at `t`."""
        return bisect_right(self._times, t)

    def time(self, place: int) -> float:
        """When the last of the first `place` items came, `place` from 1."""
        return self._times[place - 1]

    def step(self, place: int, by: int) -> int:
        """The place that is `by` changes of the picture on from `place`, or as far as there are any."""
        if not by or not self._marks:
            return place
        at = bisect_right(self._marks, place) - 1
        # Between two marks, the one before is one step back.
        if by < 0 and at >= 0 and self._marks[at] < place:
            at += 1
        return self._marks[min(max(at + by, 0), len(self._marks) - 1)]

    def run(self, place: int) -> Run:
        """The run after the first `place` items."""
        with self._walking:
            at, run = self._nearest(place)
            while at < place:
                until = min(place, at + self._near_every - at % self._near_every)
                run = fold_items(self._items(at, until), run)
                at = until
                self._near[at] = run
                if len(self._near) > NEAR_HELD:
                    self._near.popitem(last=False)
            return run

    def _nearest(self, place: int) -> tuple[int, Run]:
        with self._lock:
            if place == len(self._times):
                return place, self.latest
            number = place // self.stride_records
            best = number * self.stride_records, self._states[number]
        for at, run in self._near.items():
            if best[0] < at <= place:
                best = at, run
        return best

    def _items(self, begin: int, end: int) -> Iterator[Item]:
        """Those from `begin` to `end`, which lie in one block."""
        number = begin // self._block
        items = self._unpacked.get(number)
        if items is None:
            with self._lock:
                packed = self._blocks[number] if number < len(self._blocks) else None
                items = list(self._tail) if packed is None else []
            if packed is not None:
                items = pickle.loads(zlib.decompress(packed))
                self._unpacked[number] = items
                if len(self._unpacked) > 4:
                    self._unpacked.popitem(last=False)
        first = number * self._block
        return iter(items[begin - first : end - first])
