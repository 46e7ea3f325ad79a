"""A run's state to a checkpoint and back: its position, and what it has learnt.

What it has learnt is one dict, which only the learner looks into. The files are those of `remote.train.checkpoint`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from remote.rank_env import RankEnv
from remote.train import checkpoint
from remote.train.snapshot import Snapshot
from remote.wire.events import CheckpointFailed, CheckpointLoaded, CheckpointSaved
from remote.wire.journal import Journal

STUCK_S = 60.0
"""Half of the time after which a collective has lost a rank."""
About = dict[str, Any]
"""What a checkpoint must have in common with the run that continues it: model, dataset, classes."""
Learnt = dict[str, Any]
"""What `remote.model.learner.Learner.state` gives."""


@dataclass(slots=True)
class Position:
    """How far the run is; saved with a checkpoint."""

    step: int = 0
    """Optimiser steps taken."""
    epoch: int = 0
    epoch_step: int = 0
    """Steps taken in the epoch."""
    epoch_images: int = 0
    """Images shown in them, which counts in a gang of another size."""
    meant_for: int = 0
    """Number of ranks that the recipe's batch sizes are for; 0 in a checkpoint that does not say."""
    elapsed_s: float = 0.0
    loss_sum: float = 0.0
    """Over the epoch's steps so far."""
    loss_steps: int = 0
    epoch_train_s: float = 0.0


class Restorer:
    """Saves a run's state, and loads the newest."""

    def __init__(self, folder: Path, env: RankEnv, journal: Journal) -> None:
        self._folder = folder
        self._env = env
        self._journal = journal
        self._snapshot = Snapshot()
        self._writer: threading.Thread | None = None
        self._bug: Exception | None = None

    def save(self, at: Position, about: About, learnt: Learnt, reason: str) -> None:
        """Begins a checkpoint, on rank 0; a thread writes it while training continues. A failure is reported.

        One at a time: a checkpoint that is still being written is waited for, but not so long that a collective of the
        other ranks times out.
        """
        began = time.perf_counter()
        if not self.finish(STUCK_S):
            self._failed(at.step, OSError(f"the one before it is still being written after {STUCK_S:g} s"))
            return
        try:
            copy = self._snapshot.take({"about": about, "position": asdict(at), **learnt})
        except MemoryError as error:
            self._failed(at.step, error)
            return
        arguments = (copy, at.step, at.epoch, reason, began, time.perf_counter() - began)
        self._writer = threading.Thread(target=self._write, args=arguments, name="checkpoint")
        self._writer.start()

    def finish(self, timeout_s: float | None = None) -> bool:
        """Waits for the checkpoint that is being written, if there is one; False where it is not written in time."""
        if self._writer is not None:
            self._writer.join(timeout_s)
        if self._bug is not None:
            raise self._bug
        return self._writer is None or not self._writer.is_alive()

    def _write(self, copy: Learnt, step: int, epoch: int, reason: str, began: float, waited_s: float) -> None:
        try:
            self._snapshot.wait()
            saved = checkpoint.save(self._folder, step, copy)
        except (OSError, MemoryError) as error:
            self._failed(step, error)
            return
        except Exception as error:
            self._bug = error  # for the trainer's own thread to raise
            return
        self._journal.emit(
            CheckpointSaved(
                step=step,
                epoch=epoch,
                path=saved.path,
                size_bytes=saved.size_bytes,
                sha256=saved.sha256,
                save_s=time.perf_counter() - began,
                reason=reason,
                wait_s=waited_s,
            )
        )

    def _failed(self, step: int, error: Exception) -> None:
        path = f"{checkpoint.FOLDER}/{checkpoint.name_of(step)}"
        self._journal.emit(CheckpointFailed(path=path, reason=getattr(error, "strerror", None) or str(error)))

    def load(self, about: About) -> tuple[Position, Learnt] | None:
        """The newest whole checkpoint on any node; None where there is none. A collective.

        After a restart torchrun may give rank 0 to another node than the one that saved, so every node looks, and the
        node with the newest checkpoint sends it to all.

        Raises:
            ValueError: it is of another model or data set.
        """
        env = self._env

        def damaged(path: str, reason: str) -> None:
            self._journal.emit(CheckpointFailed(path=path, reason=reason))

        found = None
        if env.local_rank == 0:
            checkpoint.sweep(self._folder)
            found = checkpoint.load_newest(self._folder, damaged)
        step, content = found or (-1, b"")
        mine = torch.tensor([step, len(content)], device=env.device)
        gathered = torch.empty(env.world_size * 2, dtype=mine.dtype, device=env.device)
        dist.all_gather_into_tensor(gathered, mine)
        steps, sizes = gathered.view(-1, 2).T.tolist()
        newest = max(steps)
        if newest < 0:
            return None
        holder = steps.index(newest)
        if env.rank == holder:
            packed = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(env.device)
        else:
            packed = torch.empty(sizes[holder], dtype=torch.uint8, device=env.device)
        dist.broadcast(packed, holder)
        state = checkpoint.unpack(packed.cpu().numpy().tobytes())

        path = f"{checkpoint.FOLDER}/{checkpoint.name_of(newest)}"
        position, theirs = Position(**state.pop("position")), state.pop("about")
        if theirs != about:
            of, ours = (f"{a['model']} on {a['dataset']} with {a['classes']} classes" for a in (theirs, about))
            raise ValueError(f"the checkpoint {path} is of {of}, and the run is of {ours}")
        if env.rank == holder:
            self._journal.emit(CheckpointLoaded(step=position.step, epoch=position.epoch, path=path))
        return position, state
