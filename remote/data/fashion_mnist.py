"""Fashion-MNIST: 60,000 + 10,000 grey pictures of 28 x 28 px in 10 classes, read from its four idx files.

The format (http://yann.lecun.com/exdb/mnist): a big-endian magic number 0x0000080N for N dimensions of unsigned bytes,
N sizes of 32 bits, the bytes. The files are unpacked once into the data directory and mapped from there, so that the
ranks of one machine share one copy in memory.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from remote.data.shapes import Progress, only_one

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
FILES = {"train": "train", "val": "t10k"}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts them."""

Bytes = npt.NDArray[np.uint8]


def load(data_dir: Path, split: str, progress: Progress) -> tuple[Bytes, Bytes]:
    """Pictures [n, 28, 28] and labels [n] of ``train`` or ``val``, mapped read-only.

    Raises:
        OSError: the files are missing; the message says what to install.
        ValueError: a file is damaged.
    """
    pictures = _mapped(data_dir, f"{FILES[split]}-images-idx3-ubyte", 3, progress)
    labels = _mapped(data_dir, f"{FILES[split]}-labels-idx1-ubyte", 1, progress)
    if len(pictures) != len(labels):
        raise ValueError(f"Fashion-MNIST in {data_dir} has {len(pictures)} {split} pictures and {len(labels)} labels")
    return pictures, labels


def _mapped(data_dir: Path, name: str, dimensions: int, progress: Progress) -> Bytes:
    path = data_dir / name
    if not path.exists():
        source = _source(data_dir, name)
        data_dir.mkdir(parents=True, exist_ok=True)
        with only_one(data_dir / "unpack.lock", lambda done: progress(done, len(FILES) * 2)):
            if not path.exists():
                beside = path.with_name(f"{name}.new")
                packed = source.read_bytes()
                beside.write_bytes(gzip.decompress(packed) if source.suffix == ".gz" else packed)
                beside.rename(path)
    with open(path, "rb") as file:
        head = file.read(4 + 4 * dimensions)
    magic, *shape = struct.unpack(f">{1 + dimensions}I", head) if len(head) == 4 + 4 * dimensions else (0,)
    if magic != 0x0800 + dimensions or path.stat().st_size != len(head) + np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path} is not a whole idx file of {dimensions} dimensions")
    return np.memmap(path, np.uint8, "r", len(head), tuple(shape))


def _source(data_dir: Path, name: str) -> Path:
    # torchvision downloads to <root>/FashionMNIST/raw and keeps both the compressed and the unpacked files there.
    raw = data_dir / "FashionMNIST" / "raw"
    candidates = [raw / name, raw / f"{name}.gz", data_dir / f"{name}.gz", DEBIAN / f"{name}.gz"]
    for path in candidates:
        if path.exists():
            return path
    raise FileNotFoundError(
        f"Fashion-MNIST is neither in {DEBIAN} (apt install dataset-fashion-mnist) "
        f"nor in {raw} (where torchvision downloads it)"
    )
