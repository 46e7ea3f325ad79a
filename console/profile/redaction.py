"""What of a profile is kept in a journal: everything except values that may be secrets. Pure."""

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
"""A string of TOML on one line, in either kind of quotes."""


def safe_env(name: str) -> bool:
    """True if a journal may keep the value of an environment variable of this name."""
    return bool(_SAFE_ENV.match(name)) and not _SECRET_ENV.search(name)


def redacted(text: str) -> str:
    """The text without the values that may be secrets: those of `run.env` whose names are not known as safe, and the
    webhook's address; in comments too.

    A replacement is kept only if the text still says the same otherwise.

    Raises:
        Mistake: a value cannot be replaced as it is written.
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
    for path in secrets:
        _put(expected, path, REDACTED)
    for *_, name in secrets:
        written = re.compile(rf"(?<![\w-])([\"']?{re.escape(name)}[\"']?\s*=\s*){_TOML_TEXT}")
        for match in reversed(list(written.finditer(text))):
            shorter = f'{text[: match.start()]}{match[1]}"{REDACTED}"{text[match.end() :]}'
            text = shorter if _says(shorter, expected, secrets) else text
    for value in secrets.values():
        shorter = text.replace(value, REDACTED) if value and isinstance(value, str) else text
        text = shorter if _says(shorter, expected, secrets) else text
    if tomllib.loads(text) != expected:
        names = ", ".join(".".join(path) for path in secrets)
        raise values.Mistake(
            f'{names} cannot be kept out of the journal as written; write NAME = "value" on one line each'
        )
    return text


def _put(table: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        table = table[part]
    table[path[-1]] = value


def _says(text: str, expected: Mapping[str, Any], secrets: Mapping[tuple[str, ...], Any]) -> bool:
    """True if the text says what is expected, apart from secrets that are not replaced yet."""
    try:
        table = tomllib.loads(text)
    except ValueError:
        return False
    for path, value in secrets.items():
        held: Any = table
        for part in path:
            held = held.get(part) if isinstance(held, dict) else None
        if held == value:
            _put(table, path, REDACTED)
    return table == expected


def shown_override(override: str) -> str:
    """The override without its secret, as it may be shown and kept in a journal."""
    key = override.partition("=")[0].strip()
    if key == "alerts.webhook":
        return f'{key}="{REDACTED}"'
    name = key.removeprefix("run.env.")
    return override if name == key or safe_env(name) else f'{key}="{REDACTED}"'
