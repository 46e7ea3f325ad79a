"""Copies of a run's state in the host's memory, so that training can go on while they are written."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Snapshot:
    """Room for the copy of one state, kept for the next: a run holds one copy, and not one a checkpoint.

    On a GPU the copies go to pinned memory, on the stream that computes: the next optimiser step comes after them, and
    the host does not wait. For ResNet-50 with momentum they are 205 MB, some 10 ms of PCIe once an epoch; a stream of
    their own would save half of that and need a second copy on the card.
    """

    def __init__(self) -> None:
        self._room: dict[tuple[object, ...], Tensor] = {}
        self._copied: torch.cuda.Event | None = None

    def take(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state (dicts, lists and tuples of tensors and plain values) as it is now; good until the next `take`.

        Its tensors hold what they should once `wait` has returned. Raises MemoryError where there is no room.
        """
        self._copied = None
        try:
            copy: dict[str, Any] = self._copy(state, ())
        except RuntimeError as error:  # torch's allocators have no error of their own
            raise MemoryError(" ".join(str(error).split())[:200]) from error
        return copy

    def wait(self) -> None:
        """Returns when the copies are there. For any thread."""
        if self._copied is not None:
            self._copied.synchronize()

    def _copy(self, value: Any, path: tuple[object, ...]) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value.detach(), path)
        if isinstance(value, dict):
            return {key: self._copy(one, (*path, key)) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._copy(one, (*path, number)) for number, one in enumerate(value))
        return value

    def _tensor(self, tensor: Tensor, path: tuple[object, ...]) -> Tensor:
        cuda = tensor.device.type == "cuda"
        room = self._room.get(path)
        if room is None or room.shape != tensor.shape or room.dtype != tensor.dtype:
            room = self._room[path] = torch.empty_like(tensor, device="cpu", pin_memory=cuda)
        room.copy_(tensor, non_blocking=True)
        if cuda:
            if self._copied is None:
                self._copied = torch.cuda.Event()
            self._copied.record()
        return room
