"""A rank's place in the gang, as torchrun gives it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class RankEnv:
    """A rank's place in the gang."""

    rank: int
    local_rank: int
    world_size: int
    device: torch.device

    @classmethod
    def from_env(cls) -> RankEnv:
        """The place that torchrun gave."""
        local_rank = int(os.environ["LOCAL_RANK"])
        device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
        return cls(int(os.environ["RANK"]), local_rank, int(os.environ["WORLD_SIZE"]), device)
