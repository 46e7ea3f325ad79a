"""Ctrl-P: every action by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType


class Actions(Provider):
    """The keys of the screen that is open, as sentences."""

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
        seen: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not active.enabled or not binding.id or binding.id in seen:
                continue
            seen.add(binding.id)
            key = self.app.get_key_display(binding)
            yield (
                binding.tooltip or binding.description,
                f"key {key}",
                partial(self.app.run_action, binding.action, active.node),
            )
