"""TODO docstring: console/commands/control.py."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from console.commands.find_run import _find, _named, _profile_of, _still_there
from console.commands.options import UsageError, _Parser
from console.state.outcome import Exit

if TYPE_CHECKING:
    pass

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from console.billing import budget
from console.commands import find_run
from console.commands.errors import CommandError, note, report_errors
from console.fleet.choose import provider_of
from console.format import money, time_of_day
from console.journal import open_log
from console.journal.directory import RunDirectory
from console.live import inbox
from console.state.run import Run

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    from console.state.events import Record


def _budget(words: list[str]) -> int:
    parser = _Parser(prog="fastconsole budget", add_help=False, allow_abbrev=False)
    parser.add_argument("run", nargs="?")
    parser.add_argument("usd", nargs="?", metavar="USD")
    options = parser.parse_args(words)
    if options.run is None or options.usd is None:
        raise UsageError("say which run and how many dollars: fastconsole budget RUN USD")
    from console.billing.budget import dollars

    usd = dollars(options.usd)
    if usd is None:
        raise UsageError(f"argument USD: {options.usd!r} is not an amount of dollars")
    from console.commands import control

    return control.set_budget(options.run, usd)


_ORDER_S = 15.0
"""A console looks for orders every second, less often while it waits for something at the start and the end."""


_VISIT_S = 60.0
"""How long a visit waits for hosts that cannot be reached."""


@report_errors
def end(run_id: str, *, at_once: bool, region: str | None = None) -> int:
    """Stops a run from another terminal, through the console that drives it or, where there is none, as one."""
    if at_once and not _named(run_id):
        return find_run.terminate(run_id, region)
    directory = _find(run_id, "at all", lambda one: True, anywhere=True, region=region)
    if directory.ended():
        raise CommandError(f"run {directory.run_id} has ended already")
    pid = directory.console_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM if at_once else signal.SIGINT)
        while not directory.ended() and directory.console_pid() is not None:
            time.sleep(0.2)
        past = open_log.fold(directory.journal)
        note(f"run {directory.run_id}: {past.status}: {past.reason}")
        return Exit.DONE if not past.live else Exit.FAILED
    taken = directory.take()
    if taken and not at_once:
        find_run.catch_up(directory)
    if not taken or not _still_there(directory):
        past = open_log.fold(directory.journal)
        note(f"run {directory.run_id}: {past.status}: {past.reason}")
        return Exit.DONE

    async def ending() -> Run:
        from console.live.live_run import LiveRun

        past = open_log.fold(directory.journal)
        profile = _profile_of(directory, past)
        live = LiveRun(profile, directory, provider_of(profile, directory), past)
        live.attach()
        await live.command("terminate" if at_once else "stop")
        await live.drive()
        return live.run

    ended = asyncio.run(ending())
    note(f"run {directory.run_id}: {ended.status}: {ended.reason}")
    return Exit.DONE


@report_errors
def set_budget(run_id: str, usd: float) -> int:
    """Sets another budget for a run that goes on: by an order to the console that drives it or, where there is none,
    as one that comes for the moment that it takes to tell the hosts."""
    directory = _find(run_id, "at all", lambda one: True, anywhere=True)
    name = directory.run_id
    if directory.ended():
        raise CommandError(f"run {name} has ended; fastconsole resume {name} --budget {usd:g} goes on with it")
    if directory.take():
        try:
            find_run.catch_up(directory)
            if not _still_there(directory):
                past = open_log.fold(directory.journal)
                raise CommandError(f"run {name}: {past.status}: {past.reason}", Exit.FAILED)
            refusal = budget.refusal(open_log.fold(directory.journal), time.time(), usd)
            silent = () if refusal else asyncio.run(_visit(directory, usd))
        finally:
            directory.leave()
    else:
        silent = ()
        try:
            arguments = {"usd": usd, "by": "another terminal"}
            refusal = inbox.give(directory.path, "budget", arguments, patience_s=_ORDER_S)
        except inbox.NoAnswer as error:
            who = f"the console (pid {directory.console_pid()}) that drives run {name}"
            raise CommandError(f"{who} does not answer: {error}", Exit.FAILED) from None
    if refusal:
        raise CommandError(f"run {name}: {refusal}")
    run, now = open_log.fold(directory.journal), time.time()
    left_s = budget.lasts_s(run, now)
    lasts = "" if left_s is None else f"; at the present price it lasts until {time_of_day(now + left_s, now)}"
    note(f"run {name}: the budget is now {money(run.budget_usd)}{lasts}")
    if silent:
        nodes = ", ".join(str(node) for node in silent)
        note(f"run {name}: not reached, so their leases stand as they were: node {nodes}")
    return Exit.DONE


async def _visit(directory: RunDirectory, usd: float) -> tuple[int, ...]:
    """Comes to a run without a console, sets its budget, tells its hosts and goes; the nodes that were not reached."""
    from console.live.live_run import LiveRun
    from console.state.events import HostConnected

    past = open_log.fold(directory.journal)
    profile = _profile_of(directory, past)
    live = LiveRun(profile, directory, provider_of(profile, directory), past)
    live.attach()
    await live.command("budget", usd=usd, by="another terminal")
    awaited = {node.node for node in past.nodes if node.status not in ("lost", "dropped", "refused")}
    all_there = asyncio.Event()

    def look(before: Run, after: Run, record: Record | None) -> None:
        if record is not None and isinstance(record.event, HostConnected):
            awaited.discard(record.node if record.node is not None else -1)
        if not awaited or not after.live:
            all_there.set()

    live.observe(look)
    driving = asyncio.create_task(live.drive())
    there = asyncio.create_task(all_there.wait())
    await asyncio.wait([driving, there], timeout=_VISIT_S, return_when=asyncio.FIRST_COMPLETED)
    there.cancel()
    # A run that ended meanwhile is closed in order; of any other, leaving moves the leases.
    await live.command("detach")
    await driving
    return tuple(sorted(awaited))
