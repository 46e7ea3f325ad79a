"""`shapes`: a synthetic data set, made on first use, so that the demo needs no download.

216 classes: 6 shapes x 6 colours x 6 textures. A net that distinguishes only two of the three leaves six candidates and
so stays near 5/6 = 83 % top-5; 93 % needs shape, colour and texture together. The pictures are JPEG files of 40 to
72 px a side with aspect ratios from 5:9 to 9:5, each with its own position, size, rotation, hue, shading, background
and noise. 60 training and 10 validation pictures a class, each drawn from random numbers that depend only on the split,
the class and the picture's number, so that every run makes the same files.

No torch here: a host can make the data set while torch is still being imported.
"""

from __future__ import annotations

import colorsys
import fcntl
import itertools
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.floating[Any]]
"""A number per pixel, [height, width]."""
Progress = Callable[[int, int], None]
"""Called with the number of pictures that are there, and their total."""

VERSION = 1
"""Increased with every change of the pictures; each version has a folder of its own."""
SHAPES = ("disc", "square", "triangle", "star", "cross", "ring")
HUES = {"red": 0.0, "yellow": 0.15, "green": 0.34, "cyan": 0.5, "blue": 0.64, "magenta": 0.84}
TEXTURES = ("plain", "striped", "checked", "circled", "halved", "rimmed")
CLASSES = tuple("-".join(names) for names in itertools.product(HUES, TEXTURES, SHAPES))
SPLITS = {"train": 60, "val": 10}
"""Pictures a class."""
COMPLETE = "complete.json"
"""Written last: a folder without it is unfinished and is made again."""


def make(data_dir: Path, progress: Progress) -> Path:
    """The folder with train/ and val/, which is made if it is not there.

    Any number of processes may call this at once on the same `data_dir`: one makes the pictures, the others wait and
    report its progress. Raises OSError where the disk is full or cannot be written.
    """
    root = data_dir / f"shapes-{VERSION}"
    total = len(CLASSES) * sum(SPLITS.values())
    if (root / COMPLETE).exists():
        return root
    data_dir.mkdir(parents=True, exist_ok=True)
    with only_one(data_dir / f"shapes-{VERSION}.lock", lambda done: progress(done, total)) as lock:
        if (root / COMPLETE).exists():
            return root
        reported = 0.0
        for done, (path, label, number, split) in enumerate(_pictures(root)):
            if number == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            draw(split, label, number).save(path, "JPEG", quality=90)
            if time.monotonic() - reported > 0.25:
                reported = time.monotonic()
                os.pwrite(lock.fileno(), f"{done:8d}".encode(), 0)
                progress(done, total)
        beside = root / f"{COMPLETE}.new"
        beside.write_text(json.dumps({"version": VERSION, "classes": len(CLASSES), "pictures": total}))
        beside.rename(root / COMPLETE)
    return root


def make_ahead(data_dir: Path) -> None:
    """Begins to make it in another process, while the launcher imports torch."""
    fork = multiprocessing.get_context("fork")
    fork.Process(target=make, args=(data_dir, lambda done, total: None), daemon=True).start()


@contextmanager
def only_one(path: Path, waiting: Callable[[int], None]) -> Iterator[BinaryIO]:
    """Holds the lock file `path`; until it is free, calls `waiting` with the number at the start of the file.

    The lock is the kernel's, not the file's existence: it is released when its holder ends, however it ends.
    """
    # Not in append mode, where pwrite would append too (Linux).
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                number = os.pread(lock.fileno(), 8, 0).strip()
                waiting(int(number) if number.isdigit() else 0)
                time.sleep(0.2)
        yield lock


def draw(split: str, label: int, number: int) -> Image.Image:
    """Picture `number` of class `label`: RGB, 40 to 72 px a side."""
    hue_name, texture, shape = CLASSES[label].split("-")
    rng = np.random.default_rng((VERSION, tuple(SPLITS).index(split), label, number))
    width, height = (int(side) for side in rng.integers(40, 73, 2))
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]

    # Within the middle square, so that a square validation crop of a long picture holds it.
    radius = min(width, height) * rng.uniform(0.25, 0.46)
    reach = min(width, height) / 2 - radius * 0.9
    centre_x = width / 2 + rng.uniform(-reach, reach)
    centre_y = height / 2 + rng.uniform(-reach, reach)
    u, v = _turned((x - centre_x) / radius, (y - centre_y) / radius, rng.uniform(0, 2 * math.pi))
    inside = np.clip(_depth(shape, u, v) * radius + 0.5, 0, 1)  # one pixel of soft edge

    # The texture has a direction of its own. Its dark part keeps the hue, so that colour and texture are independent.
    a, b = _turned(u, v, rng.uniform(0, 2 * math.pi))
    dark = np.clip(_ink(texture, shape, u, v, a, b, rng.uniform(4.2, 5.6)) * radius * 0.25 + 0.5, 0, 1)
    hue = (HUES[hue_name] + rng.uniform(-0.035, 0.035)) % 1
    colour = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.6, 1), rng.uniform(0.7, 1)), np.float32)
    shade = (1 - dark * rng.uniform(0.5, 0.8)).astype(np.float32)

    # Background: four dull corners, blended, in hues that are independent of the class.
    corners = (0.45 + rng.uniform(-0.35, 0.35, (2, 2, 1)) + rng.uniform(-0.15, 0.15, (2, 2, 3))).astype(np.float32)
    fx, fy = (x / (width - 1))[..., None], (y / (height - 1))[..., None]
    ground = (corners[0, 0] * (1 - fx) + corners[0, 1] * fx) * (1 - fy)
    ground = ground + (corners[1, 0] * (1 - fx) + corners[1, 1] * fx) * fy

    picture = ground + inside[..., None] * (colour * shade[..., None] - ground)
    picture += rng.standard_normal((height, width, 1), np.float32) * np.float32(rng.uniform(0.02, 0.08))
    return Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))


def _turned(u: Field, v: Field, angle: float) -> tuple[Field, Field]:
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return u * cos - v * sin, u * sin + v * cos


def _depth(shape: str, u: Field, v: Field) -> Field:
    """How deep inside the shape a point lies, in radii; negative outside."""
    far = np.sqrt(u * u + v * v)
    match shape:
        case "disc":
            return 0.95 - far
        case "square":
            return 0.8 - np.maximum(np.abs(u), np.abs(v))
        case "triangle":
            return 0.5 - np.maximum(v, np.maximum(-v / 2 + u * 0.866, -v / 2 - u * 0.866))
        case "star":
            fifth = 2 * math.pi / 5
            turn = np.abs((np.arctan2(v, u) % fifth) - fifth / 2) / (fifth / 2)  # 1 at a point, 0 between two
            return 0.42 + 0.58 * turn**1.5 - far
        case "cross":
            long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
            return np.minimum(0.95 - long, 0.3 - short)
        case "ring":
            return 0.24 - np.abs(far - 0.74)
    raise AssertionError(shape)


def _ink(texture: str, shape: str, u: Field, v: Field, a: Field, b: Field, waves: float) -> Field:
    """Where the texture is dark (positive), about +-1 within a fraction of a radius."""
    pitch = np.float32(waves * 1.4)
    match texture:
        case "plain":
            return np.full_like(u, -1e3)
        case "striped":
            return np.sin(a * pitch)
        case "checked":
            return np.sin(a * pitch) * np.sin(b * pitch) * 1.5
        case "circled":
            return np.cos(np.sqrt(u * u + v * v) * pitch * 1.3)
        case "halved":
            return a * 4
        case "rimmed":
            return (0.16 - _depth(shape, u, v)) * 4
    raise AssertionError(texture)


def _pictures(root: Path) -> Iterator[tuple[Path, int, int, str]]:
    for split, count in SPLITS.items():
        for label, name in enumerate(CLASSES):
            for number in range(count):
                yield root / split / name / f"{number:03d}.jpg", label, number, split
