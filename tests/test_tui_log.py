"""The log's pane: folding, filter, search, the first failure with its traceback, hostile text; and the pager's file."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
from canned_source import T0, CannedSource, created, scene
from desk import desk, printed, rare_collections
from presses_log import cursor_line, lines, log_pane

from console.fold.apply import apply
from console.journal.reader import read
from console.journal.whole_log import whole_log
from console.journal.writer import RunJournal
from console.playback.replay import Replay
from console.state import events as ce
from console.state.events import Record
from console.state.run import LOG_LINES, LogLine, Run
from console.tui.draw import ink
from console.tui.screens.node import NodeScreen
from console.tui.widgets.log_search import LIMIT_S, Pattern
from console.views import filter as filters
from console.views import log as log_view
from console.views.log import FIELDS, Entry, entries, failure_lines, rows, spans
from remote.wire import events as re

__all__ = ["rare_collections"]


def said(text: str, node: int, rank: int | None = None, *, t: float = 100.0, stream: str = "stdout") -> Record:
    return Record(T0 + t, T0 + t, re.LogPrinted(text=text, rank=rank, stream=stream), node, 0)


def run_of(*records: Record, nodes: int = 4) -> Run:
    return reduce(apply, records, reduce(apply, [created(nodes, 0)], Run()))


def everything(entry: Entry) -> bool:
    return True


# --- folding and asking ----------------------------------------------------------------------------------------------


def test_equal_lines_of_many_ranks_are_one_with_a_count_and_the_ranks() -> None:
    run = run_of(
        *(said("hello", node, node, t=node / 10) for node in range(4)),
        said("other", 2, 2),
        said("hello", 1, 1, t=0.9),
        said("hello", 0, 0, t=20),
        said("hello", 3, 3, t=21, stream="stderr"),
    )
    found = rows(entries(run), everything)
    assert [(row.first.line.text, row.badge) for row in found] == [
        ("hello", "×5 ranks 0-3"),
        ("other", ""),
        ("hello", ""),
        ("hello", ""),
    ]


def test_what_the_console_says_is_never_folded() -> None:
    again = [Record(T0, T0, ce.ConsoleAttached(pid=1)) for _ in range(3)]
    assert len(rows(entries(run_of(*again)), everything)) == 3


def test_lines_without_a_rank_are_of_the_one_rank_that_their_node_has() -> None:
    started = [
        Record(T0, T0, re.RankStarted(rank=7 - node, local_rank=0, world_size=4, pid=1, device="cpu"), node, 0)
        for node in range(4)
    ]
    run = run_of(*started, *(said("same", node) for node in range(4)))
    assert rows(entries(run), everything)[-1].badge == "×4 ranks 4-7"


@pytest.mark.parametrize(
    ("numbers", "written"), [([], ""), ([3], "3"), ([3, 4], "3, 4"), ([0, 1, 2, 3, 7, 9, 8], "0-3, 7-9")]
)
def test_spans(numbers: list[int], written: str) -> None:
    assert spans(numbers) == written


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("loss", ["a loss", "Loss"]),
        ("node=2", ["Loss"]),
        ("rank<2", ["a loss", "x"]),
        ("stderr", ["x"]),
        ('"a loss" | stream=stderr', ["a loss", "x"]),
        ("!stderr node<3", ["a loss", "Loss"]),
    ],
)
def test_the_filters_language(typed: str, wanted: list[str]) -> None:
    run = run_of(said("a loss", 0, 0), said("Loss", 2, 2), said("x", 1, 1, stream="stderr"))
    test = filters.parse(typed, FIELDS)
    assert [row.first.line.text for row in rows(entries(run), test)] == wanted


def test_numbers_go_on_where_the_state_has_dropped_lines() -> None:
    run = run_of(*(said(str(number), 0) for number in range(LOG_LINES + 30)))
    found = entries(run)
    assert (found[0].number, found[0].line.text) == (31, "30")
    assert found[-1].number == run.log_lines == LOG_LINES + 30


# --- the first failure -----------------------------------------------------------------------------------------------

TRACE = [
    "Traceback (most recent call last):",
    '  File "train.py", line 7, in <module>',
    "    step()",
    "ZeroDivisionError: division by zero",
    "The above exception was the direct cause of the following exception:",
    "Traceback (most recent call last):",
    '  File "train.py", line 9, in <module>',
    "RuntimeError: no step",
]


def failed(*before: Record) -> list[Record]:
    failure = re.RankFailed(rank=3, exit_code=1, message="RuntimeError: no step", t_failed=T0 + 60)
    echo = re.RankFailed(rank=1, exit_code=1, message="peer closed", t_failed=T0 + 59, echo=True)
    return [
        *before,
        Record(T0 + 61, T0 + 60, echo, 1, 0),
        Record(T0 + 61.5, T0 + 60, failure, 3, 0),
    ]


def test_the_first_failure_has_the_traceback_of_its_rank_alone() -> None:
    traces = [said(line, node, node, t=61.6, stream="stderr") for line in TRACE for node in (1, 3)]
    after = said("bye", 3, 3, t=62, stream="stderr")
    run = run_of(*failed(said("warm", 3, 3, t=50)), *traces, after)
    assert [entry.line.text for entry in failure_lines(run)] == TRACE
    assert {entry.line.node for entry in failure_lines(run)} == {3}


def test_without_a_traceback_its_last_words_count() -> None:
    words = [said(str(number), 3, 3, t=58, stream="stderr") for number in range(5)]
    run = run_of(*failed(*words, said("x", 3, 3, t=58)))
    assert [entry.line.text for entry in failure_lines(run)] == ["2", "3", "4"]


def test_a_stack_that_is_told_backwards_begins_with_what_failed() -> None:
    """faulthandler's, of a rank that a signal ended: what its launcher says beside it is not the rank's own."""
    words = ["Fatal Python error: Segmentation fault", "Current thread 0x7f (most recent call first):", '  File "a"']
    stack = [said(line, 3, 3, t=60, stream="stderr") for line in words]
    beside = [said("W torch: terminating", 3, stream="stderr", t=60)]
    beside.append(said("(3 more lines within a second)", 3, 3, t=61, stream="stderr"))
    found = failure_lines(run_of(*failed(*stack, *beside)))
    assert [entry.line.text for entry in found] == words
    assert log_view.told_backwards(found)


async def test_the_failure_is_on_top_whatever_is_scrolled() -> None:
    records = [*scene("training", nodes=4), *failed(), *(said(line, 3, 3, t=61.6, stream="stderr") for line in TRACE)]
    async with desk(CannedSource(records)) as one:
        await lines(one, 200)
        for _ in range(2):
            shown = one.text("log").splitlines()
            assert shown[0] == "▌ first failure: node 3: rank 3 failed: RuntimeError: no step"
            assert shown[1:9] == [f"▌ {line}" for line in TRACE]
            await one.press("home")
        assert "joined the gang as node 0" in one.text("log")
        await one.press("e")
        assert cursor_line(one) == TRACE[0]


# --- the pane --------------------------------------------------------------------------------------------------------


async def test_held_lines_stand_still_while_others_come_and_go() -> None:
    async with desk() as one:
        log = await lines(one, LOG_LINES)
        await one.press("pageup", "pageup")
        before, at = one.text("log").splitlines()[1:], cursor_line(one)
        one.source.feed([printed(f"more {number}") for number in range(500)])
        await one.show()
        assert one.text("log").splitlines()[1:] == before
        assert cursor_line(one) == at
        one.source.feed([printed(f"much more {number}") for number in range(LOG_LINES)])
        await one.show()
        assert not log.following
        assert "much more 0" in one.text("log"), "the line is gone: the oldest one that is kept is shown"


async def test_what_is_found_is_marked_and_a_filter_stays_for_new_lines() -> None:
    async with desk() as one:
        await lines(one)
        await one.press("slash", *"line", "enter", "ctrl+f", *"e 3[0-5]", "enter")
        one.source.feed([printed("line 3000"), printed("nothing")])
        await one.show()
        shown = one.text("log")
        assert "line 3000" in shown
        assert "nothing" not in shown
        marked = [
            segment.text
            for y in range(log_pane(one).scrollable_content_region.height)
            for segment in log_pane(one).render_line(y)
            if segment.style and segment.style.bgcolor and segment.text.startswith("e 3")
        ]
        assert marked == [f"e 3{number}" for number in range(6)] + ["e 30"]


async def test_a_click_chooses_a_line_and_the_second_opens_it() -> None:
    async with desk() as one:
        one.source.feed([said("all the same", node, node) for node in range(4)])
        log = await lines(one, 5)
        row = next(at for at, shown in enumerate(log._log_rows) if shown.entry.line.text == "all the same")
        y = row - log.scroll_offset.y + 1
        await one.pilot.click("#log", offset=(20, y))
        assert (log._cursor, log.following) == (row, False)
        assert one.text("log").count("all the same") == 1
        await one.pilot.click("#log", offset=(20, y), times=2)
        assert one.text("log").count("all the same") == 5


async def test_a_wrong_filter_is_a_sentence_and_changes_nothing() -> None:
    async with desk() as one:
        await lines(one)
        await one.press("slash", *"nodee=3")
        assert '"nodee" at character 1 is not a field' in one.text()
        await one.press("escape")
        assert "line 39" in one.text("log")


async def test_a_node_s_screen_has_its_own_lines() -> None:
    async with desk() as one:
        one.source.feed([said("of node 2", 2, 2), said("of node 0", 0, 0)])
        await one.show()
        await one.press("1", "down", "down", "enter")
        assert "of node 2" in one.text("log")
        assert "of node 0" not in one.text("log")


async def test_a_line_with_wide_letters_is_cut_and_opened_whole() -> None:
    async with desk(size=(80, 24)) as one:
        one.source.feed([printed("火車の旅" * 40 + " end")])
        await one.show()
        await one.press("4")
        assert " end" not in one.text("log")
        await one.press("enter")
        assert " end" in one.text("log")
        assert one.text("log").replace(" ", "").replace("\n", "").count("火車の旅") >= 38


# --- patterns --------------------------------------------------------------------------------------------------------


def test_a_pattern_that_would_take_for_ever_is_given_up() -> None:
    pattern = Pattern("(a+)+$")
    began = time.process_time()
    known: dict[str, bool] = {}
    assert pattern.found(["a" * 60 + "b", "aaa"], known)
    assert "given up" in pattern.wrong
    assert time.process_time() - began < 1
    assert pattern.spans("aaa") == []


def test_many_lines_are_looked_through_bit_by_bit() -> None:
    pattern = Pattern("x.*z")
    texts = [f"{number} " + "xy" * 400 for number in range(400)]
    known: dict[str, bool] = {}
    looks = 1
    while not pattern.found(texts, known):
        looks += 1
        assert looks < 500
    assert pattern.wrong == ""
    assert len(known) == 400
    assert not any(known.values())
    assert looks > 1


def test_a_pattern_leaves_anothers_timer_running() -> None:
    rung = threading.Event()
    handler = signal.signal(signal.SIGPROF, lambda number, frame: rung.set())
    timer = signal.setitimer(signal.ITIMER_PROF, 0.3)
    try:
        assert Pattern("a").spans("bab") == [(1, 2)]
        assert signal.getitimer(signal.ITIMER_PROF)[0] > 2 * LIMIT_S, (
            "what is left is the other's time, not the pattern's"
        )
        began = time.process_time()
        while not rung.is_set():  # the timer counts processor time alone
            assert time.process_time() - began < 5
    finally:
        signal.setitimer(signal.ITIMER_PROF, *timer)
        signal.signal(signal.SIGPROF, handler)


# --- the whole log ---------------------------------------------------------------------------------------------------


def test_the_whole_log_has_every_line_of_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    records = [created(2, 0), *(said(f"line {number}", number % 2, t=number / 10) for number in range(3000))]
    with RunJournal(path) as journal:
        journal.append(*records)
    found = list(whole_log(read(path)))
    assert [line.text for line in found] == [f"line {number}" for number in range(3000)]
    replay = Replay(path)
    replay.seek(T0 + 100)
    assert [line.text for line in replay.whole_log()][-1] == "line 1000"


PAGED = """
import sys
sys.path.insert(0, {tests!r})
from canned_source import CannedSource, T0, scene
from desk import printed
from console.tui.app import ConsoleApp
source = CannedSource([*scene("training", nodes=2), *(printed("\\x1b[31mred " + str(n)) for n in range(5))])
ConsoleApp(source).run()
"""


def test_the_pager_gets_the_terminal_a_clean_file_and_ctrl_c(tmp_path: Path) -> None:
    """In a real pseudo-terminal: Ctrl-C in the pager ends the pager; the console is there again and has not stopped."""
    pager = tmp_path / "pager.sh"
    # It speaks once the terminal is its own (the eighth word of stat): a Ctrl-C before that is the console's.
    forward = 'while set -- $(cat /proc/$$/stat) && [ "$8" != $$ ]; do sleep 0.01; done'
    pager.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen\n{forward}\necho PAGER-IS-HERE\nexec sleep 60\n')
    pager.chmod(0o700)
    script = PAGED.format(tests=str(Path(__file__).parent))
    env = {**os.environ, "PAGER": str(pager), "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES"):  # a test process of several has them, and they count for more than the terminal
        env.pop(name, None)
    with Terminal([sys.executable, "-c", script], env) as one:
        one.until("TRAINING")
        one.write("4")
        one.until("follow")
        one.write("o")
        one.until("PAGER-IS-HERE")
        one.write("\x03")
        one.until("TRAINING")
        one.write("?")
        one.until("Save a checkpoint now")
    seen = (tmp_path / "seen").read_text()
    assert "red 4\n" in seen
    assert "joined the gang as node 1" in seen
    assert not any(ord(letter) < 32 and letter != "\n" for letter in seen)


class Terminal:
    """A program in a pseudo-terminal that is its controlling one."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # Before the program is there: it asks once, and hears of a change only when it listens.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
            os.execvpe(words[0], words, env)
        self._seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)

    def write(self, text: str) -> None:
        self._seen = b""
        os.write(self.fd, text.encode())

    def until(self, words: str, timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while words.encode() not in self._seen:
            left = end - time.monotonic()
            assert left > 0, f"no {words!r} in {self._seen[-3000:]!r}"
            if select.select([self.fd], [], [], left)[0]:
                self._seen += os.read(self.fd, 65536)


# --- what hosts print ------------------------------------------------------------------------------------------------

HOSTILE = [
    "\x1b[2J\x1b[H\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07after\x1b]8;;http://x\x1b\\link",
    "[bold red]markup[/] [/nothing] [@click=app.quit]x[/]",
    "[" * 500,
    "\u202eright to left\u202c \u2066isolated\u2069 \u200fmark",
    "x" * 1_000_000,
    "a" + "\u0301" * 5000,
    "wide 火車 🚄 👩‍🚀 tail",
    "\x00\x07\x08\r\n\ttab\x85\x9b31m",
    "\ud800 lone surrogate",
    "",
]


async def test_hostile_text_leaves_the_screen_whole() -> None:
    source = CannedSource(scene("training"))
    for text in HOSTILE:
        source.feed([printed(text), Record(T0 + 101, T0 + 101, re.RankFailed(rank=3, exit_code=1, message=text), 3, 0)])
        stage = re.StageProgressed(stage=text[:200], done=1, total=2, detail=text)
        source.feed([Record(T0 + 102, T0 + 102, stage, 4, 0)])
    async with desk(source) as one:
        for number in "12345":
            await one.press(number)
            shown = one.text()
            assert len(shown.splitlines()) == 40
            assert max(map(ink.cells, shown.splitlines())) <= 120
            assert not set(shown) & set("\x00\x07\x08\r\t\x1b\x85\x9b\u202e\u2066\u200f\u200d\ud800")
        await one.press("4", "z")
        assert "[@click=app.quit]x[/]" in one.text("log")
        await one.press("1", "z", "down", "down", "down", "enter")
        assert isinstance(one.app.screen, NodeScreen)


async def test_a_hostile_name_of_a_run() -> None:
    first = created(2, 0)
    source = CannedSource([replace(first, event=replace(first.event, run_id="[/x]\x1b[31m", price_note="[b]\x1b[0m"))])
    source.title = "[red]\x1b]0;x\x07profile[/red]"
    async with desk(source) as one:
        assert "[red]profile[/red]" in one.text("header")


async def test_hostile_lines_leave_the_pane_whole() -> None:
    async with desk() as one:
        await lines(one, 3)
        one.source.feed([printed(text) for text in HOSTILE])
        await one.show()
        await one.press("ctrl+f", *"[(x]", "enter")
        for text in HOSTILE:
            await one.press("enter", "up")
            shown = one.text()
            assert len(shown.splitlines()) == 40, text
            assert not set(shown) & set("\x00\x07\x08\r\t\x1b\x85\x9b\u202e\u2066\u200f\u200d\ud800")


def test_lines_of_every_kind_have_a_row() -> None:
    odd = LogLine(T0, None, None, "weird", "x")
    assert log_view.rows([Entry(1, odd, None)], everything)[0].badge == ""
