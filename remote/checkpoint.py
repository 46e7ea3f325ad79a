"""Checkpoints: ``checkpoints/step-00000123.pt`` in the run's folder, and beside it a ``.json`` with its SHA-256.

Written under another name, flushed to the disk and renamed, the sum last: a file with a sum is whole, and a file that
no longer has that sum is damaged and passed over for the one before it. The two newest are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

FOLDER = "checkpoints"
KEPT = 2


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint on the disk."""

    path: str
    """Relative to the run's folder."""
    size_bytes: int
    sha256: str


def save(folder: Path, step: int, state: dict[str, Any]) -> Saved:
    """Writes `state` (tensors, numbers, strings, and dicts and lists of them) as the checkpoint after `step`.

    Raises:
        OSError: it could not be written whole; nothing of it is left.
    """
    directory = folder / FOLDER
    directory.mkdir(exist_ok=True)
    packed = io.BytesIO()
    torch.save(state, packed)
    content = packed.getbuffer()
    saved = Saved(f"{FOLDER}/{name_of(step)}", len(content), hashlib.sha256(content).hexdigest())
    path = folder / saved.path
    _write(path, content)
    try:
        head = {"sha256": saved.sha256, "size_bytes": saved.size_bytes, "step": step}
        _write(path.with_suffix(".json"), json.dumps(head).encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    for old in newest_first(folder)[KEPT:]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return saved


def load_newest(folder: Path, damaged: Callable[[str, str], None]) -> tuple[int, bytes] | None:
    """Step and content of the newest whole checkpoint; None where there is none.

    `damaged` is told the path (relative to the run's folder) of each newer one that is not whole, and what is wrong.
    """
    for path in newest_first(folder):
        try:
            head = json.loads(path.with_suffix(".json").read_text())
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == head["sha256"]:
                return step_of(path), content
            reason = f"its {len(content):,} bytes do not have the SHA-256 that was recorded"
        except FileNotFoundError:
            reason = "no SHA-256 is recorded beside it"
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"it cannot be read: {error}"
        damaged(f"{FOLDER}/{path.name}", reason)
    return None


def unpack(content: bytes) -> dict[str, Any]:
    """The state in a checkpoint's content, tensors on the CPU. Loads data only, no code."""
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def name_of(step: int) -> str:
    """The file's name."""
    return f"step-{step:08d}.pt"


def step_of(path: Path) -> int:
    """The step in a checkpoint's name."""
    return int(path.stem.removeprefix("step-"))


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, whole or not."""
    found = (folder / FOLDER).glob("step-*.pt")
    return sorted((path for path in found if path.stem[5:].isdigit()), key=step_of, reverse=True)


def _write(path: Path, content: bytes | memoryview) -> None:
    beside = path.with_name(f"{path.name}.new")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
