"""Hooks that are told of alerts: a command on this machine and a webhook, one alert after another, in the background.

A hook that fails is reported once, as a line of the log, until it works again; the run continues in any case. Text from
a host is only ever data: the command is a list of words that no shell sees, and the webhook gets JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from console.format import plain
from console.profile.alerts import AlertKeys

COMMAND_S: Final = 10.0
WEBHOOK_S: Final = 10.0
WAITING: Final = 50
"""Alerts that wait for their turn; where more come at once, they are left out and counted."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the hooks are told: an alert that was raised or is over, or the run's end."""

    run_id: str
    profile: str
    state: str
    """``raised``, ``cleared`` or ``ended``."""
    kind: str
    severity: str
    node: int | None
    t: float
    """When, epoch seconds."""
    text: str

    @property
    def sentence(self) -> str:
        """The notice in one line that names the run and the node."""
        where = "" if self.node is None else f"node {self.node}: "
        over = "over: " if self.state == "cleared" else ""
        return plain(f"{self.run_id}: {over}{where}{self.text}", 1000)


class Hooks:
    """The command and the webhook of a profile."""

    def __init__(self, keys: AlertKeys, log: Callable[[str], None]) -> None:
        """`log`: writes a sentence to the log."""
        self._keys = keys
        self._log = log
        self._waiting: asyncio.Queue[Notice] = asyncio.Queue(WAITING)
        self._task: asyncio.Task[None] | None = None
        self._left_out = 0
        self._broken: set[str] = set()

    @property
    def any(self) -> bool:
        """True where the profile has a hook."""
        return bool(self._keys.command or self._keys.webhook)

    def send(self, notice: Notice) -> None:
        """Queues a notice for the hooks."""
        if not self.any:
            return
        try:
            self._waiting.put_nowait(notice)
        except asyncio.QueueFull:
            self._left_out += 1
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def finish(self, timeout_s: float) -> None:
        """Waits for hooks that are still running, and ends them when the time is up."""
        if self._task is not None and not self._task.done():
            _, late = await asyncio.wait([self._task], timeout=timeout_s)
            if late:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while not self._waiting.empty():
            notice = self._waiting.get_nowait()
            await asyncio.gather(
                self._try("alerts.command", self._command(notice) if self._keys.command else None),
                self._try("alerts.webhook", self._post(notice) if self._keys.webhook else None),
            )
        if self._left_out:
            self._log(f"{self._left_out} more alerts were not passed on: they came faster than the hooks take them")
            self._left_out = 0

    async def _try(self, name: str, hook: Any) -> None:
        if hook is None:
            return
        try:
            await hook
        except (OSError, ValueError, TimeoutError) as error:
            if name not in self._broken:
                self._broken.add(name)
                self._log(f"{name} failed: {plain(_reason(error), 300)}; the next alert tries again")
        else:
            if name in self._broken:
                self._broken.discard(name)
                self._log(f"{name} works again")

    async def _command(self, notice: Notice) -> None:
        values = {**asdict(notice), "text": notice.sentence}
        texts = {name: "" if value is None else plain(str(value), 1000) for name, value in values.items()}
        texts["run"] = texts["run_id"]
        words = [_filled(word, texts) for word in self._keys.command]
        environment = {f"FASTCONSOLE_ALERT_{name.upper()}": value for name, value in texts.items()}
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
            # Ctrl-C on the console must not reach it.
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(COMMAND_S):
                _, stderr = await process.communicate(_json(notice))
        except TimeoutError:
            raise TimeoutError(f"{words[0]} did not end within {COMMAND_S:.0f} s and was killed") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            last = stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise OSError(f"{words[0]} ended with exit status {process.returncode}: {' '.join(last)}")

    async def _post(self, notice: Notice) -> None:
        assert self._keys.webhook is not None
        await asyncio.to_thread(post, self._keys.webhook, _json(notice))


def post(address: str, body: bytes) -> None:
    """Sends JSON to a webhook.

    Raises:
        OSError, ValueError: it was not accepted. The message shows only the address's host: the rest may be secret.
    """
    host = urlsplit(address).hostname
    request = urllib.request.Request(address, body, {"Content-Type": "application/json", "User-Agent": "fastconsole"})
    # No redirects: the operator did not name the address to which one leads.
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=WEBHOOK_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{host} answered {error.code} {plain(str(error.reason), 80)}") from None
    except urllib.error.URLError as error:
        raise OSError(f"{host}: {error.reason}") from None
    except TimeoutError:
        raise OSError(f"{host} did not answer within {WEBHOOK_S:.0f} s") from None
    except Exception as error:  # http.client's own errors quote the answer, or an address that it rejects.
        raise OSError(f"{host}: {type(error).__name__}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: a redirect is an error."""


def _filled(word: str, texts: dict[str, str]) -> str:
    for name in ("text", "kind", "severity", "node", "state", "run"):
        if f"{{{name}}}" in word:
            word = word.replace(f"{{{name}}}", texts[name])
    return word


def _json(notice: Notice) -> bytes:
    return json.dumps({**asdict(notice), "text": notice.sentence}, ensure_ascii=False).encode("utf-8", "replace")


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no program {error.filename}"
    return str(error) or type(error).__name__
