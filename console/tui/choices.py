"""TODO docstring: console/tui/choices.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

START: Final = "start"


ATTACH: Final = "attach"


REPLAY: Final = "replay"


RESUME: Final = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A line of the start screen."""

    name: str
    """A profile's name or path, or a run's id."""
    verb: str
    """What Enter does: one of the constants above; empty where nothing can be done."""
    other: tuple[str, ...] = ()
    """What else can be done with it."""
    state: str
    """In a word."""
    what: str
    """The rest of the line."""
    costs: str = ""
    """A sentence where it costs money; then one is asked first."""
    path: str = ""
    """Of a run, its journal."""
