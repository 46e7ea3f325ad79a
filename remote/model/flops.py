"""Floating-point operations of a net, and the peak rate of a device: the numerator and denominator of MFU.

MFU (model FLOPs utilisation; Chowdhery et al. 2022, "PaLM", appendix B) counts the model's own operations, not what is
recomputed or discarded.
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
"""Part of the driver's name for the card, TFLOP/s in 16 bits (bf16 and fp16 alike, fp32 accumulation), and in 32.

From NVIDIA's data sheets, tensor cores without sparsity (half of the figure with the asterisk). In 32 bits that is TF32
from Ampere on, which torch's convolutions use there, and the CUDA cores before. The first match counts, so the longer
names come first.
"""


def peak_flops(device_name: str, precision: torch.dtype) -> float | None:
    """Peak floating-point operations a second of the device; None where the table does not have it."""
    words = device_name.replace("-", " ").split()
    for name, half, single in _PEAKS_TFLOPS:
        wanted = name.replace("-", " ").split()
        if any(words[start : start + len(wanted)] == wanted for start in range(len(words))):
            return (single if precision == torch.float32 else half) * 1e12
    return None


def flops_per_image(model: nn.Module, side: int, batch: int = 2) -> float | None:
    """Operations of the forward and backward pass for a picture of `side` by `side` px; a multiply-add is two.

    Counted by torch on a copy on the meta device: matrix products and convolutions, as is usual. `batch` is a size that
    the model takes: batch norm needs two pictures, or a whole group. None for a model that does not run there.
    """
    from torch.utils.flop_counter import FlopCounterMode

    memo: dict[int, object] = {
        id(parameter): nn.Parameter(parameter.detach().to("meta")) for parameter in model.parameters()
    }
    memo |= {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    counter = FlopCounterMode(display=False)
    try:
        shadow = copy.deepcopy(model, memo)
        with counter:
            shadow(torch.empty(batch, 3, side, side, device="meta")).sum().backward()
    except (RuntimeError, NotImplementedError):
        return None
    return counter.get_total_flops() / batch
