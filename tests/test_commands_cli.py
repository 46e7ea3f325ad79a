"""The command line from outside: exit codes, one sentence for what is wrong, and nothing imported in vain."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from run_story import told, trained

from console import VERSION
from console import __main__ as entry
from console.commands import replay, run, serve, stop
from console.profile.load import builtin_names
from console.reports import export
from console.state import events as ce
from console.state.events import Record, record_line

ROOT = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde"
Fastconsole = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(own_home: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of ours is written outside of the test's folder."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def fastconsole(environment: dict[str, str]) -> Fastconsole:
    """Runs the program with words, no terminal anywhere."""

    def run(*words: str, stdout: int | IO[bytes] = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "console", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    return run


def journal(path: Path, records: list[Record]) -> Path:
    """A run's journal as a file."""
    text = "".join(record_line(record) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """What may stand in the words of a command line for a file of the test's."""
    (tmp_path / "picture.jsonl").write_bytes(PNG)
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "letter.txt").write_text("Dear all,\nthis is no log.\n")
    (tmp_path / "profile.toml").write_text("[fleet]\nnods = 3\n[run]\nmodel = 'x'\n[data]\ndataset = 'shapes'\n")
    return {
        "PNG": str(tmp_path / "picture.jsonl"),
        "EMPTY": str(tmp_path / "empty.jsonl"),
        "LETTER": str(tmp_path / "letter.txt"),
        "FOLDER": str(tmp_path),
        "JOURNAL": str(journal(tmp_path / "run.jsonl", told().records)),
        "MINE": str(tmp_path / "profile.toml"),
    }


# --- wrong usage -----------------------------------------------------------------------------------------------------

WRONG = [
    ("", "which profile? "),
    ("--headless", "which profile? "),
    ("--nonsense", "unrecognized arguments: --nonsense"),
    ("local --nonsense", "unrecognized arguments: --nonsense"),
    ("local --nod 3", "unrecognized arguments: --nod"),
    ("local another", "unrecognized arguments: another"),
    ("nowhere", "profile nowhere: no built-in profile has this name"),
    ("locla", "did you mean local?"),
    ("nowhere.toml", "profile nowhere.toml: No such file or directory"),
    ("FOLDER", "is a folder"),
    ("PNG.toml", "No such file or directory"),
    ("MINE", "[fleet] has no key 'nods' (did you mean nodes?)"),
    ("local --nodes 0", "fleet.nodes is 0; accepted is 1 to 1024"),
    ("local --nodes few", "argument --nodes: 'few' is not a whole number"),
    ("local --nodes 2.5", "argument --nodes: '2.5' is not a whole number"),
    ("local --budget -1", "budget.max_usd is -1.0; accepted is above 0, below 10000000 dollars"),
    ("local --budget nan", "budget.max_usd is nan"),
    ("local --budget much", "argument --budget: 'much' is not a dollar amount"),
    ("local --set nonsense", "--set nonsense: write SECTION.KEY=VALUE"),
    ("local --set run.sed=3", "did you mean seed?"),
    ("local --set", "argument --set: expected one argument"),
    ("local --read-only", "--read-only is for the panes"),
    ("--replay", "argument --replay: expected a LOG"),
    ("--replay nowhere.jsonl", "nowhere.jsonl: No such file or directory"),
    ("--replay PNG", "line 1: an image; this is not a journal of a run"),
    ("--replay EMPTY", "is empty"),
    ("--replay LETTER", "line 1: 'Dear all,'"),
    ("--replay FOLDER", "is a directory, not a log"),
    ("--replay JOURNAL --format nonsense", "argument --format: invalid choice: 'nonsense'"),
    ("--replay JOURNAL --speed fast", "argument --speed: 'fast' is not a speed above 0, up to 10000"),
    ("--replay JOURNAL --speed 0", "argument --speed: '0' is not a speed"),
    ("--replay JOURNAL --tui", "--tui needs a terminal"),
    ("--replay JOURNAL --tui --headless", "say one of them"),
    ("--replay JOURNAL --tui --format json", "--format json is for text, and --tui is the panes"),
    ("--replay JOURNAL --nodes 3", "unrecognized arguments: --nodes 3"),
    ("attach", "no active run on this laptop"),
    ("attach nobody", "there is no run nobody"),
    ("resume", "no ended run on this laptop"),
    ("resume nobody", "there is no run nobody"),
    ("stop", "which run?"),
    ("stop nobody", "there is no run nobody"),
    ("terminate", "which run?"),
    ("terminate nobody", "there is no run nobody"),
    ("budget", "which run and how many dollars?"),
    ("budget nobody", "which run and how many dollars?"),
    ("budget nobody much", "argument USD: 'much' is not a dollar amount"),
    ("budget nobody 60", "there is no run nobody"),
    ("budget nobody 60 more", "unrecognized arguments: more"),
    ("attach --budget 60", "--budget is for resume; fastconsole budget RUN USD"),
    ("resume nobody --budget much", "argument --budget: 'much' is not a dollar amount"),
    ("ps all", "unrecognized arguments: all"),
    ("runs --all", "unrecognized arguments: --all"),
    ("plan", "which profile? "),
    ("plan nowhere", "profile nowhere: no built-in profile has this name"),
    ("plan local --nonsense", "unrecognized arguments: --nonsense"),
    ("plan local --headless", "unrecognized arguments: --headless"),
    ("plan local --budget much", "argument --budget: 'much' is not a dollar amount"),
    ("plan imagenet-g6 --set fleet.efa=true", "fleet.efa is true, and g6.xlarge has no EFA"),
    ("profiles nowhere", "profile nowhere: no built-in profile"),
    ("profiles PNG", "is not a text file"),
    ("profiles local more", "unrecognized arguments: more"),
]


@pytest.mark.parametrize(("line", "words"), WRONG, ids=[line or "(nothing)" for line, _ in WRONG])
def test_wrong_usage_is_one_sentence(line: str, words: str, fastconsole: Fastconsole, files: dict[str, str]) -> None:
    done = fastconsole(*(files.get(word, word) for word in line.split()))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("fastconsole: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_hosts_that_cannot_be_had_are_another_code(fastconsole: Fastconsole, tmp_path: Path) -> None:
    done = fastconsole("imagenet-16x-p3")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (6, "", 1)
    assert "p3.16xlarge is not offered in any region any more (retired in spring 2026); nearest: p4d" in done.stderr
    assert list((tmp_path / "state").rglob("*.jsonl")) == []


# --- what there is ---------------------------------------------------------------------------------------------------


def test_the_version(fastconsole: Fastconsole) -> None:
    done = fastconsole("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"fastconsole {VERSION}\n", "")


def test_the_help_is_whole(fastconsole: Fastconsole) -> None:
    done = fastconsole("--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, entry.HELP, "")
    assert fastconsole("-h").stdout == done.stdout
    for command in entry.COMMANDS:
        assert f"  fastconsole {command}" in done.stdout, f"--help does not tell of {command}"
    for parser in PARSERS.values():
        for action in parser._actions:
            for option in action.option_strings:
                assert option in done.stdout, f"--help does not tell of {option}"
    for form in export.FORMATS:
        assert form in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


STOPS = ("stop", "terminate")
PARSERS = {
    "local": run.parser(),
    "--replay": replay.parser(),
    "--serve": serve.parser(),
    **{
        name: importlib.import_module(f"console.commands.{name}").parser()
        for name in entry.COMMANDS
        if name not in STOPS
    },
    **{name: stop.parser(name) for name in STOPS},
}


@pytest.mark.parametrize("command", PARSERS)
def test_every_command_has_a_help_of_its_own(command: str, fastconsole: Fastconsole) -> None:
    done = fastconsole(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: fastconsole")
    for action in PARSERS[command]._actions:
        assert all(option in done.stdout for option in action.option_strings)


def test_the_profiles(fastconsole: Fastconsole) -> None:
    done = fastconsole("profiles")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == builtin_names()
    one = fastconsole("profiles", "local")
    assert (one.returncode, one.stdout) == (0, (ROOT / "profiles" / "local.toml").read_text())


@pytest.mark.parametrize("command", ["runs", "ps"])
def test_no_runs(command: str, fastconsole: Fastconsole) -> None:
    done = fastconsole(command)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("run\tstatus\ttop-5\tsteps\ttime\tbilled\treason")
    assert done.stdout.count("\n") == 1


@pytest.fixture
def past_runs(tmp_path: Path) -> Path:
    """A run that ended, one that goes on without a console, and one whose journal is empty."""
    home = tmp_path / "state" / "fastconsole" / "runs"
    for name, records in (("ended", told().records), ("going", trained().records), ("unborn", [])):
        (home / name).mkdir(parents=True)
        journal(home / name / "run.jsonl", records)
    return home


def test_the_runs_are_listed_whatever_became_of_their_journals(fastconsole: Fastconsole, past_runs: Path) -> None:
    done = fastconsole("runs")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {cells[0]: cells[1:] for cells in (line.split("\t") for line in done.stdout.splitlines())}
    assert set(rows) == {"run", "ended", "going", "unborn"}
    assert rows["ended"][:3] == ["reached", "90.0 %", "12"]
    assert rows["going"][0] == "training (no console)"
    assert rows["unborn"][0] == "unreadable"
    assert {len(cells) for cells in rows.values()} == {6}
    going = fastconsole("ps")
    assert {line.split("\t")[0] for line in going.stdout.splitlines()} == {"run", "going", "unborn"}


def test_a_run_that_is_complete_is_not_gone_on_with(fastconsole: Fastconsole, past_runs: Path) -> None:
    done = fastconsole("resume", "ended")
    assert done.returncode == 2
    assert done.stderr.endswith("run ended is complete (reached: top-5 60.0 %); nothing is left to do\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["attach", "resume", "stop", "terminate"])
def test_a_run_whose_journal_is_empty(command: str, fastconsole: Fastconsole, past_runs: Path) -> None:
    done = fastconsole(command, "unborn")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "words"), [("attach", "run ended has ended (reached"), ("stop", "has already ended")]
)
def test_a_run_that_has_ended(command: str, words: str, fastconsole: Fastconsole, past_runs: Path) -> None:
    done = fastconsole(command, "ended")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr


# --- replay ----------------------------------------------------------------------------------------------------------


WHOLE = told().records
LAST = WHOLE[-1]
ENDINGS = {
    "reached": (WHOLE, 0),
    "cut off after the target": (WHOLE[:-1], 0),
    "cut off before the target": (WHOLE[: len(WHOLE) // 3], 3),
    **{
        status: (
            [*trained().records, replace(LAST, event=ce.RunEnded(status=status, exit_code=code, reason="so"))],
            code,
        )
        for status, code in (("failed", 3), ("over budget", 4), ("missed", 5), ("unreachable", 6), ("stopped", 130))
    },
}
"""A run's records, and the exit code that their replay has."""


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_replay_exits_as_its_run_did(ending: str, fastconsole: Fastconsole, tmp_path: Path) -> None:
    records, code = ENDINGS[ending]
    done = fastconsole("--replay", str(journal(tmp_path / "run.jsonl.gz", records)), "--format", "json")
    assert (done.stderr, done.returncode) == ("", code)
    assert json.loads(done.stdout)["records"] == len(records)


@pytest.mark.parametrize("form", export.FORMATS)
def test_every_format(form: str, fastconsole: Fastconsole, files: dict[str, str]) -> None:
    done = fastconsole("--replay", files["JOURNAL"], "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("form", ["text", "jsonl", "json"])
def test_a_reader_that_leaves_early_is_no_error(form: str, environment: dict[str, str], tmp_path: Path) -> None:
    # More than a pipe holds, so that the writer is still at it when the reader leaves.
    records, code = ENDINGS["failed"]
    log = journal(tmp_path / "run.jsonl", [*records[:-1], *(records[5:-1] * 30), records[-1]])
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "console", "--replay", str(log), "--format", form]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        _, said = process.communicate(timeout=60)
    assert said == ""
    assert process.returncode == code


@pytest.mark.parametrize("line", ["--help", "--version", "profiles", "profiles local", "runs", "--replay JOURNAL"])
def test_a_reader_that_was_never_there(line: str, fastconsole: Fastconsole, files: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = fastconsole(*(files.get(word, word) for word in line.split()), stdout=stdout)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", ["--help", "profiles local", "runs", "--replay JOURNAL"])
def test_a_full_disk_behind_stdout_is_a_sentence(line: str, fastconsole: Fastconsole, files: dict[str, str]) -> None:
    with open("/dev/full", "wb") as full:
        done = fastconsole(*(files.get(word, word) for word in line.split()), stdout=full)
    assert done.returncode == 3
    assert done.stderr.startswith("fastconsole: ")
    assert done.stderr.endswith(": No space left on device\n")
    assert done.stderr.count("\n") == 1


def test_streams_that_are_closed(environment: dict[str, str], files: dict[str, str]) -> None:
    command = f"exec {sys.executable} -m console"
    for line, code in (
        ("--version >&-", 0),
        ("local --set run.sed=1 <&- >&-", 2),
        (f"--replay {files['JOURNAL']} >&-", 0),
    ):
        done = subprocess.run(
            ["sh", "-c", f"{command} {line}"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, timeout=60
        )
        assert done.returncode == code, line
        assert "Traceback" not in done.stderr


# --- nothing in vain -------------------------------------------------------------------------------------------------

HEAVY = {"textual", "asyncssh", "boto3", "torch", "torchvision", "numpy", "PIL", "cryptography", "rich"}


def modules_after(code: str, environment: dict[str, str]) -> set[str]:
    """Top-level names of what `code` makes a fresh interpreter import."""
    program = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "line",
    ["--help", "--version", "profiles", "profiles local", "plan local", "plan local --json", "runs", "ps"]
    + [f"--replay JOURNAL --format {form}" for form in export.FORMATS],
)
def test_what_needs_nothing_heavy_loads_nothing_heavy(
    line: str, environment: dict[str, str], files: dict[str, str], past_runs: Path
) -> None:
    words = [files.get(word, word) for word in line.split()]
    loaded = modules_after(f"from console.__main__ import main; main({words!r})", environment)
    assert "console" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("line", ["", "nowhere", "local --nodes 0", "attach", "--replay JOURNAL --tui"])
def test_a_mistake_is_told_before_anything_heavy_is_loaded(
    line: str, environment: dict[str, str], files: dict[str, str]
) -> None:
    words = [files.get(word, word) for word in line.split()]
    program = f"sys.stderr = open('/dev/null', 'w'); from console.__main__ import main; main({words!r})"
    loaded = modules_after(f"{program}; sys.stderr = sys.__stderr__", environment)
    assert loaded & HEAVY == set()


def test_the_screen_is_there_before_what_it_will_need(environment: dict[str, str]) -> None:
    loaded = modules_after("import console.tui.app", environment)
    assert "textual" in loaded
    assert loaded & {"asyncssh", "boto3", "torch", "torchvision", "numpy", "PIL", "cryptography"} == set()


def test_the_laptop_needs_nothing_of_the_training(environment: dict[str, str]) -> None:
    modules = "console.live.live_run, console.tui.app, console.commands.run, console.fleet.local, console.fleet.static"
    loaded = modules_after(f"import {modules}", environment)
    assert loaded & {"torch", "torchvision", "numpy", "PIL", "pynvml"} == set()


HOSTS_MODULES = ["agent.attach", "agent.daemon", "agent.gpu", "agent.rank_output", "train.launcher", "staging.process"]
HOSTS_MODULES += ["wire.events", "wire.job", "wire.journal", "wire.rank_pipes", "wire.schedule"]


@pytest.mark.parametrize("module", HOSTS_MODULES)
def test_a_host_needs_the_standard_library_until_it_trains(module: str, environment: dict[str, str]) -> None:
    loaded = modules_after(f"import remote.{module}", environment)
    assert loaded - set(sys.stdlib_module_names) - {"remote"} == set()
