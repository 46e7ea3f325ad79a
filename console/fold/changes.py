"""What the arms of the fold make of a run: it, with one thing changed. Pure; each gives a new value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from console.state.events import Record
from console.state.run import (
    ALERTS,
    CRITICAL,
    LATE_S,
    LINE_CHARS,
    LOG_CHARS,
    LOG_LINES,
    WARNING,
    Activity,
    Alert,
    LogLine,
    Node,
    Run,
    open_alert,
)
from console.state.series import Series
from remote.wire import codec

_ECHO_S: Final = 86_400.0
"""Added to the time of a failure that followed another: clocks of hosts differ by more than a gang takes to fall."""

V = TypeVar("V", Run, Node)


def changed(value: V, **changes: Any) -> V:
    """`dataclasses.replace` for the two values that change with every record, in a tenth of its time.

    They have a ``__dict__`` and no slots for this: copying it is one call, where `replace` passes forty arguments.
    """
    other = object.__new__(value.__class__)
    held = other.__dict__
    held.update(value.__dict__)
    held.update(changes)
    return other


def with_node(run: Run, node: int, **changes: Any) -> Run:
    nodes = list(run.nodes)
    if changes.get("status", nodes[node].status) != nodes[node].status:
        changes["since_t"] = run.last_received_t
    nodes[node] = changed(nodes[node], **changes)
    return changed(run, nodes=tuple(nodes))


def with_alert(
    run: Run,
    record: Record,
    kind: str,
    text: str,
    severity: str = WARNING,
    id: str = "",  # noqa: A002
    *,
    rank: int | None = None,
) -> Run:
    """The run with an alert; with an `id`, an open one, and the same run where that is open already."""
    if id and open_alert(run, id) is not None:
        return run
    alert = Alert(record.received_t, kind, record.node, text[:LINE_CHARS], severity, id, rank=rank)
    alerts = run.alerts
    if len(alerts) >= ALERTS:
        # The oldest one that is over goes; where all are open, the oldest.
        gone = next((index for index, older in enumerate(alerts) if not older.open), 0)
        alerts = alerts[:gone] + alerts[gone + 1 :]
    run = changed(run, alerts=(*alerts, alert), alerts_raised=run.alerts_raised + 1)
    return with_line(run, record, text)


def without_alerts(run: Run, record: Record, over: Callable[[Alert], bool]) -> Run:
    """The run in which the open alerts are over for which that holds."""
    if not any(alert.open and over(alert) for alert in run.alerts):
        return run
    cleared = record.received_t
    return changed(
        run,
        alerts=tuple(
            replace(alert, cleared_t=cleared) if alert.open and over(alert) else alert for alert in run.alerts
        ),
    )


def with_line(run: Run, record: Record, text: str, *, rank: int | None = None, stream: str = "console") -> Run:
    line = LogLine(record.received_t, record.node, rank, stream, text[:LINE_CHARS])
    log = (*run.log[-LOG_LINES + 1 :], line)
    chars = run.log_chars + len(line.text) - (len(run.log[0].text) if len(run.log) >= LOG_LINES else 0)
    if chars > LOG_CHARS:
        gone = 0
        while chars > LOG_CHARS:
            chars -= len(log[gone].text)
            gone += 1
        log = log[gone:]
    return changed(run, log=log, log_chars=chars, log_lines=run.log_lines + 1)


def when(record: Record) -> float:
    """When it happened, by the laptop's clock; by the host's where the record came late."""
    late = record.offset is not None and record.received_t - record.t > LATE_S
    return record.t if late else record.received_t


def with_activity(run: Run, cause: str, since: float) -> Run:
    """The run with another activity begun, not before the present one did."""
    activities = run.activities
    last = activities[-1] if len(activities) else None
    if last is None:
        return changed(run, activities=activities.append(Activity(cause, since)))
    if last.cause == cause:
        return run
    since = max(since, last.since_t)
    if cause == "restart" and last.cause == "end":
        # The gang had left its loop to be started again, and not for good.
        return changed(run, activities=Series([*activities[:-1], Activity(cause, last.since_t)]))
    return changed(run, activities=activities.append(Activity(cause, since)))


def fallen(run: Run, record: Record) -> Run:
    """The run whose gang will start again: since its last step, nothing came of its time."""
    last = run.activities[-1] if len(run.activities) else None
    if last is not None and last.cause == "launch":
        return run
    since = run.last_step_t if last is not None and last.cause == "train" else None
    return with_activity(run, "restart", when(record) if since is None else min(since, when(record)))


E = TypeVar("E", bound=codec.Event)
ARMS: dict[type[codec.Event], Callable[[Run, Record, Any], Run]] = {}


def arm(kind: type[E]) -> Callable[[Callable[[Run, Record, E], Run]], Callable[[Run, Record, E], Run]]:
    def register(function: Callable[[Run, Record, E], Run]) -> Callable[[Run, Record, E], Run]:
        ARMS[kind] = function
        return function

    return register


def with_own_node(run: Run, record: Record, **changes: Any) -> Run:
    return run if record.node is None else with_node(run, record.node, **changes)


def without_disk(run: Run, node: int) -> Run:
    """The run's checkpoints after the node's disk is gone: those that are on the laptop are left."""
    checkpoints = tuple(
        replace(saved, node=None) if saved.node == node else saved
        for saved in run.checkpoints
        if saved.node != node or saved.fetched
    )
    return changed(run, checkpoints=checkpoints)


def fresh(run: Run, node: Node) -> Node:
    """The node without what belonged to its host; the bill and the counts stay."""
    return Node(
        node.node,
        since_t=run.last_received_t or 0.0,
        billing=node.billing,
        records=node.records,
        util_history=node.util_history,
    )


def with_failure(
    run: Run, record: Record, kind: str, text: str, t: float, rank: int | None = None, *, echo: bool = False
) -> Run:
    """An alert which is the first failure of the gang unless another one was before it."""
    run = with_alert(run, record, kind, text, CRITICAL, rank=rank)
    if echo:
        t += _ECHO_S
    if run.first_error_t is None or t < run.first_error_t:
        run = changed(run, first_error=run.alerts[-1], first_error_t=t)
    return run
