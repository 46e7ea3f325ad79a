"""A run or a log in the browser: on this machine only, and only to look at.

textual-serve runs the console once for each page and carries its screen over a websocket. It listens on 127.0.0.1, and
answers only pages that it served itself: a browser would let any other site open a websocket to this machine.
"""

from __future__ import annotations

import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from console.exits import Exit
from console.sentences import CommandError, talk

HOST = "127.0.0.1"
DEFAULT_PORT = 8018


def serve(path: Path, title: str, port: int) -> int:
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
        talk(f"{title} is on http://{names[0]} until Ctrl-C; to look at, and on this machine only")

    # aiohttp says once that it listens. Open pages keep it from its end for a second, not for its minute.
    web.run_app(server._make_app(), host=HOST, port=port, print=listening, access_log=None, shutdown_timeout=1.0)
    return Exit.DONE
