"""Filter and order of the nodes: sort keys, and the fields that a filter knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from console.state.run import Node, Run
from console.state.status import (
    NODE_CONNECTED,
    NODE_DROPPED,
    NODE_FAILED,
    NODE_LAUNCHING,
    NODE_LOST,
    NODE_PAUSED,
    NODE_REFUSED,
    NODE_UNREACHABLE,
    NODE_WAITING,
)
from console.tui.draw import marks
from console.tui.draw.moment import Moment
from console.views import metrics
from console.views.filter import Fields, Test
from console.views.metrics import METRICS, Metric
from console.views.nodes import stale_s

ORDERS: Final = ("node", "metric", "img", "lag", "data", "temp", "status")
"""Sort keys, in the order in which a key press cycles through them; ``metric``: the shown one."""
_STATUS: Final = (
    NODE_LOST,
    NODE_FAILED,
    NODE_REFUSED,
    NODE_UNREACHABLE,
    NODE_DROPPED,
    NODE_PAUSED,
    NODE_LAUNCHING,
    NODE_WAITING,
    NODE_CONNECTED,
)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A node at a moment: what a filter is applied to."""

    run: Run
    node: Node
    now: float
    troubles: marks.Troubles


def _value(metric: Metric, seen: Seen) -> float | None:
    return metric.of_node(seen.run, seen.node)


def _throttled(seen: Seen) -> bool:
    """True for throttling by heat or a fault; being at the power cap under load is normal."""
    return (metrics.metric("throttle").of_node(seen.run, seen.node) or 0) >= 2


def _billed(seen: Seen, field: str) -> str:
    return str(getattr(seen.node.billing[-1], field) or "") if seen.node.billing else ""


def _host(seen: Seen) -> str:
    """The address with and without the port, and the host name."""
    node = seen.node
    name = node.agent.hostname if node.agent else ""
    return f"{node.address or ''} {node.address or ''}:{node.port or 22} {name}".strip()


def _text(seen: Seen) -> str:
    return f"{_host(seen)} {seen.node.status} {seen.node.reason}"


FIELDS: Final[Fields[Seen]] = Fields(
    text=_text,
    numbers={
        "node": lambda seen: seen.node.node,
        "step": lambda seen: seen.node.step,
        "quiet": lambda seen: stale_s(seen.node, seen.now),
        "restarts": lambda seen: seen.node.restarts,
        **{metric.key: partial(_value, metric) for metric in METRICS},
    },
    words={
        "status": lambda seen: seen.node.status,
        "host": _host,
        "type": lambda seen: _billed(seen, "instance_type"),
        "zone": lambda seen: _billed(seen, "zone"),
    },
    flags={
        "throttled": _throttled,
        "silent": lambda seen: seen.node.node in seen.troubles.quiet,
        "slow": lambda seen: seen.node.node in seen.troubles.slow,
        "doomed": lambda seen: seen.node.node in seen.troubles.doomed,
    },
)


def shown(
    moment: Moment, troubles: marks.Troubles, test: Test[Seen], order: str, metric: Metric, *, backwards: bool
) -> Sequence[int]:
    """Numbers of the nodes that pass, in order: the worst first, unless it is by node."""
    run = moment.run
    nodes = [node for node in run.nodes if test(Seen(run, node, moment.now, troubles))]
    if order != "node":
        nodes.sort(key=_key(run, troubles, order, metric))
    if backwards:
        nodes.reverse()
    return [node.node for node in nodes]


def _key(run: Run, troubles: marks.Troubles, order: str, metric: Metric) -> Callable[[Node], tuple[float, float]]:
    if order == "status":
        return lambda node: (_severity(node, troubles), node.node)
    by = metric if order == "metric" else metrics.metric(order)
    scale = by.scale(run)

    def key(node: Node) -> tuple[float, float]:
        value = by.of_node(run, node)
        # In half steps of the ramp, so that rows do not swap while values fluctuate. Unknown comes last.
        return (99.0 if value is None else -by.worst_first * _half_step(scale, value), node.node)

    return key


def _half_step(scale: metrics.Scale, value: float) -> float:
    return int((value - scale.low) * 20 / ((scale.high - scale.low) or 1.0))


def _severity(node: Node, troubles: marks.Troubles) -> float:
    if node.node in troubles.doomed:
        return -1
    if node.node in troubles.quiet:
        return _STATUS.index(NODE_UNREACHABLE) + 0.5
    if node.node in troubles.slow:
        return _STATUS.index(NODE_DROPPED) + 0.5
    return _STATUS.index(node.status) if node.status in _STATUS else len(_STATUS)
