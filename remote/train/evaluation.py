"""Accuracy over the held-out pictures, each of which is evaluated by exactly one rank.

All ranks take part, and the next training step waits for the result, since whether there is a next step depends on it.
To keep that short, the loader reads ahead for the next epoch as well as for the evaluation, the sums stay on the
device, and the host waits for the device at the end only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional

from remote.data.batch_reader import Batch
from remote.data.datasets import Source, ratio_of
from remote.model.learner import Learner
from remote.rank_env import RankEnv

Ratios = np.ndarray[Any, np.dtype[np.float64]]
REPORT_S = 0.5
"""Seconds between two reports of how far an evaluation is."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The result of an evaluation; None where no picture could be read."""

    top1: float | None
    top5: float | None
    loss: float | None
    """Mean over the pictures."""
    images: int


@torch.inference_mode()
def evaluate(
    learner: Learner,
    batches: Iterable[Batch],
    env: RankEnv,
    progress: Callable[[int], None],
    *,
    flip: bool = False,
) -> Metrics:
    """Metrics of the learner's evaluated net over the batches of all ranks. A collective: each rank has its share.

    With `flip` a picture's scores are the mean of its own and its mirror image's. `progress` is called on rank 0 with
    the number of its own pictures that are done.
    """
    done, reported = 0, 0.0
    sums = torch.zeros(3, dtype=torch.float64, device=env.device)
    net = learner.evaluated.eval()
    for pictures, labels in batches:
        if len(labels) == 0:
            continue
        pictures = pictures.to(env.device, non_blocking=True)
        labels = labels.to(env.device, non_blocking=True)
        found = learner.scores(pictures)
        if flip:
            found = (found + learner.scores(pictures.flip(2))) / 2
        hits = found.topk(min(5, found.shape[1])).indices == labels[:, None]
        loss = functional.cross_entropy(found, labels, reduction="sum")
        sums += torch.stack([hits[:, 0].sum(), hits.sum(), loss])
        done += len(labels)
        if env.rank == 0 and time.monotonic() - reported > REPORT_S:
            reported = time.monotonic()
            progress(done)
    net.train()
    totals = torch.cat([sums, sums.new_tensor([done])])
    dist.all_reduce(totals)
    top1, top5, loss_sum, count = totals.tolist()
    if not count:
        return Metrics(None, None, None, 0)
    return Metrics(top1 / count, top5 / count, loss_sum / count, int(count))


def ratios_of(validation: Source, env: RankEnv) -> Ratios:
    """Width over height of every validation picture. A collective: each rank reads its share."""
    total = len(validation)
    ratios = torch.zeros(total, dtype=torch.float64, device=env.device)
    mine = range(env.rank, total, env.world_size)
    ratios[list(mine)] = torch.tensor(
        [ratio_of(validation, index) for index in mine], dtype=torch.float64, device=env.device
    )
    dist.all_reduce(ratios)
    return ratios.cpu().numpy()
