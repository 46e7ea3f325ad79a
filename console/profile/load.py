"""Finding and reading a profile: a built-in name or a path, and ``--set`` overrides laid over the file."""

from __future__ import annotations

import difflib
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console.profile import redaction, values
from console.profile.check import checked
from console.profile.schema import Profile, ProfileError


def builtin_folder() -> Path:
    """The folder of the built-in profiles: beside the package in a checkout, inside it when installed."""
    console = Path(__file__).parent.parent
    inside = console / "builtin_profiles"
    return inside if inside.is_dir() else console.parent / "profiles"


def builtin_names() -> list[str]:
    """The built-in profiles' names, sorted."""
    return sorted(path.stem for path in builtin_folder().glob("*.toml"))


def find(name: str) -> Path:
    """The file of a built-in profile's name or of a path.

    Raises:
        ProfileError: there is neither.
    """
    builtin = {path.stem: path for path in builtin_folder().glob("*.toml")}
    if name in builtin:
        return builtin[name]
    if not name.endswith(".toml") and "/" not in name:
        near = difflib.get_close_matches(name, builtin, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ProfileError(
            f"profile {name}: no built-in profile has this name{hint}; there are {', '.join(sorted(builtin))}, "
            "and a profile of your own is a path that ends in .toml"
        )
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: ~user without such a user. ValueError: a null character.
        raise ProfileError(f"profile {name}: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(mode):
        raise ProfileError(f"profile {name}: {'is a folder' if stat.S_ISDIR(mode) else 'is not a regular file'}")
    return path


def load(name: str, overrides: Sequence[str] = ()) -> Profile:
    """The profile of a built-in name or a path, with `overrides` (``section.key=value`` in TOML) laid over it.

    Raises:
        ProfileError: it cannot be read or used; one sentence.
    """
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(f"profile {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"profile {path}: is not a text file (byte {error.start} is not UTF-8)") from None
    return parse(text, path=path, overrides=overrides)


def parse(text: str, *, path: Path, overrides: Sequence[str] = ()) -> Profile:
    """The profile in a TOML text. Raises ProfileError."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # tomllib lets two of Python's own through: a number of thousands of digits, and brackets without end.
        raise ProfileError(f"profile {path}: is not TOML: {error}") from None
    for override in overrides:
        _override(table, override)
    try:
        return checked(table, path, text, tuple(overrides))
    except values.Mistake as wrong:
        raise ProfileError(f"profile {path}: {wrong}") from None


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    key = key.strip()
    parts = key.split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise ProfileError(
            f"--set {redaction.shown_override(override)}: write SECTION.KEY=VALUE, for example --set run.seed=7"
        )
    if key == "run.env":
        raise ProfileError("--set run.env: set each variable by itself, --set run.env.NAME=VALUE")
    parsed = _toml_value(value)
    if parts[:2] == ["run", "env"] and not isinstance(parsed, str):
        # Environment variables are texts, also where they look like numbers: OMP_NUM_THREADS=2.
        parsed = value.strip()
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            why = " (phases are changed in the profile's file)" if part == "phase" else ""
            raise ProfileError(f"--set {redaction.shown_override(override)}: {part} holds no keys{why}")
    table[parts[-1]] = parsed


def _toml_value(text: str) -> Any:
    """The value that the text is in TOML, or the text itself, so that a path needs no quotes on the command line."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return table["value"] if len(table) == 1 else text.strip()
