"""What a net asks of a device and what the device could do at most: the two sides of "share of the peak".

The share is the model's own floating-point operations over the data sheet's (MFU; Chowdhery et al. 2022, "PaLM",
appendix B): nothing that is computed twice or thrown away counts.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

_PEAKS_TFLOPS = (
    ("B200", 2250.0, 1125.0),
    ("H200", 989.0, 494.0),
    ("H100 PCIe", 756.0, 378.0),
    ("H100 NVL", 835.0, 417.0),
    ("H100", 989.0, 494.0),
    ("A100", 312.0, 156.0),
    ("L40S", 362.0, 183.0),
    ("L4", 121.0, 60.0),
    ("A10G", 70.0, 35.0),
    ("T4", 65.0, 8.1),
    ("V100-PCIE", 112.0, 14.0),
    ("V100", 125.0, 15.7),
)
"""By a part of the name that the driver gives: TFLOP/s in 16 bits (bf16 and fp16 alike, fp32 sums) and in 32.

From NVIDIA's data sheets of each card, tensor cores without sparsity (half of the figure that has the asterisk). In 32
bits TF32 from Ampere on, which is what torch's convolutions use there, and the plain cores before. The first that fits
counts, so that the narrower names stand first.
"""


def peak_flops(device_name: str, precision: torch.dtype) -> float | None:
    """Floating-point operations a second that the device can do at most; None for one that the table has not."""
    words = device_name.replace("-", " ").split()
    for name, half, single in _PEAKS_TFLOPS:
        wanted = name.replace("-", " ").split()
        if any(words[place : place + len(wanted)] == wanted for place in range(len(words))):
            return (single if precision == torch.float32 else half) * 1e12
    return None


def flops_per_image(model: nn.Module, side: int, batch: int = 2) -> float | None:
    """Operations of one picture's forward and backward pass, [side, side]; a multiply-add is two.

    Counted by torch over a copy that has shapes and no numbers: matrix products and convolutions, as is the custom.
    `batch` is one that the model takes: batch norm wants two pictures, or a whole group of them. None for a model that
    cannot be run so.
    """
    from torch.utils.flop_counter import FlopCounterMode

    memo: dict[int, object] = {id(one): nn.Parameter(one.detach().to("meta")) for one in model.parameters()}
    memo |= {id(one): one.to("meta") for one in model.buffers()}
    counter = FlopCounterMode(display=False)
    try:
        shadow = copy.deepcopy(model, memo)
        with counter:
            shadow(torch.empty(batch, 3, side, side, device="meta")).sum().backward()
    except (RuntimeError, NotImplementedError):
        return None
    return counter.get_total_flops() / batch
