"""The one way in which the state changes: ``apply(run, record) -> run``.

One arm an event, gathered here from the nouns that the events are about. Pure, and total over all records that decode.
A new fact is a new event: a dataclass in ``events``, one arm in this package, one test.
"""

from __future__ import annotations

from typing import Final

from console.fold import gang, hosts, instances, training  # noqa: F401  each registers its arms
from console.fold import run as _run  # noqa: F401
from console.fold.changes import ARMS, changed, with_node
from console.state.events import Record
from console.state.run import NODES, Node, Run

_LAG_SHARE: Final = 0.02
"""Of a host's delay, how much of a record that came later than the quickest is taken over: a minute's worth of them."""


def apply(run: Run, record: Record) -> Run:
    """The run after the record. Pure, and total over all records that decode."""
    node = record.node
    if node is not None and node >= len(run.nodes):
        if run.created is not None or node >= NODES:
            # A record from a node that the run does not have: the line was damaged in a way that JSON cannot tell.
            return changed(run, damaged=run.damaged + 1)
        # The first line is lost, and with it how many nodes there are: those that speak are there.
        run = changed(run, nodes=(*run.nodes, *(Node(more) for more in range(len(run.nodes), node + 1))))
    received = record.received_t
    run = changed(
        run,
        records=run.records + 1,
        started_t=received if run.started_t is None else run.started_t,
        last_received_t=received,
    )
    if node is not None and record.offset is not None:
        speaker = run.nodes[node]
        lag_s, late_s = speaker.lag_s, received - record.t
        if lag_s is None or late_s < lag_s:
            lag_s = late_s
        else:
            lag_s += (late_s - lag_s) * _LAG_SHARE
        run = with_node(
            run, node, records=speaker.records + 1, last_received_t=received, last_offset=record.offset, lag_s=lag_s
        )
    arm = ARMS.get(record.event.__class__)
    return arm(run, record, record.event) if arm else run


def lose(run: Run, *, damaged: int = 0, unknown: int = 0) -> Run:
    """The run with lines counted that could not be read."""
    return changed(run, damaged=run.damaged + damaged, unknown=run.unknown + unknown)
