"""CONTRIBUTING.md's recipes: what they name exists, and who follows the first one has a working event."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPES = re.split(r"^### ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.M)[1:]
PATH = re.compile(r"`((?:console|remote|tests|docs|bench)/[\w/.-]*)`")
STEP = re.compile(r"^\d\. (.*?)(?=^\d\. |\Z)", re.M | re.S)


def steps(recipe: str) -> list[str]:
    """The numbered steps of a recipe."""
    found = STEP.findall(recipe)
    assert len(found) >= 4, f"{recipe[:40]!r} has {len(found)} steps"
    return list(found)


def title(recipe: str) -> str:
    return recipe.split("\n", 1)[0]


@pytest.mark.parametrize("recipe", RECIPES, ids=title)
def test_what_a_recipe_names_exists(recipe: str) -> None:
    for step in steps(recipe):
        prose = re.sub(r"```.*?```", "", step, flags=re.S)
        paths = PATH.findall(prose)
        for path in paths:
            assert (ROOT / path).exists(), f"there is no {path}"
        names = re.findall(r"`(?:class |def )?@?([A-Za-z_]{3,})(?:\(\w*\))?`", prose)
        texts = [(ROOT / path).read_text(encoding="utf-8") for path in paths if (ROOT / path).is_file()]
        for name in names if texts else ():
            if name in ("None", "Symptom"):
                continue
            assert any(re.search(rf"\b{name}\b", text) for text in texts), f"{name} stands in none of {paths}"


def insert(path: Path, anchor: str, code: str) -> None:
    """Puts the code behind the definition or the field that the anchor names, or at the end of the file."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    if not anchor:
        path.write_text(text + "\n\n" + code, encoding="utf-8")
        return
    kind, _, name = anchor.rpartition(" ")
    nodes = list(ast.walk(ast.parse(text)))
    if kind in ("class", "def"):
        kinds = (ast.ClassDef,) if kind == "class" else (ast.FunctionDef,)
        end = next(node.end_lineno for node in nodes if isinstance(node, kinds) and node.name == name)
        assert end is not None
        lines[end:end] = ["\n\n", code]
    else:
        fields = [node for node in nodes if isinstance(node, ast.AnnAssign)]
        field = next(node for node in fields if isinstance(node.target, ast.Name) and node.target.id == name)
        after = field.end_lineno or 0
        # The docstring below a field belongs to it.
        if lines[after].lstrip().startswith('"""'):
            after += 1
            while '"""' not in lines[after - 1].lstrip()[3:]:
                after += 1
        lines[after:after] = [textwrap.indent(code, " " * field.col_offset)]
    path.write_text("".join(lines), encoding="utf-8")


def test_who_follows_the_recipe_for_an_event_has_one(tmp_path: Path) -> None:
    for name in ("console", "remote", "tests", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    followed = 0
    for step in steps(next(recipe for recipe in RECIPES if title(recipe) == "An event")):
        code = re.search(r"```python\n(.*?)```", step, re.S)
        if code is None:
            continue
        path = PATH.findall(step)[0]
        anchor = re.search(r"after `([^`]+)`", step)
        insert(tmp_path / path, anchor[1] if anchor else "", textwrap.dedent("   " + code[1].lstrip(" ")))
        followed += 1
    assert followed == 4
    # -I-like: nothing but the copy, whatever is installed.
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["tests/test_fold_apply.py", "tests/test_wire_events.py", "-k", "fan or vocabular or there_and_back"]
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "passed" in said.stdout
    # And without the arm, the recipe's own test fails.
    arm = tmp_path / "console/fold/hosts.py"
    arm.write_text(arm.read_text(encoding="utf-8").replace("@arm(re.FanStopped)\n", ""), encoding="utf-8")
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
    assert said.returncode == 1, said.stdout + said.stderr
