"""A test file's prefix is a district, so that the tests of a package are found by its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DISTRICTS = {path.parent.name for half in ("console", "remote") for path in (ROOT / half).glob("*/__init__.py")}
BESIDE = {"house", "docs", "bench", "fakes"}
"""The tree itself, its pages, the measurements, and the tests of what stands in for EC2."""


def test_every_test_file_is_named_for_a_district() -> None:
    prefixes = {path.name: path.name.split("_")[1] for path in (ROOT / "tests").glob("test_*.py")}
    assert {name for name, prefix in prefixes.items() if prefix not in DISTRICTS | BESIDE} == set()
    assert {name for name in prefixes if name.count("_") < 2} == set(), "and then for a module"


# `state` holds values; the fold's tests are theirs.
@pytest.mark.parametrize("district", sorted(DISTRICTS - {"state"}))
def test_every_district_has_tests(district: str) -> None:
    assert list((ROOT / "tests").glob(f"test_{district}_*.py"))


@pytest.mark.parametrize("half", ["console", "remote"])
def test_a_package_says_what_it_is_for_and_nothing_else(half: str) -> None:
    for path in (ROOT / half).glob("*/**/__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = path.relative_to(ROOT)
        assert len((ast.get_docstring(tree) or "").split()) >= 8, f"{where} does not say what the package is for"
        # A name that is handed on here would be imported by everyone who imports anything of the package.
        assert len(tree.body) == 1, f"{where} holds more than its docstring"
