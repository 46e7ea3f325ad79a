"""``fastconsole --replay LOG``: a log as text or data, or in the panes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.commands.errors import discard_stdout, report_errors
from console.commands.options import Parser, UsageError, is_terminal, speed
from console.journal.open_log import fold, open_log
from console.reports import export
from console.state.outcome import Exit, exit_of

if TYPE_CHECKING:
    from console.playback.replay import Replay


def parser() -> Parser:
    """Its options."""
    made = Parser("", "Tells a log: a run's journal, a fast.ai debug.log of 2018, or a DAWNBench .tsv.")
    made.add_argument("--replay", nargs="?", metavar="LOG", help="the log; .gz is read too")
    made.add_argument("--format", choices=export.FORMATS, default="text", help="of what is printed (default: text)")
    made.add_argument("--tui", action="store_true", help="show it in the panes")
    made.add_argument("--speed", type=speed, default=1.0, metavar="X", help="seconds of the run a second, with --tui")
    made.add_argument("--headless", action="store_true", help="text, also at a terminal (the default)")
    return made


@report_errors
def main(words: list[str]) -> int:
    """Prints or shows the log; the exit code is that of the run in it."""
    options = parser().parse_args(words)
    if options.replay is None:
        raise UsageError("argument --replay: expected a LOG")
    if options.tui and options.headless:
        raise UsageError("--tui is the panes and --headless is text; say one of them")
    if options.tui and options.format != "text":
        raise UsageError(f"--format {options.format} is for text, and --tui is the panes")
    if options.tui:
        if not is_terminal():
            raise UsageError("--tui needs a terminal: stdin and stdout are not both one, or TERM is dumb")
        return on_screen(options.replay, options.speed)
    log = open_log(options.replay)
    try:
        run = export.write(log, options.format, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has seen enough; how the run ended is still asked.
        discard_stdout()
        run = fold(options.replay)
    return exit_of(run)


def on_screen(path: str, seconds_a_second: float, compared: Sequence[str] = ()) -> int:
    """Opens a log in the panes, with other logs laid over it. Raises LogError."""
    from console.config import load
    from console.playback.replay import Replay
    from console.tui.app import ConsoleApp

    open_log(path)
    made: list[Replay] = []

    async def factory() -> Replay:
        # A log of 20 minutes takes a second to read: the first picture comes before, and the keys work meanwhile. The
        # rest of a longer one is read while it plays.
        made.append(await asyncio.to_thread(Replay, path, speed=seconds_a_second, at_once_s=2.0))
        return made[0]

    config = load()
    app = ConsoleApp(factory, config=config, compared=compared)
    app.run(mouse=config.mouse)
    if app.failure is not None:
        raise app.failure
    return exit_of(made[0].exit_run()) if made else Exit.DONE
