"""A process that reads pieces of batches into memory that it shares with its rank (`remote.data.loader`).

Tasks come through one pipe that all processes of a rank read from, so whoever is free takes the next one; results go
back through another. Every record is written by one call and shorter than `PIPE_BUF`, so the kernel keeps it in one
piece (pipe(7)), and there is no lock that a process could take with it when it is killed.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import struct
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from remote.data.batch_plan import Request
from remote.data.batch_reader import Reader
from remote.parent_death import end_with_parent

PAGE = mmap.PAGESIZE
TEXT = 2000
"""Bytes of a sentence in a record."""
DONE, COMPLAINT, FAILED, BROKEN = range(4)
"""Kinds of result: a piece is read; a picture of it is odd; it cannot be read (the disk's fault, or the pictures'); a
bug."""


class Task(NamedTuple):
    """A piece of a batch."""

    lane: int
    slot: int
    first: int
    """The place in the batch that the piece begins at."""
    end: int
    height: int
    width: int
    epoch: int
    min_scale: float
    places: int
    """Places in a slot."""
    slot_bytes: int
    memory_bytes: int
    """The lane's memory as it is now."""


TASK = struct.Struct("<BHIIHHidIQQ")
RESULT = struct.Struct("<BBHIH")
"""Kind, lane, slot, picture (of a complaint), bytes of text that follow."""


@dataclass
class Memory:
    """A lane's shared memory: slots of one size, a batch in each.

    Without a name (memfd), so it goes with the last process that has it, however that ends, and needs no room in
    /dev/shm, of which containers have 64 MB by default.
    """

    descriptor: int
    size: int = 0
    _map: mmap.mmap | None = None

    @classmethod
    def new(cls) -> Memory:
        """Empty; to be made before the processes that share it."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("fastconsole-loader"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def grow(self, size: int) -> None:
        """Makes it at least so big. Raises OSError where there is no room."""
        if size > self.size:
            os.ftruncate(self.descriptor, size)
            self.see(size)

    def see(self, size: int) -> None:
        """Takes note that it is so big now."""
        if size > self.size:
            self.size, self._map = size, mmap.mmap(self.descriptor, size)

    def tensor(self, dtype: torch.dtype, count: int, offset: int) -> Tensor:
        """A stretch of it."""
        assert self._map is not None
        return torch.frombuffer(self._map, dtype=dtype, count=count, offset=offset)


class Slot(NamedTuple):
    """A batch's place in the memory: which pictures are wanted, their labels, their pixels."""

    pictures: Tensor
    labels: Tensor
    pixels: Tensor

    @classmethod
    def of(cls, memory: Memory, start: int, places: int, count: int, height: int, width: int) -> Slot:
        """The slot that starts at that byte, with `count` pictures of this size in it."""
        pixels = memory.tensor(torch.uint8, count * height * width * 3, start + _pixels_at(places))
        return cls(
            memory.tensor(torch.int64, count, start),
            memory.tensor(torch.int64, count, start + 8 * places),
            pixels.view(count, height, width, 3),
        )

    @staticmethod
    def size(places: int, picture_bytes: int) -> int:
        """Bytes of a slot for so many pictures."""
        return _pages(_pixels_at(places) + places * picture_bytes)


def _pixels_at(places: int) -> int:
    return _pages(16 * places)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def work(tasks: int, results: int, readers: Sequence[Reader], memories: Sequence[Memory], parent: int) -> None:
    """Reads pieces until there are no more tasks. What a forked process runs."""
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rank decides what becomes of an interrupt
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)  # a forked process has none of the threads of its parent's pool, and would wait for them
    gc.freeze()  # what was there before the fork stays shared

    def complain(index: int, text: str) -> None:
        _say(results, COMPLAINT, task.lane, 0, index, text)

    while record := os.read(tasks, TASK.size):
        task = Task._make(TASK.unpack(record))
        memory = memories[task.lane]
        memory.see(task.memory_bytes)
        slot = Slot.of(memory, task.slot * task.slot_bytes, task.places, task.end, task.height, task.width)
        request = Request(np.asarray(slot.pictures), task.height, task.width, task.epoch, task.min_scale)
        try:
            pixels, labels = slot.pixels[task.first :], slot.labels[task.first :]
            readers[task.lane].fill(request, task.first, pixels, labels, complain)
        except OSError as error:
            _say(results, FAILED, task.lane, task.slot, 0, str(error))
        except Exception:
            _say(results, BROKEN, task.lane, task.slot, 0, traceback.format_exc()[-TEXT:])
        else:
            _say(results, DONE, task.lane, task.slot, 0, "")


def _say(results: int, kind: int, lane: int, slot: int, picture: int, text: str) -> None:
    words = text.encode(errors="replace")[:TEXT]
    os.write(results, RESULT.pack(kind, lane, slot, picture, len(words)) + words)
