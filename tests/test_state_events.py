"""Lines of a journal and their records: what is damaged says why, and what a host may not say does not pass."""

from __future__ import annotations

import json

import pytest
from run_story import created, told

from console.state import events as ce
from console.state.events import Damaged, Record, Unknown, parse_host_line, parse_run_line, record_line, unread_line
from console.state.outcome import CUT_OFF, Exit, exit_of, outcome
from console.state.run import Run
from remote.wire import events as re


def host(line: bytes | str) -> Record:
    return parse_host_line(line, received_t=5.0, node=3, offset=70)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "not JSON"),
        (b"no", "not JSON"),
        (b'{"t":NaN}', "not JSON: NaN is not JSON"),
        (b'{"t":1.0} x', "not JSON: more after column 9"),
        (b"[1]", "not a JSON object"),
        (b"\xff", "not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b'{"event":"Resumed"}', "t is None"),
        (b'{"event":"Resumed","t":"1"}', "t is '1'"),
        (b'{"event":"Resumed","t":true}', "t is True"),
        (b'{"event":"Resumed","t":-0.5}', "t is -0.5"),
        (b'{"event":"Resumed","t":1e11}', "t is 100000000000.0"),
        (b'{"event":"Resumed","t":"' + b"x" * 100 + b'"}', "t is '" + "x" * 79),
    ],
)
def test_a_damaged_line_says_why(line: bytes, why: str) -> None:
    with pytest.raises(Damaged) as caught:
        host(line)
    assert str(caught.value) == why


def test_a_host_s_line_has_what_the_laptop_says_of_it() -> None:
    record = host(b'  {"event":"Resumed","t":7,"rank":0,"step":4,"paused_s":2.0}\n')
    assert record == Record(5.0, 7.0, re.Resumed(rank=0, step=4, paused_s=2.0), 3, 70)
    assert host('{"event":"Resumed","t":0,"rank":0,"step":4,"paused_s":2.0}').t == 0.0
    # What only the laptop witnesses a host cannot say.
    with pytest.raises(Unknown):
        host(record_line(Record(1.0, 1.0, ce.AlertCleared(id="x"))))


def test_a_record_is_read_as_it_was_written() -> None:
    for record in told().records:
        assert parse_run_line(record_line(record)) == record
    assert record_line(Record(1.25, 2.5, ce.AlertCleared(id="x"), 3)) == (
        '{"received":1.2500,"node":3,"event":"AlertCleared","t":2.5,"id":"x"}'
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"node": -1}, "node is -1"),
        ({"node": 100_000}, "node is 100000"),
        ({"node": True}, "node is True"),
        ({"node": "0"}, "node is '0'"),
        ({"node": "x" * 100}, "node is '" + "x" * 79),
        ({"offset": -1}, "offset is -1"),
        ({"offset": 1 << 60}, f"offset is {1 << 60}"),
        ({"offset": 1.0}, "offset is 1.0"),
        ({"offset": "x" * 100}, "offset is '" + "x" * 79),
        ({"received": None}, "received is None"),
        ({"t": None}, "t is None"),
    ],
)
def test_a_line_of_the_run_s_journal_with_a_wrong_head_is_damaged(changes: dict[str, object], why: str) -> None:
    line = {"received": 1.0, "node": 0, "offset": 0, "event": "Paused", "t": 1.0, "rank": 0, "step": 1}
    assert parse_run_line(json.dumps(line)).event == re.Paused(rank=0, step=1)
    with pytest.raises(Damaged) as caught:
        parse_run_line(json.dumps({**line, **changes}))
    assert str(caught.value) == why


def test_the_edges_of_a_node_and_an_offset() -> None:
    line = {"received": 1.0, "node": 99_999, "offset": (1 << 60) - 1, "event": "Paused", "t": 1.0, "rank": 0, "step": 1}
    record = parse_run_line(json.dumps(line))
    assert (record.node, record.offset) == (99_999, (1 << 60) - 1)
    del line["node"], line["offset"]
    assert (parse_run_line(json.dumps(line)).node, parse_run_line(json.dumps(line)).offset) == (None, None)
    # With an offset it is a host's, which does not speak for the laptop.
    laptop = {"received": 1.0, "node": 0, "event": "AlertCleared", "t": 1.0, "id": "x"}
    assert parse_run_line(json.dumps(laptop)).event == ce.AlertCleared(id="x")
    with pytest.raises(Unknown):
        parse_run_line(json.dumps({**laptop, "offset": 0}))


HEAD = '{"received":1.5000,"node":3,"offset":70,'


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        (b' {"event":"Sang","t":1.0} ', '"event":"Sang","t":1.0}'),
        (b'{"event":"Sang", "node":0,"received":9,"offset":1,"t":1}', '"event":"Sang","t":1}'),
        (b'{"event":"Sang", "offset":1,"t":1}', '"event":"Sang","t":1}'),
        (b"no JSON", '"unread":"no JSON"}'),
        (b'{"event":3}', r'"unread":"{\"event\":3}"}'),
        (b"\xff\n", r'"unread":"\ufffd"}'),
        (b"x" * 300, '"unread":"' + "x" * 200 + '"}'),
    ],
)
def test_a_host_s_line_that_cannot_be_read_is_kept_as_the_laptop_s(line: bytes, rest: str) -> None:
    kept = unread_line(line, received_t=1.5, node=3, offset=70)
    assert kept == HEAD + rest
    with pytest.raises((Damaged, Unknown)):
        parse_run_line(kept)


# --- how it ended ----------------------------------------------------------------------------------------------------


def logged(**changes: object) -> Run:
    return Run(created=created(), **changes)  # type: ignore[arg-type]


def test_the_exit_code_is_the_run_s_own_or_that_of_its_outcome() -> None:
    finished = re.TrainingEnded(step=1, epoch=0, reason="finished", elapsed_s=1.0)
    target = re.TargetReached(metric="top5", value=0.9, target=0.6, epoch=0, step=1, elapsed_s=1.0)
    for run, name, code in (
        (logged(), CUT_OFF, Exit.FAILED),
        (logged(target=target), "reached", Exit.DONE),
        (logged(finished=finished), "missed", Exit.MISSED),
        (Run(created=created(target_value=None), finished=finished), "finished", Exit.DONE),
        (Run(finished=finished), "finished", Exit.DONE),
        (logged(finished=re.TrainingEnded(step=1, epoch=0, reason="stopped", elapsed_s=1.0)), CUT_OFF, Exit.FAILED),
        (logged(status="stopped"), "stopped", Exit.INTERRUPTED),
        (logged(status="failed", target=target), "failed", Exit.FAILED),
        (logged(status="failed", exit_code=4), "failed", Exit.OVER_BUDGET),
        (logged(status="over budget", exit_code=77), "over budget", Exit.OVER_BUDGET),
        (logged(status="unreachable"), "unreachable", Exit.UNREACHABLE),
        (logged(status="training", exit_code=4), CUT_OFF, Exit.FAILED),
    ):
        assert (outcome(run), exit_of(run)) == (name, code)
