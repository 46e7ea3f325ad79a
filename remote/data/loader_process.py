"""A process that reads pieces of batches into memory that it shares with its rank (`remote.data.loader`).

Tasks come through one pipe that all processes of a rank read, so that a free process takes the next one; results go
back through another. Every record is shorter than `PIPE_BUF` and written by one call, which is atomic (pipe(7)), so
there is no lock that a killed process could hold for ever.
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
"""Bytes of text in a record, at most."""
DONE, COMPLAINT, FAILED, BROKEN = range(4)
"""Kinds of result: a piece is read; one of its pictures is left out or repaired; it cannot be read; a bug."""


class Task(NamedTuple):
    """A piece of a batch."""

    lane: int
    slot: int
    first: int
    """Index in the batch of the piece's first picture."""
    end: int
    height: int
    width: int
    epoch: int
    min_scale: float
    places: int
    """Pictures that a slot has room for."""
    slot_bytes: int
    memory_bytes: int
    """Size of the lane's memory now."""


TASK = struct.Struct("<BHIIHHidIQQ")
RESULT = struct.Struct("<BBHIH")
"""Kind, lane, slot, picture (of a complaint), bytes of text that follow."""


@dataclass
class Memory:
    """A lane's shared memory: slots of one size, a batch in each.

    It has no name (memfd), so the kernel frees it with the last process that maps it, and it takes no space in
    /dev/shm, of which containers have 64 MB by default.
    """

    descriptor: int
    size: int = 0
    _map: mmap.mmap | None = None

    @classmethod
    def new(cls) -> Memory:
        """Empty memory, to be made before the processes that share it."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("fastconsole-loader"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def grow(self, size: int) -> None:
        """Makes it at least this big. Raises OSError where there is not enough memory."""
        if size > self.size:
            os.ftruncate(self.descriptor, size)
            self.see(size)

    def see(self, size: int) -> None:
        """Maps it again where another process made it bigger."""
        if size > self.size:
            self.size, self._map = size, mmap.mmap(self.descriptor, size)

    def tensor(self, dtype: torch.dtype, count: int, offset: int) -> Tensor:
        """A tensor in it, at `offset` bytes."""
        assert self._map is not None
        return torch.frombuffer(self._map, dtype=dtype, count=count, offset=offset)


class Slot(NamedTuple):
    """A batch in the memory: the pictures' indices, their labels, their pixels."""

    pictures: Tensor
    labels: Tensor
    pixels: Tensor

    @classmethod
    def of(cls, memory: Memory, start: int, places: int, count: int, height: int, width: int) -> Slot:
        """The slot that starts at byte `start`, with `count` pictures of this size in it."""
        pixels = memory.tensor(torch.uint8, count * height * width * 3, start + _pixels_at(places))
        return cls(
            memory.tensor(torch.int64, count, start),
            memory.tensor(torch.int64, count, start + 8 * places),
            pixels.view(count, height, width, 3),
        )

    @staticmethod
    def size(places: int, picture_bytes: int) -> int:
        """Bytes of a slot for this many pictures."""
        return _pages(_pixels_at(places) + places * picture_bytes)


def _pixels_at(places: int) -> int:
    return _pages(16 * places)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def work(tasks: int, results: int, readers: Sequence[Reader], memories: Sequence[Memory], parent: int) -> None:
    """Reads pieces until the pipe of tasks is closed; what a forked process runs."""
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the rank's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)  # the threads of the parent's pool do not exist here, and would be waited for
    gc.freeze()  # so that pages of before the fork stay shared

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
