"""``fastconsole runs``: every run on this laptop, a line each."""

from __future__ import annotations

import time

from console.commands.errors import report_errors
from console.commands.options import Parser
from console.commands.runs_table import COLUMNS, row_of
from console.journal.directory import all_runs
from console.state.outcome import Exit


def parser() -> Parser:
    """Its options: none."""
    return Parser("runs", "Lists every run on this laptop, tab-separated.")


@report_errors
def main(words: list[str]) -> int:
    """Prints a line a run, the newest last."""
    parser().parse_args(words)
    print("\t".join(COLUMNS))
    for directory in all_runs():
        print("\t".join(row_of(directory).cells(time.time())[: len(COLUMNS)]))
    return Exit.DONE
