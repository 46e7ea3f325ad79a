"""Bus bandwidth of an all-reduce by message size, over NCCL on GPUs, else over gloo.

One command on every host (one of them holds the rendezvous), from a checkout or a host's code folder::

    python -m torch.distributed.run --nnodes 16 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500 \
        -m remote.busbw

Bus bandwidth is ``bytes / seconds * 2 (n - 1) / n``: what each link of a ring carries, whatever the number of ranks, to
compare with the network's rate (nccl-tests, doc/PERFORMANCE.md). The seconds of a size are the median over the
repetitions, which begin together, of the slowest rank's time; the sum is checked before it is timed.
`console.planning.predict` takes the ring's bandwidth and the seconds of a hop from such a table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
import torch.distributed as dist

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """The result for one message size."""

    size_bytes: int
    seconds: float
    algbw_gb_s: float
    """Bytes a second, in 10^9."""
    busbw_gb_s: float


def busbw_gb_s(size_bytes: int, seconds: float, ranks: int) -> float:
    """What each link of a ring of `ranks` ranks carries, GB/s."""
    return size_bytes / seconds / 1e9 * 2 * (ranks - 1) / ranks


def sizes(smallest: int, largest: int) -> Iterator[int]:
    """Bytes, each four times the one before."""
    while smallest <= largest:
        yield smallest
        smallest *= 4


def measure(size_bytes: int, dtype: torch.dtype, device: torch.device, repetitions: int) -> Row:
    """Measures an all-reduce of `size_bytes`; every rank has to call it.

    Raises:
        ValueError: the sum is wrong.
    """
    ranks = dist.get_world_size()
    tensor = torch.full((max(1, size_bytes // dtype.itemsize),), dist.get_rank() + 1.0, dtype=dtype, device=device)
    dist.all_reduce(tensor)
    expected = torch.tensor(ranks * (ranks + 1) / 2, dtype=dtype).item()
    if not bool((tensor == expected).all()):
        raise ValueError(f"an all-reduce of {size_bytes:,} bytes over {ranks} ranks came to {tensor[0].item()}")
    tensor.zero_()
    slowest = torch.zeros(repetitions, dtype=torch.float64, device=device)
    for repetition in range(-_WARM_UPS, repetitions):
        dist.barrier()
        _wait(device)
        began = time.perf_counter()
        dist.all_reduce(tensor)
        _wait(device)
        if repetition >= 0:
            slowest[repetition] = time.perf_counter() - began
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    seconds = statistics.median(slowest.tolist())
    moved = tensor.numel() * dtype.itemsize
    return Row(moved, seconds, moved / seconds / 1e9, busbw_gb_s(moved, seconds, ranks))


def write(line: str) -> None:
    """Writes a line to stdout and flushes it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(argv: list[str]) -> int:
    """Measures all sizes; rank 0 prints them."""
    parser = argparse.ArgumentParser(prog="remote.busbw", description="Bus bandwidth of an all-reduce, by size.")
    parser.add_argument("--smallest", type=int, default=4 << 10, metavar="BYTES")
    parser.add_argument("--largest", type=int, default=64 << 20, metavar="BYTES")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args(argv)
    if "RANK" not in os.environ:
        parser.error("it runs under torchrun: python -m torch.distributed.run --nproc_per_node N -m remote.busbw")
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    else:
        # The ranks of a host share its cores.
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        ranks, first = dist.get_world_size(), dist.get_rank() == 0
        if first and not options.json:
            what = torch.cuda.get_device_name(device) if cuda else "CPU"
            write(f"{ranks} ranks, {what}, {dist.get_backend()}, {options.dtype}")
            write(f"{'bytes':>14} {'ms':>12} {'algbw GB/s':>12} {'busbw GB/s':>12}")
        for size_bytes in sizes(options.smallest, options.largest):
            row = measure(size_bytes, DTYPES[options.dtype], device, options.repetitions)
            if first and options.json:
                write(json.dumps({"ranks": ranks, "backend": dist.get_backend(), **asdict(row)}))
            elif first:
                figures = f"{row.seconds * 1e3:12.3f} {row.algbw_gb_s:12.3f} {row.busbw_gb_s:12.3f}"
                write(f"{row.size_bytes:14,} {figures}")
    finally:
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
