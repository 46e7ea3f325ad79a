"""The screen of a bare fastconsole: what it lists, what it costs, and what it does without a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from canned_source import scene
from desk import rare_collections
from presses_start import at, start

from console.commands import chooser
from console.journal.directory import RunDirectory
from console.journal.writer import RunJournal
from console.profile import load

__all__ = ["rare_collections"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(moment: str) -> RunDirectory:
    directory = RunDirectory.create("local")
    with RunJournal(directory.journal) as journal:
        journal.append(*scene(moment, nodes=4))
    return directory


def test_profiles_say_what_they_rent_and_cost(home: Path) -> None:
    (home / "mine.toml").write_text(load.find("local").read_text().replace("nodes = 16", "nodes = 2"))
    (home / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (home / "broken.toml").write_text("[fleet]\nprovider = 'moon'\n")
    found = {one.name: one for one in chooser.profiles()}
    assert found["local"].what.startswith("16 embedded hosts, nothing is rented")
    assert found["local"].costs == ""
    rented = [one for one in found.values() if one.costs]
    assert rented
    assert all("×" in one.what and "$" in one.what and one.costs.startswith("It rents") for one in rented)
    assert found["mine.toml"].what.startswith("2 embedded hosts")
    assert (found["broken.toml"].verb, found["broken.toml"].state) == ("", "wrong")
    assert "has no [run] section" in found["broken.toml"].what
    assert "pyproject.toml" not in found


def test_runs_say_what_can_be_done_with_them() -> None:
    ended, failed, live = run_of("finished"), run_of("failed"), run_of("training")
    empty = RunDirectory.create("local")
    empty.journal.touch()
    found = {one.name: one for one in chooser.runs()}
    assert (found[ended.run_id].verb, found[ended.run_id].other) == ("replay", ())
    assert (found[failed.run_id].verb, found[failed.run_id].other) == ("replay", ("resume",))
    assert (found[live.run_id].verb, found[live.run_id].other) == ("attach", ("replay",))
    assert found[empty.run_id].verb == ""
    assert "top-5 93.1 %" in found[ended.run_id].what
    # As long as another console drives it.
    pid = os.fork()
    if pid == 0:
        os._exit(0 if RunDirectory(live.path).take() else 1)
    os.waitpid(pid, 0)
    assert live.take()
    assert live.console_pid() == os.getpid()


async def test_what_is_typed_filters() -> None:
    async with start() as (app, pilot):
        await pilot.press(*"local-1 embedded")
        assert at(app) == "local-1"
        await pilot.press(*"x")
        assert "0 of 18" in str(app.query_one("#start-title").visual)
        await pilot.press("enter")
        assert app.is_running


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (200, 50)])
async def test_it_fits(size: tuple[int, int]) -> None:
    async with start(size) as (app, _):
        lines = [line.text for line in app.screen._compositor.render_strips()]
        assert len(lines) == size[1]
        assert "Enter start" in lines[-1]
        assert "local-0" in "\n".join(lines)


async def test_what_cannot_be_opened_says_why() -> None:
    async with start() as (app, pilot):
        await pilot.press(*"unreadable", "enter")
        assert [toast.message for toast in app._notifications] == ["is empty"]


def test_without_a_terminal_it_says_what_to_do() -> None:
    said = subprocess.run([sys.executable, "-m", "console"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert said.returncode == 2
    assert "which profile? " in said.stderr


def test_in_a_terminal_a_run_is_opened_and_left() -> None:
    directory = run_of("finished")
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "console"])
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        shown = b""
        while text not in shown:
            shown += os.read(master, 65536)

    until(directory.run_id.encode())
    os.write(master, directory.run_id.encode())
    until(b"1 of ")
    os.write(master, b"\r")
    until(b"Nodes")
    os.write(master, b"q")
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(master)
