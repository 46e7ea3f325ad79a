"""BlurPool: a low-pass filter before every strided convolution (Zhang 2019, arXiv:1904.11486).

It is worth 0.5 to 1 point of ResNet-50's top-1 by that paper, and changes the architecture: a run that uses it says so,
and its checkpoint does not fit a net without it. As in FFCV's ResNet-50 and MosaicML's Composer, the blur comes before
the convolution, and convolutions of fewer than 16 channels stay as they are: a blur of the picture itself would only
lower its resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FEWEST_CHANNELS = 16


def add_to(model: nn.Module) -> int:
    """Puts blurs before the model's strided convolutions; returns how many. The parameters keep their names."""
    added = 0
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Conv2d and max(child.stride) > 1 and child.in_channels >= FEWEST_CHANNELS:
                setattr(parent, name, BlurredConv2d(child))
                added += 1
    return added


class BlurredConv2d(nn.Conv2d):
    """A convolution of the blurred input."""

    def __init__(self, plain: nn.Conv2d) -> None:
        """Takes over the weights of `plain`."""
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size,  # type: ignore[arg-type]
            plain.stride,  # type: ignore[arg-type]
            plain.padding,  # type: ignore[arg-type]
            plain.dilation,  # type: ignore[arg-type]
            plain.groups,
            plain.bias is not None,
        )
        self.load_state_dict(plain.state_dict())
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        blur = (row[:, None] * row[None, :]).expand(plain.in_channels, 1, 3, 3)
        self.blur: Tensor
        self.register_buffer("blur", blur.clone(memory_format=torch.contiguous_format), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """[n, c, h, w] to [n, out, h / stride, w / stride]."""
        blurred = functional.conv2d(features, self.blur, padding=1, groups=self.in_channels)
        return super().forward(blurred)
