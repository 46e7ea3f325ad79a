"""What a full collection would look at for long is set aside."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from console.tui.collector import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    before = gc.get_freeze_count()
    one = Collector(longest_s=0.0)
    try:
        yield one
    finally:
        one.stop()
        gc.unfreeze()
    assert gc.get_freeze_count() == 0 <= before


def test_after_a_long_full_collection_everything_is_set_aside_once(collector: Collector) -> None:
    collector.start()
    held = [[number] for number in range(10_000)]
    before = gc.get_freeze_count()
    assert not collector.tidy()
    gc.collect(1)
    assert not collector.tidy(), "that was no full one"
    gc.collect()
    assert collector.tidy()
    assert gc.get_freeze_count() >= before + len(held)
    assert not collector.tidy()


def test_a_source_with_its_past_is_set_aside_at_the_next_tick(collector: Collector) -> None:
    collector.made()
    assert not collector.tidy(), "nobody watches yet"
    collector.start()
    collector.made()
    assert collector.tidy()


def test_it_stops_watching(collector: Collector) -> None:
    collector.start()
    collector.stop()
    gc.collect()
    assert not collector.tidy()
    collector.stop()
