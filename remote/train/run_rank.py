"""A rank's process: what it imports, how it starts, and how it ends when the trainer raises.

By hand: ``torchrun --nproc-per-node 2 -m remote.train JOB.json FOLDER``.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from PIL import Image
from torch import nn

from remote.parent_death import end_with_parent
from remote.rank_env import RankEnv
from remote.train.trainer import Trainer
from remote.wire.events import RankFailed
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import JOURNAL


def preload() -> None:
    """Imports everything that the first step needs, so that a launcher which forks its ranks imports it once."""
    collecting = gc.isenabled()
    gc.disable()  # it finds nothing to collect among modules and takes a quarter of an import's time
    Image.preinit()
    # The first optimiser imports torch._dynamo, 1 s of CPU, whether or not anything is compiled.
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    if collecting:
        gc.enable()
    gc.collect()
    gc.freeze()  # the collector of a forked rank does not touch these objects, so their pages stay shared
    atexit.register(gc.unfreeze)  # extension modules complain of leaks where the launcher ends with frozen objects


def main(job: Job, folder: Path) -> int:
    """Trains as one rank of the gang; returns 0 when the target is reached, the schedule has ended, or it was stopped.

    A mistake in the recipe or the data, a full disk or a lost peer ends the process with exit code 1 and one sentence
    on stderr, which is in the journal as well. `folder` is the run's folder on this host.
    """
    end_with_parent(os.getppid())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked rank inherits its launcher's handler
    env = RankEnv.from_env()
    if job.embedded:
        torch.set_num_threads(1)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    journal = Journal(folder / JOURNAL)

    trainer = Trainer(job, folder, env, journal)
    try:
        trainer.run()
    except Exception as error:
        sentence = _sentence(error)
        journal.emit(
            RankFailed(
                rank=env.rank,
                exit_code=1,
                message=sentence or f"{type(error).__name__}: {error}"[:500],
                t_failed=time.time(),
                echo=_lost_peers(error),
            )
        )
        if sentence is None:
            raise
        sys.stderr.write(f"rank {env.rank}: {sentence}\n")
        sys.stderr.flush()
        trainer.give_up()
        # Without destroying the process group, which may wait for ranks that are gone.
        os._exit(1)
    dist.destroy_process_group()
    journal.close()
    return 0


def _sentence(error: Exception) -> str | None:
    """The sentence for an error that the user can mend; None for a bug."""
    text = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of GPU memory: {text[:300]}"
    if _lost_peers(error):
        # Their messages begin with a line of gloo's or NCCL's source and end with advice.
        return f"lost the other ranks: {re.sub(r'^[^ ]*[.]cc:[0-9]+[]]? *', '', text.lstrip('['))[:120]}"
    if isinstance(error, ValueError | OSError):
        return text[:1000]
    return None


def _lost_peers(error: Exception) -> bool:
    """True where a rank failed because another one did."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
