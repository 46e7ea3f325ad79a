"""``fastconsole attach``: comes back to an active run, also to one that another laptop launched."""

from __future__ import annotations

from console.commands.drive import drive
from console.commands.errors import CommandError, note, report_errors
from console.commands.find_run import catch_up, find
from console.commands.open_run import attach_run, hosts_remain, must_take, status_line
from console.commands.options import Parser, UsageError, add_screen_options, headless
from console.commands.serve import watch
from console.journal.open_log import fold
from console.state.outcome import exit_of
from console.state.status import RESUMABLE


def parser() -> Parser:
    """Its options."""
    made = Parser("attach", "Attaches to an active run. One of another laptop is found by its instances' tags.")
    made.add_argument("run", nargs="?", metavar="RUN", help="default: the newest active one of this laptop")
    made.add_argument("--region", metavar="REGION", help="look for its instances in this region only")
    add_screen_options(made)
    return made


@report_errors
def main(words: list[str]) -> int:
    """Attaches to the run that is named, or to the newest active one."""
    if "--budget" in words:
        raise UsageError("--budget is for resume; fastconsole budget RUN USD sets that of an active run")
    options = parser().parse_args(words)
    text = headless(options)
    directory = find(options.run, "active run", lambda known: not known.ended(), anywhere=True, region=options.region)
    if directory.ended():
        past = fold(directory.journal)
        hint = ""
        if past.status in RESUMABLE:
            hint = f"; fastconsole resume {directory.run_id} resumes it"
        raise CommandError(f"run {directory.run_id} has ended ({past.status}: {past.reason}){hint}")
    if options.read_only and not text and directory.console_pid() is not None:
        return watch(str(directory.journal))
    must_take(directory)
    catch_up(directory)
    if not hosts_remain(directory):
        past = fold(directory.journal)
        note(status_line(past))
        return exit_of(past)
    return drive(lambda: attach_run(directory), headless=text, read_only=options.read_only)
