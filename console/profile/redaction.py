"""What of a profile may stand in a journal: all but values that may be secrets. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from console.profile import values

REDACTED = "(redacted)"
_SAFE_ENV = re.compile(r"^(OMP|MKL|NCCL|GLOO|TORCH|PYTORCH|CUDA|FI|FASTCONSOLE)_[A-Z0-9_]+$")
_SECRET_ENV = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_TOML_TEXT = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
"""A text in TOML on one line, in either kind of quotes."""


def safe_env(name: str) -> bool:
    """True if an environment variable of this name may stand in a journal with its value."""
    return bool(_SAFE_ENV.match(name)) and not _SECRET_ENV.search(name)


def redacted(text: str) -> str:
    """The text with each value replaced that may be a secret, in comments too: those of `run.env` that are not named as
    safe, and the webhook's address.

    A replacement stands only if it changes nothing else of what the text says.
    """
    expected = tomllib.loads(text)
    secrets: dict[tuple[str, ...], Any] = {
        ("run", "env", name): value
        for name, value in expected.get("run", {}).get("env", {}).items()
        if not safe_env(name) and value != REDACTED
    }
    webhook = expected.get("alerts", {}).get("webhook", REDACTED)
    if webhook != REDACTED:
        secrets["alerts", "webhook"] = webhook
    if not secrets:
        return text
    for place in secrets:
        _put(expected, place, REDACTED)
    for *_, name in secrets:
        written = re.compile(rf"(?<![\w-])([\"']?{re.escape(name)}[\"']?\s*=\s*){_TOML_TEXT}")
        for match in reversed(list(written.finditer(text))):
            shorter = f'{text[: match.start()]}{match[1]}"{REDACTED}"{text[match.end() :]}'
            text = shorter if _says(shorter, expected, secrets) else text
    for value in secrets.values():
        shorter = text.replace(value, REDACTED) if value and isinstance(value, str) else text
        text = shorter if _says(shorter, expected, secrets) else text
    if tomllib.loads(text) != expected:
        names = ", ".join(".".join(place) for place in secrets)
        raise values.Mistake(
            f'{names} cannot be kept out of the journal as written; write NAME = "value" on one line each'
        )
    return text


def _put(table: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    for part in place[:-1]:
        table = table[part]
    table[place[-1]] = value


def _says(text: str, expected: Mapping[str, Any], secrets: Mapping[tuple[str, ...], Any]) -> bool:
    """True if the text says what is expected, but for secrets that are still in their places."""
    try:
        table = tomllib.loads(text)
    except ValueError:
        return False
    for place, value in secrets.items():
        held: Any = table
        for part in place:
            held = held.get(part) if isinstance(held, dict) else None
        if held == value:
            _put(table, place, REDACTED)
    return table == expected


def shown_override(override: str) -> str:
    """The override as it may be shown and kept."""
    key = override.partition("=")[0].strip()
    if key == "alerts.webhook":
        return f'{key}="{REDACTED}"'
    name = key.removeprefix("run.env.")
    return override if name == key or safe_env(name) else f'{key}="{REDACTED}"'
