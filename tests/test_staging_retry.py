"""Reads of a source that break: how often, and after how long, they are repeated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from remote.staging.folder import Folder
from remote.staging.origin import Broken, Refused
from remote.staging.progress import Progress
from remote.staging.retry import Retry
from remote.wire.journal import Journal


class Impatient(threading.Event):
    """A stop that nobody waits for: it keeps the times instead."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.is_set()


class Reading:
    """What is read breaks this many times, each time after so many bytes."""

    def __init__(self, breaks: int, bytes_each: int = 0) -> None:
        self.left, self.bytes_each, self.position = breaks, bytes_each, 0

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            self.position += self.bytes_each
            raise Broken("the connection ended too early")
        return "read"


@pytest.fixture
def stop() -> Impatient:
    return Impatient()


@pytest.fixture
def call(tmp_path: Path, stop: Impatient) -> Callable[[Reading], str]:
    source = Folder(tmp_path)
    retry = Retry(source, Progress(source.name, Journal(tmp_path / "journal.jsonl")), stop)
    return lambda reading: retry.call(reading, lambda: reading.position)


def test_seven_breaks_in_a_row_are_survived_each_after_a_longer_wait(
    call: Callable[[Reading], str], stop: Impatient
) -> None:
    assert call(Reading(7)) == "read"
    assert stop.waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_the_eighth_in_a_row_ends_the_copy(call: Callable[[Reading], str]) -> None:
    with pytest.raises(Refused, match="cannot be read: the connection ended too early, 8 times in a row"):
        call(Reading(8))


def test_a_read_that_advances_is_never_given_up(call: Callable[[Reading], str], stop: Impatient) -> None:
    assert call(Reading(30, bytes_each=1)) == "read"
    assert stop.waits == [0.5] * 30


def test_a_copy_that_is_stopped_reads_no_further(call: Callable[[Reading], str], stop: Impatient) -> None:
    stop.set()
    with pytest.raises(InterruptedError):
        call(Reading(1))
