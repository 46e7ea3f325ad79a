"""Does today's recipe learn as well as plain SGD at a small batch? python bench/convergence.py DATASET

DATASET is `shapes` or `fashion-mnist`. Real gangs over gloo with the small net of the local profiles, every run over
the same number of epochs and so the same number of pictures:

* *plain*: one rank, batch 64, SGD with momentum 0.9, weight decay 1e-4, one size of picture (the profile's largest: 40
  and 28 px), no label smoothing, no mean of the weights; the rate a tenth of its height after two thirds of the epochs
  and again after eight ninths (He et al. 2015). Its rate is the best of four, so that it is nobody's straw man.
* *today*: SGD with Nesterov momentum at a global batch of 128 for 16 ranks, growing pictures (on `shapes` the last two
  epochs are at 48 px, as a recipe for ImageNet ends at 288), a rate that rises and falls to 0 in a line, label
  smoothing, a mean of the weights; on 1, 4 and 16 ranks. The trainer keeps the global batch: fewer ranks take their
  share in pieces (`remote.train.global_batch`).
* *profile*: the recipe of `local` or `local-fashion-mnist`, at a global batch of 512: made for a demo that reaches its
  target soon, with few and cheap steps.

Top-1 and top-5 are of the last epoch, not of the best one. It takes some minutes a run: `--only`, `--ranks` and
`--seeds` take parts of it. Rows come as they are done.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import gang  # noqa: E402

from console.profile import load  # noqa: E402
from remote.wire.events import EpochEnded  # noqa: E402
from remote.wire.job import Recipe  # noqa: E402
from remote.wire.schedule import Phase  # noqa: E402

PROFILES = {"shapes": "local", "fashion-mnist": "local-fashion-mnist"}
RANKS = 16
"""Of the profiles."""
TODAY_BATCH = 128
TODAY = {
    "shapes": (
        (0, 2, 24, (0.1, 0.6), 0.35),
        (2, 6, 32, (0.6, 0.3), 0.35),
        (6, 8, 40, (0.3, 0.15), 0.35),
        (8, 10, 48, (0.15, 0.0), 0.5),
    ),
    "fashion-mnist": (
        (0, 1, 24, (0.04, 0.3), 0.7),
        (1, 3, 28, (0.3, 0.15), 0.7),
        (3, 5, 28, (0.15, 0.0), 0.7),
    ),
}
"""First epoch and the one after the last, px, rates, smallest share of a crop."""
PLAIN_BATCH = 64
PLAIN_RATES = (0.05, 0.1, 0.2, 0.4)
LIMIT_S = 3600


def today(dataset: str, data_dir: Path) -> Recipe:
    """Today's recipe for 16 ranks, which any number of them may follow."""
    demo = of_profile(dataset, data_dir)
    phases = tuple(
        replace(
            demo.phases[0],
            start_epoch=start,
            end_epoch=end,
            image_size=px,
            batch_size_per_gpu=TODAY_BATCH // RANKS,
            lr_start=rates[0],
            lr_end=rates[1],
            min_scale=min_scale,
            rectangular=end == TODAY[dataset][-1][1],
        )
        for start, end, px, rates, min_scale in TODAY[dataset]
    )
    return replace(demo, phases=phases, nesterov=True, weight_decay=5e-4, label_smoothing=0.1, ema_decay=0.98)


def of_profile(dataset: str, data_dir: Path) -> Recipe:
    """The local profile's recipe."""
    return replace(load.load(PROFILES[dataset]).recipe(str(data_dir)), target_metric=None)


def plain(dataset: str, rate: float, data_dir: Path) -> Recipe:
    """Plain SGD over as many epochs, for one rank."""
    theirs = of_profile(dataset, data_dir)
    first, last = theirs.phases[0], theirs.phases[-1]
    epochs = last.end_epoch
    steps = sorted({0, round(epochs * 2 / 3), round(epochs * 8 / 9), epochs})
    phases = tuple(
        Phase(
            start_epoch=start,
            end_epoch=end,
            image_size=last.image_size,
            batch_size_per_gpu=PLAIN_BATCH,
            lr_start=rate / 10**number,
            lr_end=rate / 10**number,
            min_scale=first.min_scale,
            rectangular=last.rectangular,
        )
        for number, (start, end) in enumerate(pairwise(steps))
    )
    return Recipe(model=theirs.model, dataset=dataset, data_dir=str(data_dir), phases=phases)


def result(recipe: Recipe, ranks: int, seed: int) -> tuple[EpochEnded, float, list[float]]:
    """The last epoch of a gang's run, its seconds, and top-1 by epoch."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        running = gang.start(replace(recipe, seed=seed, checkpoint_epochs=10_000), Path(folder), ranks)
        codes = running.join(LIMIT_S)
        if any(codes):
            sys.exit((Path(folder) / "0/stderr").read_text() or f"exit codes {codes}")
        epochs = gang.said(Path(folder) / "0", EpochEnded)
        return epochs[-1], time.monotonic() - began, [epoch.top1 for epoch in epochs]


def row(name: str, ranks: int, seed: int, recipe: Recipe) -> float:
    """Runs it and prints a row of the table; the final top-1."""
    last, took_s, by_epoch = result(recipe, ranks, seed)
    batch = recipe.phases[0].batch_size_per_gpu * (recipe.world_size or ranks)
    way = " ".join(f"{100 * top1:.1f}" for top1 in by_epoch)
    print(
        f"| {name} | {ranks} | {batch} | {seed} | {100 * last.top1:.2f} % | {100 * last.top5:.2f} % "
        f"| {last.val_loss:.4f} | {last.step:,} | {took_s:.0f} | {way} |",
        flush=True,
    )
    return float(last.top1)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=PROFILES)
    parser.add_argument("--data", type=Path, default=Path("~/.fastconsole/data").expanduser())
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", choices=("plain", "today", "profile"))
    parser.add_argument("--rates", type=float, nargs="+", default=PLAIN_RATES, help="those that plain SGD is tried at")
    options = parser.parse_args()
    print("| recipe | ranks | global batch | seed | top-1 | top-5 | loss held out | steps | s | top-1 by epoch |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    first, *others = options.seeds
    if options.only in (None, "plain"):
        reached = {
            rate: row(f"plain SGD, rate {rate:g}", 1, first, plain(options.dataset, rate, options.data))
            for rate in options.rates
        }
        best = max(reached, key=lambda rate: reached[rate])
        for seed in others:
            row(f"plain SGD, rate {best:g}", 1, seed, plain(options.dataset, best, options.data))
    for name, recipe in (("today", today), ("profile", of_profile)):
        if options.only in (None, name):
            for ranks in options.ranks:
                for seed in options.seeds:
                    row(name, ranks, seed, recipe(options.dataset, options.data))


if __name__ == "__main__":
    main()
