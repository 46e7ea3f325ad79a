"""The models, initialised as in the ImageNet runs of 2018.

`resnet-small` is a residual net (He et al. 2015) for pictures of 20 to 40 px that two CPU cores can train in minutes;
any other name is torchvision's, which is imported only then.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL_WIDTHS = (32, 64, 128)
LAST_NORM = {"Block": "norm2", "BasicBlock": "bn2", "Bottleneck": "bn3"}
"""The last normalisation of a residual block, by the block's class: ours, and torchvision's two."""


def build(name: str, classes: int, batch_norm_group: int | None = None) -> nn.Module:
    """The untrained model.

    The last BatchNorm of every residual block starts at gamma 0, so that each block begins as the identity, and a
    ResNet's last layer at N(0, 0.01) (Goyal et al. 2017, section 5.1).

    Raises:
        ValueError: torchvision is missing or has no classification model of that name.
    """
    if name == "resnet-small":
        model: nn.Module = SmallResNet(classes)
    else:
        model = _torchvision(name, classes)
    for module in model.modules():
        norm = getattr(module, LAST_NORM.get(type(module).__name__, ""), None)
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.zeros_(norm.weight)
    head = getattr(model, "fc", None)
    if isinstance(head, nn.Linear):
        nn.init.normal_(head.weight, 0, 0.01)
        nn.init.zeros_(head.bias)
    if batch_norm_group is not None:
        _group_batch_norm(model, batch_norm_group)
    return model


class SmallResNet(nn.Module):
    """One residual block each at 1/2, 1/4 and 1/8 of the picture's side; 0.3 million parameters."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        first, *_, last = SMALL_WIDTHS
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        widths = zip((first, *SMALL_WIDTHS), SMALL_WIDTHS, strict=False)
        self.blocks = nn.Sequential(*(Block(before, after) for before, after in widths))
        self.fc = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores [n, classes] of pictures [n, 3, height, width], any height and width from 8 on."""
        features: Tensor = self.blocks(self.stem(pictures))
        scores: Tensor = self.fc(features.mean((2, 3)))
        return scores


class Block(nn.Module):
    """A residual block of two 3x3 convolutions; halves the picture where the width grows."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.past: nn.Module = nn.Identity()
        if stride > 1:
            self.past = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, features: Tensor) -> Tensor:
        """[n, before, h, w] to [n, after, h/stride, w/stride]."""
        inner = functional.relu(self.norm1(self.conv1(features)), inplace=True)
        return functional.relu(self.norm2(self.conv2(inner)) + self.past(features), inplace=True)


class GroupedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over groups of `group` pictures each (ghost batch norm, Hoffer et al. 2017).

    One device with four groups computes what four devices with one group each do. The running statistics move by the
    mean over the groups.
    """

    group = 1

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to the same; n a multiple of the group in training."""
        if not self.training or len(features) <= self.group:
            return super().forward(features)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        parts = features.split(self.group)
        means = self.running_mean.expand(len(parts), -1).clone()
        variances = self.running_var.expand(len(parts), -1).clone()
        normalised = [
            functional.batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
            for part, mean, variance in zip(parts, means, variances, strict=True)
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        self.num_batches_tracked += 1
        return torch.cat(normalised)


def _group_batch_norm(model: nn.Module, group: int) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                grouped = GroupedBatchNorm2d(child.num_features, child.eps, child.momentum)
                grouped.group = group
                grouped.load_state_dict(child.state_dict())
                setattr(parent, name, grouped)


def _torchvision(name: str, classes: int) -> nn.Module:
    try:
        from torchvision.models import get_model, list_models
    except ImportError as error:
        raise ValueError(f"the model {name!r} needs torchvision, which cannot be imported: {error}") from error
    from torchvision import models

    if name not in list_models(module=models):
        raise ValueError(f"unknown model {name!r}: it is resnet-small or one of torchvision's, such as resnet50")
    model: nn.Module = get_model(name, weights=None, num_classes=classes)
    return model
