"""Every test has a home of its own; the data set that tests train on is made once a session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session: making `shapes` takes seconds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the home folder of who runs it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def no_leftovers(tmp_path: Path) -> Iterator[None]:
    """Ends what a test that starts hosts has left running, also after it failed."""
    yield
    import small_run  # and with it asyncssh, which the pure tests do without

    for pid in small_run.processes(tmp_path):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
