"""The overhead of the trainer's own telemetry: python bench/telemetry.py [STEPS]

1. Alone: microseconds a step for the four marks, the callback from autograd, the sums, the journal's line of the step
   and, once a second, the rank's own line with its memory. It is printed as a share of a step of ResNet-50 on one H100
   (batch 256 at 2,500 img/s, 102 ms), and of a step of the demo's net here.
2. In training: the same net takes steps with and without it, in turns of ten, STEPS (300 by default) of each kind. The
   ratio is of the medians of a step's CPU time, which does not depend on what else the machine does.

On a machine with a GPU the marks are events in its stream, and the ratio is of wall time.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

from remote.model.learner import Learner, at_the_end  # noqa: E402
from remote.rank_env import RankEnv  # noqa: E402
from remote.train.step_timer import Meter  # noqa: E402
from remote.wire.events import StepEnded  # noqa: E402
from remote.wire.job import Recipe  # noqa: E402
from remote.wire.journal import Journal  # noqa: E402
from remote.wire.layout import JOURNAL  # noqa: E402
from remote.wire.schedule import Phase  # noqa: E402

TURN = 10
H100_STEP_S = 256 / 2500
BATCH, SIDE, CLASSES = 32, 64, 10


def main(steps: int) -> None:
    """Prints both tables."""
    cuda = torch.cuda.is_available()
    torch.set_num_threads(1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(probe.getsockname()[1]))
    dist.init_process_group("nccl" if cuda else "gloo")
    env = RankEnv(0, 0, 1, torch.device("cuda", 0) if cuda else torch.device("cpu"))
    phase = Phase(start_epoch=0, end_epoch=1, image_size=SIDE, batch_size_per_gpu=BATCH, lr_start=0.1, lr_end=0.1)
    recipe = Recipe(model="resnet50" if cuda else "resnet-small", dataset="", data_dir="", phases=(phase,))
    learner = Learner(recipe, env, CLASSES)
    learner.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(learner, Path(folder), BATCH, SIDE)
        bench.turn(TURN, said=True)
        alone_s = bench.alone(20_000)
        plain, said = [], []
        for number in range(2 * (steps // TURN)):
            (said if number % 2 else plain).extend(bench.turn(TURN, said=bool(number % 2)))
    step_s, said_s = statistics.median(plain), statistics.median(said)
    print(f"alone       {alone_s * 1e6:8.1f} us a step")
    print(f"            {alone_s / H100_STEP_S:8.3%} of {H100_STEP_S * 1e3:.0f} ms, a step of ResNet-50 on one H100")
    print(f"            {alone_s / step_s:8.3%} of {step_s * 1e3:.1f} ms, a step of {recipe.model} at {SIDE} px here")
    print(f"beside      {said_s / step_s:8.4f} of a step without it ({len(plain)} steps of each kind)")
    dist.destroy_process_group()


class Bench:
    """Steps of a net, with a word on each or without."""

    def __init__(self, learner: Learner, folder: Path, batch: int, px: int) -> None:
        self.learner = learner
        self.journal = Journal(folder / JOURNAL)
        self.meter = Meter(learner.env, self.journal)
        self.cuda = learner.env.device.type == "cuda"
        self.pictures = torch.randint(0, 256, (batch, px, px, 3), dtype=torch.uint8)
        self.labels = torch.randint(0, CLASSES, (batch,))
        if self.cuda:
            self.pictures, self.labels = self.pictures.pin_memory(), self.labels.pin_memory()
        self.steps = 0

    def turn(self, steps: int, *, said: bool) -> list[float]:
        """Seconds of each step: of CPU, or on a GPU as the clock goes."""
        clock = time.perf_counter if self.cuda else time.process_time
        seconds = []
        for _ in range(steps):
            began = clock()
            if said:
                self.said()
            else:
                self.plain()
            if self.cuda:
                torch.cuda.synchronize()
            seconds.append(clock() - began)
        return seconds

    def plain(self) -> None:
        """A step without a word."""
        self.learner.backward(self.pictures, self.labels)
        self.learner.step(0.0, 0.9)

    def said(self) -> None:
        """A step as the trainer takes it."""
        self.steps += 1
        marks = self.meter.marks()
        marks.mark(0)
        self.learner.backward(self.pictures, self.labels, computed=marks.computed)
        marks.mark(2)
        self.learner.step(0.0, 0.9)
        marks.mark(3)
        self.meter.stepped(marks, self.steps, len(self.labels), 0.1, 0.01)
        self.journal.emit(self.word(self.steps))

    def alone(self, steps: int) -> float:
        """Seconds a step of the telemetry and nothing else, by the process's CPU."""
        leaf = torch.zeros((), requires_grad=True)
        began = time.process_time()
        for _ in range(steps):
            (leaf * 1.0).backward()
        bare_s = time.process_time() - began
        began = time.process_time()
        for step in range(steps):
            marks = self.meter.marks()
            marks.mark(0)
            loss = leaf * 1.0
            loss.register_hook(at_the_end(marks.computed))
            loss.backward()
            marks.mark(2)
            marks.mark(3)
            self.meter.stepped(marks, step, BATCH, 0.1, 0.01)
            self.journal.emit(self.word(step))
        return (time.process_time() - began - bare_s) / steps

    def word(self, step: int) -> StepEnded:
        """Rank 0's, on each step."""
        return StepEnded(
            step=step, epoch=0, epoch_step=step, steps_per_epoch=1000, loss=1.0, lr=0.1, step_s=0.1, data_s=0.01,
            img_per_s=320.0,
        )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
