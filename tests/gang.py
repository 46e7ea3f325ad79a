"""Real gangs for tests: ranks over gloo, each in a process of its own and with a run's folder of its own.

They are forked from a server that has torch imported, so that a gang of four starts in a second.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import socket
import sys
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from remote.wire.codec import Event, decode
from remote.wire.control import ControlRequest, write_request
from remote.wire.events import REMOTE
from remote.wire.job import Job, Recipe
from remote.wire.layout import JOURNAL
from remote.wire.schedule import Phase

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["remote.train.run_rank", "torch._dynamo"])

CLASSES = 7


def picture_folder(root: Path, train: int, val: int, side: int = 24) -> Path:
    """An image folder with so many pictures in all, in seven classes that differ in colour."""
    rng = np.random.default_rng(5)
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            label = number % CLASSES
            folder = root / split / f"class-{label}"
            folder.mkdir(parents=True, exist_ok=True)
            size = (side + int(rng.integers(0, side)), side + int(rng.integers(0, side)), 3)
            colour = np.array([(label * 37) % 255, (label * 91) % 255, (label * 149) % 255])
            pixels = np.clip(colour + rng.normal(0, 30, size), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:04d}.jpg")
    return root


def recipe(data_dir: Path, batch: int, epochs: int = 2, **changes: Any) -> Recipe:
    """A small recipe of two phases."""
    phases = (
        Phase(start_epoch=0, end_epoch=1, image_size=16, batch_size_per_gpu=batch, lr_start=0.02, lr_end=0.1),
        Phase(
            start_epoch=1, end_epoch=max(epochs, 2), image_size=24, batch_size_per_gpu=batch, lr_start=0.1, lr_end=0.01,
            rectangular=True,
        ),
    )  # fmt: skip
    plain = Recipe(
        model="resnet-small", dataset="imagefolder", data_dir=str(data_dir), phases=phases[: min(epochs, 2)], seed=3
    )
    return replace(plain, **changes)


@dataclass
class Gang:
    """Ranks that run."""

    folders: list[Path]
    ranks: list[BaseProcess]
    alive: Connection
    """Open for as long as the process that started them lives."""

    def join(self, timeout_s: float = 90) -> list[int | None]:
        """Waits; exit codes by rank."""
        deadline = time.monotonic() + timeout_s
        for rank in self.ranks:
            rank.join(max(0, deadline - time.monotonic()))
        codes = [rank.exitcode for rank in self.ranks]
        for rank in self.ranks:
            if rank.is_alive():
                rank.kill()
                rank.join()
        return codes

    def control(self, request: ControlRequest) -> None:
        """Tells every rank's node, one after the other."""
        for folder in self.folders:
            write_request(folder, request)

    def wait_for(self, kind: type[Event], rank: int = 0, timeout_s: float = 60) -> None:
        """Returns once the rank has said an event of this kind."""
        deadline = time.monotonic() + timeout_s
        while not said(self.folders[rank], kind):
            assert time.monotonic() < deadline, f"no {kind.__name__} in {timeout_s} s"
            time.sleep(0.02)


def start(recipe: Recipe, root: Path, world_size: int, file_limit_bytes: int | None = None) -> Gang:
    """A gang of single-rank nodes, their folders ``root/0``, ``root/1``, ..."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    job = Job(
        run_id="test", node=0, nnodes=world_size, nproc_per_node=1, recipe=recipe, address="127.0.0.1", embedded=True
    )
    folders = [root / str(rank) for rank in range(world_size)]
    ranks: list[BaseProcess] = []
    alive, ours = forks.Pipe(duplex=False)
    for rank, folder in enumerate(folders):
        folder.mkdir(parents=True, exist_ok=True)
        process = forks.Process(
            target=_rank, args=(job.to_json(), folder, rank, world_size, port, file_limit_bytes, alive)
        )
        process.start()
        ranks.append(process)
    alive.close()
    return Gang(folders, ranks, ours)


def run(recipe: Recipe, root: Path, world_size: int, **options: Any) -> list[int | None]:
    """Starts a gang and waits for its end."""
    return start(recipe, root, world_size, **options).join()


def torchrun(arguments: list[str], folder: Path, timeout_s: float = 120) -> tuple[int | None, str]:
    """torchrun itself, from a process that has torch imported already; its exit code and what it wrote on stderr."""
    process = forks.Process(target=_torchrun, args=(arguments, folder))
    process.start()
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode, (folder / "stderr").read_text()


def _torchrun(arguments: list[str], folder: Path) -> None:
    from torch.distributed import run

    out = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 2)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    run.main(arguments)


def events(folder: Path) -> list[Event]:
    """What is in a node's journal."""
    path = folder / JOURNAL
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [decode(json.loads(line), REMOTE) for line in lines]


def said(folder: Path, kind: type[Event]) -> list[Any]:
    """The events of one kind in a node's journal."""
    return [event for event in events(folder) if isinstance(event, kind)]


def _rank(
    job: str, folder: Path, rank: int, world_size: int, port: int, file_limit_bytes: int | None, alive: Connection
) -> None:
    from remote.train import run_rank

    # The server that ranks are forked from, their parent, lives while any of them does.
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    os.environ.update(
        RANK=str(rank), LOCAL_RANK="0", WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    out = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 2)
    if file_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, resource.RLIM_INFINITY))
    sys.exit(run_rank.main(Job.from_json(job), folder))


def _end_with(alive: Connection) -> None:
    """Ends this process when whoever started the gang has ended, however that came."""
    alive.poll(None)
    os._exit(1)
