"""The gang: launchers and ranks, how they start and fall."""

from __future__ import annotations

from dataclasses import replace

from console.fold.changes import arm, fallen, with_failure, with_line, with_node, with_own_node
from console.state.events import Record
from console.state.run import RECENT, Rank, Run
from console.state.status import NODE_CONNECTED, NODE_DONE, NODE_FAILED, NODE_TRAINING
from remote.wire import events as re


@arm(re.TrainerStarted)
def _trainer_started(run: Run, record: Record, event: re.TrainerStarted) -> Run:
    return with_own_node(run, record, ranks=(), status=NODE_CONNECTED, reason="")


@arm(re.RankStarted)
def _rank_started(run: Run, record: Record, event: re.RankStarted) -> Run:
    if record.node is None:
        return run
    rank = Rank(event.rank, event.local_rank, event.device, event.pid)
    others = (other for other in run.nodes[record.node].ranks if other.local_rank != rank.local_rank)
    ranks = tuple(sorted((*others, rank), key=lambda each: each.local_rank))
    return with_node(run, record.node, ranks=ranks, status=NODE_TRAINING)


@arm(re.RankProgressed)
def _rank_progressed(run: Run, record: Record, event: re.RankProgressed) -> Run:
    if record.node is None:
        return run
    ranks = tuple(
        replace(
            rank,
            step=event.step,
            img_per_s=event.img_per_s,
            step_s=event.step_s,
            data_s=event.data_s,
            compute_s=event.compute_s,
            allreduce_s=event.allreduce_s,
            optimizer_s=event.optimizer_s,
            mem_used_mib=event.mem_used_mib,
            mem_reserved_mib=event.mem_reserved_mib,
            mem_peak_mib=event.mem_peak_mib,
            recent=(*rank.recent[1 - RECENT :], event),
        )
        if rank.rank == event.rank
        else rank
        for rank in run.nodes[record.node].ranks
    )
    return with_node(run, record.node, ranks=ranks)


@arm(re.RankFailed)
def _rank_failed(run: Run, record: Record, event: re.RankFailed) -> Run:
    who = "a rank" if event.rank is None else f"rank {event.rank}"
    failed_t = event.t_failed if event.t_failed is not None else record.t
    return with_failure(run, record, "rank", f"{who} failed: {event.message}", failed_t, event.rank, echo=event.echo)


@arm(re.TrainerRestarted)
def _trainer_restarted(run: Run, record: Record, event: re.TrainerRestarted) -> Run:
    run = fallen(with_own_node(run, record, restarts=event.restart, ranks=()), record)
    return with_line(
        run,
        record,
        f"the gang restarts from the last checkpoint ({event.restart}/{event.max_restarts}): {event.reason}",
    )


@arm(re.TrainerEnded)
def _trainer_ended(run: Run, record: Record, event: re.TrainerEnded) -> Run:
    if event.outcome == "failed":
        return with_own_node(run, record, status=NODE_FAILED, reason=event.reason)
    return with_own_node(run, record, status=NODE_DONE, reason=event.reason)
