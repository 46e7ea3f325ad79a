"""A running mean of the weights, which is what is evaluated: it is ahead of the weights while their rate is high.

The mean moves every few steps with the decay of so many steps at once, in one pass over all tensors, so that it costs
a few tenths of a percent of a step. BatchNorm's running statistics are averaged with the weights that made them. While
a run is young, the decay is smaller, as many updates as there were: (1 + n) / (10 + n) (TensorFlow's
ExponentialMovingAverage), or else the first epochs would be judged by the weights that they began with.

Sources: Polyak and Juditsky 1992; Izmailov et al. 2018 for nets; MosaicML's ResNet-50 recipes for ImageNet in minutes.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """The mean of a model's weights and statistics over the steps so far."""

    def __init__(self, model: nn.Module, decay: float, every: int) -> None:
        """`decay` is by step; the mean moves after every `every` of them."""
        self.decay = decay
        self.every = every
        self.steps = 0
        self._model = model
        self.net = copy.deepcopy(model).requires_grad_(False)
        """The same net with the mean's numbers; never trained."""

    def stepped(self) -> None:
        """The model has taken a step."""
        self.steps += 1
        if self.steps % self.every:
            return
        updates = self.steps // self.every
        # The mean over n updates so far reaches back no further than the run does.
        self._move(1 - min(self.decay**self.every, updates / (9 + updates)))

    @torch.no_grad()
    def _move(self, share: float) -> None:
        means: list[Tensor] = []
        numbers: list[Tensor] = []
        theirs = self._model.state_dict()
        for name, mean in self.net.state_dict().items():
            if mean.is_floating_point():
                means.append(mean)
                numbers.append(theirs[name])
            else:
                mean.copy_(theirs[name])  # BatchNorm counts its batches
        torch._foreach_lerp_(means, numbers, share)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: live tensors."""
        return {"model": self.net.state_dict(), "steps": self.steps}

    def load(self, state: dict[str, Any] | None) -> None:
        """Takes over what `state` gave; None: begins anew with the model's present numbers."""
        self.net.load_state_dict(state["model"] if state else self._model.state_dict())
        self.steps = state["steps"] if state else 0
