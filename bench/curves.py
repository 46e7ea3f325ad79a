"""The Progress pane of long runs: processor time to draw it once a step has come, by how long the run is.

    python bench/curves.py [--size 196x50]

Runs of 1,000 to 400,000 steps (the longest at 10 a second: 11 hours) of 1,000 steps an epoch, raced against 2018's
record and with two past runs of the same length laid over. Each figure is the median of 20 draws, a step apart; the
first draw reads all that was never drawn. What a draw costs must not grow with the run.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import replace

from console.compare import curves, race
from console.compare.comparison import Comparison, Past
from console.state import events as ce
from console.state.run import Epoch, Point, Run
from console.state.series import Series
from console.state.status import TRAINING
from console.tui.draw import figures, plots
from console.tui.draw.moment import Moment
from console.tui.draw.plots import Look
from remote.wire import events as re

DRAWS = 20
EACH = 1000
"""Steps an epoch."""
BEGAN = 1_790_000_000.0


def point(step: int) -> Point:
    """A step of a noisy loss that falls."""
    loss = 1 + 6 / math.log(step + 3) + 0.3 * math.sin(step * 12.9898)
    return Point(step, BEGAN + step / 10, loss, 0.1, 2000.0 + 100 * math.sin(step))


def run_of(steps: int) -> Run:
    """A run that has taken so many steps."""
    epochs = tuple(
        re.EpochEnded(
            epoch=epoch,
            step=(epoch + 1) * EACH,
            elapsed_s=(epoch + 1) * EACH / 10,
            top1=0.7 * (1 - math.exp(-epoch / 30)),
            top5=0.92 * (1 - math.exp(-epoch / 30)),
            train_loss=2.0,
            val_loss=2.1,
            img_per_s=2000.0,
            image_size=224,
        )
        for epoch in range(steps // EACH)
    )
    training = re.TrainingStarted(
        world_size=128,
        model="resnet50",
        parameters=25_557_032,
        classes=1000,
        train_images=race.IMAGENET,
        val_images=50_000,
        total_epochs=2 * steps // EACH,
        total_steps=2 * steps,
        start_step=0,
        start_epoch=0,
    )
    created = ce.RunCreated(
        schema=ce.SCHEMA,
        run_id="long",
        version="0",
        profile="long",
        profile_text="",
        provider="local",
        nnodes=16,
        nproc_per_node=8,
        target_metric="top5",
        target_value=0.93,
    )
    return replace(
        Run(created=created, status=TRAINING, training=training, started_t=BEGAN, first_step_t=BEGAN),
        points=Series(point(step) for step in range(1, steps + 1)),
        epochs=tuple(Epoch(epoch, BEGAN + epoch.elapsed_s, BEGAN + epoch.elapsed_s) for epoch in epochs),
    )


def stepped(run: Run) -> Run:
    """The run a step on."""
    return replace(run, points=run.points.append(point(len(run.points) + 1)))


def draw(run: Run, compared: Comparison, look: Look, width: int, height: int) -> float:
    """Milliseconds of processor time for the figures and all charts."""
    moment = Moment(run=run, now=run.points[-1].received_t, compared=compared)
    began = time.process_time()
    lines = figures.figures(moment, width)
    plots.draw(moment, look, width, height - len(lines), alone=True)
    return (time.process_time() - began) * 1000


def main() -> None:
    """Prints a line for each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", default="196x50", metavar="COLUMNSxLINES")
    width, height = map(int, parser.parse_args().size.split("x"))
    print("steps      alone: first   median ms   with two past runs: median ms   zoomed to a hundredth")
    for steps in (1_000, 10_000, 100_000, 400_000):
        run = run_of(steps)
        alone = Comparison()
        first_ms = draw(run, alone, Look(), width, height)
        alone_ms, over_ms, zoomed_ms = [], [], []
        pasts = tuple(
            Past(name, curves.trace(past, name), race.of_run(past, name))
            for name, past in (("one", run_of(steps)), ("other", run_of(steps)))
        )
        over = Comparison(pasts)
        draw(run, over, Look(), width, height)
        near = Look(axis=curves.STEP, span=(steps * 0.5, steps * 0.51), cross=steps * 0.505)
        for _ in range(DRAWS):
            run = stepped(run)
            alone_ms.append(draw(run, alone, Look(), width, height))
            over_ms.append(draw(run, over, Look(), width, height))
            zoomed_ms.append(draw(run, over, near, width, height))
        medians = (statistics.median(some) for some in (alone_ms, over_ms, zoomed_ms))
        print(f"{steps:7,} {first_ms:15.1f} {{:11.1f}} {{:29.1f}} {{:23.1f}}".format(*medians))


if __name__ == "__main__":
    main()
