"""The run itself: its beginnings and ends, its consoles, its alerts, what its operator asks for."""

from __future__ import annotations

from dataclasses import replace

from console.fold.changes import (
    arm,
    changed,
    fresh,
    with_activity,
    with_alert,
    with_line,
    with_node,
    without_alerts,
    without_disk,
)
from console.state import events as ce
from console.state.events import Record
from console.state.run import NODES, Command, Node, Run, open_alert
from console.state.status import LAUNCHING, NODE_REFUSED, STOPPING
from remote.wire import events as re


@arm(ce.RunCreated)
def _created(run: Run, record: Record, event: ce.RunCreated) -> Run:
    nodes = run.nodes or tuple(Node(node) for node in range(max(0, min(event.nnodes or 0, NODES))))
    return with_activity(
        changed(run, created=event, nodes=nodes, budget_usd=event.budget_usd), "launch", record.received_t
    )


@arm(ce.RunContinued)
def _continued(run: Run, record: Record, event: ce.RunContinued) -> Run:
    # New hosts: what belonged to the old ones goes; the curves, the bill and the counts stay.
    nodes = tuple(fresh(run, node) for node in run.nodes)
    run = without_alerts(run, record, lambda alert: True)
    for node in run.nodes:
        run = without_disk(run, node.node)
    run = changed(
        run,
        nodes=nodes,
        status=LAUNCHING,
        reason="",
        exit_code=None,
        ended_t=None,
        attempt=event.attempt,
        gang_started=False,
        training=None,
        commands=(),
        evaluation=None,
        finished=None,
        paused_since_t=None,
        first_error=None,
        first_error_t=None,
        attached=True,
    )
    where = "from the beginning" if event.step is None else f"after step {event.step}"
    run = with_activity(run, "launch", record.received_t)
    return with_line(run, record, f"resumed {where} (attempt {event.attempt})")


@arm(ce.RunEnded)
def _ended(run: Run, record: Record, event: ce.RunEnded) -> Run:
    run = changed(
        run,
        status=event.status,
        exit_code=event.exit_code,
        reason=event.reason,
        ended_t=record.received_t,
        paused_since_t=None,
    )
    run = without_alerts(run, record, lambda alert: True)
    trains = len(run.activities) > 0 and run.activities[-1].cause == "train"
    run = with_activity(run, "end", run.last_step_t if trains and run.last_step_t is not None else record.received_t)
    return with_line(run, record, f"{event.status}: {event.reason}")


@arm(ce.ConsoleAttached)
def _attached(run: Run, record: Record, event: ce.ConsoleAttached) -> Run:
    # What the console before had asked its provider for, nobody waits for any more.
    nodes = tuple(changed(node, replacement="") if node.replacement else node for node in run.nodes)
    return with_line(changed(run, attached=True, nodes=nodes), record, "a console attached")


@arm(ce.ConsoleDetached)
def _detached(run: Run, record: Record, event: ce.ConsoleDetached) -> Run:
    return with_line(changed(run, attached=False), record, "the console detached; the run continues")


@arm(ce.AlertRaised)
def _alerted(run: Run, record: Record, event: ce.AlertRaised) -> Run:
    return with_alert(run, record, event.kind, event.text, event.severity, event.id)


@arm(ce.AlertCleared)
def _alert_cleared(run: Run, record: Record, event: ce.AlertCleared) -> Run:
    alert = open_alert(run, event.id)
    if alert is None:
        return run
    run = without_alerts(run, record, lambda other: other is alert)
    lasted_s = max(0.0, record.received_t - alert.received_t)
    return with_line(run, record, f"over after {lasted_s:.0f} s: {alert.text}")


@arm(ce.OperatorCommanded)
def _commanded(run: Run, record: Record, event: ce.OperatorCommanded) -> Run:
    command = Command(event.id, event.command, event.by, record.received_t)
    run = changed(run, commands=(*run.commands[-19:], command))
    if event.command == "start":
        run = changed(run, gang_started=True)
    elif event.command in ("stop", "terminate") and run.live:
        run = changed(run, status=STOPPING)
    return with_line(run, record, f"{event.by}: {event.command}")


@arm(re.CommandDone)
def _command_done(run: Run, record: Record, event: re.CommandDone) -> Run:
    node = record.node
    if node is None:
        return run
    commands = tuple(
        command
        if command.id != event.id
        else replace(command, done=(*command.done, node))
        if event.ok
        else replace(command, refused=(*command.refused, node))
        for command in run.commands
    )
    run = changed(run, commands=commands)
    if event.ok:
        return run
    if event.command == "start":
        run = with_node(run, node, status=NODE_REFUSED, reason=event.detail)
    return with_alert(run, record, "command", f"{event.command} was refused: {event.detail}")
