"""Ctrl-P: every action by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from console.tui.base import AppBase
from console.tui.bindings import bound


class Actions(Provider):
    """The actions of the open screen and of all its panes, by their tooltips."""

    async def discover(self) -> Hits:
        """All of them."""
        for name, help_text, callback in self._actions():
            yield DiscoveryHit(name, callback, help=help_text)

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for name, help_text, callback in self._actions():
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, matcher.highlight(name), callback, help=help_text)

    def _actions(self) -> Iterator[tuple[str, str, IgnoreReturnCallbackType]]:
        app = cast("AppBase[int]", self.app)
        for key in bound(self.screen, app.keymap):
            name = app.get_key_display(key.binding)
            yield (
                key.binding.tooltip or key.binding.description,
                f"key {name}",
                partial(app.run_action, key.binding.action, key.node),
            )
