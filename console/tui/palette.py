"""Ctrl-P: every action by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from console.tui.bindings import bound

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp


class Actions(Provider):
    """The keys of the screen that is open and of all its panes, as sentences."""

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
        app = cast("ConsoleApp", self.app)
        for one in bound(self.screen, app.keymap):
            key = app.get_key_display(one.binding)
            yield (
                one.binding.tooltip or one.binding.description,
                f"key {key}",
                partial(app.run_action, one.binding.action, one.node),
            )
