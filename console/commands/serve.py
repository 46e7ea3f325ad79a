"""A run or a log in the browser: on this machine only, and only to look at.

textual-serve runs the console once for each page and carries its screen over a websocket. It listens on 127.0.0.1, and
answers only pages that it served itself: a browser would let any other site open a websocket to this machine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.commands.errors import CommandError, note, report_errors
from console.commands.find_run import find
from console.commands.options import Parser, UsageError, port
from console.config import load as load_config
from console.journal import open_log
from console.journal.directory import RunDirectory
from console.state.outcome import Exit

if TYPE_CHECKING:
    from console.playback.source import Source

HOST = "127.0.0.1"
DEFAULT_PORT = 8018


def parser() -> Parser:
    """Its options."""
    made = Parser("", "Shows a run or a log in a browser on this machine, to look at only.")
    made.add_argument("--serve", nargs="?", metavar="RUN|LOG")
    made.add_argument(
        "--port", type=port, default=DEFAULT_PORT, metavar="N", help=f"default: {DEFAULT_PORT}; 0: any free one"
    )
    return made


@report_errors
def main(words: list[str]) -> int:
    """Serves a run of this laptop, or a log."""
    options = parser().parse_args(words)
    if options.serve is None:
        raise UsageError("argument --serve: expected a RUN or a LOG")
    path = Path(options.serve)
    if not path.exists():
        path = find(options.serve, "run", lambda known: True).journal
    open_log.open_log(path)
    title = path.parent.name if path.name == "run.jsonl" else path.name
    return listen(path, title, options.port)


@report_errors
def page(words: list[str]) -> int:
    """``--watch JOURNAL``: what `listen` runs for each page; not for people."""
    if len(words) != 1:
        raise UsageError("--watch takes one journal")
    return watch(words[0])


def listen(path: Path, title: str, at: int) -> int:
    """Serves the journal or log at `path` until Ctrl-C; `at` is the port, 0 any free one.

    Raises:
        CommandError: textual-serve is not installed, or the port is taken.
    """
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise CommandError(
            "--serve needs the package textual-serve, which is not installed: pip install 'fastconsole[serve]'"
        ) from None

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, at))
        except OSError as error:
            raise CommandError(f"--port {at}: {error.strerror or error}; --port 0 takes any that is free") from None
        at = probe.getsockname()[1]
    names = (f"{HOST}:{at}", f"localhost:{at}")

    @web.middleware
    async def ours_only(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        origin = request.headers.get("Origin")
        if request.host not in names or (origin is not None and origin.removeprefix("http://") not in names):
            raise web.HTTPForbidden(text="This page is for the machine that serves it.")
        return await handler(request)

    class LoopbackServer(Server):
        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(ours_only)
            return app

        async def on_startup(self, app: Any) -> None:
            """Its own would say so in another's words, before it listens."""

    command = shlex.join([sys.executable, "-m", "console", "--watch", str(path.absolute())])
    server = LoopbackServer(command, host=HOST, port=at, title=f"fastconsole: {title}")

    def listening(*_: object) -> None:
        note(f"{title} is on http://{names[0]} until Ctrl-C; to look at, and on this machine only")

    # aiohttp says once that it listens. Open pages keep it from its end for a second, not for its minute.
    web.run_app(server._make_app(), host=HOST, port=at, print=listening, access_log=None, shutdown_timeout=1.0)
    return Exit.DONE


def watch(path: str) -> int:
    """Opens a log in the panes with no controls; one that still grows, as the run that it is. Raises LogError."""
    from console.playback.follow import Watched
    from console.playback.replay import Replay
    from console.playback.rewind import Rewind
    from console.tui.app import ConsoleApp

    log = open_log.open_log(path)
    grows = log.form == open_log.JOURNAL and log.path.name == "run.jsonl" and not RunDirectory(log.path.parent).ended()

    async def factory() -> Source:
        if grows:
            return Rewind(Watched(log.path, log.path.parent.name), log.path)
        return await asyncio.to_thread(Replay, log.path, at_once_s=2.0)

    # Whoever looks on from elsewhere changes nothing of how the operator's screen comes back.
    config = dataclasses.replace(load_config(), path=Path())
    app = ConsoleApp(factory, read_only=True, config=config)
    app.run(mouse=config.mouse)
    if app.failure is not None:
        raise app.failure
    return Exit.DONE
