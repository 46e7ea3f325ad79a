"""Bus bandwidth of an all-reduce by message size, at several numbers of ranks: python bench/busbw.py [RANKS ...]

2, 4, 8 and 16 ranks by default, on this machine: over gloo on its CPU (loopback TCP, all ranks on the same cores), or
over NCCL where it has enough GPUs. Across hosts it is `remote.busbw` under torchrun.

On a CPU the figure falls with the number of ranks, which it would not on a network: each byte that a ring moves is
copied and added by a core, and the ranks share the cores. It shows what a step of the trainer can expect here, and the
latency of a message of any size.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RANKS = (2, 4, 8, 16)


def rows(ranks: int) -> list[dict[str, float]]:
    """The table for this number of ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    command += ["-m", "remote.busbw", "--json", "--repetitions", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{ranks} ranks failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main(counts: list[int]) -> None:
    """Prints milliseconds and GB/s: a line per size, two columns per number of ranks."""
    tables = {ranks: rows(ranks) for ranks in counts}
    print(f"{next(iter(tables.values()))[0]['backend']}, float32: ms of an all-reduce, and its bus bandwidth in GB/s")
    print(f"{'bytes':>12}" + "".join(f"{f'{ranks} ranks':>20}" for ranks in counts))
    for index, first in enumerate(tables[counts[0]]):
        cells = (f"{table[index]['seconds'] * 1e3:12.3f}{table[index]['busbw_gb_s']:8.3f}" for table in tables.values())
        print(f"{first['size_bytes']:12,}" + "".join(cells))


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(RANKS))
