"""Leases: when the hosts are told of them, how long they are, and what a console that leaves grants."""

from __future__ import annotations

from typing import Any

import pytest
from run_story import Story
from test_policy_decide import story

from console.live.leases import Leases
from console.state import events as ce

BOTH = frozenset({0, 1})


class Hosts:
    """Leases of an hour, and the messages that go to the hosts."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.leases = Leases(60, self.messages.append)

    def told(self, written: Story, after_s: float, nodes: frozenset[int] = BOTH) -> list[tuple[float, bool]]:
        """The leases that the hosts are told of at this moment: seconds, and whether a console is there."""
        del self.messages[:]
        self.leases.hold(written.run, written.t + after_s, nodes)
        assert all(message["command"] == "lease" for message in self.messages)
        return [(message["seconds"], message["attended"]) for message in self.messages]


def billed(budget_usd: float | None) -> Story:
    """Two hosts at 7.20 dollars an hour together, a cent in 5 s."""
    written = story(budget_usd=budget_usd)
    for node in (0, 1):
        instance = ce.InstanceStarted(
            instance_id=f"i-{node}", started_t=written.t, usd_per_h=3.6, usd_per_h_on_demand=12.0
        )
        written.says(instance, node)
    return written


def test_hosts_are_told_again_after_a_sixth_of_the_lease() -> None:
    hosts, written = Hosts(), billed(None)
    assert hosts.told(written, 0) == [(3600, True)]
    assert hosts.told(written, 600) == []
    assert hosts.told(written, 601) == [(3600, True)]
    assert hosts.told(written, 1201) == []


def test_a_host_that_comes_is_told_at_once_and_one_that_goes_changes_nothing() -> None:
    hosts, written = Hosts(), billed(None)
    assert hosts.told(written, 0, frozenset({0})) == [(3600, True)]
    assert hosts.told(written, 1) == [(3600, True)]
    assert hosts.told(written, 2, frozenset({1})) == []


def test_another_budget_is_told_at_once() -> None:
    hosts, written = Hosts(), billed(4.0)
    # The budget ends 2000 s after the start, before a lease of an hour does.
    assert hosts.told(written, 100) == [(pytest.approx(1900), True)]
    assert hosts.told(written, 101) == []
    written.says(ce.BudgetMoved(max_usd=5.0))
    assert hosts.told(written, 102) == [(pytest.approx(2398), True)]


def test_a_dearer_fleet_shortens_the_leases_at_once() -> None:
    hosts, written = Hosts(), billed(4.0)
    assert hosts.told(written, 100) == [(pytest.approx(1900), True)]
    dear = ce.InstanceStarted(instance_id="i-2", started_t=written.t, usd_per_h=7.2, usd_per_h_on_demand=12.0)
    written.says(dear, 1)
    ((seconds, _),) = hosts.told(written, 101)
    assert seconds < 1500


@pytest.mark.parametrize(("budget_usd", "seconds"), [(None, 12 * 3600), (1000.0, 12 * 3600), (4.0, 1900)])
def test_a_run_that_is_left_has_twelve_hours_or_its_budget(budget_usd: float | None, seconds: float) -> None:
    hosts, written = Hosts(), billed(budget_usd)
    hosts.leases.leave_unattended(written.run, written.t + 100)
    (message,) = hosts.messages
    assert (message["seconds"], message["attended"]) == (pytest.approx(seconds), False)
