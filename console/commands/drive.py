"""A live run driven to its end, on the screen or as text, and what is said when it is over."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from console.commands.errors import discard_stdout, note
from console.config import load
from console.playback.rewind import Rewind
from console.reports import story
from console.reports.narrator import Narrator
from console.ssh import openssh
from console.state.outcome import Exit, exit_of
from console.state.run import Run

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    from console.live.live_run import LiveRun
    from console.state.events import Record


def drive(make: Callable[[], LiveRun], *, headless: bool, read_only: bool) -> int:
    """Drives the run that `make` makes, once there is a loop for it; its exit code."""
    return asyncio.run(_headless(make())) if headless else _on_screen(make, read_only)


def _on_screen(make: Callable[[], LiveRun], read_only: bool) -> int:
    from console.tui.app import ConsoleApp

    config = load()
    made: list[LiveRun] = []

    def factory() -> Rewind:
        made.append(make())
        return Rewind(made[0], made[0].directory.journal)

    def shell(node: int) -> list[str]:
        if not made:
            raise ValueError("There is no run yet.")
        directory = made[0].directory
        return openssh.command(directory.read_fleet()[0], node, directory.path / openssh.KNOWN_HOSTS)

    app = ConsoleApp(factory, read_only=read_only, config=config, shell=shell)
    app.run(mouse=config.mouse)
    if app.failure is not None:
        raise app.failure
    return _closing(made[0]) if made else Exit.INTERRUPTED


def _closing(live: LiveRun) -> int:
    ended = live.run
    if ended.live:
        note(f"the run continues; fastconsole attach {ended.run_id} attaches to it")
        return Exit.DONE
    print(story.story(ended), flush=True)
    note(f"the run's journal is {live.directory.journal}")
    return exit_of(ended)


async def _headless(live: LiveRun) -> int:
    """Drives a run and prints what happens: a line for every event that matters, and one a second for the rest."""
    narrator = Narrator()
    loop = asyncio.get_running_loop()
    reader_left = False
    orders: set[asyncio.Task[None]] = set()

    def order(command: str) -> None:
        orders.add(loop.create_task(live.command(command)))

    def write(*lines: str) -> None:
        nonlocal reader_left
        if reader_left:
            return
        try:
            for line in lines:
                print(line)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the progress is gone: that is an operator who left without a word.
            reader_left = True
            discard_stdout()
            order("stop")

    def tell(before: Run, after: Run, record: Record | None) -> None:
        if record is not None:
            write(*narrator.narrate(before, after, record))

    live.observe(tell)

    def interrupted() -> None:
        if "stop" in live.controls:
            note("stopping: checkpoint, collect, end the hosts (Ctrl-C again: end them at once)")
            order("stop")
        else:
            order("terminate")

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, order, "terminate")
    loop.add_signal_handler(signal.SIGHUP, order, "detach")

    async def beat() -> None:
        while True:
            # A sign of life at least every second, on a machine that is busy with sixteen ranks too.
            await asyncio.sleep(0.8)
            if live.run.live:
                write(narrator.heartbeat(live.run, live.now()))

    heart = loop.create_task(beat())
    try:
        await live.drive()
    finally:
        heart.cancel()
    return _closing(live)
