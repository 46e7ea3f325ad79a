"""``fastconsole resume``: continues a stopped or failed run from its last checkpoint, on new hosts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from console.billing import budget
from console.commands.drive import drive
from console.commands.errors import CommandError, report_errors
from console.commands.find_run import find
from console.commands.open_run import must_take, open_run
from console.commands.options import Parser, add_screen_options, dollars, headless
from console.commands.run import tell_of_orphans
from console.journal.directory import RunDirectory
from console.journal.open_log import fold
from console.state.status import FINISHED, MISSED, REACHED

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    from console.live.live_run import LiveRun


def parser() -> Parser:
    """Its options."""
    made = Parser("resume", "Continues a stopped or failed run from its last checkpoint, on new hosts.")
    made.add_argument("run", nargs="?", metavar="RUN", help="default: the newest that has ended")
    made.add_argument("--budget", type=dollars, metavar="USD", help="instead of the budget that it had")
    add_screen_options(made)
    return made


@report_errors
def main(words: list[str]) -> int:
    """Resumes the run that is named, or the newest that has ended."""
    options = parser().parse_args(words)
    text, usd = headless(options), options.budget
    tell_of_orphans()
    directory = find(options.run, "ended run", RunDirectory.ended)
    name = directory.run_id
    if not directory.ended():
        raise CommandError(f"run {name} is active; fastconsole attach {name} attaches to it")
    past = fold(directory.journal)
    if past.status in (REACHED, FINISHED, MISSED):
        raise CommandError(f"run {name} is complete ({past.status}: {past.reason}); nothing is left to do")
    # Before anything is rented for a moment.
    if usd is None:
        refusal, hint = budget.resume_refusal(past, time.time()), " with --budget USD"
    else:
        refusal, hint = budget.refusal(past, time.time(), usd), ""
    if refusal:
        raise CommandError(f"run {name}: {refusal}{hint}")
    must_take(directory)

    def make() -> LiveRun:
        live = open_run(directory, past)
        live.resume(usd)
        return live

    return drive(make, headless=text, read_only=options.read_only)
