"""A running mean of the weights, which is what is evaluated: it is ahead of the weights while their rate is high.

The mean moves every few steps with the decay of so many steps at once, in one pass over all tensors, so that it costs
a few tenths of a percent of a step. While a run is young, the decay is smaller, as many updates as there were:
(1 + n) / (10 + n) (TensorFlow's ExponentialMovingAverage), or else the first epochs would be judged by the weights that
they began with.

BatchNorm's running statistics are not averaged with the weights: those of a mean's activations are others than the mean
of theirs. They are measured before the net is judged, on the last pictures that it trained on.

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
    """The mean of a model's weights over the steps so far."""

    def __init__(self, model: nn.Module, decay: float, every: int, global_batch: int) -> None:
        """`decay` is by step; the mean moves after every `every` of them."""
        self.decay = decay
        self.every = every
        self.steps = 0
        self._parameters: list[Tensor] = list(model.parameters())
        self._model = model
        self.net = copy.deepcopy(model).requires_grad_(False)
        """The same net with the mean's weights; never trained."""
        self._means: list[Tensor] = list(self.net.parameters())
        self._recent: deque[Tensor] = deque(maxlen=max(1, min(MOST_BATCHES, -(-SAMPLE // global_batch))))

    def saw(self, pictures: Tensor) -> None:
        """The model trains on these, uint8 on its device."""
        # On a CPU they are the loader's own memory, which it fills again.
        self._recent.append(pictures.clone() if pictures.device.type == "cpu" else pictures)

    def forget(self) -> None:
        """What it saw does not count."""
        self._recent.clear()

    def stepped(self) -> None:
        """The model has taken a step."""
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
        """Sets BatchNorm's statistics to those of the pictures last seen, of which `forward` gives the net a batch."""
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
        """What a checkpoint keeps of it: live tensors."""
        return {"model": self.net.state_dict(), "steps": self.steps}

    def load(self, state: dict[str, Any] | None) -> None:
        """Takes over what `state` gave; None: begins anew with the model's present numbers."""
        self.net.load_state_dict(state["model"] if state else self._model.state_dict())
        self.steps = state["steps"] if state else 0
        self.forget()
