"""EC2's notices that a spot instance will be interrupted, read on the instance from its metadata service (IMDSv2).

A notice comes two minutes before the end at best; AWS recommends a look every five seconds. A thread does that, so that
a service which does not answer does not delay the agent.

Standard library only.
"""

from __future__ import annotations

import calendar
import json
import queue
import threading
import time
import urllib.parse
from collections.abc import Callable

from remote.wire.codec import Event
from remote.wire.events import RebalanceRecommended, SpotNoticed

METADATA_URL = "FASTCONSOLE_METADATA_URL"
"""Environment variable on a host: URL of its metadata service, which replaces the job's."""

_LOOK_S = 5.0
_TIMEOUT_S = 1.0
_TOKEN_TTL_S = 21_600
"""Six hours, the longest that the service allows."""
_NOTICE_S = 120.0
"""Assumed until the end where a notice has no time."""


def spot_notice(text: str, now: float) -> SpotNoticed | None:
    """The notice in the body of ``spot/instance-action``; None where it holds none."""
    fields = _object(text)
    action = fields.get("action")
    if not isinstance(action, str):
        return None
    return SpotNoticed(action=action[:20], deadline_t=_epoch(fields.get("time"), now + _NOTICE_S))


def rebalance(text: str, now: float) -> RebalanceRecommended | None:
    """The recommendation in the body of ``events/recommendations/rebalance``; None where it holds none."""
    fields = _object(text)
    return RebalanceRecommended(notice_t=_epoch(fields["noticeTime"], now)) if "noticeTime" in fields else None


def _object(text: str) -> dict[str, object]:
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _epoch(text: object, otherwise: float) -> float:
    try:
        return float(calendar.timegm(time.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return otherwise


_PARSERS: dict[str, Callable[[str, float], Event | None]] = {
    "/latest/meta-data/spot/instance-action": spot_notice,
    "/latest/meta-data/events/recommendations/rebalance": rebalance,
}


class Notices:
    """A thread that looks for notices, until the process ends."""

    def __init__(self, url: str) -> None:
        """`url` of the metadata service, without a path; empty where there is none."""
        self._found: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._url = urllib.parse.urlsplit(url)
        self._token = ""
        self._token_until = 0.0
        if url:
            threading.Thread(target=self._poll, name="notices", daemon=True).start()

    def take(self) -> list[Event]:
        """The notices since the last call; each comes once."""
        notices = []
        while True:
            try:
                notices.append(self._found.get_nowait())
            except queue.Empty:
                return notices

    def _poll(self) -> None:
        last = dict.fromkeys(_PARSERS, "")
        while True:
            for path, parse in _PARSERS.items():
                text = self._get(path)
                if text is None:
                    # The service does not answer: the other path can wait.
                    break
                event = parse(text, time.time()) if text != last[path] else None
                if event is not None:
                    last[path] = text
                    self._found.put(event)
            time.sleep(_LOOK_S)

    def _get(self, path: str) -> str | None:
        """The text at the path, empty where there is no such path; None where the service does not answer."""
        for _ in range(2):
            if time.monotonic() >= self._token_until:
                status, token = self._ask("PUT", "/latest/api/token", "ttl-seconds", str(_TOKEN_TTL_S))
                if status != 200:
                    return None
                self._token, self._token_until = token, time.monotonic() + _TOKEN_TTL_S / 2
            status, text = self._ask("GET", path, "", self._token)
            if status == 401:
                # The token is no longer valid; a new one is asked for once.
                self._token_until = 0.0
                continue
            if status is None:
                return None
            return text if status == 200 else ""
        return None

    def _ask(self, method: str, path: str, header: str, value: str) -> tuple[int | None, str]:
        # Imported here: it takes 8 MB of memory, which only a host with a metadata service needs.
        import http.client

        name = "X-aws-ec2-metadata-token" + (f"-{header}" if header else "")
        # Without a proxy: the address is link-local.
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, headers={name: value})
            answer = connection.getresponse()
            return answer.status, answer.read(4096).decode("utf-8", "replace").strip()
        except (OSError, http.client.HTTPException, ValueError):
            return None, ""
        finally:
            connection.close()
