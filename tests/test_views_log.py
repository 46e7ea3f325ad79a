"""The log and the alerts as one reads them: folded, grouped, a failure with its own lines; and a data set's copy."""

from __future__ import annotations

from run_story import Story, created, launched

from console.state import events as ce
from console.state.run import CRITICAL, INFO, WARNING, Alert, Run
from console.views import alerts, log, staging
from console.views.filter import parse
from remote.wire import events as re


def everything(entry: log.Entry) -> bool:
    return True


def printing(nnodes: int = 2) -> Story:
    """Hosts whose ranks are there."""
    return launched(nnodes=nnodes)


def printed(run: Run, node: int | None = None) -> list[log.Entry]:
    """The lines of hosts, without what the console logged of the launch."""
    return [entry for entry in log.entries(run, node) if entry.line.stream != "console"]


def told(rows: list[log.Row]) -> list[tuple[str, str]]:
    return [(row.first.line.text, row.badge) for row in rows]


# --- lines -----------------------------------------------------------------------------------------------------------


def test_lines_have_their_number_in_the_whole_log() -> None:
    story = Story().says(created(nnodes=2))
    for number in range(1, 4):
        story.hears(number % 2, re.LogPrinted(text=f"line {number}"))
    run = story.run
    assert [(entry.number, entry.line.text) for entry in log.entries(run)] == [
        (1, "line 1"),
        (2, "line 2"),
        (3, "line 3"),
    ]
    assert [entry.number for entry in log.entries(run, 1)] == [1, 3]
    for number in range(4, 1100):
        story.hears(0, re.LogPrinted(text=f"line {number}"))
    first, last = log.entries(story.run)[0], log.entries(story.run)[-1]
    assert (first.number, first.line.text) == (100, "line 100")
    assert (last.number, last.line.text) == (1099, "line 1099")


def test_the_only_rank_of_a_node_is_known_without_being_named() -> None:
    story = launched(nnodes=2, nproc_per_node=1)
    story.hears(1, re.LogPrinted(text="unnamed"))
    story.hears(1, re.LogPrinted(text="named", rank=7))
    story.says(ce.AlertRaised(kind="host", text="from the console"), 1)
    assert [entry.rank for entry in log.entries(story.run)[-3:]] == [1, 7, None]
    pair = printing().hears(1, re.LogPrinted(text="of one of two"))
    assert log.entries(pair.run)[-1].rank is None


def test_equal_lines_of_a_gang_are_one_row_with_who_said_them() -> None:
    story = printing(nnodes=3)
    for rank in (0, 1, 2, 4):
        story.hears(rank // 2, re.LogPrinted(text="ready", rank=rank), after_s=1.0)
    story.hears(0, re.LogPrinted(text="alone", rank=0))
    rows = log.rows(printed(story.run), everything)
    # The first of the four speaks for those within 3 s of it, the last included.
    assert told(rows) == [("ready", "×4 ranks 0-2, 4"), ("alone", "")]
    assert [len(row.entries) for row in rows] == [4, 1]
    story.hears(2, re.LogPrinted(text="ready", rank=5), after_s=0.1)
    assert told(log.rows(printed(story.run), everything))[-1] == ("ready", ""), "3.1 s after the first"


def test_rows_without_ranks_name_their_nodes_and_one_node_s_repeats_only_their_number() -> None:
    story = printing()
    for node in (0, 1):
        story.hears(node, re.LogPrinted(text="hello"))
    assert told(log.rows(printed(story.run), everything)) == [("hello", "×2 nodes 0, 1")]
    again = printing().hears(1, re.LogPrinted(text="x")).hears(1, re.LogPrinted(text="x"))
    assert told(log.rows(printed(again.run), everything)) == [("x", "×2")]
    same = printing()
    for _ in range(2):
        same.hears(1, re.LogPrinted(text="x", rank=3))
    assert told(log.rows(printed(same.run), everything)) == [("x", "×2")]


def test_streams_are_apart_and_the_console_s_lines_are_never_folded() -> None:
    story = printing()
    story.hears(0, re.LogPrinted(text="same", stream="stdout"))
    story.hears(0, re.LogPrinted(text="same", stream="stderr"))
    for _ in range(2):
        story.says(ce.AlertRaised(kind="host", text="same"), 0)
    rows = log.rows(log.entries(story.run), everything)
    assert told(rows)[-4:] == [("same", "")] * 4


def test_only_lines_that_pass_are_rows() -> None:
    story = printing()
    story.hears(0, re.LogPrinted(text="out", stream="stdout", rank=0))
    story.hears(1, re.LogPrinted(text="Error here", stream="stderr", rank=2))
    story.says(ce.AlertRaised(kind="host", text="an error there"), 1)

    def found(typed: str) -> list[str]:
        return [row.first.line.text for row in log.rows(log.entries(story.run), parse(typed, log.FIELDS))]

    assert found("stderr") == ["Error here"]
    assert found("stdout") == ["out"]
    assert found("console error") == ["an error there"]
    assert found("error") == ["Error here", "an error there"]
    assert found("node=1 & !console") == ["Error here"]
    assert found("rank=2") == ["Error here"]
    assert found("stream=stdout") == ["out"]
    assert found("text~HERE") == ["Error here", "an error there"]
    assert log.FIELDS.names() == ("node", "rank", "stream", "text", "stderr", "stdout", "console")


# --- a failure's own lines -------------------------------------------------------------------------------------------

TRACEBACK = ["Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "    f()", "ValueError: no"]


def failing(*lines: str, rank: int | None = 2, told_by: int | None = 2) -> Story:
    """A rank of node 1 prints its lines and fails."""
    story = printing()
    for line in lines:
        story.hears(1, re.LogPrinted(text=line, rank=told_by, stream="stderr"))
    return story.hears(1, re.RankFailed(rank=rank, exit_code=1, message="ValueError: no"))


def texts(entries: list[log.Entry]) -> list[str]:
    return [entry.line.text for entry in entries]


def test_a_failure_has_its_traceback_from_the_first_to_the_exception() -> None:
    assert log.failure_lines(printing().run) == []
    assert texts(log.failure_lines(failing("before", *TRACEBACK, "after").run)) == TRACEBACK
    chained = [*TRACEBACK, "During handling of the above exception, another exception occurred:", *TRACEBACK]
    assert texts(log.failure_lines(failing("before", *chained, "after").run)) == chained


def test_a_signal_s_stack_has_no_exception_after_it() -> None:
    stack = ["Fatal Python error: Segmentation fault", "Thread 0x1 (most recent call first):", '  File "a.py"']
    stack += ["Current thread 0x2 (most recent call first):", "\t...", "  <no Python frame>"]
    found = log.failure_lines(failing(*stack, "after").run)
    assert texts(found) == stack
    assert log.told_backwards(found)
    assert not log.told_backwards(log.failure_lines(failing(*TRACEBACK).run))
    assert not log.told_backwards([])


def test_without_a_traceback_the_last_three_lines_are_shown() -> None:
    assert texts(log.failure_lines(failing("a", "b", "c", "d").run)) == ["b", "c", "d"]


def test_the_rank_s_own_lines_come_before_its_neighbours_and_the_launcher_s() -> None:
    story = printing()
    for rank, text in ((2, "mine"), (3, "its neighbour's"), (None, "the launcher's")):
        story.hears(1, re.LogPrinted(text=text, rank=rank, stream="stderr"))
    story.hears(0, re.LogPrinted(text="another node's", rank=0, stream="stderr"))
    story.hears(1, re.LogPrinted(text="to stdout", rank=2, stream="stdout"))
    story.hears(1, re.LogPrinted(text="... (12 more lines within a second)", rank=2, stream="stderr"))
    failed = story.hears(1, re.RankFailed(rank=2, exit_code=1, message="x"))
    assert texts(log.failure_lines(failed.run)) == ["mine"]
    assert texts(log.failure_lines(failing("a", "b", told_by=None).run)) == ["a", "b"], "no pipe of its own"


def test_a_failure_s_lines_are_those_from_30_s_before_to_10_s_after_it() -> None:
    story = printing()
    for text, after_s in (("too early", 0.0), ("early", 1.0)):
        story.hears(1, re.LogPrinted(text=text, rank=2, stream="stderr"), after_s=after_s)
    story.hears(1, re.RankFailed(rank=2, exit_code=1, message="x"), after_s=30.0)
    for text, after_s in (("late", 10.0), ("too late", 1.0)):
        story.hears(1, re.LogPrinted(text=text, rank=2, stream="stderr"), after_s=after_s)
    assert texts(log.failure_lines(story.run)) == ["early", "late"]


def test_of_a_very_long_traceback_the_end_is_shown() -> None:
    long = [TRACEBACK[0], *(f"  line {number}" for number in range(300)), TRACEBACK[-1]]
    found = texts(log.failure_lines(failing(*long).run))
    assert (len(found), found[0], found[-1]) == (200, "  line 101", "ValueError: no")


# --- words -----------------------------------------------------------------------------------------------------------


def test_spans() -> None:
    assert log.spans([]) == ""
    assert log.spans([3]) == "3"
    assert log.spans([4, 3]) == "3, 4"
    assert log.spans([3, 4, 5, 5]) == "3-5"
    assert log.spans([0, 1, 2, 7, 9, 10]) == "0-2, 7, 9, 10"


def test_whom_an_alert_is_about() -> None:
    assert log.who(Alert(0.0, "x", None, "")) == ""
    assert log.who(Alert(0.0, "x", 3, "")) == "node 3"
    assert log.who(Alert(0.0, "x", None, "", rank=5)) == "rank 5"
    assert log.who(Alert(0.0, "x", 0, "", rank=0)) == "rank 0 on node 0"


# --- alerts ----------------------------------------------------------------------------------------------------------


def raised(story: Story, text: str, node: int | None, severity: str = WARNING, after_s: float = 0.0) -> Story:
    event = ce.AlertRaised(kind="host", text=text, severity=severity, id=f"{text}:{node}")
    return story.says(event, node, after_s=after_s)


def test_the_same_alert_of_several_nodes_is_one_group() -> None:
    story = printing(nnodes=4)
    for node in (0, 1, 2):
        raised(story, "cut", node, after_s=10.0)
    (group,) = alerts.groups(story.run)
    assert (group.about, group.open, group.cleared_t, group.first.node) == ("nodes 0-2", True, None, 0)
    raised(story, "cut", 3, after_s=10.1)
    assert [group.about for group in alerts.groups(story.run)] == ["node 3", "nodes 0-2"]
    assert alerts.open_count(story.run) == 4


def test_a_group_is_over_when_its_last_alert_is() -> None:
    story = printing(nnodes=2)
    for node in (0, 1):
        raised(story, "cut", node)
    story.says(ce.AlertCleared(id="cut:0"), 0, after_s=5.0)
    assert [(group.about, group.open) for group in alerts.groups(story.run)] == [("node 1", True), ("node 0", False)]
    assert alerts.open_count(story.run) == 1
    story.says(ce.AlertCleared(id="cut:1"), 1, after_s=5.0)
    (group,) = alerts.groups(story.run)
    assert (group.open, group.cleared_t) == (False, story.t)
    moment = printing(nnodes=2).says(ce.AlertRaised(kind="budget", text="half is spent"))
    (group,) = alerts.groups(moment.run)
    assert (group.about, group.open, group.cleared_t) == ("", False, None), "what has no end"


def test_open_alerts_come_first_by_severity_and_the_others_newest_first() -> None:
    story = printing(nnodes=4)
    raised(story, "old warning", 0)
    raised(story, "info", 1, INFO)
    raised(story, "new warning", 2)
    raised(story, "critical", 3, CRITICAL)
    story.says(ce.AlertRaised(kind="x", text="first moment"))
    story.says(ce.AlertRaised(kind="x", text="second moment"))
    assert [group.first.text for group in alerts.groups(story.run)] == [
        "critical", "new warning", "old warning", "info", "second moment", "first moment",
    ]  # fmt: skip


# --- the copy of the data set ----------------------------------------------------------------------------------------


def test_a_copy_in_words() -> None:
    def said(activity: str = "copy", **changes: object) -> str:
        values: dict[str, object] = {"source": "s3://b", "done_bytes": 1_200_000_000, "total_bytes": 8_400_000_000}
        return staging.words(re.StagingProgressed(activity=activity, **{**values, **changes}))  # type: ignore[arg-type]

    assert said() == "1.2 of 8.4 GB"
    assert said(bytes_per_s=310e6, left_s=23.4) == "1.2 of 8.4 GB, 310 MB/s, 0:23 left"
    assert said("verify", total_bytes=None) == "1.2 GB, verifies what is there"
    assert said(left_s=1e12) == "1.2 of 8.4 GB, 99:59:59 left"
    assert said("list") == "looks what is there"
    assert said("wait") == "another node that shares its folder copies it"
    assert said("renew") == "waits for the laptop: its addresses have expired"
