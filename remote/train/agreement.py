"""How the ranks agree, at every step boundary, on what to do next.

What one rank reads in its control file decides nothing, because the others may read it a step later. So at the end of
each step every rank puts four numbers on the wire, [wants pause, wants stop, checkpoints asked for, loss], and gets
everybody's. The exchange runs while the next step computes and is looked at when that step ends: all ranks then know
the same, at the same step, and nobody has waited for it. The global mean loss comes with it for nothing.

An all-gather and not an all-reduce, because the numbers want different reductions (any, any, the most, the mean).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from remote.wire.control import ControlRequest


@dataclass(frozen=True, slots=True)
class Agreed:
    """What every rank knows once an exchange is through."""

    request: ControlRequest
    """Pause and stop where any rank asks for it; the most checkpoints that any rank has been asked for."""
    loss: float
    """Mean over the ranks, NaN where one of them has NaN."""


class Exchange:
    """One exchange under way. Every rank begins its exchanges in the same order."""

    def __init__(self, request: ControlRequest, loss: Tensor, world_size: int) -> None:
        """`loss` is a scalar on the rank's device; it is not read here, so that a GPU need not be waited for."""
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
            # Waited for on a stream of its own: the compute stream goes on, the host looks a step later.
            self._host = torch.empty(world_size * 4, pin_memory=True)
            with torch.cuda.stream(_side_stream(device)):
                self._work.wait()
                self._host.copy_(self._all, non_blocking=True)
                self._event = torch.cuda.Event()
                self._event.record()

    def wait(self) -> Agreed:
        """What the ranks agreed on. Blocks until the slowest of them has begun this exchange."""
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
