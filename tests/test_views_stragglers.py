"""Who is waited for, from lists of what ranks say of their steps."""

from __future__ import annotations

import pytest
from run_story import launched, trained

from console.state.run import Run
from console.views import stragglers
from remote.wire import events as re


def test_a_rank_that_waits_for_its_data_is_waited_for() -> None:
    story = launched(nnodes=2)
    for rank in range(4):
        story.hears(
            rank // 2,
            re.RankProgressed(
                rank=rank, step=1, img_per_s=1.0, step_s=1.0, data_s=0.6 if rank == 3 else 0.1, compute_s=0.3
            ),
        )
    (slow,) = stragglers.of(story.run)
    assert (slow.node, slow.rank, slow.reason) == (1, 3, "data")
    assert slow.ratio == pytest.approx(6)
    assert stragglers.of(trained(epochs=1).run) == ()


def gang(**parts: list[float]) -> Run:
    """A gang of ranks, two a node, whose seconds a step are given part by part; all steps are equally long."""
    ranks = len(parts["compute_s"])
    story = launched(nnodes=ranks // 2)
    sums = [(parts["data_s"][rank] or 0) + (parts["compute_s"][rank] or 0) for rank in range(ranks)]
    for rank in range(ranks):
        said = {name: values[rank] for name, values in parts.items()}
        story.hears(rank // 2, re.RankProgressed(rank=rank, step=1, img_per_s=1.0, step_s=max(sums), **said))
    return story.run


def test_who_waits_least_in_the_all_reduce_is_the_one_that_is_waited_for() -> None:
    # All compute_s are alike, since they hold the wait; rank 2 alone does not wait, it computes.
    run = gang(data_s=[0.1] * 4, compute_s=[0.9] * 4, allreduce_s=[0.5, 0.5, 0.02, 0.5])
    (slow,) = stragglers.of(run)
    assert (slow.node, slow.rank, slow.reason) == (1, 2, "compute")
    assert slow.excess_s == pytest.approx(0.48)


def test_a_rank_that_waits_for_data_and_then_for_others_is_no_straggler() -> None:
    # Rank 0's loader is slow too, but rank 3 is later still: rank 0 waits for it as the others do.
    run = gang(data_s=[0.3, 0.1, 0.1, 0.8], compute_s=[0.7, 0.9, 0.9, 0.2], allreduce_s=[0.5, 0.7, 0.7, 0.0])
    assert [(slow.rank, slow.reason) for slow in stragglers.of(run)] == [(3, "data")]


def test_who_is_slow_at_one_thing_and_quick_at_another_keeps_nobody_waiting() -> None:
    # Rank 0 waits long for data, has little to compute, and then waits for the others: longer than they do.
    run = gang(data_s=[0.4, 0.1, 0.1, 0.1], compute_s=[0.4, 0.7, 0.7, 0.7], allreduce_s=[0.3, 0.1, 0.1, 0.1])
    assert stragglers.of(run) == ()


def test_a_long_all_reduce_of_one_that_came_no_earlier_is_the_network() -> None:
    run = gang(data_s=[0.1] * 4, compute_s=[0.5, 0.5, 0.5, 0.8], allreduce_s=[0.1, 0.1, 0.1, 0.4])
    assert [(slow.rank, slow.reason) for slow in stragglers.of(run)] == [(3, "network")]


def test_a_gang_in_step_has_no_stragglers_however_long_its_all_reduce() -> None:
    assert stragglers.of(gang(data_s=[0.01] * 4, compute_s=[0.9] * 4, allreduce_s=[0.7] * 4)) == ()


def test_one_late_file_makes_nobody_a_straggler() -> None:
    """The seconds of a rank's last words count together: four of 0.1 s and one of 0.6 s are 0.2 s, of a step of 1.1."""
    story = launched(nnodes=2)
    for step in range(1, 6):
        for rank in range(4):
            late = rank == 3 and step == 5
            word = re.RankProgressed(
                rank=rank, step=step, img_per_s=1.0, step_s=1.1, data_s=0.6 if late else 0.1, compute_s=0.5
            )
            story.hears(rank // 2, word)
    assert stragglers.of(story.run) == ()
