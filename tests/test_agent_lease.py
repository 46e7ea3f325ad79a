"""The deadline that an agent keeps, without a host's timer; `tests/test_fleet_lease.py` has the timer."""

from __future__ import annotations

import time

import pytest

from remote.agent.lease import Lease


def test_no_lease_never_passes() -> None:
    lease = Lease("")
    assert lease.left_s is None
    assert not lease.passed


def test_the_deadline_lies_ahead_by_what_is_left() -> None:
    lease = Lease("")
    assert lease.move(100)
    assert lease.left_s == pytest.approx(100, abs=1)
    assert lease.deadline_t == pytest.approx(time.time() + 100, abs=1)
    assert not lease.passed


def test_a_move_counts_from_now() -> None:
    lease = Lease("")
    lease.move(100)
    lease.move(10)
    assert lease.deadline_t == pytest.approx(time.time() + 10, abs=1)


def test_a_deadline_behind_us_has_passed() -> None:
    lease = Lease("")
    lease.move(-5)
    assert lease.passed
    assert lease.deadline_t == pytest.approx(time.time() - 5, abs=1)
