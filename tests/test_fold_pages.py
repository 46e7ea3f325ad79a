"""The whole state after stories that hold every event, field by field, beside the files in ``__snapshots__``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import pytest
from pages import Pages
from run_story import START_T, Story, launched, told, trained
from syrupy.assertion import SnapshotAssertion
from test_fold_apply import NO_ARM

from console.fold.apply import apply
from console.state import events as ce
from console.state.events import KNOWN, Record
from console.state.run import Run
from console.state.series import Series
from remote.wire import events as re
from remote.wire.codec import Event


def lines(value: Any, where: str = "run") -> Iterator[str]:
    """A line for each field that is not its default; times count from the story's start."""
    if isinstance(value, Event):
        yield f"{where} = {value}"
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            held = getattr(value, field.name)
            default = field.default if field.default is not MISSING else None
            if held != default or (held is None and default is not None):
                yield from lines(held, f"{where}.{field.name}")
    elif isinstance(value, (tuple, list, Series)):
        if not len(value):
            yield f"{where} = []"
        for index, item in enumerate(value):
            yield from lines(item, f"{where}[{index}]")
    elif isinstance(value, float) and value > START_T - 1e6:
        yield f"{where} = start + {value - START_T:.2f}"
    else:
        yield f"{where} = {value!r}"


def page(run: Run) -> str:
    return "\n".join(lines(run)) + "\n"


@pytest.fixture
def pages(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Pages)


def launching() -> Story:
    """A launch in which something happens to each host, told before any gang starts."""
    story = launched(nnodes=4)
    story.says(ce.PriceQuoted(instance_type="g6", market="spot", zone="a", usd_per_h=1.0, effective_t=1.0, source="s"))
    story.says(ce.OperatorCommanded(id="c0", command="start", by="console"))
    story.hears(0, re.CommandDone(id="c0", command="start"))
    story.hears(1, re.CommandDone(id="c0", command="start", ok=False, detail="no torch"))
    copied = re.StagingProgressed(source="s3://b", activity="copy", done_bytes=9, total_bytes=9, detail="a timeout")
    story.hears(2, copied)
    story.hears(3, replace(copied, done_bytes=4, total_bytes=None, detail=""))
    story.hears(2, re.StagingEnded(source="s3://b"))
    story.hears(2, replace(copied, done_bytes=1))
    story.hears(3, re.StagingEnded(source="s3://b", ok=False, reason="the disk is full"))
    story.hears(0, re.AgentDied(pid=100))
    story.says(ce.HostRefused(reason="wrong host key"), 1)
    story.says(ce.ConsoleDetached(pid=1))
    return story


def troubled() -> Story:
    """A training in which much goes wrong."""
    story = trained(epochs=2, nnodes=4)
    step = story.run.step
    assert step is not None
    story.hears(1, re.ProcessesSampled(pids=(7,), names=("python",), cpu_pct=(99.0,), mem_mib=(None,)))
    story.hears(1, re.XidReported(gpu=3, xid=79)).hears(1, re.XidReported(gpu=2, xid=9999))
    story.hears(1, re.LogPrinted(text="by its place", local_rank=1, stream="stderr"))
    story.hears(1, re.LogPrinted(text="x" * 5000, rank=9))
    story.hears(2, re.RecordsDropped(count=3, reason="no space"))
    story.hears(2, re.RebalanceRecommended(notice_t=1.0))
    story.hears(2, re.SpotNoticed(action="terminate", deadline_t=story.t + 120))
    story.hears(2, re.SpotNoticed(action="terminate", deadline_t=story.t + 90))
    story.says(ce.AlertRaised(kind="idle", text="GPU 0 idles", id="idle:2"), 2)
    story.says(ce.ReplacementOrdered(reason="spot"), 2).says(ce.ReplacementReady(address="10.0.0.9"), 2)
    story.says(ce.HostUnreachable(reason="cut", retry_s=1.0), 3).says(ce.HostConnected(from_offset=1), 3)
    story.hears(0, replace(step, step=9, loss=None), after_s=1.0).hears(0, replace(step, step=10, loss=1.5))
    story.hears(0, re.CheckpointFailed(path="checkpoints/9.pt", reason="no space"))
    saved = re.CheckpointSaved(
        step=10, epoch=1, path="checkpoints/10.pt", size_bytes=5, sha256="1", save_s=0.5, reason="operator", wait_s=0.2
    )
    story.hears(2, saved).says(ce.CheckpointFetched(step=10, path="c/10.pt", size_bytes=5, fetch_s=2.0))
    story.hears(3, re.RankFailed(rank=6, exit_code=1, message="out of memory", t_failed=START_T + 30))
    story.hears(2, re.RankFailed(rank=None, exit_code=1, message="torn down", echo=True))
    story.hears(3, re.TrainerRestarted(restart=1, max_restarts=3, reason="a rank failed"), after_s=2.0)
    return story


def recovered() -> Story:
    """The same after a host was lost and another one left out."""
    story = troubled()
    story.hears(3, re.TrainerEnded(attempt=1, outcome="failed", reason="a rank failed"))
    story.says(ce.HostLost(reason="terminated"), 2)
    story.says(ce.OperatorCommanded(id="c1", command="kill", by="console"))
    story.says(ce.GangRestarting(reason="node 2 is lost"), after_s=5.0)
    story.says(ce.NodeReplaced(reason="terminated"), 2)
    story.says(ce.NodeDropped(reason="nobody takes its place"), 3)
    story.says(ce.InstanceStopped(instance_id="i-2", stopped_t=story.t, reason="spot", taken_back=True), 2)
    began = ce.InstanceStarted(instance_id="i-0", started_t=story.t, usd_per_h=1.0, usd_per_h_on_demand=2.0)
    story.says(began, 0).says(began, 0)
    story.says(ce.BudgetMoved(max_usd=1234.5))
    story.hears(0, re.CheckpointLoaded(step=8, epoch=1, path="c/8.pt"))
    story.hears(1, re.LeaseExpired(deadline_t=1.0))
    story.says(ce.AlertRaised(kind="disk", text="full", severity="critical", id="disk:0"), 0, after_s=3.0)
    story.says(ce.AlertCleared(id="disk:0"), 0, after_s=7.0).says(ce.AlertCleared(id="disk:0"), 0)
    return story


def resumed() -> Story:
    """A run that ended and goes on."""
    story = told().says(ce.RunContinued(attempt=2, step=12), after_s=60.0)
    story.says(ce.OperatorCommanded(id="c2", command="stop")).says(ce.ConsoleAttached(pid=8))
    return story


STORIES = {
    "launching": launching,
    "troubled": troubled,
    "recovered": recovered,
    "resumed": resumed,
    "told": told,
    "from the beginning": lambda: told().says(ce.RunContinued(attempt=2, step=None)),
}


def test_the_stories_hold_every_event() -> None:
    held = {record.event.__class__.__name__ for make in STORIES.values() for record in make().records}
    assert held | set(NO_ARM) == set(KNOWN)


@pytest.mark.parametrize("name", STORIES)
def test_state(name: str, pages: SnapshotAssertion) -> None:
    assert page(STORIES[name]().run) == pages


@pytest.mark.parametrize("name", STORIES)
def test_what_only_a_node_can_say_changes_no_node_where_none_is_named(name: str) -> None:
    for record in STORIES[name]().records:
        if record.offset is not None:
            before = launched().run
            after = apply(before, Record(START_T + 99, START_T + 99, record.event))
            assert [node.status for node in after.nodes] == [node.status for node in before.nodes]


def test_a_host_that_is_late_is_known_by_its_quickest_record() -> None:
    run = launched(nnodes=1).run
    for late_s, lag_s in ((5.0, 0.01 + 4.99 * 0.02), (0.005, 0.005), (1.005, 0.025)):
        received_t = START_T + 100
        run = apply(run, Record(received_t, received_t - late_s, re.LeaseMoved(deadline_t=1.0), 0, 10**6))
        assert run.nodes[0].lag_s == pytest.approx(lag_s, abs=1e-6)
