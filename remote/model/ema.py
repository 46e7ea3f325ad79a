"""An exponential moving average (EMA) of the weights, which is evaluated instead of them: it is more accurate while the
learning rate is high.

The mean is updated every few steps, with the decay of all of them at once and in one pass over all tensors, so that it
costs a few tenths of a percent of a step. After n updates the decay is at most (1 + n) / (10 + n) (TensorFlow's
ExponentialMovingAverage); otherwise the first epochs would be evaluated with mostly the initial weights.

BatchNorm's running statistics are not averaged with the weights, because the mean net's activations have other
statistics. They are measured before an evaluation, on the last pictures of the training.

Sources: Polyak and Juditsky 1992; Izmailov et al. 2018 for nets and their statistics; MosaicML's ResNet-50 recipes for
ImageNet in minutes.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE = 2048
"""Pictures, over all ranks, on which statistics are measured."""
MOST_BATCHES = 8


class Ema:
    """The EMA of a model's weights."""

    def __init__(self, model: nn.Module, decay: float, every: int, global_batch: int) -> None:
        """`decay` is per step; the mean is updated after every `every` steps."""
        self.decay = decay
        self.every = every
        self.steps = 0
        self._parameters: list[Tensor] = list(model.parameters())
        self._model = model
        self.net = copy.deepcopy(model).requires_grad_(False)
        """A copy of the model with the mean weights; never trained."""
        self._means: list[Tensor] = list(self.net.parameters())
        self._recent: deque[Tensor] = deque(maxlen=max(1, min(MOST_BATCHES, -(-SAMPLE // global_batch))))

    def saw(self, pictures: Tensor) -> None:
        """Keeps the pictures (uint8, on the device) of a step, for the statistics."""
        # On a CPU they are the loader's memory, which it uses again.
        self._recent.append(pictures.clone() if pictures.device.type == "cpu" else pictures)

    def forget(self) -> None:
        """Drops the pictures that were kept."""
        self._recent.clear()

    def stepped(self) -> None:
        """Counts a step of the model, and updates the mean where it is due."""
        self.steps += 1
        if self.steps % self.every:
            return
        updates = self.steps // self.every
        # The mean over n updates so far reaches back no further than the run does.
        share = 1 - min(self.decay**self.every, updates / (9 + updates))
        with torch.no_grad():
            torch._foreach_lerp_(self._means, self._parameters, share)

    @torch.no_grad()
    def measure(self, forward: Callable[[Tensor], object]) -> None:
        """Measures BatchNorm's statistics on the pictures that were kept; `forward` runs the net on a batch of them."""
        norms = [module for module in self.net.modules() if isinstance(module, nn.BatchNorm2d)]
        if not self._recent or not norms:
            return
        usual = [norm.momentum for norm in norms]
        self.net.train()
        for number, pictures in enumerate(self._recent, 1):
            for norm in norms:
                norm.momentum = 1 / number  # so that they end as the mean over the batches
            forward(pictures)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the live tensors."""
        return {"model": self.net.state_dict(), "steps": self.steps}

    def load(self, state: dict[str, Any] | None) -> None:
        """Loads what `state` returned; None: starts with the model's present weights."""
        self.net.load_state_dict(state["model"] if state else self._model.state_dict())
        self.steps = state["steps"] if state else 0
        self.forget()
