"""The wire vocabulary and the journal's line: there and back, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pytest
import run_story
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.state.events import (
    KNOWN,
    Damaged,
    Record,
    Unknown,
    parse_host_line,
    parse_run_line,
    record_line,
    unread_line,
)
from remote.wire.codec import BOUND, Event, decode, encode
from remote.wire.events import REMOTE, HostSampled, StepEnded

# The machine may be busy with sixteen hosts; how long an example takes says nothing.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NUMBERS = st.floats(-1e17, 1e17) | st.integers(-(10**17), 10**17).map(float)
TEXTS = st.text(max_size=30)


def _values(hint: Any) -> st.SearchStrategy[Any]:
    return {
        int: st.integers(-(10**17), 10**17),
        float: NUMBERS,
        str: TEXTS,
        bool: st.booleans(),
        int | None: st.none() | st.integers(0, 10**9),
        float | None: st.none() | NUMBERS,
        str | None: st.none() | TEXTS,
        tuple[str, ...]: st.lists(TEXTS, max_size=3).map(tuple),
        tuple[int, ...]: st.lists(st.integers(0, 10**9), max_size=9).map(tuple),
        tuple[str | None, ...]: st.lists(st.none() | TEXTS, max_size=9).map(tuple),
        tuple[float | None, ...]: st.lists(st.none() | NUMBERS, max_size=9).map(tuple),
    }[hint]


def _events(names: Iterable[str]) -> st.SearchStrategy[Event]:
    return st.sampled_from(sorted(names)).flatmap(
        lambda name: st.builds(
            KNOWN[name], **{field: _values(hint) for field, hint in get_type_hints(KNOWN[name]).items()}
        )
    )


HOSTS_EVENTS = _events(REMOTE)
LAPTOPS_EVENTS = _events(KNOWN.keys() - REMOTE.keys())


def _records(events: st.SearchStrategy[Event], offsets: st.SearchStrategy[int | None]) -> st.SearchStrategy[Record]:
    return st.builds(
        Record,
        received_t=st.integers(0, 10**13).map(lambda n: n / 1000),
        t=st.integers(0, 10**13).map(lambda n: n / 1000),
        event=events,
        node=st.none() | st.integers(0, 99_999),
        offset=offsets,
    )


# What has an offset stood in a host's journal.
RECORDS = _records(HOSTS_EVENTS, st.none() | st.integers(0, 10**15)) | _records(LAPTOPS_EVENTS, st.none())


@PATIENT
@given(RECORDS)
def test_every_record_comes_back_from_its_line(record: Record) -> None:
    line = record_line(record)
    assert "\n" not in line
    assert parse_run_line(line.encode("utf-8", "backslashreplace")) == record


@PATIENT
@given(HOSTS_EVENTS, st.integers(0, 10**12))
def test_a_hosts_line_and_the_runs_line_say_the_same(event: Event, t: int) -> None:
    line = encode(event, t / 100).encode("utf-8", "backslashreplace")
    record = parse_host_line(line, received_t=5.0, node=3, offset=70)
    again = parse_run_line(record_line(record).encode("utf-8", "backslashreplace"))
    assert again == record


@PATIENT
@given(LAPTOPS_EVENTS, st.sampled_from([b"", b'"offset":null,"node":0,"received":1,', b'"offset":null,']))
def test_a_host_does_not_speak_with_the_laptops_voice(event: Event, claim: bytes) -> None:
    line = b"{" + claim + encode(event, 1.0).encode("utf-8", "backslashreplace")[1:]
    with pytest.raises(Unknown, match=type(event).__name__):
        parse_host_line(line, received_t=5.0, node=3, offset=70)
    # Nor in a replay of what was kept of it, whatever it says of where it came from.
    kept = unread_line(line, received_t=5.0, node=3, offset=70)
    with pytest.raises(Unknown, match=type(event).__name__):
        parse_run_line(kept)
    assert json.loads(kept)["offset"] == 70


def test_every_event_is_in_one_of_the_two_vocabularies() -> None:
    assert set(REMOTE) < set(KNOWN)
    assert len(KNOWN) == len(set(KNOWN.values()))


def test_a_field_that_is_not_known_is_ignored() -> None:
    line = json.loads(encode(HostSampled(cpu_util_pct=1.0, mem_used_mib=2.0, mem_total_mib=3.0), 1.0))
    line["of_a_later_version"] = {"a": 1}
    assert decode(line, KNOWN) == HostSampled(cpu_util_pct=1.0, mem_used_mib=2.0, mem_total_mib=3.0)


def test_an_event_of_a_later_version_is_unknown() -> None:
    with pytest.raises(Unknown, match="HostSangASong"):
        parse_run_line('{"received": 1.0, "t": 1.0, "event": "HostSangASong"}')


def test_a_number_that_is_none_is_written_as_null() -> None:
    nan = StepEnded(
        step=1, epoch=0, epoch_step=1, steps_per_epoch=1, loss=math.nan, lr=0.1, step_s=1, data_s=0, img_per_s=1
    )
    assert json.loads(encode(nan, 1.0))["loss"] is None
    torn = HostSampled(cpu_util_pct=None, mem_used_mib=1e300, mem_total_mib=None, gpu_util_pct=(math.inf, 3.0))
    back = decode(json.loads(encode(torn, 1.0)), KNOWN)
    assert back == HostSampled(cpu_util_pct=None, mem_used_mib=None, mem_total_mib=None, gpu_util_pct=(None, 3.0))


GOOD = {"received": 1.0, "t": 1.0, "node": 0, "offset": 0, "event": "HostSampled"}
GOOD |= {"cpu_util_pct": 1, "mem_used_mib": 1, "mem_total_mib": 1, "gpu_util_pct": [1, None, 2.5]}


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_util_pct": "1"},
        {"cpu_util_pct": True},
        {"cpu_util_pct": [1]},
        {"cpu_util_pct": BOUND},
        {"cpu_util_pct": -(10**400)},
        {"gpu_util_pct": 3},
        {"gpu_util_pct": [True]},
        {"gpu_util_pct": ["1"]},
        {"gpu_util_pct": [[1]]},
        {"gpu_util_pct": [None, 1e19]},
        {"gpu_util_pct": None},
        {"event": None},
        {"event": ["HostSampled"]},
        {"t": None},
        {"t": -1},
        {"t": True},
        {"received": "now"},
        {"received": 1e300},
        {"node": -1},
        {"node": True},
        {"node": 1.0},
        {"node": 10**30},
        {"offset": "0"},
        {"offset": -5},
    ],
    ids=str,
)
def test_a_wrong_value_makes_the_line_damaged(change: dict[str, Any]) -> None:
    parse_run_line(json.dumps(GOOD))
    with pytest.raises(Damaged):
        parse_run_line(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        json.dumps(GOOD).encode() + b" x",
        json.dumps(GOOD).replace("2.5", "NaN").encode(),
        json.dumps(GOOD).replace("2.5", "Infinity").encode(),
        json.dumps(GOOD).replace("2.5", "1e999").encode(),
        json.dumps(GOOD).replace("2.5", "9" * 5000).encode(),
    ],
    ids=lambda line: repr(line[:20]),
)
def test_what_is_no_json_object_is_damaged(line: bytes) -> None:
    with pytest.raises(Damaged):
        parse_run_line(line)


def test_a_field_without_default_must_be_there() -> None:
    for name, kind in KNOWN.items():
        required = [field.name for field in fields(kind) if field.default is MISSING]
        if required:
            with pytest.raises(Damaged, match=required[0]):
                decode({"event": name}, KNOWN)


def test_the_story_goes_there_and_back() -> None:
    records = run_story.told().records
    assert [parse_run_line(record_line(record)) for record in records] == records
