"""The operator's own keys, checked against the existing bindings before any is used."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from console.config import Config, ConfigError
from console.tui.bindings import every
from console.tui.keys import context

_BASE = ("run", "play", "pane", "app")
"""Contexts that are active together, whatever has the focus. A pane's context is active together with them."""
_APART = ("dialog", "prompt", "help", "node", "start")
"""Contexts of screens above the run's screen, and of the start screen."""
_MODIFIERS = ("ctrl", "alt", "shift", "super", "meta", "hyper")
_NAMES = {key.value for key in Keys}


def table() -> Iterator[tuple[str, str, str]]:
    """Each binding's id, its key or keys, and its description, sorted by id."""
    for binding in sorted(every(), key=lambda binding: str(binding.id)):
        yield str(binding.id), binding.key, binding.tooltip or binding.description


def check(config: Config) -> dict[str, str]:
    """The keymap of the configuration, with every key by its full name.

    Raises:
        ConfigError: an unknown id, an unknown key, or a key that two bindings would share.
    """
    known = {str(binding.id): binding for binding in every()}
    keymap: dict[str, str] = {}
    for name, keys in config.keys.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(
                f"{config.path}: keys.{name}: unknown id{hint}; accepted: those that fastconsole keys lists"
            )
        keymap[name] = ",".join(_full(config, name, key) for key in keys.split(","))
    for name, keys in keymap.items():
        for other, binding in known.items():
            if other == name or not _at_once(known[name], binding):
                continue
            both = set(keys.split(",")) & set(_split(keymap.get(other, binding.key)))
            # Bindings that share a key by default do so on purpose: only one of the two is enabled at a time.
            if both and not both <= set(_split(known[name].key)) & set(_split(binding.key)):
                raise ConfigError(
                    f"{config.path}: keys.{name}: {sorted(both)[0]} is also the key of {other} "
                    f"({binding.tooltip or binding.description}); accepted: a free key, or another key for {other}"
                )
    return keymap


def _full(config: Config, name: str, key: str) -> str:
    *modifiers, last = key.split("+") if len(key) > 1 and not key.endswith("+") else [key]
    full = last
    if len(last) == 1 and not last.isalnum():
        full = unicodedata.name(last, last).lower().replace("-", "_").replace(" ", "_")
        full = KEY_NAME_REPLACEMENTS.get(full, full)
    fine = (len(last) == 1 and last.isprintable()) or last in _NAMES or _names_character(last)
    if not fine or not all(modifier in _MODIFIERS for modifier in modifiers):
        raise ConfigError(
            f"{config.path}: keys.{name} is {key!r}; accepted: a key such as p, P, ?, f5, ctrl+k or shift+left, "
            "or several with commas"
        )
    return "+".join([*modifiers, full])


def _names_character(name: str) -> bool:
    try:
        unicodedata.lookup({v: k for k, v in KEY_NAME_REPLACEMENTS.items()}.get(name, name).replace("_", " "))
    except KeyError:
        return name in KEY_NAME_REPLACEMENTS.values()
    return True


def _at_once(binding: Binding, other: Binding) -> bool:
    first, second = context(binding), context(other)
    if first == second:
        return True
    contexts = {first, second}
    if contexts & set(_APART):
        return contexts <= {"node", "app"}
    return bool(contexts & set(_BASE))


def _split(keys: str) -> Iterable[str]:
    return (key.strip() for key in keys.split(","))


def whole_keymap(keymap: Mapping[str, str]) -> dict[str, str]:
    """The keymap with the default keys of bindings that share a key with a remapped one.

    Textual removes a remapped binding's old keys from every binding: where pause moves away from space, a log's play
    would lose space too.
    """
    own = {str(binding.id): binding for binding in every()}
    whole = dict(keymap)
    left = {key for name in keymap if name in own for key in _split(own[name].key)}
    for name, binding in own.items():
        if name not in whole and left & set(_split(binding.key)):
            whole[name] = binding.key
    return whole
