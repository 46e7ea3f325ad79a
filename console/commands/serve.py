"""A run or a log in the browser: on this machine only, and only to look at.

textual-serve runs the console once for each page and carries its screen over a websocket. It listens on 127.0.0.1, and
answers only pages that it served itself: a browser would let any other site open a websocket to this machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from console.commands.find_run import _find
from console.commands.options import UsageError, _Parser, _port, _say
from console.state.outcome import Exit

if TYPE_CHECKING:
    pass

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from console.commands.errors import CommandError, note, report_errors
from console.config import load as load_config
from console.journal import open_log
from console.journal.directory import RunDirectory
from console.playback import replay
from console.playback.source import Source

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    pass

import shlex
import socket
from collections.abc import Awaitable
from typing import Any

HOST = "127.0.0.1"
DEFAULT_PORT = 8018


def listen(path: Path, title: str, port: int) -> int:
    """Serves the journal or log at `path` until Ctrl-C; `port` 0 is any free one.

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
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(f"--port {port}: {error.strerror or error}; --port 0 takes any that is free") from None
        port = probe.getsockname()[1]
    names = (f"{HOST}:{port}", f"localhost:{port}")

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
    server = LoopbackServer(command, host=HOST, port=port, title=f"fastconsole: {title}")

    def listening(*_: object) -> None:
        note(f"{title} is on http://{names[0]} until Ctrl-C; to look at, and on this machine only")

    # aiohttp says once that it listens. Open pages keep it from its end for a second, not for its minute.
    web.run_app(server._make_app(), host=HOST, port=port, print=listening, access_log=None, shutdown_timeout=1.0)
    return Exit.DONE


def _serve(words: list[str]) -> int:
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--serve", metavar="RUN|LOG", required=True)
    parser.add_argument("--port", type=_port)
    options = parser.parse_args(words)
    from console.journal.open_log import LogError

    try:
        return serve(options.serve, DEFAULT_PORT if options.port is None else options.port)
    except LogError as error:
        return _say(str(error), Exit.USAGE)


def _watch(words: list[str]) -> int:
    """What `--serve` runs for each page; not for hands."""
    if len(words) != 1:
        raise UsageError("--watch takes one journal")
    from console.journal.open_log import LogError

    try:
        return watch(words[0])
    except LogError as error:
        return _say(str(error), Exit.USAGE)


@report_errors
def serve(name: str, port: int) -> int:
    """Serves a run of this laptop, or a log, to a browser on it. Raises LogError."""
    path = Path(name)
    if not path.exists():
        path = _find(name, "to serve", lambda one: True).journal
    open_log.open_log(path)
    title = path.parent.name if path.name == "run.jsonl" else path.name
    return listen(path, title, port)


def watch(path: str) -> int:
    """Opens a log in the panes with no controls; one that still grows, as the run that it is. Raises LogError."""
    from console.playback.follow import Watched
    from console.playback.rewind import Rewind
    from console.tui.app import ConsoleApp

    log = open_log.open_log(path)
    grows = log.form == open_log.JOURNAL and log.path.name == "run.jsonl" and not RunDirectory(log.path.parent).ended()

    async def factory() -> Source:
        if grows:
            return Rewind(Watched(log.path, log.path.parent.name), log.path)
        return await asyncio.to_thread(replay.Replay, log.path, at_once_s=2.0)

    # Whoever looks on from elsewhere changes nothing of how the operator's screen comes back.
    config = dataclasses.replace(load_config(), path=Path())
    app = ConsoleApp(factory, read_only=True, config=config)
    app.run(mouse=config.mouse)
    if app.failure is not None:
        raise app.failure
    return Exit.DONE
