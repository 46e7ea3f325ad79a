"""The launcher: starts a node's ranks with torchrun's agent, in a process that has imported torch already.

``torchrun`` would import torch in an interpreter of its own and again in one per rank. Its API does the same with
forked ranks, which inherit the imports. The rendezvous is c10d with a fixed number of nodes; torchrun restarts the
whole gang after a rank crashed.

Usage: ``python -m remote.train.launcher FOLDER AGENT_PID``, by `remote.agent.daemon`.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from remote.parent_death import end_with_parent
from remote.wire.events import RankFailed, StageProgressed, TrainerRestarted
from remote.wire.job import Job
from remote.wire.journal import Journal
from remote.wire.layout import JOB, JOURNAL, LAUNCH
from remote.wire.rank_pipes import redirect_output

RENDEZVOUS_TIMEOUT_S = 300
"""How long the first nodes wait for the last."""


def main(folder: Path) -> int:
    """Runs this node's ranks to their end; exit status 0 where all of them ended with 0."""
    journal = Journal(folder / JOURNAL)
    job = Job.from_json((folder / JOB).read_text())
    launch = json.loads((folder / LAUNCH).read_text())

    journal.emit(StageProgressed(stage="import torch", done=0, total=1))
    if job.recipe.dataset == "shapes":
        # Made in another process meanwhile: it needs no torch, and takes less time than the imports.
        from remote.data import shapes

        shapes.make_ahead(Path(job.recipe.data_dir).expanduser())
    # A new store for each rendezvous: in a shared one a restarted gang finds the addresses of the ranks that have
    # ended, and gloo fails to connect to them (torch 2.15, distributed/rendezvous.py, _create_c10d_store).
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    # The collector finds nothing among modules and takes a sixth of torch's import (bench/start_up.py).
    gc.disable()
    from remote.train import run_rank

    run_rank.preload()
    gc.enable()
    # torchrun logs a failed rank at length; ours is one record (NodeAgent below).
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    journal.emit(StageProgressed(stage="import torch", done=1, total=1))
    return _run(job, launch, folder, journal)


def rank_main(job_json: str, folder: str) -> int:
    """What a forked rank runs."""
    from remote.train import run_rank

    redirect_output(int(os.environ["LOCAL_RANK"]))
    try:
        status = run_rank.main(Job.from_json(job_json), Path(folder))
    except Exception:
        # torch would keep it in a file of the launcher's; the log is where one looks for it.
        traceback.print_exc()
        sys.stderr.flush()
        raise
    if status:
        sys.exit(status)
    return status


def _run(job: Job, launch: dict[str, Any], folder: Path, journal: Journal) -> int:
    from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

    class NodeAgent(LocalElasticAgent):
        """torchrun's agent, which also reports a rank that failed, before a restart hides it."""

        def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
            result = super()._monitor_workers(worker_group)
            for rank, failure in sorted(result.failures.items()):
                # A rank that a signal ended could not report it itself.
                if failure.exitcode < 0:
                    message = f"ended by {failure.signal_name()}"
                    journal.emit(
                        RankFailed(rank=rank, exit_code=failure.exitcode, message=message, t_failed=time.time())
                    )
            return result

        def _restart_workers(self, worker_group: WorkerGroup) -> None:
            restart = job.max_restarts - self._remaining_restarts
            journal.emit(
                TrainerRestarted(restart=restart, max_restarts=job.max_restarts, reason="a rank of the gang failed")
            )
            super()._restart_workers(worker_group)

    endpoint = str(launch["rdzv_endpoint"])
    journal.emit(StageProgressed(stage="rendezvous", done=0, total=1, detail=endpoint))
    handler = get_rendezvous_handler(
        RendezvousParameters(
            backend="c10d",
            endpoint=endpoint,
            run_id=launch["rdzv_id"],
            min_nodes=launch["nnodes"],
            max_nodes=launch["nnodes"],
            # torch numbers the nodes in the order of these names. With their addresses, the default, rank 0 would be
            # on any node, and on another one after each start.
            local_addr=f"node-{job.node:06}",
            is_host=str(job.node == launch["rdzv_node"]).lower(),
            join_timeout=RENDEZVOUS_TIMEOUT_S,
            timeout=RENDEZVOUS_TIMEOUT_S,
        )
    )
    spec = WorkerSpec(
        role="trainer",
        local_world_size=job.nproc_per_node,
        entrypoint=rank_main,
        args=(job.to_json(), str(folder)),
        rdzv_handler=handler,
        max_restarts=job.max_restarts,
        monitor_interval=0.2,
        # The node that holds the rendezvous is the first of the gang, and so has rank 0.
        master_addr=endpoint.rpartition(":")[0].strip("[]"),
        local_addr=job.address,
    )
    agent = NodeAgent(
        spec,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "torchrun")),
        # A restart forks again from this process, so it costs no import; no CUDA call was made in it.
        start_method="fork",
        exit_barrier_timeout=30,
    )
    try:
        result = agent.run()
    except SignalException as ended:
        return 128 + int(ended.sigval)
    except Exception as error:
        # A rendezvous fails because of the network or a lost node, not a bug: one sentence, no traceback.
        why = " ".join(str(error.__cause__ or error).split())
        sys.stderr.write(f"{type(error).__name__}: {why[:400]}\n")
        return 1
    finally:
        handler.shutdown()
    return 0 if result.state == WorkerState.SUCCEEDED and not result.is_failed() else 1


if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    started = time.monotonic()
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's tear-down of torch, which may wait for threads of a gang that has ended.
    os._exit(status)
