"""Every test has a home of its own; the data set that tests train on is made once a session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fake_cloud import FakeCloud
    from fake_instances import Machines

# Several test files, and in some of them several ranks, share few cores: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has Ctrl-C ignored, also by the programs that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """A fake AWS of the test's own, to which the environment leads."""
    from fake_cloud import FakeCloud  # and with it moto, which the others do without

    fake = FakeCloud()
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in fake.env.items():
        monkeypatch.setenv(name, value)
    try:
        yield fake
    finally:
        fake.stop()
    assert not fake.errors, "\n".join(fake.errors)


@pytest.fixture
def machines(cloud: FakeCloud, tmp_path: Path, cache_home: Path) -> Iterator[Machines]:
    """A machine with a real sshd for each running instance of the fake AWS; skipped where there can be none."""
    from fake_instances import Machines

    fake = Machines(cloud, tmp_path / "machines", env={"XDG_CACHE_HOME": str(cache_home)}, shared=[cache_home])
    try:
        yield fake
    finally:
        fake.stop()
    assert not fake.errors, "\n".join(fake.errors)
