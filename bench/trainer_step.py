"""Our training step compared with that of torchvision's reference recipe: python bench/trainer_step.py [--model NAME]

Both train the same net on the same pictures in the same precision, in one process with a process group of one rank, in
turns. `Reference` does in a step what torchvision's ``references/classification/train.py`` does: pictures come as
normalised floats in NCHW, DDP and SGD have their defaults, and loss and accuracies are read back every step. Ours
(`remote.model.learner`) gets bytes, normalises on the device in channels_last, has a fused optimiser and reads nothing
back.

Pictures are random and in memory: no loader, no network. On a CPU this is a smoke test of both, whose ratio holds for
this CPU only; `bench/gpu.py` runs it on a GPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from remote.model import precision, resnet  # noqa: E402
from remote.model.learner import MEAN, STD, Learner  # noqa: E402
from remote.rank_env import RankEnv  # noqa: E402
from remote.wire.job import Recipe  # noqa: E402
from remote.wire.schedule import Phase  # noqa: E402

CLASSES = 1000
ROUNDS = 5
ROUND_S = 1.0
"""Seconds that each has in a round, before it is the other's turn."""

Step = Callable[[], None]


class Reference:
    """torchvision's reference: a step of training, and of evaluation."""

    def __init__(self, model: str, device: torch.device, dtype: torch.dtype, channels_last: bool = False) -> None:
        """`channels_last` is an option of ours on top of it: the reference has none."""
        self.device = device
        self.dtype = dtype
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        torch.manual_seed(0)
        self.model = resnet.build(model, CLASSES).to(device).to(memory_format=self.format)
        self.ddp = DistributedDataParallel(self.model, device_ids=[device.index] if device.type == "cuda" else None)
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        self.scaler = torch.amp.GradScaler(device.type) if dtype == torch.float16 else None

    def autocast(self) -> Any:
        """The precision that both are measured in."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def train(self, pictures: Tensor, labels: Tensor) -> None:
        """One step; `pictures` are normalised floats [n, 3, h, w] on the host."""
        pictures = pictures.to(self.device, non_blocking=True, memory_format=self.format)
        labels = labels.to(self.device, non_blocking=True)
        with self.autocast():
            scores = self.ddp(pictures)
            loss = self.loss(scores, labels)
        self.optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self._hits(scores, labels)
        loss.item()

    @torch.inference_mode()
    def evaluate(self, pictures: Tensor, labels: Tensor) -> None:
        """Scores of a batch, and how many are right."""
        pictures = pictures.to(self.device, non_blocking=True, memory_format=self.format)
        labels = labels.to(self.device, non_blocking=True)
        with self.autocast():
            scores = self.model.eval()(pictures)
        self._hits(scores, labels)
        self.model.train()

    def _hits(self, scores: Tensor, labels: Tensor) -> None:
        best = scores.detach().topk(5, dim=1).indices == labels[:, None]
        best[:, 0].sum().item()
        best.sum().item()


class Batch:
    """Random pictures of one size, in the form that each of the two takes."""

    def __init__(self, px: int, batch: int, pinned: bool) -> None:
        self.bytes = torch.randint(0, 256, (batch, px, px, 3), dtype=torch.uint8)
        mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (MEAN, STD))
        self.floats = ((self.bytes.permute(0, 3, 1, 2).float() / 255 - mean) / std).contiguous()
        self.labels = torch.randint(0, CLASSES, (batch,))
        if pinned:
            self.bytes, self.floats, self.labels = (one.pin_memory() for one in (self.bytes, self.floats, self.labels))


def ours(model: str, device: torch.device, wanted: str, px: int, batch: int, **changes: Any) -> Learner:
    """Our learner for pictures of one size. `wanted` is a precision of `remote.wire.job.PRECISIONS`."""
    phase = Phase(start_epoch=0, end_epoch=1, image_size=px, batch_size_per_gpu=batch, lr_start=0.1, lr_end=0.1)
    recipe = Recipe(
        model=model, dataset="", data_dir="", phases=(phase,), label_smoothing=0.1, precision=wanted, **changes
    )
    learner = Learner(recipe, RankEnv(0, 0, 1, device), CLASSES)
    learner.warm_up()
    return learner


def train_step(learner: Learner, batch: Batch) -> Step:
    """One step of ours."""

    def step() -> None:
        learner.backward(batch.bytes, batch.labels)
        learner.step(0.1, 0.9)

    return step


def evaluation_step(learner: Learner, batch: Batch) -> Step:
    """One batch's evaluation by ours, as in `remote.train.evaluation`: the counts stay on the device."""

    @torch.inference_mode()
    def step() -> None:
        learner.evaluated.eval()
        scores = learner.scores(batch.bytes)
        labels = batch.labels.to(learner.env.device, non_blocking=True)
        (scores.topk(5).indices == labels[:, None]).sum()
        learner.evaluated.train()

    return step


def synchronise(device: torch.device) -> None:
    """Waits for all that the device has been given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(steps: Mapping[str, Step], device: torch.device, rounds: int, round_s: float) -> dict[str, float]:
    """Median seconds of each step over rounds in which they take turns."""
    took: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in steps.items():
        for _ in range(2):
            step()
        synchronise(device)
        began = time.perf_counter()
        step()
        synchronise(device)
        took[name].append(time.perf_counter() - began)
    counts = {name: max(1, round(round_s / once[0])) for name, once in took.items()}
    took = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            synchronise(device)
            began = time.perf_counter()
            for _ in range(counts[name]):
                step()
            synchronise(device)
            took[name].append((time.perf_counter() - began) / counts[name])
    return {name: statistics.median(one) for name, one in took.items()}


def compare(
    model: str, device: torch.device, wanted: str, px: int, size: int, rounds: int = ROUNDS, round_s: float = ROUND_S
) -> dict[str, dict[str, float]]:
    """Pictures a second, by ``train`` and ``evaluation``, of ``reference`` and ``ours``."""
    batch = Batch(px, size, pinned=device.type == "cuda")
    reference = Reference(model, device, precision.of(wanted, device))
    learner = ours(model, device, wanted, px, size)
    ways: dict[str, dict[str, Step]] = {
        "train": {
            "reference": lambda: reference.train(batch.floats, batch.labels),
            "ours": train_step(learner, batch),
        },
        "evaluation": {
            "reference": lambda: reference.evaluate(batch.floats, batch.labels),
            "ours": evaluation_step(learner, batch),
        },
    }
    return {
        way: {name: size / took for name, took in seconds(steps, device, rounds, round_s).items()}
        for way, steps in ways.items()
    }


def join_alone(device: torch.device) -> None:
    """A process group of this process alone, with NCCL on a GPU."""
    cuda = device.type == "cuda"
    if not cuda:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "nccl" if cuda else "gloo",
        store=dist.HashStore(),
        rank=0,
        world_size=1,
        device_id=device if cuda else None,
    )


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--px", type=int, nargs="+", default=[64, 96, 128])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    join_alone(device)
    print(f"{options.model}, batch {options.batch}, {options.precision} on {device}; img/s, median of {options.rounds}")
    print("| px | | reference | ours | ratio |\n|---|---|---|---|---|")
    for px in options.px:
        found = compare(options.model, device, options.precision, px, options.batch, options.rounds)
        for way, rates in found.items():
            ratio = rates["ours"] / rates["reference"]
            print(f"| {px} | {way} | {rates['reference']:,.1f} | {rates['ours']:,.1f} | {ratio:.2f} |", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
