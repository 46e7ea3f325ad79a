"""What EC2 tells a spot instance of its end, read on the instance itself from its metadata service (IMDSv2).

The notice comes about two minutes before the end, at best; AWS says to look every five seconds. A thread of its own
looks, so that a service that does not answer costs the agent nothing.

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
"""Environment of a host: where its metadata service is, instead of the address that the job names."""

_LOOK_S = 5.0
_TIMEOUT_S = 1.0
_TOKEN_TTL_S = 21_600
"""Six hours, the longest that the service gives."""
_NOTICE_S = 120.0
"""EC2's notice, where it does not say when."""


def spot_notice(text: str, now: float) -> SpotNoticed | None:
    """The notice in the body of ``spot/instance-action``; None where it holds none."""
    said = _object(text)
    action = said.get("action")
    if not isinstance(action, str):
        return None
    return SpotNoticed(action=action[:20], deadline_t=_epoch(said.get("time"), now + _NOTICE_S))


def rebalance(text: str, now: float) -> RebalanceRecommended | None:
    """The recommendation in the body of ``events/recommendations/rebalance``; None where it holds none."""
    said = _object(text)
    return RebalanceRecommended(notice_t=_epoch(said["noticeTime"], now)) if "noticeTime" in said else None


def _object(text: str) -> dict[str, object]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


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
    """Looks for notices from now on, in a thread that ends with the process."""

    def __init__(self, url: str) -> None:
        """`url` of the metadata service, without a path; empty: there is none, and nothing is ever noticed."""
        self._news: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._url = urllib.parse.urlsplit(url)
        self._token = ""
        self._token_until = 0.0
        if url:
            threading.Thread(target=self._look_for_ever, name="notices", daemon=True).start()

    def take(self) -> list[Event]:
        """What was noticed since the last call; each notice comes once."""
        news = []
        while True:
            try:
                news.append(self._news.get_nowait())
            except queue.Empty:
                return news

    def _look_for_ever(self) -> None:
        told = dict.fromkeys(_PARSERS, "")
        while True:
            for path, parse in _PARSERS.items():
                text = self._get(path)
                if text is None:
                    # It does not answer: nothing else is asked this time.
                    break
                event = parse(text, time.time()) if text != told[path] else None
                if event is not None:
                    told[path] = text
                    self._news.put(event)
            time.sleep(_LOOK_S)

    def _get(self, path: str) -> str | None:
        """The text at the path, empty where there is none; None where the service does not answer."""
        for _ in range(2):
            if time.monotonic() >= self._token_until:
                status, token = self._ask("PUT", "/latest/api/token", "ttl-seconds", str(_TOKEN_TTL_S))
                if status != 200:
                    return None
                self._token, self._token_until = token, time.monotonic() + _TOKEN_TTL_S / 2
            status, text = self._ask("GET", path, "", self._token)
            if status == 401:
                # The service forgot the token; a new one is asked for once.
                self._token_until = 0.0
                continue
            if status is None:
                return None
            return text if status == 200 else ""
        return None

    def _ask(self, method: str, path: str, header: str, value: str) -> tuple[int | None, str]:
        # Eight megabytes of memory, which only a host with a metadata service needs.
        import http.client

        name = "X-aws-ec2-metadata-token" + (f"-{header}" if header else "")
        # No proxy: the address is the host's own.
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, headers={name: value})
            answer = connection.getresponse()
            return answer.status, answer.read(4096).decode("utf-8", "replace").strip()
        except (OSError, http.client.HTTPException, ValueError):
            return None, ""
        finally:
            connection.close()
