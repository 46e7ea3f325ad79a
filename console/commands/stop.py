"""``fastconsole stop`` and ``terminate``: end a run from another terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import partial

from console.commands import clean
from console.commands.errors import CommandError, note, report_errors, waiting
from console.commands.find_run import ASKING, catch_up, find, must_be_set_up, runs_named
from console.commands.open_run import attach_run, hosts_remain, status_line
from console.commands.options import Parser, named_run
from console.journal.directory import RunDirectory
from console.journal.open_log import fold
from console.state.outcome import Exit
from console.state.run import Run


def parser(command: str) -> Parser:
    """The options of both."""
    what = {
        "stop": "Stops a run: saves a checkpoint, fetches it, ends and releases the hosts.",
        "terminate": "Ends a run at once and releases its hosts.",
    }
    made = Parser(command, what[command])
    made.add_argument("run", nargs="?", metavar="RUN")
    made.add_argument("--region", metavar="REGION", help="look for its instances in this region only")
    return made


@report_errors
def _end(command: str, words: list[str]) -> int:
    """Ends a run: through the console that drives it or, where there is none, as one."""
    options = parser(command).parse_args(words)
    name, region, at_once = named_run(options), options.region, command == "terminate"
    if at_once and not runs_named(name):
        return _terminate_elsewhere(name, region)
    directory = find(name, "run", lambda known: True, anywhere=True, region=region)
    if directory.ended():
        raise CommandError(f"run {directory.run_id} has already ended")
    pid = directory.console_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM if at_once else signal.SIGINT)
        while not directory.ended() and directory.console_pid() is not None:
            time.sleep(0.2)
        past = fold(directory.journal)
        note(status_line(past))
        return Exit.DONE if not past.live else Exit.FAILED
    taken = directory.take()
    if taken and not at_once:
        catch_up(directory)
    if not taken or not hosts_remain(directory):
        note(status_line(fold(directory.journal)))
        return Exit.DONE
    note(status_line(asyncio.run(_as_its_console(directory, command))))
    return Exit.DONE


stop = partial(_end, "stop")
terminate = partial(_end, "terminate")


async def _as_its_console(directory: RunDirectory, command: str) -> Run:
    live = attach_run(directory)
    await live.command(command)
    await live.drive()
    return live.run


def _terminate_elsewhere(run_id: str, region: str | None) -> int:
    """Ends all that a run of another laptop has at AWS, without reaching its hosts.

    Raises:
        CommandError: there is no such run.
        CloudError: AWS could not be asked.
    """
    must_be_set_up(run_id, region)
    from console.discovery.find import PATIENCE_S
    from console.discovery.sweep import leftovers
    from console.fleet.aws.cloud import Cloud

    cloud = Cloud(region, patience_s=PATIENCE_S)
    found = asyncio.run(waiting(leftovers(cloud, region, patience_s=PATIENCE_S), ASKING))
    lots = clean.sort(found, time.time())
    named = [lot for lot in lots if lot.run_id == run_id] or [lot for lot in lots if lot.run_id.startswith(run_id)]
    for name, why in found.silent:
        note(f"what is in {name} is unknown: {why}")
    if len(named) > 1:
        raise CommandError(f"{len(named)} runs begin with {run_id}: {', '.join(lot.run_id for lot in named)}")
    if not named:
        code = Exit.UNREACHABLE if found.silent else Exit.USAGE
        raise CommandError(f"there is no run {run_id}, neither on this laptop nor in {clean.regions(found)}", code)
    lot = named[0]
    note(f"run {lot.run_id}: terminating {lot.instances} instances and deleting the rest; its console is not told")
    return asyncio.run(clean.end([lot], found.regions)) or (Exit.UNREACHABLE if found.silent else Exit.DONE)
