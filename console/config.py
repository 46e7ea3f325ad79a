"""The screen's configuration, ``$XDG_CONFIG_HOME/fastconsole/config.toml``, and what the screen remembers.

The whole file is checked before any of it is used; a mistake is one `ConfigError` that names the file, the key and what
is accepted. What was changed on the screen itself (theme, sizes, hidden panes) is kept in
``$XDG_STATE_HOME/fastconsole/screen.toml``. That file is not meant to be edited: what is wrong in it is ignored.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from console.atomic_file import write_private
from console.paths import state_home

LAYOUTS: Final = ("auto", "columns", "one")
"""``auto`` depends on the size of the terminal, ``columns`` always shows all panes, ``one`` one pane at a time."""
ACCEPTED: Final = {
    "theme": "the name of a theme",
    "mouse": "true or false",
    "bell": "true or false",
    "layout": "auto, columns or one",
    "tick_s": "seconds from 0.1 to 10",
    "keys": 'a table of key ids and keys, such as run.pause = "f6"',
}
"""The keys of the file and what each accepts."""
EXAMPLE: Final = """\
theme = "fastconsole"     # see Ctrl-P, Theme; default: the theme that was chosen last
mouse = true              # false: the terminal keeps the mouse
bell = true
layout = "auto"           # columns: always all panes; one: one pane at a time
tick_s = 0.5              # seconds between repaints

[keys]                    # fastconsole keys lists the ids
run.pause = "f6"
pane.zoom = "f11,z"
"""


class ConfigError(ValueError):
    """A configuration that cannot be used, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration."""

    path: Path = Path()
    theme: str | None = None
    """None: the theme that was chosen last."""
    mouse: bool = True
    bell: bool = True
    layout: str = "auto"
    """One of `LAYOUTS`."""
    tick_s: float = 0.5
    """Seconds between repaints."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The keys of each binding id, separated by commas."""


def config_path() -> Path:
    """The path of the file, whether it exists or not."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "fastconsole" / "config.toml"


def load(path: Path | None = None) -> Config:
    """The configuration in the file; the defaults where there is no file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has a key or value that is not accepted. Whether a binding
            id or a theme exists is checked where these are known (`console.tui.bindings`, `console.tui.app`).
    """
    path = path or config_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config(path=path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key not in ACCEPTED:
            near = difflib.get_close_matches(key, ACCEPTED, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(f"{path}: there is no key {key}{hint}; accepted: {', '.join(ACCEPTED)}")
        found[key] = _CHECKS[key](path, key, value)
    return Config(path=path, **found)


def _wrong(path: Path, key: str, value: object, accepted: str) -> ConfigError:
    said = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)[:60]
    return ConfigError(f"{path}: {key} is {said}; accepted: {accepted}")


def _boolean(path: Path, key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, key, value, ACCEPTED[key])
    return value


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(path, key, value, ACCEPTED[key])
    return value


def _layout(path: Path, key: str, value: object) -> str:
    if value not in LAYOUTS:
        raise _wrong(path, key, value, ACCEPTED[key])
    return str(value)


def _tick(path: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.1 <= value <= 10:
        raise _wrong(path, key, value, ACCEPTED[key])
    return float(value)


def _keys(path: Path, key: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(path, key, value, ACCEPTED[key])
    found: dict[str, str] = {}
    # To TOML run.pause = "p" is a table in a table, and "run.pause" = "p" is not. Both are accepted.
    for name, inner in value.items():
        if isinstance(inner, dict):
            for rest, keys in _keys(path, f"{key}.{name}", inner).items():
                found[f"{name}.{rest}"] = keys
        elif isinstance(inner, str) and inner.strip():
            found[name] = ",".join(part.strip() or "," for part in inner.split(",")) if inner != "," else "comma"
        else:
            raise _wrong(path, f"{key}.{name}", inner, 'a key such as "p" or "ctrl+k", or several with commas')
    return found


_CHECKS: Final[dict[str, Callable[[Path, str, object], Any]]] = {
    "theme": _text,
    "mouse": _boolean,
    "bell": _boolean,
    "layout": _layout,
    "tick_s": _tick,
    "keys": _keys,
}


# --- what the screen remembers ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What was changed on the screen itself."""

    theme: str | None = None
    columns: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """For each layout (``two``, ``three``) the shares of its columns' widths."""
    heights: Mapping[str, float] = field(default_factory=dict)
    """For each pane that was resized its share of its column's height."""
    hidden: tuple[str, ...] = ()
    """Hidden panes."""
    zoomed: str | None = None
    """The pane that fills the screen."""


def remembered_path() -> Path:
    """The path of the file in which the screen remembers."""
    return state_home() / "screen.toml"


def recall() -> Remembered:
    """What the screen remembers; the defaults where that cannot be read."""
    try:
        values = tomllib.loads(remembered_path().read_text(encoding="utf-8"))
        columns = {
            str(name): tuple(float(share) for share in shares) for name, shares in values.get("columns", {}).items()
        }
        heights = {str(name): float(share) for name, share in values.get("heights", {}).items()}
        theme, zoomed = values.get("theme"), values.get("zoomed")
        return Remembered(
            theme=str(theme) if theme else None,
            columns={
                name: shares for name, shares in columns.items() if all(0.05 <= share <= 0.95 for share in shares)
            },
            heights={name: share for name, share in heights.items() if 0.05 <= share <= 0.95},
            hidden=tuple(str(name) for name in values.get("hidden", ())),
            zoomed=str(zoomed) if zoomed else None,
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return Remembered()


def remember(what: Remembered) -> None:
    """Replaces what the screen remembers, atomically. Raises OSError."""
    lines = ["# What was changed on the screen of fastconsole, which writes this file."]
    for name, value in (("theme", what.theme), ("zoomed", what.zoomed)):
        if value:
            lines.append(f"{name} = {_quoted(value)}")
    lines.append(f"hidden = [{', '.join(_quoted(name) for name in what.hidden)}]")
    lines.append("[columns]")
    for name, shares in what.columns.items():
        lines.append(f"{name} = [{', '.join(f'{share:.3f}' for share in shares)}]")
    lines.append("[heights]")
    lines += [f"{name} = {share:.3f}" for name, share in what.heights.items()]
    path = remembered_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, ("\n".join(lines) + "\n").encode())


def _quoted(text: str) -> str:
    return '"' + "".join(character for character in text if character.isprintable() and character not in '"\\') + '"'
