"""The environment that torchrun gives a rank: its numbers and, from them, its device."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class RankEnv:
    """A rank's numbers, as torch names them, and its device."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device

    @classmethod
    def from_env(cls) -> RankEnv:
        """From the environment variables RANK, LOCAL_RANK and WORLD_SIZE."""
        local_rank = int(os.environ["LOCAL_RANK"])
        device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
        return cls(int(os.environ["RANK"]), local_rank, int(os.environ["WORLD_SIZE"]), device)
