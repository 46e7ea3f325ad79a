"""JPEG files to training batches: python bench/loader.py [--pictures N] [--rounds N]

The loaders take turns at the same photographs. Columns: pictures a second on one core (one process, one thread, CPU
time) and with a process on every core (wall time), and the ratio to the first row: torchvision's ImageFolder (Pillow)
with RandomResizedCrop, a flip and ToTensor. At 288 px it is an evaluation: resize, centre crop.

The photographs are those of scikit-learn and scikit-image (the extra `bench`), cut and mirrored into pictures of
ImageNet's usual sizes. The files are in the page cache, so that disks are not measured.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from remote.data import crop, decode
from remote.data.batch_plan import Request
from remote.data.batch_reader import Reader
from remote.data.datasets import Source, open_sources
from remote.data.loader import TRAINING, Loader, Room
from remote.data.packed import side_for
from remote.prepare import pack
from remote.wire.job import Recipe

TRAIN_PX = (96, 128, 160, 224)
EVALUATION_PX = 288
BATCH = 64
MIN_SCALE = 0.08
SIZES = ((500, 375), (500, 375), (500, 375), (375, 500), (500, 333), (333, 500), (500, 400), (400, 400))
"""Width and height, about as often as in ImageNet, whose mean picture has 500 x 375 px or so."""
QUALITY = 90
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
"""Of scikit-image, those in colour that come with the package; scikit-learn adds china and flower."""


# --- pictures --------------------------------------------------------------------------------------------------------


def photographs() -> list[Image.Image]:
    """Six of them; exits with a sentence where their packages are not installed."""
    try:
        from skimage import data
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        sys.exit(f"{error.name} is not installed; the photographs are its: pip install '.[bench]'")
    pixels = list(load_sample_images().images) + [getattr(data, name)() for name in PHOTOGRAPHS]
    return [Image.fromarray(one) for one in pixels]


def make_folder(root: Path, count: int) -> int:
    """An image folder of so many pictures; returns their mean bytes."""
    rng = random.Random(7)
    originals = photographs()
    total = 0
    for number in range(count):
        source = originals[number % len(originals)]
        width, height = rng.choice(SIZES)
        most = min(source.width / width, source.height / height)
        scale = most * rng.uniform(0.7, 1)
        left, upper = rng.uniform(0, source.width - width * scale), rng.uniform(0, source.height - height * scale)
        box = (left, upper, left + width * scale, upper + height * scale)
        picture = source.resize((width, height), Image.Resampling.LANCZOS, box)
        if rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for split in ("train", "val"):
            path = root / split / f"class-{number % len(originals)}" / f"{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, "JPEG", quality=QUALITY)
        total += path.stat().st_size
    return total // count


# --- the loaders -----------------------------------------------------------------------------------------------------


class Files(Dataset[Any]):
    """An image folder whose files a function turns into a tensor."""

    def __init__(self, root: Path, read: Callable[[str], torch.Tensor]) -> None:
        self.samples = ImageFolder(str(root)).samples
        self.read = read

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[index]
        return self.read(path), label


def tensor_transform(px: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """torchvision's v2 transforms on uint8 tensors."""
    if px == EVALUATION_PX:
        return v2.Compose([v2.Resize(round(crop.RESIZE * px), antialias=True), v2.CenterCrop(px)])
    return v2.Compose([v2.RandomResizedCrop(px, antialias=True), v2.RandomHorizontalFlip()])


def image_folder(root: Path, px: int) -> Dataset[Any]:
    """torchvision's reference."""
    steps: list[Any] = [transforms.RandomResizedCrop(px), transforms.RandomHorizontalFlip()]
    if px == EVALUATION_PX:
        steps = [transforms.Resize(round(crop.RESIZE * px)), transforms.CenterCrop(px)]
    return ImageFolder(str(root), transforms.Compose([*steps, transforms.ToTensor()]))


def torchvision_decode(root: Path, px: int) -> Dataset[Any]:
    """torchvision.io.decode_jpeg and v2 transforms."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    transform = tensor_transform(px)
    return Files(root, lambda path: transform(decode_jpeg(read_file(path), mode=ImageReadMode.RGB)))


def torchcodec_decode(root: Path, px: int) -> Dataset[Any]:
    """TorchCodec's decode_jpeg and v2 transforms."""
    from torchcodec.decoders import decode_jpeg

    transform = tensor_transform(px)
    return Files(root, lambda path: transform(decode_jpeg(Path(path).read_bytes())))


def simplejpeg_scaled(root: Path, px: int) -> Dataset[Any]:
    """simplejpeg at 1/2, 1/4 or 1/8 where the crop leaves enough, and torchvision's resized_crop."""
    import simplejpeg

    def read(path: str) -> torch.Tensor:
        data = Path(path).read_bytes()
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if px == EVALUATION_PX:
            return tensor_transform(px)(torch.from_numpy(simplejpeg.decode_jpeg(data)).permute(2, 0, 1))
        frame = torch.empty(1, height, width)
        top, left, h, w = transforms.RandomResizedCrop.get_params(frame, [MIN_SCALE, 1.0], [3 / 4, 4 / 3])
        shrink = next((one for one in (8, 4, 2) if min(h, w) >= one * px), 1)
        if shrink > 1:
            pixels = simplejpeg.decode_jpeg(
                data, min_width=-(-width // shrink), min_height=-(-height // shrink), min_factor=shrink
            )
        else:
            pixels = simplejpeg.decode_jpeg(data)
        picture = torch.from_numpy(pixels).permute(2, 0, 1)
        box = [round(one / shrink) for one in (top, left, h, w)]
        picture = v2.functional.resized_crop(picture, *box, size=[px, px], antialias=True)
        return picture.flip(2) if random.random() < 0.5 else picture

    return Files(root, read)


@dataclass
class Ours:
    """This project's reader and loader over one data set."""

    source: Source

    def requests(self, px: int, seed: int) -> list[Request]:
        """An epoch over it."""
        order = np.random.RandomState(seed).permutation(len(self.source))
        epoch = -1 if px == EVALUATION_PX else seed
        return [Request(order[at : at + BATCH], px, px, epoch, MIN_SCALE) for at in range(0, len(order), BATCH)]


@dataclass
class Contender:
    """One way to load."""

    name: str
    make: Callable[[Path, int], Dataset[Any]] | Ours
    needs: str | None = None
    """The package that it needs."""
    pillow: bool = False
    """Ours without simplejpeg."""

    def alone(self, root: Path, px: int, seed: int) -> Iterator[Any]:
        """An epoch's batches in this process."""
        if isinstance(self.make, Ours):
            reader = Reader(self.make.source, seed)
            return (reader.batch(request, _fail) for request in self.make.requests(px, seed))
        return iter(DataLoader(self.make(root, px), BATCH, shuffle=True))

    def crowd(self, root: Path, px: int, workers: int, epochs: int) -> Callable[[], int]:
        """Starts processes; what it returns reads so many epochs and says how many pictures those were."""
        if isinstance(self.make, Ours):
            reader = Reader(self.make.source, 1)
            loader = Loader([reader], workers, torch.device("cpu"), _fail_text)
            plan = [one for seed in range(1, epochs + 1) for one in self.make.requests(px, seed)]
            room = Room.of((len(one), px, px) for one in plan)
            for _ in loader.batches(TRAINING, self.make.requests(px, 0)[:1], room):
                pass

            def ours() -> int:
                count = sum(len(labels) for _, labels in loader.batches(TRAINING, plan, room))
                loader.close()
                return count

            return ours
        loader = DataLoader(self.make(root, px), BATCH, shuffle=True, num_workers=workers, persistent_workers=True)
        for _ in loader:
            pass
        return lambda: sum(len(labels) for _ in range(epochs) for _, labels in loader)


def _fail(index: int, text: str) -> None:
    raise AssertionError(text)


def _fail_text(text: str) -> None:
    raise AssertionError(text)


def contenders(folder: Path, packed: Path) -> list[Contender]:
    """Those whose packages are there; says which are not."""

    def ours(root: Path, dataset: str) -> Ours:
        recipe = Recipe(model="", dataset=dataset, data_dir=str(root), phases=())
        return Ours(open_sources(recipe, lambda done, total: None)[0])

    every = [
        Contender("ImageFolder, RandomResizedCrop, ToTensor (Pillow)", image_folder),
        Contender("torchvision.io.decode_jpeg, v2 transforms", torchvision_decode),
        Contender("TorchCodec decode_jpeg, v2 transforms", torchcodec_decode, needs="torchcodec"),
        Contender("simplejpeg at reduced size, v2 resized_crop", simplejpeg_scaled, needs="simplejpeg"),
        Contender("ours, the same files", ours(folder, "imagefolder")),
        Contender("ours, packed by remote.prepare", ours(packed, "packed")),
        Contender("… without simplejpeg", ours(packed, "packed"), pillow=True),
    ]
    there = []
    for one in every:
        try:
            if one.needs:
                __import__(one.needs if one.needs != "torchcodec" else "torchcodec.decoders")
        except Exception as error:
            print(f"left out: {one.name}: {str(error).splitlines()[0][:120]}")
            continue
        there.append(one)
    return there


# --- the measurements ------------------------------------------------------------------------------------------------


def per_core(who: list[Contender], root: Path, px: int, rounds: int) -> dict[str, list[float]]:
    """Pictures a CPU second of this process, by round."""
    found: dict[str, list[float]] = {one.name: [] for one in who}
    for number in range(rounds + 1):
        for one in who:
            with _decoder(one):
                began, count = time.process_time(), 0
                for _, labels in one.alone(root, px, number):
                    count += len(labels)
                if number:  # the first warms the caches
                    found[one.name].append(count / (time.process_time() - began))
    return found


def with_workers(who: list[Contender], root: Path, px: int, workers: int, rounds: int) -> dict[str, list[float]]:
    """Pictures a second by the clock, by round."""
    found: dict[str, list[float]] = {one.name: [] for one in who}
    for _ in range(rounds):
        for one in who:
            with _decoder(one):
                read = one.crowd(root, px, workers, 3)
                began = time.perf_counter()
                count = read()
                found[one.name].append(count / (time.perf_counter() - began))
    return found


class _decoder:  # noqa: N801
    """Ours with or without simplejpeg."""

    def __init__(self, contender: Contender) -> None:
        self.off = contender.pillow

    def __enter__(self) -> None:
        self.was = decode._simplejpeg
        if self.off:
            decode._simplejpeg = None

    def __exit__(self, *_: object) -> None:
        decode._simplejpeg = self.was


def threads_or_processes(packed: Ours, px: int) -> tuple[float, float]:
    """Pictures a second of two threads, and of two processes."""
    requests = [one for seed in range(4) for one in packed.requests(px, seed)]
    reader = Reader(packed.source, 1)

    def read(mine: Iterable[Request]) -> None:
        for request in mine:
            reader.batch(request, _fail)

    pair = [threading.Thread(target=read, args=(requests[number::2],)) for number in range(2)]
    began = time.perf_counter()
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()
    threads = sum(map(len, requests)) / (time.perf_counter() - began)
    loader = Loader([reader], 2, torch.device("cpu"), _fail_text)
    room = Room.of((len(one), px, px) for one in requests)
    began = time.perf_counter()
    for _ in loader.batches(TRAINING, requests, room):
        pass
    processes = sum(map(len, requests)) / (time.perf_counter() - began)
    loader.close()
    return threads, processes


def agreement(files: Ours, packed: Ours, folder: Path, px: int) -> Iterator[tuple[str, float, float, int]]:
    """For each data set: mean and worst mean of a crop, and the largest difference of a pixel, in levels of 255, from
    the reference: all of the file decoded by Pillow, the same box cut, resized with an antialiased filter."""
    for name, ours in (("the same files", files), ("packed, full size", packed), ("packed, presized", packed)):
        off: list[tuple[float, int]] = []
        for index in range(0, len(ours.source), 2):
            data = Path(files.source.name(index)).read_bytes()
            with Image.open(io.BytesIO(data)) as image:
                whole = image.convert("RGB")
            rng = random.Random(index)
            box = crop.random_box(*whole.size, MIN_SCALE, rng)
            box = crop.aligned(box, *whole.size, px, px)
            need = 10_000 if name == "packed, full size" else px
            out = torch.empty((px, px, 3), dtype=torch.uint8)
            crop.crop_into(out, ours.source.open(index, need), box, mirrored=False)
            cut = whole.crop(tuple(map(round, box))).resize((px, px), Image.Resampling.BILINEAR)
            difference = np.abs(out.numpy().astype(int) - np.asarray(cut, int))
            off.append((float(difference.mean()), int(difference.max())))
        means = [mean for mean, _ in off]
        yield name, statistics.mean(means), max(means), max(largest for _, largest in off)


# --- the report ------------------------------------------------------------------------------------------------------


def table(title: str, sizes: Iterable[int], found: dict[int, dict[str, list[float]]]) -> None:
    """Markdown: medians over the rounds, and the median of the rounds' ratios to the first row."""
    print(f"\n### {title}\n\n| | " + " | ".join(f"{px} px{' eval.' * (px == EVALUATION_PX)}" for px in sizes) + " |")
    print("|---" * (1 + len(list(sizes))) + "|")
    names = list(next(iter(found.values())))
    for name in names:
        cells = []
        for px in sizes:
            rates, base = found[px][name], found[px][names[0]]
            ratio = statistics.median(mine / theirs for mine, theirs in zip(rates, base, strict=True))
            cells.append(f"{statistics.median(rates):,.0f} · {ratio:.2f}×")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=lambda text: [int(px) for px in text.split(",")])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    sizes = options.sizes or [*TRAIN_PX, EVALUATION_PX]
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as work:
        folder, packed = Path(work, "folder"), Path(work, "packed")
        mean_bytes = make_folder(folder, options.pictures)
        pack.prepare(folder, packed, workers=cores)
        who = contenders(folder, packed)
        root = folder / "train"
        print(
            f"{options.pictures} photographs, {mean_bytes / 1000:.0f} kB on average; {cores} cores; "
            f"torch {torch.__version__}, torchvision {torchvision.__version__}, {decode.decoder_name()}"
        )
        alone: dict[int, dict[str, list[float]]] = {}
        crowd: dict[int, dict[str, list[float]]] = {}
        for px in sizes:
            alone[px] = per_core(who, root, px, options.rounds)
            crowd[px] = with_workers(who, root, px, cores, max(1, options.rounds // 2))
            print(f"{px} px measured", file=sys.stderr)
        table("Pictures a second on one core, and the ratio to the first row", sizes, alone)
        table(f"Pictures a second with {cores} processes, and the ratio to the first row", sizes, crowd)
        ours = [one.make for one in who if isinstance(one.make, Ours)]
        print("\n### Agreement with the reference transform, levels of 255\n")
        print("| | px | mean | worst crop's mean | largest of a pixel |\n|---|---|---|---|---|")
        for px in (128, 224):
            for name, mean, worst, largest in agreement(ours[0], ours[1], folder, px):
                copy = f" (copy of {side_for((160, 352, 0), px)} px)" if name == "packed, presized" else ""
                print(f"| {name}{copy} | {px} | {mean:.2f} | {worst:.2f} | {largest} |")
        threads, processes = threads_or_processes(ours[1], 224)
        print(f"\nPacked, 224 px: pictures a second of two threads {threads:,.0f}, of two processes {processes:,.0f}")


if __name__ == "__main__":
    main()
