"""Checkpoints: ``checkpoints/step-00000123.pt`` in the run's folder, and beside it a ``.json`` with its SHA-256.

Both are written under another name, flushed to the disk and renamed, the ``.json`` last. A file without one is not
whole; a file with another checksum is damaged. Both are skipped for the one before. The two newest are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

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

    The one before is kept. Older ones are deleted, and so are those of later steps, which were skipped as damaged.

    A thread may do this beside training (`bench/checkpoint.py`): torch, hashlib and the file release the interpreter's
    lock while they work on a tensor's bytes.

    Raises:
        OSError: it could not be written; no part of it is left.
    """
    directory = folder / FOLDER
    directory.mkdir(exist_ok=True)
    path = directory / name_of(step)
    digest = hashlib.sha256()

    def packed(file: BinaryIO) -> None:
        sink = _Sink(file, digest)
        torch.save(state, sink)  # type: ignore[arg-type]  # it asks for no more than `write` and `flush`
        sink.close()

    _write(path, packed)
    saved = Saved(f"{FOLDER}/{path.name}", path.stat().st_size, digest.hexdigest())
    head = {"sha256": saved.sha256, "size_bytes": saved.size_bytes, "step": step}
    try:
        _write(path.with_suffix(".json"), lambda file: file.write(json.dumps(head).encode()))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    found = newest_first(folder)
    kept = [path for path in found if step_of(path) <= step][:KEPT]
    for old in set(found).difference(kept):
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    return saved


def sweep(folder: Path) -> None:
    """Deletes what a process left that was killed while it saved."""
    for beside in (folder / FOLDER).glob("step-*.new"):
        beside.unlink(missing_ok=True)


def load_newest(folder: Path, damaged: Callable[[str, str], None]) -> tuple[int, bytes] | None:
    """Step and content of the newest whole checkpoint; None where there is none.

    `damaged` is called with the path (relative to the run's folder) of each newer one, and what is wrong with it.
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


class _Sink:
    """A file that computes the checksum of what is written, and keeps an error until it is closed.

    torch's writer would turn an error of its file into one of its own.
    """

    def __init__(self, file: BinaryIO, digest: _Digest) -> None:
        self._file = file
        self._digest = digest
        self._error: OSError | None = None

    def write(self, content: memoryview) -> int:
        if self._error is None:
            try:
                self._file.write(content)
                self._digest.update(content)
            except OSError as error:
                self._error = error
        return len(content)

    def flush(self) -> None:
        """Does nothing: the file is flushed when it is whole."""

    def close(self) -> None:
        """Raises the first error of a write."""
        if self._error is not None:
            raise self._error


class _Digest(Protocol):
    def update(self, content: memoryview, /) -> None: ...


def _write(path: Path, content: Callable[[BinaryIO], object]) -> None:
    """Writes a file that is whole or not there, even where the process is killed or the machine loses power."""
    beside = path.with_name(f"{path.name}.new")
    try:
        with open(beside, "wb") as file:
            content(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # or a loss of power may undo the rename
        finally:
            os.close(directory)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
