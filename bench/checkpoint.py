"""The cost of a checkpoint of ResNet-50 with its momentum (205 MB): python bench/checkpoint.py [FOLDER]

The net takes steps, and in the middle of each turn a checkpoint is made in one of four ways:

    none         for comparison
    in the rank  `remote.train.checkpoint.save`, which blocks
    beside       `remote.train.restore.Restorer.save`: a copy, and a thread
    torch's      `torch.distributed.checkpoint.async_save` of the same state, without a checksum

"stood still" is the time of the call, "whole" the time until the file is there. "turn" is the time of a turn's steps
and its call, relative to a turn without a checkpoint: 1 means no cost. Where training keeps all cores busy, writing
takes time from the steps in any case; on the host of a GPU it need not.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.distributed.checkpoint as dcp  # noqa: E402

from remote.model.learner import Learner  # noqa: E402
from remote.rank_env import RankEnv  # noqa: E402
from remote.train import checkpoint  # noqa: E402
from remote.train.restore import Position, Restorer  # noqa: E402
from remote.wire.job import Recipe  # noqa: E402
from remote.wire.journal import Journal  # noqa: E402
from remote.wire.layout import JOURNAL  # noqa: E402
from remote.wire.schedule import Phase  # noqa: E402

STEPS, TURNS = 8, 4


def main(where: str | None) -> None:
    """Prints the table."""
    cuda = torch.cuda.is_available()
    torch.set_num_threads(1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(probe.getsockname()[1]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    env = RankEnv(0, 0, 1, torch.device("cuda", 0) if cuda else torch.device("cpu"))
    batch, side = (256, 224) if cuda else (8, 64)
    phase = Phase(start_epoch=0, end_epoch=1, image_size=side, batch_size_per_gpu=batch, lr_start=0.1, lr_end=0.1)
    learner = Learner(Recipe(model="resnet50", dataset="", data_dir="", phases=(phase,)), env, 1000)
    learner.warm_up()
    pictures = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)
    labels = torch.randint(0, 1000, (batch,))

    def step() -> None:
        learner.backward(pictures, labels)
        learner.step(0.0, 0.9)
        if cuda:
            torch.cuda.synchronize()

    step()
    with tempfile.TemporaryDirectory(dir=where) as folder:
        ways = Ways(learner, env, Path(folder))
        turns: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways.all}
        for _ in range(TURNS):
            for name, way in ways.all.items():
                began = time.perf_counter()
                for _ in range(STEPS // 2):
                    step()
                called = time.perf_counter()
                finish = way()
                still_s = time.perf_counter() - called
                for _ in range(STEPS // 2):
                    step()
                turn_s = time.perf_counter() - began
                finish()
                turns[name].append((still_s, time.perf_counter() - called, turn_s))
        base_s = statistics.median(turn_s for _, _, turn_s in turns["none"])
        print(
            f"{learner.parameters / 1e6:.1f} million parameters, {base_s / STEPS * 1e3:.0f} ms a step on {env.device}"
        )
        print(f"{'':12} {'stood still':>12} {'whole':>9} {'turn':>7}")
        for name, figures in turns.items():
            still_s, whole_s, turn_s = (statistics.median(column) for column in zip(*figures, strict=True))
            if name == "none":
                print(f"{name:12} {'—':>12} {'—':>9} {1:7.3f}")
            else:
                print(f"{name:12} {still_s * 1e3:9.0f} ms {whole_s * 1e3:6.0f} ms {turn_s / base_s:7.3f}")
        ways.close()
    dist.destroy_process_group()


class Ways:
    """Ways to make a checkpoint: each begins one and returns what waits for its end."""

    def __init__(self, learner: Learner, env: RankEnv, folder: Path) -> None:
        self.learner = learner
        self.folder = folder
        self.restorer = Restorer(folder, env, Journal(folder / JOURNAL))
        self.number = 0
        self.all: dict[str, Callable[[], Callable[[], Any]]] = {
            "none": lambda: lambda: None,
            "in the rank": self.in_the_rank,
            "beside": self.beside,
            "torch's": self.torchs,
        }

    def in_the_rank(self) -> Callable[[], Any]:
        self.number += 1
        checkpoint.save(self.folder, self.number, self.learner.state())
        return lambda: None

    def beside(self) -> Callable[[], Any]:
        self.number += 1
        about = {"model": "resnet50", "dataset": "", "classes": 1000}
        self.restorer.save(Position(step=self.number), about, self.learner.state(), "epoch")
        return self.restorer.finish

    def torchs(self) -> Callable[[], Any]:
        shutil.rmtree(self.folder / "dcp", ignore_errors=True)
        future: Any = dcp.async_save(self.learner.state(), checkpoint_id=self.folder / "dcp")
        return future.result

    def close(self) -> None:
        self.restorer.finish()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
