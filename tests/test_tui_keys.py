"""Every key of the screen, from the bindings themselves: one without a press in `presses_*.py` fails."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from canned_source import CannedPlayer, CannedSource, scene
from desk import PRESSED, desk, rare_collections
from textual.binding import Binding

import console.tui
from console.tui import keys

__all__ = ["rare_collections"]

for _presses in sorted(Path(__file__).parent.glob("presses_*.py")):
    importlib.import_module(_presses.stem)


def declared() -> list[Binding]:
    """The bindings that any class of the screen declares, each once: two screens share the clock's."""
    found: list[Binding] = []
    for module in pkgutil.walk_packages(console.tui.__path__, "console.tui."):
        for owner in vars(importlib.import_module(module.name)).values():
            if isinstance(owner, type) and owner.__module__ == module.name and "BINDINGS" in vars(owner):
                for binding in owner.BINDINGS:  # type: ignore[attr-defined]
                    if isinstance(binding, Binding) and not any(binding is one for one in found):
                        found.append(binding)
    return found


def test_every_key_has_an_id_a_tooltip_and_a_test() -> None:
    bindings = declared()
    assert all(binding.id and binding.tooltip for binding in bindings)
    ids = [binding.id for binding in bindings]
    assert len(set(ids)) == len(ids)
    assert set(ids) == set(PRESSED)
    assert {binding.id.partition(".")[0] for binding in bindings if binding.id} - {
        "help",
        "dialog",
        "line",
        "prompt",
    } == set(keys.CONTEXTS)


@pytest.mark.parametrize("name", sorted(str(binding.id) for binding in declared()))
async def test_key(name: str) -> None:
    console, press = PRESSED[name]
    source = CannedPlayer(scene("finished")) if console == "log" else CannedSource(scene("training"))
    async with desk(source) as one:
        await press(one)


async def test_a_key_can_be_remapped_and_the_help_says_so() -> None:
    async with desk() as one:
        one.app.set_keymap({"run.checkpoint": "ctrl+k"})
        await one.press("c")
        assert one.source.sent == []
        await one.press("ctrl+k")
        assert one.source.sent == ["checkpoint"]
        await one.press("?")
        assert "^k  Save a checkpoint now" in one.text()
