"""docs/ and README.md: generated parts are up to date, nothing of the code is missing, what they show can be run."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from run_story import told, trained

from console.__main__ import main
from console.config import load as load_config
from console.profile.load import builtin_names, parse
from console.profile.schema import ProfileError
from console.reports.export import summary
from console.state.events import KNOWN
from console.state.outcome import Exit
from console.state.run import Run
from console.tui.keymap import table

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GENERATE = DOCS / "generate.py"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
NO_OPTION = "--no-such-option"
"""Behind a command line that parses, it is the one thing that is wrong."""


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def by_hand(text: str) -> str:
    """The page without its generated parts."""
    return re.sub(r"<!-- generated: .*?<!-- end -->", "", text, flags=re.DOTALL)


def generate(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(GENERATE), *words], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", GENERATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what is generated -----------------------------------------------------------------------------------------------


def test_the_generated_parts_are_as_the_code_has_them() -> None:
    done = generate("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_page_that_differs_is_named_and_mended(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DOCS, tmp_path / "docs"))
    assert generate(str(folder)).returncode == 0
    whole = (folder / "config.md").read_text()
    (folder / "config.md").write_text(whole.replace("| `tick_s` |", "| `tock_s` |"))
    checked = generate("--check", str(folder))
    assert checked.returncode == 1
    assert checked.stderr == "docs/config.md differs from the code: run python docs/generate.py\n"
    assert "tock_s" in (folder / "config.md").read_text()
    assert generate(str(folder)).returncode == 0
    assert (folder / "config.md").read_text() == whole


def test_each_generated_part_has_one_place(generator: ModuleType) -> None:
    names = [name for one in PAGES for name in re.findall(r"<!-- generated: ([a-z-]+) -->", one.read_text())]
    assert sorted(names) == sorted(generator.PARTS)
    for one in PAGES:
        assert one.read_text().count("<!-- generated: ") == one.read_text().count("<!-- end -->"), one.name


# --- nothing is missing ----------------------------------------------------------------------------------------------

PROFILE = """\
{top}
[fleet]
provider = "local"
{fleet}
[budget]
{budget}
[run]
model = "resnet-small"
target = {{ metric = "top5", value = 0.9{target} }}
{run}
[data]
dataset = "shapes"
{data}
[record]
name = "a record"
{record}
[alerts]
{alerts}
{more}
[[phase]]
epochs = [0, 1]
image_size = 16
batch_size_per_gpu = 8
lr = 0.1
{phase}
"""
PLACES = ("top", "fleet", "budget", "run", "target", "data", "record", "alerts", "phase", "more")


def accepted(place: str, words: str = "no_such_key = 1") -> list[str]:
    """The keys that a profile takes in this place, by its own word on one that it does not take."""
    with pytest.raises(ProfileError) as error:
        parse(PROFILE.format(**{**dict.fromkeys(PLACES, ""), place: words}), path=Path("p.toml"))
    found = re.search(r"has no key 'no_such_key'.*accepted are (.+)$", str(error.value))
    assert found is not None, error.value
    return found[1].split(", ")


@pytest.mark.parametrize("section", ["fleet", "budget", "run", "data", "record", "phase"])
def test_every_key_of_a_section_stands_in_its_table(section: str) -> None:
    part = re.search(rf"<!-- generated: {section} -->\n(.*?)<!-- end -->", page("profile.md"), re.DOTALL)
    assert part is not None
    names = {*re.findall(r"^\| `(\w+)` \|", part[1], re.MULTILINE)}
    # The sentence names only keys with a plain value.
    assert names - {"target", "curve"} == {*accepted(section)} - {"target", "curve"}


def test_the_sections_and_the_keys_of_targets_and_alerts_stand_in_the_docs() -> None:
    profile, alerts = page("profile.md"), page("alerts-and-logs.md")
    for section in accepted("top"):
        assert re.search(rf"^#+ `\[\[?{section}\]?\]`", profile, re.MULTILINE), section
    for key in accepted("target", ", no_such_key = 1"):
        assert f"| `{key}` |" in profile, key
    for key in accepted("alerts"):
        assert f"| `{key}` |" in profile + alerts, key
    for key in accepted("more", "[alerts.idle]\nno_such_key = 1"):
        assert key in alerts, key


def test_every_exit_code_stands_in_the_docs() -> None:
    for code in Exit:
        assert re.search(rf"^\| {code.value} \| .+ \|$", page("cli.md"), re.MULTILINE), code


def test_every_event_stands_in_the_docs() -> None:
    assert sorted(re.findall(r"^### (\w+)$", page("events.md"), re.MULTILINE)) == sorted(KNOWN)


def test_every_key_of_the_screen_stands_in_the_docs() -> None:
    for identity, _, meaning in table():
        row = re.search(rf"^\| .+ \| (.+) \| `{re.escape(identity)}` \|$", page("keys.md"), re.MULTILINE)
        assert row is not None, identity
        assert row[1].replace("\\|", "|") == meaning


def help_text(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["--help"]) == 0
    return capsys.readouterr().out


def headings() -> dict[str, str]:
    """The text below each command's heading in cli.md, by the word that it begins with; of a run, PROFILE."""
    found: dict[str, str] = {}
    parts = re.split(r"^(#{2,4} .*)$", by_hand(page("cli.md")), flags=re.MULTILINE)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        for word in re.findall(r"`fastconsole ([\w-]+)", heading):
            found[word] = text
    return found


def test_every_command_of_the_help_has_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    commands = set(re.findall(r"^  fastconsole ([a-z-]+)", help_text(capsys), re.MULTILINE))
    assert {"plan", "clean", "--replay"} <= commands
    assert commands - set(headings()) == set()


COMMANDS = sorted(word for word in headings() if word not in ("--help", "--version"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_stands_below_its_heading(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local" if command == "PROFILE" else command, "--help"]) == 0
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", capsys.readouterr().out.partition("options:")[2]))
    assert "--help" in options
    text = headings()[command]
    for option in options - {"--help", command}:
        assert re.search(rf"`[^`]*{option}\b[^`]*`", text), option
    written = set(
        re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", " ".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE)))
    )
    assert written <= options


def test_every_key_of_the_json_stands_in_the_docs() -> None:
    story = told()
    objects = [summary(run) for run in (Run(), story.run, trained().run)]
    names = {name for one in objects for name in one}
    for one in objects:
        for value in one.values():
            inner = value if isinstance(value, list) else [value]
            names |= {name for each in inner if isinstance(each, dict) for name in each}
    assert {"schema", "epochs", "top5", "cleared_t", "util_pct_mean"} <= names
    part = re.search(r"^#### JSON$(.*?)^### ", page("cli.md"), re.MULTILINE | re.DOTALL)
    assert part is not None
    for name in names:
        assert f"`{name}`" in part[1], name


# --- what is shown can be run ----------------------------------------------------------------------------------------


def blocks(text: str, kind: str) -> Iterator[str]:
    """The fenced blocks of a kind."""
    for found in re.finditer(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield found[1]


def command_lines() -> Iterator[tuple[str, str]]:
    """Page and line of each command in a fenced block, and in a code span where it is more than a name."""
    for one in PAGES:
        text = one.read_text(encoding="utf-8")
        for block in blocks(text, "[a-z]*"):
            for line in block.splitlines():
                if re.match(r"fastconsole |make |python (?:-m |bench/|docs/)", line):
                    yield one.name, line
        text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`((?:fastconsole|python|make) [^`]+)`", text):
            yield one.name, span.replace("\\|", "|")


LINES = sorted(set(command_lines()))
OURS = [line for line in LINES if line[1].startswith("fastconsole ")]


def test_there_are_command_lines_to_look_at() -> None:
    assert len(OURS) > 30
    assert ("README.md", "make demo     # sixteen small hosts on this machine train to 93 % top-5") in LINES


@pytest.mark.parametrize(("name", "line"), OURS, ids=[f"{name}: {line[:60]}" for name, line in OURS])
def test_a_command_line_parses(name: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words in (["--help"], ["--version"], ["profiles"]):
        assert main(words) == 0
        return
    assert main([*words, NO_OPTION]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fastconsole: unrecognized arguments: {NO_OPTION}"), said
    # What is neither a command nor an option is a profile; in capitals it stands for one.
    commands = re.findall(r"^  fastconsole ([a-z]+)", help_text(capsys), re.MULTILINE)
    if not words[0].startswith("--") and not words[0].isupper() and words[0] not in commands:
        assert words[0] in builtin_names() or words[0].endswith(".toml"), words[0]


@pytest.mark.parametrize(("name", "line"), [line for line in LINES if line[1].startswith("python ")])
def test_a_command_line_of_python_can_be_run(name: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "-m":
        done = subprocess.run([sys.executable, *words, NO_OPTION], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert f"unrecognized arguments: {NO_OPTION}" in done.stderr or "required: " in done.stderr, done.stderr
    else:
        assert (ROOT / words[0]).is_file()


def test_the_files_of_code_that_are_named_exist() -> None:
    for one in PAGES:
        for path in re.findall(r"`((?:bench|docs|profiles|tests)/[\w./-]+)`", one.read_text()):
            assert (ROOT / path).exists(), f"{one.name}: {path}"


def test_the_profiles_that_are_shown_can_be_loaded() -> None:
    shown = [block for one in PAGES for block in blocks(one.read_text(), "toml") if "[fleet]" in block]
    assert len(shown) == 2
    for text in shown:
        profile = parse(text, path=Path("shown.toml"))
        assert profile.fleet.nodes == 2
        assert profile.run.target is not None


def test_the_alerts_that_are_shown_can_be_loaded() -> None:
    (text,) = blocks(page("alerts-and-logs.md"), "toml")
    table = tomllib.loads(text)["alerts"]
    more = text.partition("[alerts]\n")[2]
    alerts = parse(PROFILE.format(**{**dict.fromkeys(PLACES, ""), "alerts": more}), path=Path("shown.toml")).alerts
    assert (list(alerts.command), alerts.least, alerts.bell) == (table["command"], table["least"], table["bell"])


def test_the_configuration_that_is_shown_can_be_loaded(tmp_path: Path) -> None:
    (text,) = blocks(page("config.md"), "toml")
    (tmp_path / "config.toml").write_text(text)
    assert load_config(tmp_path / "config.toml").keys["run.pause"] == "f6"


# --- links -----------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    count = 0
    for one in PAGES:
        text = re.sub(r"^```.*?^```$", "", one.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            count += 1
            assert "://" not in link, f"{one.name}: {link}"
            path, _, anchor = link.partition("#")
            target = (one.parent / path).resolve() if path else one
            assert target.is_relative_to(ROOT), f"{one.name}: {link}"
            assert target.exists(), f"{one.name}: {link}"
            assert not anchor or anchor in anchors(target.read_text()), f"{one.name}: {link}"
    assert count > 40
