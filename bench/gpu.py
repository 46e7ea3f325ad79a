"""All measurements that need a GPU, in one command: python bench/gpu.py

It measures these parts one after the other and writes ``bench/results/DATE-GPU.md``, and the samples of NVML to
``bench/results/DATE-GPU-nvml.json``:

1. the machine; 2. ResNet-50's pictures a second at 96, 128, 160, 224 and 288 px, training and evaluation, ours and
torchvision's reference in the same precision (`bench/trainer_step.py`), relative to the chip's peak and to the best
published rate; 3. the gain of each of our changes: channels_last, torch.compile, CUDA graphs; 4. precisions;
5. the cost of optimisers and of the EMA of the weights; 6. time by kernel; 7. NCCL's all-reduce of the
gradients in a world of one; 8. NVML and GPM under load and idle; 9. nvJPEG and the CPU's decoder; 10. the cost
of the trainer's telemetry and of a checkpoint (`bench/telemetry.py`, `bench/checkpoint.py`).

A part that fails is reported, and the next one follows. It should take about 15 minutes on an H100, most of it
compiling: `--skip compiling` leaves that out. ``--cpu-dry-run`` does the same on a CPU, with a small net and small
pictures, to show that it works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import checkpoint  # noqa: E402
import numpy as np  # noqa: E402
import telemetry  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import trainer_step  # noqa: E402
from PIL import Image  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from console.catalog import throughput  # noqa: E402
from remote.agent.gpu import GpuMeter  # noqa: E402
from remote.model import precision, resnet  # noqa: E402
from remote.model.flops import flops_per_image, peak_flops  # noqa: E402

RESULTS = ROOT / "bench" / "results"
SIZES = {96: 256, 128: 256, 160: 256, 224: 256, 288: 128}
"""Batch by the picture's side: those of the profiles for one GPU."""
KERNELS = 15
"""Rows of the profile."""
NO_GPU = (
    "there is no GPU here (torch.cuda.is_available() is false): what is missing is every figure of a GPU, that is CUDA "
    "graphs, NCCL, NVML, nvJPEG and the shares of a chip's peak; --cpu-dry-run goes the same way without them"
)


@dataclass
class Setting:
    """What is measured on what."""

    device: torch.device
    model: str
    sizes: dict[int, int]
    rounds: int
    round_s: float
    pictures: int
    """JPEG files for the decoders."""
    skip: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    nvml: dict[str, Any] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        """On a GPU."""
        return self.device.type == "cuda"

    @property
    def name(self) -> str:
        """The GPU's."""
        return torch.cuda.get_device_name(self.device) if self.cuda else "CPU, a dry run"

    @property
    def middle(self) -> tuple[int, int]:
        """The size that single parts are measured at, and its batch: 224 px."""
        px = 224 if 224 in self.sizes else max(self.sizes)
        return px, self.sizes[px]

    def seconds(self, steps: dict[str, trainer_step.Step]) -> dict[str, float]:
        """Median seconds of each."""
        return trainer_step.seconds(steps, self.device, self.rounds, self.round_s)


def main(arguments: list[str] | None = None) -> int:
    """Measures and writes; 0 where every part could be measured, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-dry-run", action="store_true")
    parser.add_argument("--model", help="resnet50; of a dry run resnet-small")
    parser.add_argument("--skip", nargs="+", default=[], choices=[part.__name__ for part in PARTS], help="parts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available() and not options.cpu_dry_run:
        sys.stderr.write(f"bench/gpu.py: {NO_GPU}\n")
        return 2
    dry = options.cpu_dry_run
    setting = Setting(
        device=torch.device("cpu") if dry else torch.device("cuda", 0),
        model=options.model or ("resnet-small" if dry else "resnet50"),
        sizes={16: 4, 24: 4} if dry else SIZES,
        rounds=1 if dry else options.rounds,
        round_s=0.0 if dry else 1.0,
        pictures=2 if dry else 256,
        skip=frozenset(options.skip),
    )
    if setting.cuda:
        torch.cuda.set_device(setting.device)
        torch.backends.cudnn.benchmark = True
    trainer_step.join_alone(setting.device)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    stem = f"{day}-{'-'.join(setting.name.replace(',', '').split())}"
    text, failed = [f"# {day}, {setting.name}\n"], 0
    for part in PARTS:
        if part.__name__ in setting.skip:
            continue
        sys.stderr.write(f"{part.__name__} ...\n")
        title = (part.__doc__ or "").removesuffix(".")
        try:
            lines = list(part(setting))
        except Exception as error:  # whatever it is, the parts after it are still worth having
            failed += 1
            lines = [f"failed: {type(error).__name__}: {' '.join(str(error).split())[:400]}"]
        text += [f"## {title}\n", *lines, ""]
        _write(options.out / f"{stem}.md", "\n".join(text))
    if setting.nvml:
        _write(options.out / f"{stem}-nvml.json", json.dumps(setting.nvml, indent=1))
    dist.destroy_process_group()
    print(options.out / f"{stem}.md")
    if dry:
        sys.stderr.write(f"a dry run: {NO_GPU.partition(';')[0]}\n")
    return 1 if failed else 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n")


def _table(*heads: str) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _share(value: float, of: float | None) -> str:
    return "—" if not of else f"{value / of:.0%}"


# --- the parts -------------------------------------------------------------------------------------------------------


def machine(setting: Setting) -> Iterator[str]:
    """The machine."""
    yield f"{setting.name}; {platform.processor() or platform.machine()}; Python {platform.python_version()};"
    yield f"torch {torch.__version__}; precision {str(precision.of('auto', setting.device)).removeprefix('torch.')}."
    meter = GpuMeter()
    if meter.names:
        setting.nvml["names"] = meter.names
        setting.nvml["driver"] = meter.driver
        yield f"Driver {meter.driver}, {', '.join(meter.names)}."
    if setting.cuda:
        about = torch.cuda.get_device_properties(setting.device)
        size = f"{about.total_memory / 2**30:.0f} GiB, {about.multi_processor_count} SMs"
        yield f"{size}, compute {about.major}.{about.minor};"
        yield f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, NCCL {torch.cuda.nccl.version()}."
    else:
        yield f"{meter.why or 'NVML sees GPUs, and torch does not use them here'}."


def rates(setting: Setting) -> Iterator[str]:
    """Pictures a second, ours beside the reference."""
    dtype = precision.of("auto", setting.device)
    most = peak_flops(setting.name, dtype)
    words = setting.name.replace("-", " ").split()
    best = next((row.best_img_per_s for gpu, row in throughput.GPUS.items() if gpu in words), None)
    yield from _table("px", "batch", "", "reference", "ours", "ratio", "of the peak", "of the best published at 224 px")
    for px, size in setting.sizes.items():
        found = trainer_step.compare(setting.model, setting.device, "auto", px, size, setting.rounds, setting.round_s)
        flops = flops_per_image(resnet.build(setting.model, trainer_step.CLASSES), px)
        for way, by_name in found.items():
            mine, theirs = by_name["ours"], by_name["reference"]
            work = (flops or 0) * (1 if way == "train" else 1 / 3)
            published = best if way == "train" and px == 224 else None
            yield _row(
                px, size, way, f"{theirs:,.0f}", f"{mine:,.0f}", f"{mine / theirs:.2f}", _share(mine * work, most),
                _share(mine, published),
            )  # fmt: skip
    yield ""
    yield "Shares of the peak count the model's own operations against the data sheet's (`remote.model.flops`)."


def channels_last(setting: Setting) -> Iterator[str]:
    """What channels_last alone is worth to the reference."""
    yield from _table("px", "reference img/s", "with channels_last", "ratio", "ours")
    dtype = precision.of("auto", setting.device)
    for px, size in setting.sizes.items():
        batch = trainer_step.Batch(px, size, setting.cuda)
        plain, last = (
            trainer_step.Reference(setting.model, setting.device, dtype, channels_last=one) for one in (False, True)
        )
        learner = trainer_step.ours(setting.model, setting.device, "auto", px, size)
        took = setting.seconds(
            {
                "plain": lambda plain=plain, batch=batch: plain.train(batch.floats, batch.labels),
                "last": lambda last=last, batch=batch: last.train(batch.floats, batch.labels),
                "ours": trainer_step.train_step(learner, batch),
            }
        )
        each = {name: size / one for name, one in took.items()}
        yield _row(
            px, f"{each['plain']:,.0f}", f"{each['last']:,.0f}", f"{each['last'] / each['plain']:.2f}",
            f"{each['ours']:,.0f}",
        )  # fmt: skip


def compiling(setting: Setting) -> Iterator[str]:
    """torch.compile and CUDA graphs: worth it only where they are faster at every size."""
    modes = ("off", "default", "reduce-overhead") if setting.cuda else ("off", "default")
    yield from _table("px", *(f"{mode} img/s" for mode in modes), *(f"{mode}: s to compile" for mode in modes[1:]))
    faster = dict.fromkeys(modes[1:], True)
    for px, size in setting.sizes.items():
        batch = trainer_step.Batch(px, size, setting.cuda)
        steps, took_s = {}, {}
        torch.compiler.reset()
        for mode in modes:
            began = time.monotonic()
            learner = trainer_step.ours(setting.model, setting.device, "auto", px, size, compile=mode)
            steps[mode] = trainer_step.train_step(learner, batch)
            steps[mode]()
            took_s[mode] = time.monotonic() - began
        took = setting.seconds(steps)
        for mode in modes[1:]:
            faster[mode] &= took[mode] < took["off"]
        yield _row(px, *(f"{size / took[mode]:,.0f}" for mode in modes), *(f"{took_s[mode]:.0f}" for mode in modes[1:]))
    yield ""
    for mode, everywhere in faster.items():
        yield f"{mode}: {'faster at every size' if everywhere else 'not faster at every size: leave run.compile off'}."


def precisions(setting: Setting) -> Iterator[str]:
    """Precisions, ours."""
    px, size = setting.middle
    batch = trainer_step.Batch(px, size, setting.cuda)
    steps = {}
    for wanted in ("fp32", "fp16", "bf16"):
        try:
            precision.of(wanted, setting.device)
        except ValueError as error:
            yield f"{error}."
            continue
        learner = trainer_step.ours(setting.model, setting.device, wanted, px, size)
        steps[wanted] = trainer_step.train_step(learner, batch)
    yield from _table("precision", f"img/s at {px} px")
    for wanted, took in setting.seconds(steps).items():
        yield _row(wanted, f"{size / took:,.0f}")


def optimisers(setting: Setting) -> Iterator[str]:
    """What an optimiser and the mean of the weights cost."""
    px, size = setting.middle
    kinds: dict[str, dict[str, Any]] = {
        "SGD, Nesterov": {"nesterov": True},
        "LARS": {"optimizer": "lars", "nesterov": True},
        "SGD, mean of the weights every step": {"ema_decay": 0.99, "ema_every": 1},
        "SGD, mean of the weights every 20 steps": {"ema_decay": 0.99, "ema_every": 20},
        "SGD, BlurPool": {"blurpool": True},
    }
    batch = trainer_step.Batch(px, size, setting.cuda)
    whole, alone = {}, {}
    for name, changes in kinds.items():
        learner = trainer_step.ours(setting.model, setting.device, "auto", px, size, **changes)
        whole[name] = trainer_step.train_step(learner, batch)
        whole[name]()

        def step(learner: Any = learner) -> None:
            for parameter in learner.model.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            learner.step(0.0, 0.9)

        alone[name] = step
    took, without = setting.seconds(whole), setting.seconds(alone)
    yield from _table("", "whole step ms", "its own part ms")
    for name in kinds:
        yield _row(name, f"{took[name] * 1e3:.2f}", f"{without[name] * 1e3:.2f}")


def kernels(setting: Setting) -> Iterator[str]:
    """Where the time of a training step goes, by kernel (torch.profiler)."""
    px, size = setting.middle
    batch = trainer_step.Batch(px, size, setting.cuda)
    step = trainer_step.train_step(trainer_step.ours(setting.model, setting.device, "auto", px, size), batch)
    step()
    steps = 10 if setting.cuda else 1
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.cuda else [])]
    trainer_step.synchronise(setting.device)
    began = time.perf_counter()
    with profile(activities=activities) as seen:
        for _ in range(steps):
            step()
        trainer_step.synchronise(setting.device)
    wall_us = (time.perf_counter() - began) * 1e6
    kind = "self_device_time_total" if setting.cuda else "self_cpu_time_total"
    # On a GPU only its own rows: an operator's device time is that of its kernels, which have rows of their own.
    rows = [row for row in seen.key_averages() if not setting.cuda or "CUDA" in str(row.device_type)]
    rows.sort(key=lambda row: getattr(row, kind), reverse=True)
    total = sum(getattr(row, kind) for row in rows)
    yield f"{px} px, batch {size}: {total / wall_us:.0%} of the wall time is the device's; {steps} steps."
    yield ""
    yield from _table("kernel", "calls a step", "ms a step", "share")
    for row in rows[:KERNELS]:
        name = " ".join(str(row.key).split()).replace("|", "/")
        took = getattr(row, kind)
        yield _row(f"`{name[:90]}`", row.count // steps, f"{took / steps / 1e3:.2f}", _share(took, total))


def allreduce(setting: Setting) -> Iterator[str]:
    """An all-reduce of ResNet-50's gradients in a world of one: what starting it and copying cost."""
    yield from _table("gradients", "MB", "ms")
    for name in ("fp32", "bf16", "fp16"):
        gradients = torch.zeros(
            25_557_032 if setting.cuda else 1000, dtype=precision.TYPES[name], device=setting.device
        )
        took = setting.seconds({name: lambda gradients=gradients: dist.all_reduce(gradients)})[name]
        yield _row(name, f"{gradients.nbytes / 1e6:.0f}", f"{took * 1e3:.2f}")


def nvml(setting: Setting) -> Iterator[str]:
    """What NVML and its GPM say, under load and idle."""
    meter = GpuMeter()
    if not meter.names:
        yield f"Nothing: {meter.why}."
        return
    px, size = setting.middle
    batch = trainer_step.Batch(px, size, setting.cuda)
    step = trainer_step.train_step(trainer_step.ours(setting.model, setting.device, "auto", px, size), batch)
    meter.read()
    looks = []
    for _ in range(5):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            step()
        looks.append(meter.read())
    trainer_step.synchronise(setting.device)
    time.sleep(3)
    meter.read()
    time.sleep(1)
    setting.nvml |= {"load": looks, "idle": meter.read()}
    yield from _table("", "under load", "idle")
    for name in looks[-1]:
        yield _row(name, looks[-1][name], setting.nvml["idle"].get(name))


def decoding(setting: Setting) -> Iterator[str]:
    """JPEG decoding: Pillow at full size and at a half, and nvJPEG, of 500 x 375 px."""
    files = [_photograph(number) for number in range(setting.pictures)]
    packed = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for content in files]

    def pillow(shrink: bool) -> None:
        for content in files:
            image = Image.open(io.BytesIO(content))
            if shrink:
                image.draft("RGB", (250, 188))
            image.load()

    steps: dict[str, trainer_step.Step] = {
        "Pillow, one core": lambda: pillow(False),
        "Pillow at a half, one core": lambda: pillow(True),
    }
    if setting.cuda:
        from torchvision.io import decode_jpeg

        steps["nvJPEG by torchvision, in batches"] = lambda: decode_jpeg(packed, device=setting.device)
    took = setting.seconds(steps)
    yield from _table("decoder", "img/s")
    for name, one in took.items():
        yield _row(name, f"{len(files) / one:,.0f}")
    if not setting.cuda:
        yield ""
        yield "nvJPEG needs a GPU."


def beside(setting: Setting) -> Iterator[str]:
    """What is done beside a step: the trainer's telemetry, and a checkpoint."""
    px, size = setting.middle
    learner = trainer_step.ours(setting.model, setting.device, "auto", px, size)
    with tempfile.TemporaryDirectory() as folder:
        bench = telemetry.Bench(learner, Path(folder), size, px)
        took = setting.seconds({"without telemetry": bench.plain, "with it": bench.said})
        yield from _table("", "step ms")
        for name, step_s in took.items():
            yield _row(name, f"{step_s * 1e3:.3f}")
        yield ""
        ways = checkpoint.Ways(learner, learner.env, Path(folder))
        yield from _table("checkpoint", "stood still ms", "whole ms")
        for name in ("in the rank", "beside"):
            for _ in range(2):  # the first has to find its memory
                if setting.cuda:
                    torch.cuda.synchronize()
                began = time.perf_counter()
                finish = ways.all[name]()
                still_s = time.perf_counter() - began
                finish()
                whole_s = time.perf_counter() - began
            yield _row(name, f"{still_s * 1e3:.1f}", f"{whole_s * 1e3:.0f}")


def _photograph(number: int) -> bytes:
    """A JPEG of 500 x 375 px, quality 90, with about as many bytes a pixel as ImageNet's (110 KB on average)."""
    random = np.random.default_rng(number)
    image = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (500, 375), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(image, np.float32) + random.normal(0, 12, (375, 500, 1))
    packed = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(packed, "JPEG", quality=90)
    return packed.getvalue()


PARTS: tuple[Callable[[Setting], Iterator[str]], ...] = (
    machine, rates, channels_last, compiling, precisions, optimisers, kernels, allreduce, nvml, decoding, beside,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
