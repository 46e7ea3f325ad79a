"""What a rank's start is made of, in CPU seconds: python bench/start_up.py [COPIES]

Each line is the median over COPIES interpreters that start at once (1 by default; 16 is the `local` profile's crowd, in
which the machine's cores are shared and each second counts COPIES times).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

STARTS = {
    "interpreter": "pass",
    "numpy and Pillow": "import numpy, PIL.Image",
    "torch": "import torch",
    "torch, collector off": "import gc; gc.disable(); import torch",
    "remote.train.trainer": "import remote.train.trainer",
    "remote.train.trainer and preload": "from remote.train import run_rank; run_rank.preload()",
    "the same, collector off": "import gc; gc.disable(); from remote.train import run_rank; run_rank.preload()",
}
TAIL = """
import json, resource, time
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, time.time()]))
"""


def main(copies: int) -> None:
    """Prints the table."""
    print(f"{copies} at once{'':20} CPU s   MiB")
    for name, code in STARTS.items():
        command = [sys.executable, "-c", f"{code}\n{TAIL}"]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(copies)]
        figures = [json.loads(process.communicate()[0]) for process in running]
        cpu_s, peak_mib = (statistics.median(figure[i] for figure in figures) for i in (0, 1))
        print(f"{name:28} {cpu_s:6.2f} {peak_mib:6.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
