"""``fastconsole budget``: another budget for an active run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from console.billing import budget
from console.commands.errors import CommandError, note, report_errors
from console.commands.find_run import catch_up, find
from console.commands.open_run import hosts_remain, open_run, status_line
from console.commands.options import Parser, UsageError
from console.format import money, time_of_day
from console.journal.directory import RunDirectory
from console.journal.open_log import fold
from console.live import inbox
from console.state.outcome import Exit
from console.state.run import Run
from console.state.status import NODE_GONE, NODE_REFUSED

if TYPE_CHECKING:
    from console.state.events import Record

_ORDER_S = 15.0
"""A console looks for orders every second, less often while it waits for something at the start and the end."""
_VISIT_S = 60.0
"""How long a visit waits for hosts that cannot be reached."""


def parser() -> Parser:
    """Its options."""
    made = Parser("budget", "Sets another budget for an active run; its hosts' leases move at once.")
    made.add_argument("run", nargs="?", metavar="RUN")
    made.add_argument("usd", nargs="?", metavar="USD")
    return made


@report_errors
def main(words: list[str]) -> int:
    """Sets the budget: by an order to the console that drives the run or, where there is none, as one that attaches
    for the moment that it takes to tell the hosts."""
    options = parser().parse_args(words)
    if options.run is None or options.usd is None:
        raise UsageError("which run and how many dollars? fastconsole budget RUN USD")
    usd = budget.dollars(options.usd)
    if usd is None:
        raise UsageError(f"argument USD: {options.usd!r} is not a dollar amount")
    directory = find(options.run, "run", lambda known: True, anywhere=True)
    name = directory.run_id
    if directory.ended():
        raise CommandError(f"run {name} has ended; fastconsole resume {name} --budget {usd:g} resumes it")
    silent: tuple[int, ...] = ()
    if directory.take():
        try:
            catch_up(directory)
            if not hosts_remain(directory):
                raise CommandError(status_line(fold(directory.journal)), Exit.FAILED)
            refusal = budget.refusal(fold(directory.journal), time.time(), usd)
            silent = () if refusal else asyncio.run(_visit(directory, usd))
        finally:
            directory.leave()
    else:
        try:
            arguments = {"usd": usd, "by": "another terminal"}
            refusal = inbox.give(directory.path, "budget", arguments, patience_s=_ORDER_S)
        except inbox.NoAnswer as error:
            who = f"the console (pid {directory.console_pid()}) that drives run {name}"
            raise CommandError(f"{who} does not answer: {error}", Exit.FAILED) from None
    if refusal:
        raise CommandError(f"run {name}: {refusal}")
    run, now = fold(directory.journal), time.time()
    left_s = budget.lasts_s(run, now)
    lasts = "" if left_s is None else f"; at the present price it lasts until {time_of_day(now + left_s, now)}"
    note(f"run {name}: the budget is now {money(run.budget_usd)}{lasts}")
    if silent:
        nodes = ", ".join(str(node) for node in silent)
        note(f"run {name}: not reached, so their leases are unchanged: node {nodes}")
    return Exit.DONE


async def _visit(directory: RunDirectory, usd: float) -> tuple[int, ...]:
    """Attaches to a run without a console, sets its budget, tells its hosts, leaves; the nodes not reached."""
    from console.state.events import HostConnected

    past = fold(directory.journal)
    live = open_run(directory, past)
    live.attach()
    await live.command("budget", usd=usd, by="another terminal")
    awaited = {node.node for node in past.nodes if node.status not in (*NODE_GONE, NODE_REFUSED)}
    all_reached = asyncio.Event()

    def look(before: Run, after: Run, record: Record | None) -> None:
        if record is not None and isinstance(record.event, HostConnected):
            awaited.discard(record.node if record.node is not None else -1)
        if not awaited or not after.live:
            all_reached.set()

    live.observe(look)
    driving = asyncio.create_task(live.drive())
    reached = asyncio.create_task(all_reached.wait())
    await asyncio.wait([driving, reached], timeout=_VISIT_S, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    # A run that ended meanwhile is closed in order; of any other, leaving moves the leases.
    await live.command("detach")
    await driving
    return tuple(sorted(awaited))
