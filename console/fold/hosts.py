"""Hosts: found, connected, lost; what their agents say of them."""

from __future__ import annotations

from typing import Any

from console.catalog import xids
from console.fold.changes import (
    arm,
    changed,
    with_alert,
    with_failure,
    with_line,
    with_node,
    with_own_node,
    without_alerts,
)
from console.state import events as ce
from console.state.events import Record
from console.state.run import CRITICAL, RECENT, STAGES, WARNING, Fault, Run, utilisation_pct
from console.state.status import (
    NODE_CONNECTED,
    NODE_DONE,
    NODE_FAILED,
    NODE_LAUNCHING,
    NODE_LOST,
    NODE_REFUSED,
    NODE_STARTING,
    NODE_TRAINING,
    NODE_UNREACHABLE,
    NODE_WAITING,
)
from remote.wire import events as re


@arm(ce.HostFound)
def _host_found(run: Run, record: Record, event: ce.HostFound) -> Run:
    return with_own_node(
        run,
        record,
        status=NODE_LAUNCHING,
        reason="",
        address=event.address,
        port=event.port,
        fingerprint=event.fingerprint,
        last_offset=None,
    )


@arm(ce.HostConnected)
def _host_connected(run: Run, record: Record, event: ce.HostConnected) -> Run:
    if record.node is None:
        return run
    node = run.nodes[record.node]
    run = without_alerts(run, record, lambda alert: alert.id == f"unreachable:{record.node}")
    if node.status == NODE_UNREACHABLE:
        status = NODE_TRAINING if node.ranks else NODE_CONNECTED
        run = with_line(run, record, "reachable again")
        return with_node(run, record.node, status=status, reason="")
    return with_node(run, record.node, status=NODE_CONNECTED if node.status in NODE_STARTING else node.status)


@arm(ce.HostUnreachable)
def _host_unreachable(run: Run, record: Record, event: ce.HostUnreachable) -> Run:
    # A trainer's end stands, whatever becomes of its host: were it forgotten, the run would wait for it for ever.
    if record.node is None or run.nodes[record.node].status in (NODE_LOST, NODE_REFUSED, NODE_DONE, NODE_FAILED):
        return run
    first = run.nodes[record.node].status != NODE_UNREACHABLE
    run = with_node(run, record.node, status=NODE_UNREACHABLE, reason=event.reason)
    if not first:
        return run
    return with_alert(run, record, "host", f"unreachable: {event.reason}", WARNING, f"unreachable:{record.node}")


@arm(ce.HostLost)
def _host_lost(run: Run, record: Record, event: ce.HostLost) -> Run:
    run = with_own_node(run, record, status=NODE_LOST, reason=event.reason)
    run = without_alerts(run, record, lambda alert: alert.node is not None and alert.node == record.node)
    return with_failure(run, record, "host", f"lost: {event.reason}", record.t)


@arm(ce.HostRefused)
def _host_refused(run: Run, record: Record, event: ce.HostRefused) -> Run:
    return with_alert(
        with_own_node(run, record, status=NODE_REFUSED, reason=event.reason), record, "host", event.reason, CRITICAL
    )


@arm(re.AgentStarted)
def _agent_started(run: Run, record: Record, event: re.AgentStarted) -> Run:
    # Another agent looks at the data set anew.
    return with_own_node(run, record, agent=event, status=NODE_CONNECTED, reason="", staging=None, staged=None)


@arm(re.AgentDied)
def _agent_died(run: Run, record: Record, event: re.AgentDied) -> Run:
    reason = f"the agent (pid {event.pid}) died"
    run = with_own_node(run, record, status=NODE_FAILED, reason=reason, agent=None)
    return with_failure(run, record, "host", reason, record.t)


@arm(re.StageProgressed)
def _stage(run: Run, record: Record, event: re.StageProgressed) -> Run:
    if record.node is None:
        return run
    status = run.nodes[record.node].status
    if event.stage not in run.stages and len(run.stages) < STAGES:
        run = changed(run, stages=(*run.stages, event.stage))
    return with_node(
        run,
        record.node,
        status=NODE_LAUNCHING if status == NODE_WAITING else status,
        stage=event.stage,
        stage_done=event.done,
        stage_total=event.total,
        stage_detail=event.detail,
    )


@arm(re.StagingProgressed)
def _staging_progressed(run: Run, record: Record, event: re.StagingProgressed) -> Run:
    if record.node is None or run.nodes[record.node].staged is not None:
        return run
    run = _staging(run, record.node, event.done_bytes, event.total_bytes, staging=event)
    return with_line(run, record, f"{event.detail}; it is tried again") if event.detail else run


@arm(re.StagingEnded)
def _staging_ended(run: Run, record: Record, event: re.StagingEnded) -> Run:
    if record.node is None:
        return run
    if not event.ok:
        run = with_node(run, record.node, status=NODE_FAILED, reason=event.reason, staged=event)
        return with_failure(run, record, "data", event.reason, record.t)
    return _staging(run, record.node, 1, 1, staged=event)


def _staging(run: Run, node: int, done: int, total: int | None, **changes: Any) -> Run:
    """The run with a node in the stage in which the data set is copied to it."""
    if "stage" not in run.stages and len(run.stages) < STAGES:
        run = changed(run, stages=(*run.stages, "stage"))
    # All bytes are there before the last of them are checked and named.
    if total is not None and "staged" not in changes:
        done = min(done, max(0, total - 1))
    return with_node(run, node, stage="stage", stage_done=done, stage_total=total, stage_detail="", **changes)


@arm(re.HostSampled)
def _sampled(run: Run, record: Record, event: re.HostSampled) -> Run:
    if record.node is None:
        return run
    node = run.nodes[record.node]
    return with_node(
        run,
        record.node,
        sample=event,
        recent=(*node.recent[1 - RECENT :], event),
        util_history=node.util_history.append(utilisation_pct(event)),
    )


@arm(re.ProcessesSampled)
def _processes_sampled(run: Run, record: Record, event: re.ProcessesSampled) -> Run:
    return with_own_node(run, record, processes=event)


@arm(re.XidReported)
def _xid_reported(run: Run, record: Record, event: re.XidReported) -> Run:
    if record.node is None:
        return run
    fault = Fault(record.received_t, event.gpu, event.xid)
    run = with_node(run, record.node, faults=(*run.nodes[record.node].faults[-31:], fault))
    text = f"GPU {event.gpu}: the driver reports Xid {event.xid}: {xids.meaning(event.xid)}"
    return with_alert(run, record, "gpu", text, CRITICAL if event.xid in xids.GRAVE else WARNING)


@arm(re.LeaseMoved)
def _lease_moved(run: Run, record: Record, event: re.LeaseMoved) -> Run:
    return with_own_node(run, record, lease_deadline_t=event.deadline_t)


@arm(re.LeaseExpired)
def _lease_expired(run: Run, record: Record, event: re.LeaseExpired) -> Run:
    text = "the host's lease ran out and no console had moved it: the host ends itself"
    return with_alert(run, record, "lease", text, CRITICAL)


@arm(re.RecordsDropped)
def _records_dropped(run: Run, record: Record, event: re.RecordsDropped) -> Run:
    run = changed(run, dropped=run.dropped + event.count)
    return with_alert(run, record, "disk", f"{event.count} records could not be written on the host: {event.reason}")


@arm(re.LogPrinted)
def _log_printed(run: Run, record: Record, event: re.LogPrinted) -> Run:
    rank = event.rank
    if rank is None and event.local_rank is not None and record.node is not None:
        ranks = run.nodes[record.node].ranks
        rank = next((known.rank for known in ranks if known.local_rank == event.local_rank), None)
    return with_line(run, record, event.text, rank=rank, stream=event.stream)
