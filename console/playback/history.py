"""A run's past, to go back in: any moment of it is a fold of some hundred records away.

The items of a log (its records, and the lines that were lost) come in order, all at once or as they are written. They
are kept packed, 500 to a block, some 100 bytes each, and with them the state of the run at every second block: packed
too, but for its series, which all states share. Where the states take more room than they are allowed, every second
one is given up, and a way back is twice as long. So ten hours of a run take some hundred megabytes, not gigabytes.

One thread may add while another looks back.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import threading
import time
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from console.fold import apply as fold
from console.journal.fold_log import Item, fold_items, lost
from console.playback import markers
from console.playback.markers import Marker
from console.state.events import Record
from console.state.run import Run
from console.state.series import Series
from remote.wire import events as re

BLOCK: Final = 500
"""Items to a block, a multiple of `NEAR`: about 10 ms to unpack and fold."""
STRIDE: Final = 2
"""Blocks from one state to the next, at first."""
STATES_BYTES: Final = 48 << 20
"""So many bytes at most for all states, packed; of 16 nodes with 8 GPUs each takes about 100 KiB."""
NEAR: Final = 100
"""A way back leaves a state so often behind it, for the next step back."""
NEAR_HELD: Final = 64

LONG_S: Final = 0.015
"""Processor time of a look back beyond which it is one for a thread."""

QUIET: Final = (
    re.HostSampled,
    re.RankProgressed,
    re.EvaluationProgressed,
    re.LeaseMoved,
    re.LogPrinted,
)
"""Events that a step passes over: they come by the second and change no more than a gauge."""


class History:
    """Items in order, the time of each, and the run after any number of them."""

    def __init__(self, *, block: int = BLOCK, states_bytes: int = STATES_BYTES) -> None:
        """`block`: items to a block; `states_bytes`: beyond that, states are given up."""
        self._block, self._states_bytes = block, states_bytes
        self._near_every = min(NEAR, block // 2)
        self.latest = Run()
        """The run after all items."""
        self.markers: list[Marker] = []
        """In the order of the items."""
        self._blocks: list[bytes] = []
        self._tail: list[Item] = []
        """The items after the last whole block."""
        self._states = [_Packed(self.latest)]
        self._stride = STRIDE
        self._times = array("d")
        self._marks = array("q")
        """Places after an item that changes the picture."""
        self._settled = 0.0
        """The last time that no later stamp has put in doubt."""
        self._doubtful: int | None = None
        """Where the items begin whose time the next stamp may still put in doubt."""
        self._lock = threading.Lock()
        self._walking = threading.Lock()
        self._longest_s = 0.0
        """Processor time of the longest look back so far."""
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
    def slow(self) -> bool:
        """True once a look back takes longer than a screen should stand still, or may."""
        return self._stride > STRIDE or self._longest_s > LONG_S

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
                after = fold.apply(run, item)
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
        state_packed = _Packed(run) if (len(self._blocks) + 1) % self._stride == 0 else None
        with self._lock:
            self._blocks.append(packed)
            self._tail = []
            if state_packed is not None:
                self._states.append(state_packed)
            if len(self._states) > 2 and sum(one.size for one in self._states) > self._states_bytes:
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
        received = item.received_t
        if self._doubtful is None:
            # The lines that were lost before the first record came when it did.
            for index in range(len(times)):
                times[index] = received
            self._settled = received
        elif received + 1.0 < times[-1]:
            for index in range(self._doubtful, len(times)):
                times[index] = self._settled
        else:
            self._settled = times[-1]
        self._doubtful = len(times)
        times.append(max(received, self._settled))

    # --- looking back ------------------------------------------------------------------------------------------------

    def index_at(self, t: float) -> int:
        """How many items had come at `t`."""
        return bisect_right(self._times, t)

    def time(self, index: int) -> float:
        """When the last of the first `index` items came, `index` from 1."""
        return self._times[index - 1]

    def step(self, index: int, by: int) -> int:
        """The index that is `by` changes of the picture on from `index`, or as far as there are any."""
        if not by or not self._marks:
            return index
        at = bisect_right(self._marks, index) - 1
        # Between two marks, the one before is one step back.
        if by < 0 and at >= 0 and self._marks[at] < index:
            at += 1
        return self._marks[min(max(at + by, 0), len(self._marks) - 1)]

    def run(self, index: int) -> Run:
        """The run after the first `index` items."""
        with self._walking:
            began = time.thread_time()
            at, run = self._nearest(index)
            while at < index:
                until = min(index, at + self._near_every - at % self._near_every)
                run = fold_items(self._items(at, until), run)
                at = until
                self._near[at] = run
                if len(self._near) > NEAR_HELD:
                    self._near.popitem(last=False)
            self._longest_s = max(self._longest_s, time.thread_time() - began)
            return run

    def _nearest(self, index: int) -> tuple[int, Run]:
        with self._lock:
            if index == len(self._times):
                return index, self.latest
            number = index // self.stride_records
            kept = self._states[number]
            begin = number * self.stride_records
        near = max((at for at in self._near if begin <= at <= index), default=None)
        return (begin, kept.run()) if near is None else (near, self._near[near])

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


class _Packed:
    """A state in a hundredth of the room that its objects would take, but for its series: those it shares."""

    def __init__(self, run: Run) -> None:
        self._series: list[Series[Any]] = []
        out = io.BytesIO()
        pickler = pickle.Pickler(out, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = copyreg.dispatch_table.copy()
        pickler.dispatch_table[Series] = self._put
        pickler.dump(run)
        self._bytes = zlib.compress(out.getbuffer(), 1)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._bytes)

    def run(self) -> Run:
        """The state."""
        run: Run = _Unpickler(io.BytesIO(zlib.decompress(self._bytes)), self._series).load()
        return run

    def _put(self, series: Series[Any]) -> tuple[Callable[[int], None], tuple[int]]:
        self._series.append(series)
        return _series, (len(self._series) - 1,)


def _series(index: int) -> None:
    raise AssertionError("stands for the series at this index; `_Unpickler` puts it there")


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, series: list[Series[Any]]) -> None:
        super().__init__(file)
        self._given = series

    def find_class(self, module: str, name: str) -> Any:
        return self._given.__getitem__ if name == _series.__name__ else super().find_class(module, name)
