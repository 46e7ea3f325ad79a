"""What the ranks' environment holds on rented hosts, and who has the last word on it."""

from __future__ import annotations

import pytest

from console.live import nccl
from console.profile.load import load


@pytest.mark.parametrize(
    ("name", "nodes", "expected"),
    [
        ("imagenet-p4d", 16, {"NCCL_SOCKET_IFNAME": "en"}),
        ("imagenet-p5", 16, {"NCCL_SOCKET_IFNAME": "en"}),
        ("imagenet-p5", 1, {}),  # alone: there is nobody to find
        ("imagenet-g6", 2, {}),  # one card: NCCL finds it
        ("local", 16, {}),
    ],
)
def test_only_hosts_of_many_cards_that_talk_are_told_where(name: str, nodes: int, expected: dict[str, str]) -> None:
    profile = load(name, [f"fleet.nodes={nodes}"])
    assert dict(nccl.environment(profile)) == expected


def test_nothing_is_set_that_a_stack_sets_by_itself() -> None:
    chosen = {"FI_PROVIDER", "NCCL_PROTO", "NCCL_ALGO", "FI_EFA_USE_DEVICE_RDMA", "NCCL_NSOCKS_PERTHREAD"}
    assert not chosen & set(nccl.environment(load("imagenet-p5")))


def test_the_profile_has_the_last_word() -> None:
    profile = load("imagenet-p4d", ['run.env.NCCL_SOCKET_IFNAME="eth0"', 'run.env.NCCL_DEBUG="INFO"'])
    assert nccl.in_a_job(profile) == {"NCCL_SOCKET_IFNAME": "eth0", "NCCL_DEBUG": "INFO"}
