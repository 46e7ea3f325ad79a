"""The house itself: what the project's text must not hold, and what a clone has to bring."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def texts() -> list[tuple[str, str]]:
    """Path and text of every file that git knows here."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone")
    found = []
    for name in filter(None, listed.split("\0")):
        try:
            found.append((name, (ROOT / name).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return found


def test_no_text_holds_a_path_of_a_developers_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|root|Users)/[\w.]|/home/(?!node|user|root|fastconsole)\w")
    wrong = [f"{name}: {match[0]}" for name, text in texts() for match in [pattern.search(text)] if match]
    assert wrong == []


def test_the_pins_come_from_whatever_index_pip_uses() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!]+", line)] == []
    assert len(pins) == len({line.partition("==")[0].lower() for line in pins})


def test_what_a_person_runs_can_be_run() -> None:
    for name in (".ci/run", "tests/system-packages.sh"):
        assert os.access(ROOT / name, os.X_OK), name
        subprocess.run(["sh", "-n", name], cwd=ROOT, check=True)


def test_tests_are_flat_and_no_file_is_a_drawer() -> None:
    names = [name for name, _ in texts() if name.endswith(".py")]
    drawers = {"utils.py", "common.py", "helpers.py", "util.py", "misc.py"}
    assert [name for name in names if Path(name).name in drawers] == []
    assert [name for name in names if name.startswith("tests/") and name.count("/") > 1 and "/__" not in name] == []
