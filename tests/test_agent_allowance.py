"""How much a process may print into the journal."""

from __future__ import annotations

from remote.agent.allowance import Allowance


def test_fifty_lines_a_second() -> None:
    allowance = Allowance(1000.0)
    assert sum(allowance.take(10, 1000.0 + i / 100) for i in range(100)) == 50
    assert sum(allowance.take(10, 1001.0 + i / 100) for i in range(100)) == 50


def test_a_burst_of_64_kib_and_then_4_kib_a_second() -> None:
    allowance = Allowance(1000.0)
    assert sum(allowance.take(4096, 1000.5) for _ in range(40)) == 16
    assert sum(allowance.take(4096, 1000.5 + i / 10) for i in range(1, 101)) == 10, "ten seconds later"
    assert sum(allowance.take(4096, 1100.5) for _ in range(40)) == 16, "a pause fills it again, up to the burst"


def test_what_is_printed_beyond_it_is_made_up_for() -> None:
    allowance = Allowance(1000.0)
    allowance.overdraw(65_536 + 8192)
    assert not allowance.take(1, 1001.9)
    assert not allowance.take(4096, 1002.9)
    assert allowance.take(4096, 1003.1)


def test_lines_that_were_held_back_are_due_in_the_next_second_and_over_a_second_later() -> None:
    allowance = Allowance(1000.0)
    assert not allowance.is_due(1005.0)
    assert not allowance.is_over(1005.0)
    allowance.take(1, 1000.1)
    allowance.hold_back("stdout", [b"x"] * 30, 1000.5)
    assert allowance.held_back == 30
    assert len(allowance.tail) == 20
    assert [allowance.is_due(now) for now in (1000.9, 1001.1)] == [False, True]
    assert [allowance.is_over(now) for now in (1001.4, 1001.6)] == [False, True]
