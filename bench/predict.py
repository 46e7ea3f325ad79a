"""What `console.planning.predict` says beside what happened: python bench/predict.py DATA

DATA holds the logs of 2018: ``fastai-2018/debug.log`` (8 machines) and DAWNBench's tables in ``dawnbench/``.

1. The parts of the run on 8 machines, from which the constants of 2018 are: steps in the middle of epochs, what the
   start of an epoch and an evaluation cost once all shapes are known, and what they cost the first time.
2. Each phase of the runs on 8 and 16 machines, predicted and real.
3. The run on 4 machines, to which nothing was fitted.
4. What others have published since, to which nothing was fitted either, and what computing alone would take. Alibaba's
   clock has neither a start-up nor a search for kernels: its first epochs are as short as the later ones.

The log prints the time of every fifth step, which is not typical: that step waits for nothing (its data time is 5 ms,
the others' 46), and the four between take up to a quarter longer. The steps here are the time between two such lines
by five, so that 128 px at 128 a GPU is 770 img/s and not the 955 of the printed steps.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from console.catalog import throughput  # noqa: E402
from console.journal import open_log  # noqa: E402
from console.planning.predict import predict  # noqa: E402
from console.planning.prediction import PhasePrediction, Prediction  # noqa: E402
from console.profile import load  # noqa: E402
from console.state.events import Record  # noqa: E402
from remote.wire.events import EpochEnded, StepEnded  # noqa: E402

LINES_STEPS = 5
RUNS = {
    "imagenet-8x-p3": ("fastai-2018/debug.log", False),
    "imagenet-16x-p3": ("dawnbench/fastai_resnet50_p3_16_machine_pytorch.tsv", True),
}
"""By the profile, its log, and whether the log's clock starts with the process or after the loaders were built."""
Row = tuple[tuple[int, int], int, int]
"""Epochs, picture's side, batch a GPU."""
ALIBABA_16: Sequence[Row] = (((0, 13), 96, 256), ((13, 24), 128, 256), ((24, 27), 224, 256), ((27, 28), 288, 128))
ALIBABA_1: Sequence[Row] = (((0, 12), 96, 256), ((12, 18), 128, 256), ((18, 20), 224, 256), ((20, 21), 288, 128))
ON_4 = ((6, 0.06395), (11, 0.10810), (13, 0.12356), (16, 0.18959), (24, 0.34440), (29, 0.49509))
"""Epochs and hours of fast.ai's run on 4 machines, from DAWNBench's ``fastai_resnet50_p3_4_machine_pytorch.tsv``."""
FFCV_24: Sequence[Row] = (((0, 12), 160, 512), ((12, 24), 192, 512))
PUBLISHED = (
    ("Alibaba 2020, 16 x 8 V100, 32 Gbit/s", "V100", "p3.16xlarge", 16, ALIBABA_16, 2.63),
    ("Alibaba 2020, 8 V100", "V100", "p3.16xlarge", 1, ALIBABA_1, 21.63),
    ("FFCV rn50, 24 epochs, 8 A100", "A100", "p4d.24xlarge", 1, FFCV_24, 21.7),
    ("floor of 16 machines' recipe, 128 A100", "A100", "p4d.24xlarge", 16, ALIBABA_16, 31 / 60),
    ("floor of 16 machines' recipe, 128 H100", "H100", "p5.48xlarge", 16, ALIBABA_16, 15 / 60),
    ("floor of 16 machines' recipe, 8 A100", "A100", "p4d.24xlarge", 1, ALIBABA_16, 8.4),
    ("floor of 16 machines' recipe, 8 H100", "H100", "p5.48xlarge", 1, ALIBABA_16, 4.0),
)


def main(data: Path) -> None:
    """Prints the tables."""
    print("parts of the run on 8 machines, seconds")
    for line in parts(predicted("imagenet-8x-p3"), data / RUNS["imagenet-8x-p3"][0]):
        print(line)
    for name, (log, _) in RUNS.items():
        print(f"\n{name}: seconds, the first phase with the start-up that its clock has")
        for line in compared(predicted(name), name, data / log):
            print(line)
    print("\nimagenet-4x-p3, not fitted: minutes until the end of an epoch, its clock after the loaders were built")
    for line in unfitted(predicted("imagenet-4x-p3")):
        print(line)
    print("\npublished since, minutes            predicted: all   warm  computing   published")
    for what, gpu, instance, nodes, rows, minutes in PUBLISHED:
        found = predict(load.parse(toml(gpu, instance, nodes, rows), path=Path("published.toml")))
        assert found is not None
        train_s = sum(phase.steps * phase.step_s for phase in found.phases)
        compute_s = sum(phase.steps * phase.batch_per_gpu * image_s(gpu, phase) for phase in found.phases)
        # What a run without start-up and search takes.
        warm_s = train_s + sum(phase.eval_s for phase in found.phases)
        shown = "  ".join(f"{seconds / 60:7.2f}" for seconds in (found.total_s, warm_s, compute_s))
        print(f"{what:44} {shown}   {minutes:7.2f}")
    print("\nwarm: steps and evaluations, without start-up and the search for kernels.")
    print("computing: pictures at the table's rate, without the fixed cost of steps, the network and the loader.")


def unfitted(prediction: Prediction) -> Iterator[str]:
    """A line for each of `ON_4`."""
    for epoch, hours in ON_4:
        ours_s, real_s = prediction.until_s(epoch) - prediction.startup_s, hours * 3600
        yield f"{epoch:5} {ours_s / 60:14.2f} {real_s / 60:8.2f} {ours_s / real_s - 1:+9.1%}"


def image_s(gpu: str, phase: PhasePrediction) -> float:
    """Seconds a picture."""
    found = throughput.V100_SINCE if gpu == "V100" else throughput.find(gpu)
    assert found is not None
    return found.image_s(phase.image_size)


def predicted(name: str) -> Prediction:
    """Of a built-in profile."""
    found = predict(load.load(name))
    assert found is not None
    return found


def compared(prediction: Prediction, name: str, log: Path) -> Iterator[str]:
    """A line a phase, and one to the target."""
    clock_s = prediction.startup_s if RUNS[name][1] else 0.0
    ends = [epoch.event.elapsed_s for epoch in open_log.fold(log).epochs]
    yield " phase  epochs    px  batch  bound    img/s a GPU  step   predicted   real      off"
    before_s = 0.0
    for phase in prediction.phases:
        last = phase.start_epoch + phase.epochs
        if last > len(ends):
            break
        real_s, ours_s = ends[last - 1] - before_s, phase.total_s + (clock_s if phase.number == 1 else 0.0)
        before_s = ends[last - 1]
        yield (
            f"{phase.number:5}  {phase.start_epoch:3}-{last:<3} {phase.image_size:5} {phase.batch:6,}  {phase.bound:8}"
            f"{phase.img_per_s_per_gpu:8.0f}   {phase.step_s:7.3f} {ours_s:9.1f} {real_s:9.1f}  "
            f"{ours_s / real_s - 1:+7.1%}"
        )
    assert prediction.to_target_epoch is not None
    ours_s = prediction.until_s(prediction.to_target_epoch) - prediction.startup_s + clock_s
    real_s = ends[prediction.to_target_epoch - 1]
    yield f"to 93 % {ours_s / 60:49.2f} min {real_s / 60:6.2f} min {ours_s / real_s - 1:+7.1%}"


def parts(prediction: Prediction, log: Path) -> Iterator[str]:
    """The log's epochs with the model's beside them."""
    items = [item for item in open_log.open_log(log).items() if isinstance(item, Record)]
    clock = [(item.t, item.event) for item in items if isinstance(item.event, StepEnded | EpochEnded)]
    yield " px   batch   step real  model   an epoch's start    its end   evaluation real  model   switch real  model"
    for phase in merged(prediction.phases):
        of_phase = [of_epoch(clock, epoch) for epoch in range(phase.start_epoch, phase.start_epoch + phase.epochs)]
        step_s = statistics.median(one[0] for one in of_phase)
        start_s, end_s, eval_s = (statistics.median(one[place] for one in of_phase[1:]) for place in (1, 2, 3))
        first = of_phase[0]
        switch_s = sum(first[1:]) - start_s - end_s - eval_s
        yield (
            f"{phase.image_size:4} {phase.batch_per_gpu:5} {step_s:11.4f} {phase.step_s:7.4f} {start_s:14.2f} "
            f"{end_s:13.2f} {eval_s:15.2f} {phase.eval_s / phase.epochs:8.2f} {switch_s:11.1f} {phase.switch_s:7.1f}"
        )


def merged(phases: Iterable[PhasePrediction]) -> Iterator[PhasePrediction]:
    """Without those that only change the rate."""
    seen = set()
    for phase in phases:
        if (phase.image_size, phase.batch_per_gpu) not in seen:
            seen.add((phase.image_size, phase.batch_per_gpu))
            yield phase


def of_epoch(clock: Sequence[tuple[float, StepEnded | EpochEnded]], epoch: int) -> tuple[float, float, float, float]:
    """Seconds of a step in the middle, and what the first five steps, the last ones and the evaluation take beyond."""
    began_t = next((t for t, event in clock if isinstance(event, EpochEnded) and event.epoch == epoch - 1), None)
    ended_t, ended = next((t, event) for t, event in clock if isinstance(event, EpochEnded) and event.epoch == epoch)
    steps = [(t, event) for t, event in clock if isinstance(event, StepEnded) and event.epoch == epoch]
    between = [t - before for (before, _), (t, _) in pairwise(steps[:-1])]
    step_s = statistics.fmean(between) / LINES_STEPS
    if began_t is None:
        began_t = ended_t - ended.elapsed_s
    (last_but_one_t, last_but_one), (last_t, last) = steps[-2:]
    end_s = last_t - last_but_one_t - (last.epoch_step - last_but_one.epoch_step) * step_s
    return step_s, steps[0][0] - began_t - LINES_STEPS * step_s, end_s, ended_t - last_t


def toml(gpu: str, instance: str, nodes: int, rows: Sequence[Row]) -> str:
    """A profile of somebody's recipe; the rates do not matter here."""
    phases = "".join(
        f"[[phase]]\nepochs = [{first}, {end}]\nimage_size = {px}\nbatch_size_per_gpu = {batch}\nlr = 1.0\n"
        f"rectangular = {'true' if px > 256 else 'false'}\n"
        for (first, end), px, batch in rows
    )
    return (
        f'[fleet]\nprovider = "aws"\nnodes = {nodes}\nconnect = "private"\ninstance_type = "{instance}"\n'
        # Smoothing was not in the code of 2018: the software is that which came later.
        '[run]\nmodel = "resnet50"\nlabel_smoothing = 0.1\n'
        f'nproc_per_node = 8\naccelerator = "{gpu}"\n[data]\ndataset = "imagefolder"\ntrain_images = 1281167\n{phases}'
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python bench/predict.py DATA")
    main(Path(sys.argv[1]))
