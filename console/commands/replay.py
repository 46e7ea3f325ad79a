"""TODO docstring: console/commands/replay.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.commands.options import FORMATS, UsageError, _Parser, _say, _speed, _terminal, _write_no_more
from console.state.outcome import Exit, exit_of

if TYPE_CHECKING:
    pass

import asyncio
from typing import TYPE_CHECKING

from console.config import load as load_config
from console.journal import open_log
from console.playback import replay

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    pass


def replay_parser() -> argparse.ArgumentParser:
    """The options of ``--replay``."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--replay", metavar="LOG", required=True)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--tui", action="store_true")
    parser.add_argument("--speed", type=_speed, default=1.0)
    parser.add_argument("--headless", action="store_true")
    return parser


def _replay(words: list[str]) -> int:
    options = replay_parser().parse_args(words)
    if options.tui and options.headless:
        raise UsageError("--tui is the panes and --headless is text; say one of them")
    if options.tui and options.format != "text":
        raise UsageError(f"--format {options.format} is for the text that --tui is not")
    from console.journal.open_log import LogError

    try:
        if options.tui:
            if not _terminal():
                raise UsageError("--tui needs a terminal: stdin and stdout are not both one, or TERM is dumb")
            from console.commands.replay import replay_on_screen

            return replay_on_screen(options.replay, options.speed)
        from console.journal.open_log import fold, open_log
        from console.reports import export

        log = open_log(options.replay)
        try:
            run = export.write(log, options.format, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # `| head` has seen enough; how the run ended is still asked.
            _write_no_more()
            run = fold(options.replay)
        return exit_of(run)
    except LogError as error:
        return _say(str(error), Exit.USAGE)


def replay_on_screen(path: str, speed: float, compared: Sequence[str] = ()) -> int:
    """Opens a log in the panes, with other logs laid over it. Raises LogError."""
    from console.tui.app import ConsoleApp

    open_log.open_log(path)
    made: list[replay.Replay] = []

    async def factory() -> replay.Replay:
        # A log of 20 minutes takes a second to read: the first picture comes before, and the keys work meanwhile. The
        # rest of a longer one is read while it plays.
        made.append(await asyncio.to_thread(replay.Replay, path, speed=speed, at_once_s=2.0))
        return made[0]

    config = load_config()
    app = ConsoleApp(factory, config=config, compared=compared)
    app.run(mouse=config.mouse)
    if app.failure is not None:
        raise app.failure
    return exit_of(made[0].exit_run()) if made else Exit.DONE
