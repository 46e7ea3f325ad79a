"""Where fastconsole keeps its files on the laptop, by the XDG base directories."""

from __future__ import annotations

import os
from pathlib import Path


def state_home() -> Path:
    """fastconsole's folder for what must survive: runs and their journals."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "fastconsole"


def cache_home() -> Path:
    """fastconsole's folder for what can be made again: data sets of the embedded hosts."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "fastconsole"


def runs_home() -> Path:
    """Where the run directories are."""
    return state_home() / "runs"
