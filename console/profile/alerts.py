"""`[alerts]` of a profile: the thresholds of the alerts that the console raises itself, and where alerts go. Pure."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from urllib.parse import urlsplit

from console.profile.values import known, shown
from console.state.run import SEVERITIES, WARNING

FACTS: Final = (
    *("host", "rank", "gang", "command", "lease", "spot", "checkpoint", "budget", "gpu", "launch", "left over", "end"),
)
"""Kinds of alerts that are events in the journal and have no thresholds; ``end`` is the end of the run."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The thresholds of a kind of alert, with hysteresis: between the two an alert stays as it is."""

    enter: float
    """The alert is raised at this value."""
    leave: float
    """The alert is cleared at this value."""
    hold_s: float
    """How long the value has to be past `enter` before the alert is raised, in seconds."""
    unit: str
    """Unit of `enter` and `leave`."""

    @property
    def low(self) -> bool:
        """True if small values raise the alert."""
        return self.enter < self.leave


LIMITS: Final[Mapping[str, Limit]] = {
    "stale": Limit(15, 5, 5, "seconds of silence"),
    "stall": Limit(90, 5, 15, "seconds without a step"),
    "idle": Limit(10, 25, 30, "per cent of utilisation"),
    "throttle": Limit(1, 0.5, 20, "GPUs with lowered clocks"),
    "memory": Limit(1, 0.5, 0, "GPUs with faulty memory"),
    "straggler": Limit(2, 1.6, 45, "times the median rank's seconds"),
    "loss": Limit(1.5, 1.2, 10, "times the lowest loss so far"),
    "behind": Limit(5, 2, 0, "points of accuracy behind the record"),
    "disk": Limit(2048, 3072, 5, "MiB free"),
    "clock": Limit(2, 1, 20, "seconds of difference"),
}
"""The kinds that the console looks for itself, with their default thresholds. A healthy run of the local profile on two
loaded cores raises none of them (tests/test_health_alerts.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertKeys:
    """A checked `[alerts]` section."""

    command: tuple[str, ...] = ()
    """Command to run for each alert, as a list of words, without a shell. ``{text}``, ``{kind}``, ``{severity}``,
    ``{node}``, ``{state}`` and ``{run}`` are filled in; the alert is also on stdin, as JSON."""
    webhook: str | None = None
    """Address that gets each alert as JSON by POST. Redacted in the journal: it may be a secret."""
    bell: bool = True
    """Ring the terminal bell."""
    least: str = WARNING
    """Lowest severity that `command` and `webhook` get: ``info``, ``warning`` or ``critical``."""
    mute: tuple[str, ...] = ()
    """Kinds of alerts to silence: no bell, no `command`, no `webhook`."""
    limits: Mapping[str, Limit] = field(default_factory=lambda: dict(LIMITS))
    """Not a key: the thresholds of each kind, which is a table of its own, for example
    ``[alerts.idle]`` with ``enter``, ``leave`` and ``hold_s``."""
    withheld: bool = False
    """Not a key: true where the webhook was read from a journal, which has only ``(redacted)``."""


def parse(table: Mapping[str, Any], redacted: str) -> AlertKeys:
    """The checked section. `redacted` is what a journal has in place of a webhook.

    Raises:
        ValueError: one sentence with the key, the value and what is accepted.
    """
    names = [key.name for key in fields(AlertKeys) if key.name not in ("limits", "withheld")]
    known(table, [*names, *LIMITS], "alerts")
    keys = AlertKeys(
        command=_command(table.get("command", [])),
        bell=_of(table.get("bell", True), bool, "alerts.bell", "true or false"),
        least=_one_of(table.get("least", WARNING), SEVERITIES, "alerts.least"),
        mute=_mute(table.get("mute", [])),
        limits={kind: _limit(table.get(kind, {}), kind) for kind in LIMITS},
    )
    if table.get("webhook") == redacted:
        return replace(keys, withheld=True)
    return replace(keys, webhook=_webhook(table["webhook"])) if "webhook" in table else keys


def _command(value: object) -> tuple[str, ...]:
    accepted = 'a list of words, for example ["notify-send", "fastconsole", "{text}"]'
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"alerts.command is {shown(value)} ({error}); accepted is {accepted}") from None
    elif isinstance(value, list) and all(type(word) is str for word in value):
        words = value
    else:
        raise ValueError(f"alerts.command is {shown(value)}; accepted is {accepted}")
    if any("\0" in word for word in words) or (words and not words[0].strip()):
        raise ValueError(f"alerts.command is {shown(value)}; accepted is {accepted}")
    return tuple(words)


def _webhook(value: object) -> str:
    # The value is not shown: it may be a secret.
    accepted = "accepted is an address that begins with https:// (or http:// for a server on this machine)"
    if not isinstance(value, str):
        raise ValueError(f"alerts.webhook is not a text; {accepted}")
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise ValueError(f"alerts.webhook is not an address; {accepted}") from None
    local = host in ("localhost", "127.0.0.1", "::1")
    if not host or parts.scheme not in ("https", "http") or any(ord(character) <= 32 for character in value):
        raise ValueError(f"alerts.webhook is not a web address; {accepted}")
    if parts.scheme == "http" and not local:
        raise ValueError(f"alerts.webhook would send alerts unencrypted; {accepted}")
    return value


def _mute(value: object) -> tuple[str, ...]:
    if not (isinstance(value, list) and all(type(kind) is str for kind in value)):
        raise ValueError(f'alerts.mute is {shown(value)}; accepted is a list of kinds, for example ["straggler"]')
    return tuple(_one_of(kind, [*LIMITS, *FACTS], "alerts.mute") for kind in value)


def _limit(value: object, kind: str) -> Limit:
    limit, name = LIMITS[kind], f"alerts.{kind}"
    if not isinstance(value, dict):
        accepted = f"{{ enter = {limit.enter:g}, leave = {limit.leave:g}, hold_s = {limit.hold_s:g} }}"
        raise ValueError(f"{name} is {shown(value)}; accepted is {accepted}")
    known(value, ("enter", "leave", "hold_s"), name)
    for key, figure in value.items():
        if type(figure) not in (int, float) or not 0 <= figure < 1e9:
            unit = "seconds" if key == "hold_s" else limit.unit
            raise ValueError(f"{name}.{key} is {shown(figure)}; accepted are {unit}, 0 or more")
    figures = {"enter": limit.enter, "leave": limit.leave, "hold_s": limit.hold_s, **value}
    changed = Limit(float(figures["enter"]), float(figures["leave"]), float(figures["hold_s"]), limit.unit)
    if changed.low != limit.low or changed.enter == changed.leave:
        order = "below" if limit.low else "above"
        raise ValueError(
            f"{name}: enter is {changed.enter:g} and leave {changed.leave:g} {limit.unit}; "
            f"enter has to be {order} leave"
        )
    return changed


def _of(value: object, kind: type, name: str, accepted: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{name} is {shown(value)}; accepted is {accepted}")
    return value


def _one_of(value: object, words: Sequence[str], name: str) -> str:
    if type(value) is str and value in words:
        return value
    near = difflib.get_close_matches(str(value), words, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise ValueError(f"{name} is {shown(value)}{hint}; accepted are {', '.join(words)}")
