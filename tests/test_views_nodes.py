"""Nodes: who is quiet, how busy they are, how far each is in the launch, which commands wait for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_story import START_T, Story, created, launched, told, trained

from console.state import events as ce
from console.state.run import Node, Run
from console.views import nodes
from remote.wire import events as re


def sample(cpu_util_pct: float | None, *gpu_util_pct: float | None) -> re.HostSampled:
    return re.HostSampled(cpu_util_pct=cpu_util_pct, mem_used_mib=1.0, mem_total_mib=1.0, gpu_util_pct=gpu_util_pct)


def test_a_node_is_quiet_after_more_than_five_seconds_or_as_many_as_asked() -> None:
    run = launched(nnodes=2).hears(0, sample(1.0)).run
    heard = run.nodes[0].last_received_t
    assert heard is not None
    assert nodes.quiet(run, heard + 5.0) == ()
    assert nodes.quiet(run, heard + 5.5) == (0, 1)
    assert nodes.quiet(run, heard + 2.0, after_s=1.9) == (0, 1)
    assert nodes.stale_s(run.nodes[0], heard - 1.0) == 0.0
    never = Story().says(created(nnodes=2)).says(ce.HostConnected(from_offset=0), 0).run
    assert nodes.quiet(never, START_T + 1000) == ()


def test_only_hosts_that_should_speak_are_quiet() -> None:
    story = launched(nnodes=3)
    story.says(ce.HostUnreachable(reason="timed out"), 1)
    story.hears(2, re.TrainerEnded(attempt=1, outcome="succeeded"))
    assert nodes.quiet(story.run, story.t + 60) == (0,)


def test_a_doomed_instance_counts_only_while_the_run_and_the_node_are_there() -> None:
    story = trained(nnodes=2)
    story.hears(1, re.SpotNoticed(action="terminate", deadline_t=story.t + 120))
    story.hears(0, re.SpotNoticed(action="terminate", deadline_t=story.t + 100))
    assert nodes.interruptions(story.run, story.t) == {0: 100.0, 1: 120.0}
    ended = story.says(ce.RunEnded(status="failed", exit_code=3, reason="x")).run
    assert nodes.interruptions(ended, story.t) == {}


def test_utilisation_is_the_mean_of_those_that_say_it() -> None:
    story = launched(nnodes=3).hears(0, sample(99.0, 20.0, None, 40.0)).hears(1, sample(10.0))
    assert [node.util_pct for node in story.run.nodes] == [30, 10, None]
    assert nodes.util_pct(story.run) == 20
    story.hears(1, sample(None)).hears(1, sample(40.0))
    assert nodes.util_pct_mean(story.run.nodes[1]) == 25
    assert nodes.util_pct_mean(story.run.nodes[2]) is None


# --- the launch ------------------------------------------------------------------------------------------------------


def staging(story: Story, node: int, stage: str, done: int, total: int | None, detail: str = "") -> Story:
    return story.says(re.StageProgressed(stage=stage, done=done, total=total, detail=detail), node)


def seen(run: Run) -> list[tuple[str, int, int, str]]:
    return [(stage.name, stage.nodes_done, stage.nodes, stage.detail) for stage in nodes.stages(run)]


def test_a_stage_says_who_is_furthest_behind_in_it() -> None:
    story = Story().says(created(nnodes=4))
    for node, done in ((0, 30), (1, 10), (2, 10), (3, 40)):
        staging(story, node, "connect", 1, 1)
        staging(story, node, "data", done, 40, "images")
    assert seen(story.run) == [("connect", 4, 4, ""), ("data", 1, 4, "node 1: 10/40 images")]
    staging(story, 1, "data", 50, 40)
    staging(story, 2, "train", 0, None)
    assert seen(story.run) == [
        ("connect", 4, 4, ""),
        ("data", 3, 4, "node 0: 30/40 images"),
        ("train", 0, 4, "node 2"),
    ]


def test_a_node_without_a_stage_has_none_behind_it_and_one_that_trains_or_is_done_has_all() -> None:
    story = Story().says(created(nnodes=3))
    staging(story, 0, "connect", 0, 1)
    assert seen(story.run) == [("connect", 0, 3, "node 0")]
    story.hears(1, re.RankStarted(rank=0, local_rank=0, world_size=1, pid=1, device="cpu"))
    story.hears(2, re.TrainerEnded(attempt=1, outcome="succeeded"))
    assert seen(story.run) == [("connect", 2, 3, "node 0")]
    # Of an unknown total nothing is done yet.
    staging(story, 0, "connect", 7, None)
    assert seen(story.run) == [("connect", 2, 3, "node 0")]
    assert seen(staging(Story().says(created(nnodes=1)), 0, "x" * 60, 0, 1).run)[0][0] == "x" * 39 + "…"
    assert nodes.stages(Run()) == ()


@pytest.mark.parametrize(
    ("done", "total", "detail", "words"),
    [
        (3, 12, "files", "3/12 files"),
        (3, 12, "", "3/12"),
        (1234, 5678, "", "1,234/5,678"),
        (0, 1, "", ""),
        (1, 2, "", "1/2"),
        (0, 1, "x" * 61, "x" * 59 + "…"),
        (0, None, "looks", "looks"),
    ],
)
def test_a_stage_in_words(done: int, total: int | None, detail: str, words: str) -> None:
    node = Node(0, stage="data", stage_done=done, stage_total=total, stage_detail=detail)
    assert nodes.stage_words(node) == words


def test_the_copy_of_the_data_set_has_words_of_its_own_in_its_stage() -> None:
    copying = re.StagingProgressed(source="s3://b", activity="list", done_bytes=0, total_bytes=None)
    node = Node(0, stage="stage", stage_done=1, stage_total=3, stage_detail="files", staging=copying)
    assert nodes.stage_words(node) == "looks what is there"
    assert nodes.stage_words(replace(node, stage="data")) == "1/3 files"
    assert nodes.stage_words(replace(node, staging=None)) == "1/3 files"


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_command_is_pending_for_a_minute_while_a_live_node_has_not_answered() -> None:
    story = trained(epochs=1, nnodes=3).says(ce.OperatorCommanded(id="x", command="pause"))
    for node, ok in ((0, True), (1, False)):
        story.hears(node, re.CommandDone(id="x", command="pause", ok=ok))
    assert [command.id for command in nodes.pending(story.run, story.t + 60)] == ["x"]
    assert nodes.pending(story.run, story.t + 60.5) == ()
    unreachable = story.says(ce.HostUnreachable(reason="timed out"), 2).run
    assert [command.id for command in nodes.pending(unreachable, story.t)] == ["x"], "it may answer yet"
    lost = story.says(ce.HostLost(reason="terminated"), 2).run
    assert nodes.pending(lost, story.t) == ()
    assert nodes.pending(told().run, START_T) == ()
