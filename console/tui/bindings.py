"""The keys that a screen has now, gathered from its widgets: what the help, the palette and the key bar show.

No list is kept by hand: a pane that declares a binding with an id is in all of them.
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
    """A key and the widget, screen or app whose action it runs."""

    binding: Binding
    """With the keys that it is mapped to."""
    node: DOMNode
    focused: bool
    """The node is the widget with the focus."""


def declared(owner: type) -> Iterator[Binding]:
    """The bindings with an id that the class and its bases declare."""
    for base in owner.__mro__:
        for binding in vars(base).get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id:
                yield binding


@cache
def every() -> tuple[Binding, ...]:
    """All bindings with an id that any class of the screens declares, each once; imports all of them."""
    found: dict[str, Binding] = {}
    for module in pkgutil.walk_packages(console.tui.__path__, "console.tui."):
        for owner in list(vars(importlib.import_module(module.name)).values()):
            if isinstance(owner, type) and owner.__module__ == module.name:
                for binding in declared(owner):
                    found.setdefault(str(binding.id), binding)
    return tuple(found.values())


def mapped(binding: Binding, keymap: Mapping[str, str]) -> Binding:
    """The binding with its own key, or with the one that the keymap gives it; the first where there are several."""
    keys = keymap.get(binding.id or "")
    if keys is None:
        return binding.with_key(binding.key.split(",")[0].strip(), binding.key_display)
    return binding.with_key(keys.split(",")[0].strip(), None)


def bound(screen: Screen[object], keymap: Mapping[str, str]) -> Iterator[Bound]:
    """Each key that does something on this screen once: the focused widget's first, the app's last."""
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
