"""Garbage is collected when it is asked for, and what would be looked at for long is set aside."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from console.tui.gc_pacing import GcPacer

Make = Callable[..., GcPacer]
NEVER_S = 1e9


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[GcPacer] = []

    def one(**settings: Any) -> GcPacer:
        made.append(GcPacer(**{"many": 5_000, "wait_s": NEVER_S, "long_s": NEVER_S, "too_long_s": NEVER_S, **settings}))
        return made[-1]

    try:
        yield one
    finally:
        for each in made:
            each.stop()
        gc.unfreeze()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


class Ring:
    """In a cycle with itself; says when it goes."""

    gone = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        Ring.gone += 1


def dropped() -> int:
    """Drops a ring among many objects that stay; how many rings went, before those were dropped too."""
    gone = Ring.gone
    Ring()
    held = [[number] for number in range(20_000)]
    assert held
    return Ring.gone - gone


def test_the_interpreter_collects_nothing_meanwhile(make: Make) -> None:
    assert dropped() > 0, "by itself it does"
    make().start()
    assert dropped() == 0


def test_a_cycle_goes_once_there_is_much_that_is_new(make: Make) -> None:
    collector = make()
    gc.collect()
    collector.start()
    gone = Ring.gone
    Ring()
    collector.tidy()
    assert Ring.gone == gone, "little is new"
    held = [[number] for number in range(10_000)]
    collector.tidy()
    assert Ring.gone == gone + 1
    del held


def test_a_cycle_goes_after_a_while_too(make: Make) -> None:
    collector = make(wait_s=0.0)
    gc.collect()
    collector.start()
    gone = Ring.gone
    Ring()
    collector.tidy()
    assert Ring.gone == gone + 1


@pytest.mark.parametrize(
    ("settings", "passing", "aside"),
    [
        ({}, False, False),
        ({"long_s": 0.0}, False, True),
        ({"long_s": 0.0}, True, False),
        ({"long_s": 0.0, "too_long_s": 0.0}, True, True),
    ],
    ids=["short", "long", "long, but a screen is open that will go", "too long, whatever is open"],
)
def test_after_a_long_collection_everything_is_set_aside(
    make: Make, settings: dict[str, float], passing: bool, aside: bool
) -> None:
    collector = make(**settings)
    collector.start()
    held = [[number] for number in range(10_000)]
    before = gc.get_freeze_count()
    collector.tidy(passing=passing)
    assert (gc.get_freeze_count() >= before + len(held)) is aside


def test_a_source_with_its_past_is_set_aside_at_once(make: Make) -> None:
    collector = make(many=1_000_000)
    collector.made()
    collector.tidy()
    assert gc.get_freeze_count() == 0, "nobody watches yet"
    collector.start()
    held = [[number] for number in range(10_000)]
    before = gc.get_freeze_count()
    collector.tidy(passing=True)
    assert gc.get_freeze_count() <= before
    collector.tidy()
    assert gc.get_freeze_count() >= before + len(held)


async def test_cancelled_it_gives_the_interpreter_its_ways_back(make: Make) -> None:
    asked = asyncio.Event()

    def passing() -> bool:
        asked.set()
        return False

    running = asyncio.create_task(make().run(passing))
    await asked.wait()
    assert not gc.isenabled()
    running.cancel()
    await asyncio.wait([running])
    assert gc.isenabled()


def test_one_that_is_off_stays_off(make: Make) -> None:
    gc.disable()
    try:
        collector = make()
        collector.start()
        collector.stop()
        assert not gc.isenabled()
    finally:
        gc.enable()
