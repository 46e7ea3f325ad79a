"""A run's journal told again from its charter and its hosts' journals: the same story at the same times."""

from __future__ import annotations

import json
from pathlib import Path

import small_run
from run_story import Story, folded, launched, trained

from console.discovery.rebuild import HostJournal, tell
from console.journal import manifest, open_log
from console.journal.reader import read
from console.state import events as ce
from console.state.events import Record
from console.state.run import Run
from remote.wire import events as re
from remote.wire.codec import encode

LATER_S = 7200.0
"""The other laptop comes so long after the last record."""


def hosts(folder: Path, records: list[Record]) -> list[HostJournal]:
    """The hosts' journals as they lie on their disks, with an unfinished line at the end."""
    journals = []
    for node in sorted({record.node for record in records if record.node is not None}):
        lines = [encode(one.event, one.t) for one in records if one.node == node and one.offset is not None]
        path = folder / f"journal-{node}"
        path.write_text("".join(f"{line}\n" for line in lines) + '{"t":1.0,"event":"Hos')
        found = next(one.event for one in records if one.node == node and isinstance(one.event, ce.HostFound))
        journals.append(HostJournal(node=node, found=found, path=path))
    return journals


def retold(folder: Path, story: Story, *last: Record) -> Run:
    """The run as the other laptop knows it, two hours later."""
    words = "".join(f"{ce.record_line(one)}\n" for one in story.records if manifest.belongs(one))
    path = folder / "run.jsonl"
    tell(path, manifest.read(words), hosts(folder, story.records), story.t + LATER_S, last)
    assert path.stat().st_mode & 0o077 == 0
    return open_log.fold(path)


def times(run: Run) -> list[float]:
    """When what the curves are drawn from happened."""
    return [
        *(point.received_t for point in run.points),
        *(epoch.ended_t for epoch in run.epochs),
        *(activity.since_t for activity in run.activities),
    ]


def facts(run: Run) -> list[object]:
    """What happened, without its times."""
    return [
        [(point.step, point.loss, point.img_per_s) for point in run.points],
        [(epoch.event.epoch, epoch.event.top5) for epoch in run.epochs],
        [(one.instance_id, one.started_t, one.stopped_t, one.usd_per_h) for node in run.nodes for one in node.billing],
        [(node.status, node.fingerprint, node.port, len(node.ranks)) for node in run.nodes],
        [activity.cause for activity in run.activities],
        (run.status, run.gang_started, run.attempt, run.started_t, run.damaged, run.unknown),
    ]


def test_the_same_run(tmp_path: Path) -> None:
    story = trained()
    first, second = story.run, retold(tmp_path, story)
    assert second.created == first.created
    assert facts(second) == facts(first)
    # A host stamps a record a hundredth of a second before it comes to the laptop.
    assert all(abs(one - other) < 0.02 for one, other in zip(times(first), times(second), strict=True))


def test_it_goes_on_where_the_copy_of_a_host_s_journal_ends(tmp_path: Path) -> None:
    story = trained()
    run = retold(tmp_path, story)
    for node in run.nodes:
        lines = (tmp_path / f"journal-{node.node}").read_bytes().split(b"\n")[:-1]
        # The offset is that of the last whole line, which the channel tells once more and the book passes over.
        assert node.last_offset == sum(len(line) + 1 for line in lines[:-1])


def test_a_gang_that_fell_and_started_again_is_not_taken_for_one_that_failed(tmp_path: Path) -> None:
    story = launched()
    story.says(ce.OperatorCommanded(id="a", command="start", by="console"), after_s=1.0)
    story.hears(1, re.TrainerEnded(attempt=1, outcome="failed", reason="by signal 9"), after_s=5.0)
    story.hears(0, re.TrainerEnded(attempt=1, outcome="failed", reason="connection closed"), after_s=0.5)
    story.says(ce.GangRestarting(reason="its hosts are there again"), after_s=3.0)
    story.says(ce.OperatorCommanded(id="b", command="start", by="console"), after_s=1.0)
    for node in (0, 1):
        story.hears(node, re.TrainerStarted(attempt=2, pid=900 + node), after_s=0.5)
    first, second = story.run, retold(tmp_path, story)
    assert [node.status for node in second.nodes] == [node.status for node in first.nodes] == ["connected", "connected"]
    assert (second.attempt, second.gang_started) == (2, True)
    assert [command.id for command in second.commands] == ["b"]


def test_a_host_that_took_another_s_place_speaks_after_it_did(tmp_path: Path) -> None:
    """Also where its clock is behind that of the laptop which put it there."""
    story = launched()
    story.says(ce.NodeReplaced(reason="EC2 takes its spot instance back"), 1, after_s=60.0)
    replaced_t = story.t
    began = ce.InstanceStarted(instance_id="i-9", started_t=story.t, usd_per_h=7.2, usd_per_h_on_demand=24.0)
    story.says(began, 1)
    # Only the new host's journal is there to be had, and it says 30 s less.
    late = [Record(story.t + 5, story.t - 30, re.LeaseMoved(deadline_t=story.t + 99), 1, 0)]
    kept = [one for one in story.records if not (one.node == 1 and one.offset is not None)]
    story.records = [*kept, *late]
    run = retold(tmp_path, story)
    assert run.nodes[1].fingerprint == "SHA256:x"
    assert run.nodes[1].lease_deadline_t is not None
    assert [one.instance_id for one in run.nodes[1].billing] == ["i-1", "i-9"]
    told = [one for one in read(tmp_path / "run.jsonl") if isinstance(one, Record)]
    assert min(one.received_t for one in told if one.node == 1 and one.offset is not None) >= replaced_t
    assert [one.received_t for one in told] == sorted(one.received_t for one in told)


def test_damaged_lines_stay_damaged_and_the_rest_is_told(tmp_path: Path) -> None:
    story = trained()
    for host in hosts(tmp_path, story.records):
        assert host.path is not None
        lines = host.path.read_text().split("\n")
        host.path.write_text("\n".join([lines[0], "not JSON at all", *lines[1:]]))
        journals = [host]
        path = tmp_path / "run.jsonl"
        words = "".join(f"{ce.record_line(one)}\n" for one in story.records if manifest.belongs(one))
        tell(path, manifest.read(words), journals, story.t + LATER_S, [])
        run = open_log.fold(path)
        assert run.damaged == 1
        assert run.nodes[host.node].records == len(lines) - 1


def test_a_host_s_clock_that_is_ahead_does_not_reach_into_the_future(tmp_path: Path) -> None:
    story = launched()
    story.records.append(Record(story.t, story.t + 2 * LATER_S, re.LogPrinted(text="tomorrow"), 0, 5000))
    run = retold(tmp_path, story)
    assert run.last_received_t is not None
    assert run.last_received_t <= story.t + LATER_S


def test_what_the_laptop_says_of_itself_comes_last(tmp_path: Path) -> None:
    story = trained()
    now = story.t + LATER_S
    run = retold(tmp_path, story, Record(now, now, ce.AlertRaised(kind="console", text="not alone")))
    assert run.alerts[-1].text == "not alone"
    assert json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])["event"] == "AlertRaised"


def test_a_charter_has_what_counts_and_no_talk(tmp_path: Path) -> None:
    story = trained()
    kept = [type(one.event).__name__ for one in story.records if manifest.belongs(one)]
    assert set(kept) == {"RunCreated", "InstanceStarted"}
    assert small_run.differences(folded(story.records), story.run) == []
    # Nothing but its own kinds is taken from a host that says more.
    words = ce.record_line(Record(1.0, 1.0, ce.RunEnded(status="failed", exit_code=3, reason="so")))
    assert manifest.read(words + "\nnot JSON\n") == []
