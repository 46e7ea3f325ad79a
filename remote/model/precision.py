"""The types that a net computes in, and that its gradients are sent in.

bf16 where the GPU has it, else fp16 with a scaled loss, else fp32; weights, their sums and BatchNorm stay in fp32
(torch's autocast).
"""

from __future__ import annotations

import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook, fp16_compress_hook
from torch.nn.parallel import DistributedDataParallel

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def of(wanted: str, device: torch.device) -> torch.dtype:
    """The type for `wanted`, one of `remote.wire.job.PRECISIONS`.

    ``auto`` on a CPU is fp32: without AMX it computes bf16 at a fraction of the speed.

    Raises:
        ValueError: bf16 is wanted on a GPU without it.
    """
    cuda = device.type == "cuda"
    # By default torch also returns True for a V100 or T4, where it emulates bf16, slower than fp32.
    has_bf16 = not cuda or torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        if not cuda:
            return torch.float32
        return torch.bfloat16 if has_bf16 else torch.float16
    if wanted == "bf16" and not has_bf16:
        raise ValueError(
            f"run.precision is bf16, which the GPU {torch.cuda.get_device_name(device)} does not support; auto takes "
            "fp16 there"
        )
    return TYPES[wanted]


def name_of(dtype: torch.dtype) -> str:
    """The name that a recipe has for the type: ``bf16``, ``fp16`` or ``fp32``."""
    return next(name for name, known in TYPES.items() if known == dtype)


def send_gradients_in(wanted: str, ddp: DistributedDataParallel) -> None:
    """Has DDP send and sum gradients in ``bf16`` or ``fp16``, which halves their bytes; ``fp32`` changes nothing.

    The runs of 2018 used fp16.
    """
    if wanted == "bf16":
        ddp.register_comm_hook(None, bf16_compress_hook)
    elif wanted == "fp16":
        ddp.register_comm_hook(None, fp16_compress_hook)
