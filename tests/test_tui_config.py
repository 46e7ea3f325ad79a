"""The operator's configuration: what is wrong in it is one sentence, and then nothing of it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from canned_source import CannedPlayer, CannedSource, scene
from desk import Desk, rare_collections

from console import config
from console.config import Config, ConfigError, Remembered
from console.tui.app import ConsoleApp
from console.tui.keymap import check, table

__all__ = ["rare_collections"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def checked(file: Path, text: str) -> ConsoleApp:
    file.write_text(text)
    return ConsoleApp(CannedSource(scene("training", nodes=4)), config=config.load(file))


def test_no_file_is_the_defaults(file: Path) -> None:
    assert config.load(file) == Config(path=file)


def test_the_example_is_accepted(file: Path) -> None:
    file.write_text(config.EXAMPLE)
    loaded = config.load(file)
    assert loaded.keys == {"run.pause": "f6", "pane.zoom": "f11,z"}
    assert check(loaded) == loaded.keys


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("theme = ", "Invalid value"),
        ('thme = "nord"', "there is no key thme (did you mean theme?); accepted: theme, mouse"),
        ('theme = "mauve"', "theme is 'mauve'; accepted:"),
        ("mouse = 1", "mouse is 1; accepted: true or false"),
        ("bell = 'no'", "bell is 'no'; accepted: true or false"),
        ('layout = "wide"', "layout is 'wide'; accepted: auto, columns or one"),
        ("tick_s = true", "tick_s is true; accepted: seconds from 0.1 to 10"),
        ("tick_s = 0", "tick_s is 0; accepted: seconds from 0.1 to 10"),
        ("keys = 3", "keys is 3; accepted: a table"),
        ("[keys]\nrun.pause = 3", 'keys.run.pause is 3; accepted: a key such as "p"'),
        ('[keys]\nrun.puase = "p"', "keys.run.puase: unknown id (did you mean run.pause?); accepted:"),
        ('[keys]\nrun.pause = "hyperspace"', "keys.run.pause is 'hyperspace'; accepted: a key such as p"),
        ('[keys]\nrun.pause = "c"', "keys.run.pause: c is also the key of run.checkpoint (Save a checkpoint now)"),
        ('[keys]\n"run.stop" = "f"\nlog.follow = "f"', "keys.run.stop: f is also the key of log.follow"),
        ('[keys]\nrun.pause = "p"', "keys.run.pause: p is also the key of play.toggle"),
        ('[keys]\napp.help = "q"', "keys.app.help: q is also the key of app.leave"),
    ],
)
def test_what_is_wrong_is_a_sentence(file: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked(file, text)
    assert str(raised.value).startswith(f"{file}: ")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        '[keys]\nrun.checkpoint = "f5"\nrun.stop = "c"',
        '[keys]\nrun.pause = "?"\napp.help = "f1"',
        '[keys]\n"run.pause" = "ctrl+k, f6"\nnode.next = "n"\ndialog.cancel = "n"',
    ],
)
def test_what_is_right(file: Path, text: str) -> None:
    checked(file, text)


async def test_a_key_of_ones_own_works_and_its_neighbours_stay(file: Path) -> None:
    app = checked(file, '[keys]\nrun.pause = "f6"\nrun.checkpoint = "f7"\nnodes.up = "f8"')
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("space", "c")
        source = app._source
        assert isinstance(source, CannedSource)
        assert source.sent == []
        await pilot.press("f6", "f7")
        assert source.sent == ["pause", "checkpoint"]
    player = CannedPlayer(scene("finished", nodes=4))
    # Pause had space together with a log's play, which must keep it.
    app = ConsoleApp(player, config=app.config)
    async with app.run_test(size=(120, 40)) as pilot:
        player.seek(player.start)
        await pilot.press("space")
        assert player.playing


def test_every_id_is_listed() -> None:
    rows = list(table())
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert ("run.checkpoint", "c", "Save a checkpoint now") in rows
    said = subprocess.run([sys.executable, "-m", "console", "keys"], capture_output=True, text=True, check=True)
    assert [line.split("\t") for line in said.stdout.splitlines()] == [["id", "key", "meaning"], *map(list, rows)]


def test_the_command_line_says_it_and_starts_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / "fastconsole").mkdir()
    (file.parent / "fastconsole" / "config.toml").write_text("colour = 1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parent))
    log = file.parent / "accuracy.tsv"
    log.write_text("epoch\thours\ttop1Accuracy\ttop5Accuracy\n1\t0.1\t10\t20\n")
    command = f"stty cols 100 rows 30; {sys.executable} -m console --replay {log} --tui; echo code $?"
    said = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=60)
    assert "there is no key colour" in said.stdout
    assert "code 2" in said.stdout


# --- what the screen remembers ---------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "fastconsole" / "screen.toml"


def test_what_is_remembered_is_recalled(state: Path) -> None:
    what = Remembered(
        theme="nord", columns={"two": (0.25, 0.75)}, heights={"cost": 0.5}, hidden=("alerts",), zoomed="log"
    )
    config.remember(what)
    assert config.recall() == what


@pytest.mark.parametrize(
    "text", ["", "[[[", "columns = 3", "hidden = 4", "[columns]\ntwo = ['x']", "[heights]\nlog = 9"]
)
def test_what_cannot_be_read_is_forgotten(state: Path, text: str) -> None:
    state.parent.mkdir()
    state.write_text(text)
    assert config.recall() == Remembered()


async def test_the_screen_comes_back_as_it_was_left(file: Path, state: Path) -> None:
    async def open_() -> tuple[ConsoleApp, Desk]:
        source = CannedSource(scene("training", nodes=4))
        return (app := ConsoleApp(source, config=config.load(file))), Desk(app, None, source)  # type: ignore[arg-type]

    app, one = await open_()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("<", "<", "3", "ctrl+down", "4", "H")
        app.theme = "nord"
        await pilot.pause()
        left = [one.pane(name).size for name in ("nodes", "progress", "cost")]
    app, one = await open_()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert [one.pane(name).size for name in ("nodes", "progress", "cost")] == left
        assert not one.pane("log").display
        assert app.theme == "nord"
        await pilot.press("z")
    app, one = await open_()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert one.run_screen.has_class("single")
    # What the configuration says comes before what was chosen last.
    file.write_text('theme = "gruvbox"')
    app, _ = await open_()
    assert app.theme == "gruvbox"
