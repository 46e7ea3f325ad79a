"""The key bindings of a screen, gathered from its widgets for help, palette and key bar.

There is no list to maintain: a binding with an id that any class declares is in all of them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from textual import actions
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

import console.tui


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding and the widget, screen or app whose action it runs."""

    binding: Binding
    """With the key that the keymap gives it."""
    node: DOMNode
    focused: bool
    """The node has the focus."""


def declared(owner: type) -> Iterator[Binding]:
    """The bindings with an id that the class and its bases declare."""
    for base in owner.__mro__:
        for binding in vars(base).get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id:
                yield binding


@cache
def every() -> tuple[Binding, ...]:
    """All bindings with an id that any class in `console.tui` declares, each once; imports every module there."""
    found: dict[str, Binding] = {}
    for module in pkgutil.walk_packages(console.tui.__path__, "console.tui."):
        for owner in list(vars(importlib.import_module(module.name)).values()):
            if isinstance(owner, type) and owner.__module__ == module.name:
                for binding in declared(owner):
                    found.setdefault(str(binding.id), binding)
    return tuple(found.values())


def mapped(binding: Binding, keymap: Mapping[str, str]) -> Binding:
    """The binding with the keymap's key or else its own; the first where there are several."""
    keys = keymap.get(binding.id or "")
    if keys is None:
        return binding.with_key(binding.key.split(",")[0].strip(), binding.key_display)
    return binding.with_key(keys.split(",")[0].strip(), None)


def bound(screen: Screen[object], keymap: Mapping[str, str]) -> Iterator[Bound]:
    """Each enabled binding of this screen once: the focused widget's first, the app's last."""
    focused = screen.focused
    seen: set[str] = set()
    for node in _nodes(screen):
        for binding in declared(type(node)):
            assert binding.id is not None
            if binding.id not in seen and _enabled(node, binding):
                seen.add(binding.id)
                yield Bound(mapped(binding, keymap), node, node is focused)


def _nodes(screen: Screen[object]) -> Iterable[DOMNode]:
    if screen.focused is not None:
        yield screen.focused
    yield screen
    yield from screen.walk_children()
    if not screen.is_modal:
        yield screen.app


def _enabled(node: DOMNode, binding: Binding) -> bool:
    space, name, parameters = actions.parse(binding.action)
    owner = {"app": node.app, "screen": node.screen}.get(space, node)
    return owner.check_action(name, parameters) is not False
