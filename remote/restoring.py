"""A run's state to a checkpoint and back: where it is, and what it has learnt.

What is learnt comes and goes as one dict, whose parts are the learner's affair. How a checkpoint lies on the disk is
that of `remote.checkpoint`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from remote import checkpoint
from remote.events import CheckpointFailed, CheckpointLoaded, CheckpointSaved
from remote.job import Recipe
from remote.journal import Journal
from remote.place import Place
from remote.schedule import phase_index, steps_per_epoch

Learnt = dict[str, Any]
"""What `remote.learner.Learner.state` gives."""


@dataclass(slots=True)
class Position:
    """Where the run is; saved with a checkpoint, but for the world it is in."""

    step: int = 0
    """Optimiser steps taken."""
    epoch: int = 0
    epoch_step: int = 0
    """Steps taken in the epoch."""
    elapsed_s: float = 0.0
    loss_sum: float = 0.0
    """Over the epoch's steps so far."""
    loss_steps: int = 0
    epoch_train_s: float = 0.0


class Restorer:
    """Saves and finds again one run's state."""

    def __init__(self, folder: Path, place: Place, journal: Journal, recipe: Recipe, images: int, classes: int) -> None:
        """`images` and `classes` are those of the training set."""
        self._folder = folder
        self._place = place
        self._journal = journal
        self._recipe = recipe
        self._images = images
        self._about = {"model": recipe.model, "dataset": recipe.dataset, "classes": classes}
        """What a checkpoint must have in common with the recipe to be continued by it."""

    def save(self, at: Position, learnt: Learnt, reason: str) -> None:
        """Writes a checkpoint, on rank 0; a failure is said, and training goes on."""
        began = time.perf_counter()
        seen = at.epoch_step * self._global_batch(at.epoch) if at.epoch_step else 0
        state = {"about": self._about, "position": asdict(at) | {"epoch_images": seen}, **learnt}
        try:
            saved = checkpoint.save(self._folder, at.step, state)
        except OSError as error:
            path = f"{checkpoint.FOLDER}/{checkpoint.name_of(at.step)}"
            self._journal.emit(CheckpointFailed(path=path, reason=error.strerror or str(error)))
            return
        self._journal.emit(
            CheckpointSaved(
                step=at.step,
                epoch=at.epoch,
                path=saved.path,
                size_bytes=saved.size_bytes,
                sha256=saved.sha256,
                save_s=time.perf_counter() - began,
                reason=reason,
            )
        )

    def load(self) -> tuple[Position, Learnt] | None:
        """The newest whole checkpoint on any node; None where there is none. A collective.

        After a restart torchrun may give rank 0 to another node than the one that saved, so every node looks and the
        one that has the newest sends it to all.

        Raises:
            ValueError: it is of another model or data set.
        """
        place = self._place

        def damaged(path: str, reason: str) -> None:
            self._journal.emit(CheckpointFailed(path=path, reason=reason))

        found = checkpoint.load_newest(self._folder, damaged) if place.local_rank == 0 else None
        step, content = found or (-1, b"")
        mine = torch.tensor([step, len(content)], device=place.device)
        everybodys = torch.empty(place.world_size * 2, dtype=mine.dtype, device=place.device)
        dist.all_gather_into_tensor(everybodys, mine)
        steps, sizes = everybodys.view(-1, 2).T.tolist()
        newest = max(steps)
        if newest < 0:
            return None
        holder = steps.index(newest)
        if place.rank == holder:
            packed = torch.frombuffer(bytearray(content), dtype=torch.uint8).to(place.device)
        else:
            packed = torch.empty(sizes[holder], dtype=torch.uint8, device=place.device)
        dist.broadcast(packed, holder)
        state = checkpoint.unpack(packed.cpu().numpy().tobytes())

        path = f"{checkpoint.FOLDER}/{checkpoint.name_of(newest)}"
        about, position = state.pop("about"), state.pop("position")
        if about != self._about:
            theirs, ours = (
                f"{one['model']} on {one['dataset']} with {one['classes']} classes" for one in (about, self._about)
            )
            raise ValueError(f"the checkpoint {path} is of {theirs}, and the run is of {ours}")
        images = position.pop("epoch_images")
        at = Position(**position)
        if at.epoch_step:
            # The same number of steps in the same gang; in one of another size, as many as show the same pictures.
            global_batch = self._global_batch(at.epoch)
            at.epoch_step = min(images // global_batch, steps_per_epoch(self._images, global_batch))
        if place.rank == holder:
            self._journal.emit(CheckpointLoaded(step=at.step, epoch=at.epoch, path=path))
        return at, state

    def _global_batch(self, epoch: int) -> int:
        phases = self._recipe.phases
        return phases[phase_index(phases, epoch)].batch_size_per_gpu * self._place.world_size
