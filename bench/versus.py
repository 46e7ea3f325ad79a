"""The working tree beside an older version of it: how long a start and a replay take, and whether replays are the same.

REF is cloned to a temporary folder. Both trees run under this interpreter, each by its own path, in whole processes: a
round has each command once with each tree, the trees in turns, and a first round that is not counted leaves both with
compiled modules. The table has medians over the rounds, of the clock and of what the processors did, which other work
on the machine disturbs less.

Of the log that `bench/replay.py` makes, and of every LOG, the replays as JSON, JSON lines, TSV and CSV and their exit
codes are compared byte for byte; a folder stands for all files below it. Ends with 1 where they differ.

    python bench/versus.py REF [LOG ...] [--rounds 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import replay  # noqa: E402

FORMATS = ("json", "jsonl", "tsv", "csv")


@dataclass(frozen=True, slots=True)
class Took:
    """One process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


class Tree:
    """A version of the project in a folder."""

    def __init__(self, name: str, path: Path, elsewhere: Path) -> None:
        """`elsewhere`: an empty folder to start in; `-m` looks there before it looks anywhere.

        Raises SystemExit where this interpreter takes the project from another place all the same.
        """
        self.name = name
        self._cwd = elsewhere
        self._env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self._env |= {"PYTHONPATH": str(path), "XDG_STATE_HOME": str(elsewhere), "XDG_CONFIG_HOME": str(elsewhere)}
        command = [sys.executable, "-c", "import console; print(console.__file__)"]
        found = subprocess.run(command, cwd=elsewhere, env=self._env, capture_output=True, text=True, check=True)
        if not Path(found.stdout.strip()).resolve().is_relative_to(path.resolve()):
            raise SystemExit(f"{name}: console is imported from {found.stdout.strip()} and not from {path}")

    def run(self, words: Sequence[str]) -> tuple[int, bytes]:
        """What a command exits with and writes to stdout."""
        command = [sys.executable, "-m", "console", *words]
        done = subprocess.run(command, cwd=self._cwd, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.returncode, done.stdout

    def timed(self, words: Sequence[str]) -> Took:
        """How long the command takes; raises SystemExit where it fails."""
        command = [sys.executable, "-m", "console", *words]
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=self._cwd, env=self._env, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            while process.stdout.read(1 << 20):
                pass
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{self.name}: {' '.join(words)} exits with {process.returncode}")
        return Took(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def checked_out(ref: str, to: Path) -> str:
    """Clones the commit that `ref` names; its short hash. Raises SystemExit where there is none."""
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run([*git, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], capture_output=True)
    if known.returncode != 0:
        raise SystemExit(f"there is no commit {ref} in {ROOT}")
    commit = known.stdout.decode().strip()
    # Objects are shared, and nothing is noted in the repository.
    clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(to)]
    subprocess.run(clone, check=True)
    subprocess.run(["git", "-C", str(to), "-c", "advice.detachedHead=false", "checkout", "--quiet", commit], check=True)
    return commit[:7]


def write_log(path: Path) -> None:
    """The log of `bench/replay.py`."""
    with path.open("w") as file:
        for record in replay.synthetic():
            file.write(replay.record_line(record) + "\n")


def measure(trees: Sequence[Tree], commands: dict[str, list[str]], rounds: int) -> dict[tuple[str, str], list[Took]]:
    """Each command so many times with each tree, by command and tree."""
    took: dict[tuple[str, str], list[Took]] = {(name, tree.name): [] for name in commands for tree in trees}
    for number in range(rounds + 1):
        for name, words in commands.items():
            for tree in trees if number % 2 else reversed(trees):
                one = tree.timed(words)
                if number:
                    took[name, tree.name].append(one)
    return took


def table(trees: Sequence[Tree], commands: dict[str, list[str]], took: dict[tuple[str, str], list[Took]]) -> str:
    """Markdown: medians of both trees, and the second's over the first's."""
    before, after = (tree.name for tree in trees)
    head = [""]
    for what in ("ms", "CPU ms", "MiB"):
        head += [f"{before}, {what}", f"{after}, {what}", "ratio"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for name in commands:
        cells = [f"`{name}`"]
        for field, scale in (("wall_s", 1000), ("cpu_s", 1000), ("peak_mib", 1)):
            old, new = (statistics.median(getattr(one, field) for one in took[name, tree]) for tree in (before, after))
            cells += [f"{old * scale:,.0f}", f"{new * scale:,.0f}", f"{new / old:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def compared(trees: Sequence[Tree], logs: Sequence[Path]) -> tuple[list[str], int]:
    """A line for each replay that differs, and how many of the logs neither tree takes for one."""
    different: list[str] = []
    unread = 0
    for log in logs:
        said = {form: [tree.run(["--replay", str(log), "--format", form]) for tree in trees] for form in FORMATS}
        unread += all(one == (2, b"") for both in said.values() for one in both)
        for form, ((code, text), (code_now, text_now)) in said.items():
            if code != code_now:
                different.append(f"{log} as {form}: exit code {code}, now {code_now}")
            if text != text_now:
                place = next((at for at, (a, b) in enumerate(zip(text, text_now, strict=False)) if a != b), None)
                at = min(len(text), len(text_now)) if place is None else place
                shown = f"{text[at : at + 40]!r}, now {text_now[at : at + 40]!r}"
                different.append(f"{log} as {form}: from byte {at:,} of {len(text):,} and {len(text_now):,}: {shown}")
    return different, unread


def files(names: Sequence[Path]) -> list[Path]:
    """The files, and those below the folders. Raises SystemExit where one is not there."""
    found: list[Path] = []
    for name in names:
        if not name.exists():
            raise SystemExit(f"there is no {name}")
        found += sorted(path for path in name.rglob("*") if path.is_file()) if name.is_dir() else [name]
    return [path.resolve() for path in found]


def main() -> int:
    """Clones, measures, compares, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", metavar="REF", help="a commit, a branch or a tag")
    parser.add_argument("logs", metavar="LOG", nargs="*", type=Path, help="a log, or a folder of logs, to compare with")
    parser.add_argument("--rounds", type=int, default=9, help="0: only compare")
    options = parser.parse_intermixed_args()
    logs = files(options.logs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, elsewhere = folder / "synthetic.jsonl", folder / "elsewhere"
        elsewhere.mkdir()
        commit = checked_out(options.ref, folder / "before")
        write_log(log)
        trees = (Tree(commit, folder / "before", elsewhere), Tree("working tree", ROOT, elsewhere))
        commands = {
            "fastconsole --version": ["--version"],
            "fastconsole --help": ["--help"],
            "fastconsole --replay LOG --format json": ["--replay", str(log), "--format", "json"],
        }
        if options.rounds > 0:
            size = f"{replay.RECORDS:,} records, {log.stat().st_size / 1e6:.1f} MB"
            print(f"Medians of {options.rounds} rounds; LOG has {size}.\n")
            print(table(trees, commands, measure(trees, commands, options.rounds)), end="\n\n", flush=True)
        different, unread = compared(trees, [log, *logs])
    for line in different:
        print(line)
    note = f" ({unread} are no logs to either)" if unread else ""
    result = f"{len(different)} differences" if different else "no difference"
    print(f"{1 + len(logs)} files{note}, replayed as {', '.join(FORMATS)}: {result}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
