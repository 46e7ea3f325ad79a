"""Mutation testing of the pure packages: which changes of one operator, constant or argument do their tests see?

mutmut makes every small change it knows ("mutant") of the functions named by `[tool.mutmut]` in pyproject.toml, and a
sample of them is tested, each with the tests that call the changed function. All of it happens in a copy of the tree.
The sample is systematic: the mutants in the order of their files, shuffled within a file, every n-th from a random
start. So each file has its part by its number of mutants, and the same seed on the same tree gives the same sample.

A mutant is seen if a test fails with it, cannot be imported or does not end. One that no test calls is not seen. Before
the mutants, mutmut runs the tests on the unchanged code, where they must pass, and with a failure forced into every
function, where they must fail: so it is the copy's code that they run, and not an installed one. Functions with
decorators (the fold's arms, properties, what is cached) and constants of modules have no mutants: mutmut leaves them as
they are.

    python bench/mutants.py [--seed 0] [--sample 150] [--only 'console/billing/*'] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("console", "remote", "profiles", "tests", "pyproject.toml", "README.md")

# mutmut has no command that only generates.
GENERATE = """
from pathlib import Path
from mutmut.__main__ import copy_src_dir, create_mutants, set_mutant_under_test
Path("mutants").mkdir(exist_ok=True)
set_mutant_under_test("mutant_generation")
copy_src_dir()
create_mutants(2)
"""

# `mutmut run`, with three differences. Of the unchanged code's tests only the quick ones are run a second time after
# the run that learns which test calls which function. Of a mutant's tests the quick ones are first, since the first
# that fails is the last. And what runs while modules are imported, which mutmut counts for the first test of all, has
# its package's tests too.
RUN = """
import sys
from mutmut import __main__ as mutmut
from mutmut.state import state
from mutmut.workers.isolation import ForkServerRunner
submit, clean = ForkServerRunner.submit, ForkServerRunner.run_clean_tests
def submit_sorted(self, name, tests, *limits):
    seconds = state().duration_by_test
    if next(iter(seconds)) in tests:
        own = f"tests/test_{name.split('.')[1]}_"
        tests = {*tests, *(test for test in seconds if test.startswith(own))}
    submit(self, name, sorted(tests, key=lambda test: (seconds[test], test)), *limits)
ForkServerRunner.submit = submit_sorted
def clean_quick(self, tests):
    return clean(self, sorted(test for test in tests if state().duration_by_test[test] < 0.1))
ForkServerRunner.run_clean_tests = clean_quick
mutmut._run(sys.stdin.read().split(), int(sys.argv[1]))
"""

# Each mutant's process is forked from one that has imported these and nothing of ours: so what runs while our modules
# are imported is the mutant's too, and no cache holds what the unchanged code answered.
PRELOADED = ("asyncio", "hypothesis", "pytest", "pytest_asyncio", "pytest_timeout", "syrupy")

SEEN = (1, 2, 3, 255, 24, -24, 36, 152)
"""Exit codes: a test failed, tests could not be imported, pytest itself failed, the tests that were meant are not there
(for they could not be imported), and those of a test that did not end."""
NO_TEST = (5, 33)


def copied_tree(folder: Path) -> None:
    """Copies what the tests of the pure packages read; the logs beside the project are linked."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignore, dirs_exist_ok=True)
        else:
            shutil.copy2(source, folder / name)
    (folder / "preloaded.txt").write_text("\n".join(PRELOADED))
    logs, link = ROOT.parent / "shared", folder / "shared"
    if logs.is_dir() and not link.exists():
        link.symlink_to(logs)


def python(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Runs Python in the copy."""
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": ""}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=env, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def results(folder: Path) -> dict[str, dict[str, int | None]]:
    """The exit code of each mutant by its name, by file; None for one that was not tested."""
    found = {}
    for path in sorted((folder / "mutants" / "console").rglob("*.py.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        if codes:
            found[str(path.relative_to(folder / "mutants")).removesuffix(".meta")] = codes
    return found


def sampled(names: dict[str, Iterable[str]], size: int, seed: int) -> list[str]:
    """Every n-th of the names, from a random start; by file, shuffled within a file."""
    random = Random(seed)
    row: list[str] = []
    for file in sorted(names):
        of_file = sorted(names[file])
        random.shuffle(of_file)
        row += of_file
    if size >= len(row):
        return row
    every = len(row) / size
    start = random.random() * every
    return [row[int(start + index * every)] for index in range(size)]


def table(found: dict[str, dict[str, int | None]], sample: set[str]) -> tuple[list[str], list[str]]:
    """The rows of the table, and the names of those that were not seen."""
    rows = ["| file | mutants | sampled | seen | survived | no test | share |", "| --- " + "| ---: " * 6 + "|"]
    missed: list[str] = []
    sums = [0, 0, 0, 0, 0]
    for file, codes in found.items():
        tested = {name: code for name, code in codes.items() if name in sample}
        seen = sum(code in SEEN for code in tested.values())
        untested = sum(code in NO_TEST for code in tested.values())
        of_file = [len(codes), len(tested), seen, len(tested) - seen - untested, untested]
        sums = [a + b for a, b in zip(sums, of_file, strict=True)]
        missed += [name for name, code in tested.items() if code not in SEEN]
        if tested:
            rows.append(row(f"`{file}`", of_file))
    rows.append(row("all", sums))
    return rows, missed


def row(name: str, numbers: list[int]) -> str:
    share = f"{numbers[2] / numbers[1]:.1%}" if numbers[1] else ""
    return f"| {name} | " + " | ".join(map(str, numbers)) + f" | {share} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=150, help="how many mutants are tested")
    parser.add_argument("--only", default="*", metavar="GLOB", help="only mutants of the files that match")
    parser.add_argument("--folder", type=Path, help="copy the tree to this folder, and keep it")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="mutants-"))
    began = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copied_tree(folder)
        made = python(folder, "-c", GENERATE)
        if made.returncode:
            print(made.stdout)
            return 1
        names = {file: list(codes) for file, codes in results(folder).items() if fnmatch.fnmatch(file, arguments.only)}
        if not names:
            print(f"no file with mutants matches {arguments.only}")
            return 1
        sample = sampled(names, arguments.sample, arguments.seed)
        of_all = sum(map(len, names.values()))
        print(f"seed {arguments.seed}: {len(sample)} of {of_all} mutants", flush=True)
        ran = python(folder, "-c", RUN, str(os.cpu_count() or 2), given="\n".join(sample))
        if ran.returncode:
            # Without what mutmut draws while it waits.
            lines = re.split(r"[\r\n]+", ran.stdout)
            print(
                "\n".join(line for line in lines if not re.match(r"[⠀-⣿] \w+ (mutants|stats|tests|test)", line))[
                    -10_000:
                ]
            )
            return 1
        rows, missed = table({file: results(folder)[file] for file in names}, set(sample))
        print("\n".join(["", *rows, "", f"{(time.monotonic() - began) / 60:.0f} min; not seen: {len(missed)}"]))
        for name in missed:
            shown = python(folder, "-m", "mutmut", "show", name)
            print(f"\n```diff\n{shown.stdout.strip()}\n```", flush=True)
        return 0
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
