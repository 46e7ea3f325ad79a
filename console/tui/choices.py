"""What the start screen offers: one `Choice` a line. The command line makes them, `console.tui.start` shows them."""

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
    """Further verbs."""
    state: str
    """The run's status or the kind of profile, in one word."""
    what: str
    """The rest of the line."""
    costs: str = ""
    """A sentence about the cost; where it is not empty, a dialog asks before the start."""
    path: str = ""
    """Of a run, its journal."""
