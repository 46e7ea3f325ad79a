"""How the ranks agree, at every step boundary, on what to do next.

What one rank reads in its control file decides nothing, because the others may read it a step later. So at the end of
each step every rank contributes four numbers, [pause requested, stop requested, checkpoints requested, loss], to an
all-gather. It runs while the next step computes, and its result is read when that step ends: all ranks then know the
same, at the same step, and no rank has waited for it. The global mean loss comes with it at no cost.

An all-gather and not an all-reduce, because the numbers need different reductions (any, any, maximum, mean).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from remote.wire.control import ControlRequest


@dataclass(frozen=True, slots=True)
class Agreed:
    """The result of an exchange, the same on every rank."""

    request: ControlRequest
    """Pause and stop where any rank has that request; the highest number of checkpoints that any rank has."""
    loss: float
    """Mean over the ranks, NaN where one of them has NaN."""


class Exchange:
    """An exchange under way. Every rank begins its exchanges in the same order."""

    def __init__(self, request: ControlRequest, loss: Tensor, world_size: int) -> None:
        """`loss` is a scalar on the rank's device; it is not read here, which would wait for a GPU."""
        device = loss.device
        wants = torch.tensor([request.paused, request.stop, request.checkpoint], dtype=torch.float32)
        if device.type == "cuda":
            wants = wants.pin_memory().to(device, non_blocking=True)
        self._mine = torch.cat([wants, loss.detach().float().reshape(1)])
        self._all = torch.empty(world_size * 4, device=device)
        work = dist.all_gather_into_tensor(self._all, self._mine, async_op=True)
        assert work is not None
        self._work = work
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            # On a stream of its own: the compute stream does not wait, and the host reads the result a step later.
            self._host = torch.empty(world_size * 4, pin_memory=True)
            with torch.cuda.stream(_side_stream(device)):
                self._work.wait()
                self._host.copy_(self._all, non_blocking=True)
                self._event = torch.cuda.Event()
                self._event.record()

    def wait(self) -> Agreed:
        """What the ranks agreed on. Blocks until every rank has begun this exchange."""
        if self._event is not None:
            self._event.synchronize()
            gathered = self._host
        else:
            self._work.wait()
            gathered = self._all
        paused, stop, checkpoint, loss = gathered.view(-1, 4).unbind(1)
        request = ControlRequest(bool(paused.any()), bool(stop.any()), int(checkpoint.max()))
        return Agreed(request, float(loss.mean()))


_streams: dict[torch.device, torch.cuda.Stream] = {}


def _side_stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)
    return _streams[device]
