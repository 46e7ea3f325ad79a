"""What is rented: instances, prices, budgets, replacements, notices."""

from __future__ import annotations

from dataclasses import replace

from console.fold.changes import (
    arm,
    changed,
    fallen,
    fresh,
    with_alert,
    with_line,
    with_node,
    with_own_node,
    without_alerts,
    without_disk,
)
from console.state import events as ce
from console.state.events import Record
from console.state.run import CRITICAL, INFO, QUOTES, Billing, BudgetMove, Run
from console.state.status import LAUNCHING, NODE_CONNECTED, NODE_DONE, NODE_DROPPED, NODE_FAILED, NODE_LIVE
from remote.wire import events as re


@arm(ce.InstanceStarted)
def _instance_started(run: Run, record: Record, event: ce.InstanceStarted) -> Run:
    if record.node is None:
        return run
    billing = Billing(
        event.instance_id,
        event.started_t,
        None,
        event.usd_per_h,
        event.usd_per_h_on_demand,
        event.market,
        event.instance_type,
        event.zone,
        event.storage_usd_per_h,
        event.address_usd_per_h,
    )
    held = run.nodes[record.node].billing
    if any(before.instance_id == billing.instance_id and before.started_t == billing.started_t for before in held):
        # Said again, by a console that came back to the run: the same time is on the bill once.
        return run
    # The same instance begins anew: it has stopped in between, though nobody saw it.
    held = tuple(
        replace(before, stopped_t=billing.started_t)
        if before.instance_id == billing.instance_id and before.stopped_t is None
        else before
        for before in held
    )
    return with_node(run, record.node, billing=(*held, billing))


@arm(ce.ReplacementOrdered)
def _replacement_ordered(run: Run, record: Record, event: ce.ReplacementOrdered) -> Run:
    run = with_own_node(run, record, replacement="ordered")
    return with_alert(run, record, "host", f"another host is asked for: {event.reason}")


@arm(ce.ReplacementReady)
def _replacement_ready(run: Run, record: Record, event: ce.ReplacementReady) -> Run:
    return with_line(with_own_node(run, record, replacement="ready"), record, f"another host is there: {event.address}")


@arm(ce.NodeReplaced)
def _node_replaced(run: Run, record: Record, event: ce.NodeReplaced) -> Run:
    if record.node is None:
        return run
    node = record.node
    run = with_line(without_disk(run, node), record, f"another host takes its place: {event.reason}")
    run = without_alerts(run, record, lambda alert: alert.node == node)
    return changed(run, nodes=(*run.nodes[:node], fresh(run, run.nodes[node]), *run.nodes[node + 1 :]))


@arm(ce.NodeDropped)
def _node_dropped(run: Run, record: Record, event: ce.NodeDropped) -> Run:
    if record.node is None:
        return run
    run = with_node(without_disk(run, record.node), record.node, status=NODE_DROPPED, reason=event.reason, ranks=())
    run = without_alerts(run, record, lambda alert: alert.node == record.node)
    return with_alert(run, record, "host", f"the gang goes on without it: {event.reason}")


@arm(ce.GangRestarting)
def _gang_restarting(run: Run, record: Record, event: ce.GangRestarting) -> Run:
    nodes = tuple(
        # What the trainers of the gang that fell said counts no more; who has no host yet, or none any more, stays so.
        changed(
            node,
            status=NODE_CONNECTED,
            reason="",
            ranks=(),
            since_t=record.received_t,
            stage="",
            stage_done=0,
            stage_total=None,
            stage_detail="",
        )
        if node.agent is not None and node.status in (*NODE_LIVE, NODE_DONE, NODE_FAILED)
        else node
        for node in run.nodes
    )
    run = changed(
        run,
        nodes=nodes,
        status=LAUNCHING if run.live else run.status,
        stages=(),
        attempt=run.attempt + 1,
        gang_started=False,
        training=None,
        finished=None,
        commands=(),
        evaluation=None,
        paused_since_t=None,
        first_error=None,
        first_error_t=None,
    )
    run = fallen(run, record)
    return with_alert(run, record, "gang", f"the gang starts again from its last checkpoint: {event.reason}")


@arm(ce.PriceQuoted)
def _price_quoted(run: Run, record: Record, event: ce.PriceQuoted) -> Run:
    return changed(run, quotes=(*run.quotes[-QUOTES + 1 :], event))


@arm(ce.BudgetMoved)
def _budget_moved(run: Run, record: Record, event: ce.BudgetMoved) -> Run:
    move = BudgetMove(record.received_t, event.max_usd, event.by)
    run = changed(run, budget_usd=event.max_usd, budget_moves=(*run.budget_moves[-99:], move))
    return with_line(run, record, f"{event.by}: the budget is now ${event.max_usd:,.2f}")


@arm(re.SpotNoticed)
def _spot_noticed(run: Run, record: Record, event: re.SpotNoticed) -> Run:
    if record.node is None or run.nodes[record.node].interruption is not None:
        return run
    run = with_node(run, record.node, interruption=event)
    text = f"EC2 takes the spot instance back ({event.action}) in about two minutes"
    return with_alert(run, record, "spot", text, CRITICAL, f"spot:{record.node}")


@arm(re.RebalanceRecommended)
def _rebalance_recommended(run: Run, record: Record, event: re.RebalanceRecommended) -> Run:
    return with_alert(run, record, "spot", "EC2 sees a higher risk that it takes the spot instance back", INFO)


@arm(ce.InstanceStopped)
def _instance_stopped(run: Run, record: Record, event: ce.InstanceStopped) -> Run:
    if record.node is None:
        return run
    billing = tuple(
        replace(billed, stopped_t=event.stopped_t, reason=event.reason, taken_back=event.taken_back)
        if billed.instance_id == event.instance_id and billed.stopped_t is None
        else billed
        for billed in run.nodes[record.node].billing
    )
    return with_node(run, record.node, billing=billing)
