"""What may be typed to find some of many, and what is said of what is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.views.filter import LONGEST, Fields, Wrong, parse

Thing = dict[str, object]

FIELDS: Fields[Thing] = Fields(
    text=lambda thing: f"{thing['host']} {thing['status']}",
    numbers={
        "node": lambda thing: thing["node"],  # type: ignore[dict-item,return-value]
        "util": lambda thing: thing["util"],  # type: ignore[dict-item,return-value]
    },
    words={"status": lambda thing: str(thing["status"]), "host": lambda thing: str(thing["host"])},
    flags={"throttled": lambda thing: bool(thing["throttled"])},
)
THINGS: list[Thing] = [
    {"node": node, "util": util, "status": status, "host": f"ip-10-0-0-{node}", "throttled": node in (1, 4)}
    for node, (util, status) in enumerate(
        [(10, "training"), (49.5, "training"), (50, "lost"), (None, "lost"), (98, "Unreachable"), (100, "training")]
    )
]


def found(typed: str) -> list[object]:
    test = parse(typed, FIELDS)
    return [thing["node"] for thing in THINGS if test(thing)]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ("   ", [0, 1, 2, 3, 4, 5]),
        ("util<50", [0, 1]),
        ("util <= 50", [0, 1, 2]),
        ("util>49.5%", [2, 4, 5]),
        ("UTIL>=98", [4, 5]),
        ("util=50", [2]),
        ('util="50"', [2]),
        ("status='lost'", [2, 3]),
        ("util==50", [2]),
        ("util!=50", [0, 1, 4, 5]),
        ("util=?", [3]),
        ("util!=?", [0, 1, 2, 4, 5]),
        ("node=0,2-3,5", [0, 2, 3, 5]),
        ("node!=1-9", [0]),
        ("util>.05k", [4, 5]),
        ("util<50 & node>0", [1]),
        ("util<50 && node>0", [1]),
        ("util<50 node>0", [1]),
        ("util<50 and node>0", [1]),
        ("util<20 | node=5", [0, 5]),
        ("util<20 OR node=5", [0, 5]),
        ("node=0 | node=1 & util>99", [0]),
        ("(node=0 | node=1) & util<20", [0]),
        ("!util<50", [2, 3, 4, 5]),
        ("not (status=lost | throttled)", [0, 5]),
        ("!!throttled", [1, 4]),
        ("util>=98 | throttled", [1, 4, 5]),
        ("status=lost", [2, 3]),
        ("status=LOST", [2, 3]),
        ("status!=training", [2, 3, 4]),
        ("status~reach", [4]),
        ("status!~reach & node>2", [3, 5]),
        ("lost", [2, 3]),
        ("unREACH", [4]),
        ("10-0-0-3", [3]),
        ('"0-0-3 lost"', [3]),
        ("'lost'", [2, 3]),
        ("lost 0-0-3", [3]),
        ("host=ip-10-0-0-5", [5]),
        ('"throttled"', []),
        ('"util"', []),
    ],
)
def test_what_is_found(typed: str, wanted: list[int]) -> None:
    assert found(typed) == wanted


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("utl<50", '"utl" at character 1 is not a field; there are node, util, status, host, throttled.'),
        ("node>3 & loss=nan", '"loss" at character 10 is not a field'),
        ("util<", '"util<" at character 1 is compared with nothing.'),
        ("util < & node=3", '"util<" at character 1 is compared with nothing.'),
        ("lost util", '"util" at character 6 is a field and compared with nothing.'),
        ("util<high", '"high" at character 6 is not a number'),
        ("util<5 GiB & node>x", '"x" at character 19 is not a number'),
        ("node=1,,2", '"1,,2" at character 6 is not a number'),
        ("util~9", '"~" after "util" at character 1 is for words'),
        ("status>3", '">" after "status" at character 1 is for numbers'),
        ("(util<5", "The bracket at character 1 is not closed."),
        ("util<5)", '")" at character 7 closes nothing.'),
        ("util<5 &", "Something is missing at the end, after character 8."),
        ("| util<5", '"|" at character 1 has nothing before it.'),
        ("a b & & c", '"&" at character 7 has nothing before it.'),
        ("<50", '"<" at character 1 has nothing before it.'),
        ('say "hello', "The quote at character 5 is not closed."),
        ("!", "Something is missing at the end, after character 1."),
        ("()", '")" at character 2 has nothing before it.'),
        ("(" * 400, "too deep"),
        ("!" * 400, "too deep"),
        ("x" * (LONGEST + 1), "has 501 characters; at most 500 are taken."),
        ("util<٣", '"٣" at character 6 is not a number'),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_place(typed: str, sentence: str) -> None:
    with pytest.raises(Wrong) as caught:
        parse(typed, FIELDS)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="utilnodesa019 <>=!~&|()\"'%,-?٣\x1b\n", max_size=60))
def test_whatever_is_typed_is_a_filter_or_a_sentence(typed: str) -> None:
    try:
        test = parse(typed, FIELDS)
    except Wrong:
        return
    for thing in THINGS:
        assert test(thing) in (True, False)
