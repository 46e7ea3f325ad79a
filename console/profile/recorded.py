"""What a journal's `profile_text` says: the one place that reads it.

A journal holds the profile of its run as text, with secrets redacted (`console.profile.redaction`). The text may be of
an older version, of a foreign log, or damaged: what cannot be read is unknown, never an error; `profile` is the
exception. Screens ask on every repaint, so the last few texts are kept parsed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from console.profile.alerts import AlertKeys, parse
from console.profile.redaction import REDACTED

if TYPE_CHECKING:
    from console.profile.schema import Profile, RaceRecord
    from console.state.events import RunCreated

_KEPT: Final = 8
"""A screen, a race and a comparison show few runs at a time."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of the recorded schedule: epochs of one image size and one batch size."""

    start: int
    """Its first epoch, from 0."""
    end: int
    """The first epoch after it."""
    image_size: int | None
    batch: int | None
    """Images per step on one GPU."""

    @property
    def kind(self) -> tuple[int | None, int | None]:
        """What makes its epochs like those of another leg."""
        return self.image_size, self.batch


def profile(created: RunCreated) -> Profile:
    """The whole profile of a run, its overrides laid over it.

    Raises:
        ProfileError: this version cannot read it; one sentence.
    """
    from console.profile.load import parse as parse_profile

    return parse_profile(created.profile_text, path=Path(f"{created.profile}.toml"), overrides=created.overrides)


@lru_cache(maxsize=_KEPT)
def alerts(profile_text: str) -> AlertKeys:
    """The `[alerts]` section; the defaults where there is none that can be read."""
    try:
        return parse(_table(profile_text).get("alerts", {}), REDACTED)
    except (ValueError, AttributeError, TypeError):
        return AlertKeys()


@lru_cache(maxsize=_KEPT)
def legs(profile_text: str) -> tuple[Leg, ...]:
    """The schedule; empty where it cannot be read or its phases do not follow each other."""
    try:
        found = tuple(
            Leg(
                start=int(phase["epochs"][0]),
                end=int(phase["epochs"][1]),
                image_size=int(phase["image_size"]),
                batch=int(phase["batch_size_per_gpu"]),
            )
            for phase in _table(profile_text).get("phase") or ()
        )
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        return ()
    joined = all(leg.end == following.start for leg, following in pairwise(found))
    sound = all(0 <= leg.start < leg.end <= 100_000 and (leg.image_size or 0) > 0 for leg in found)
    return found if joined and sound else ()


def phase_count(profile_text: str) -> int | None:
    """The number of phases; None where the text does not say."""
    phases = _table(profile_text).get("phase")
    return len(phases) if isinstance(phases, list) else None


@lru_cache(maxsize=_KEPT)
def environment(profile_text: str) -> tuple[tuple[str, str], ...]:
    """The environment variables of the ranks, by name and value; values that may be secrets are redacted."""
    run = _table(profile_text).get("run")
    env = run.get("env") if isinstance(run, dict) else None
    return tuple((name, str(value)) for name, value in env.items()) if isinstance(env, dict) else ()


def has_record(profile_text: str) -> bool:
    """True if the profile has a `[record]` section of its own."""
    return "record" in _table(profile_text)


@lru_cache(maxsize=_KEPT)
def record(profile_text: str) -> RaceRecord | None:
    """The `[record]` section; None where there is none that can be read."""
    if not has_record(profile_text):
        return None
    # Here, since the screen's first paint needs no profile.
    from console.profile.load import parse as parse_profile
    from console.profile.schema import ProfileError

    try:
        return parse_profile(profile_text, path=Path("profile.toml")).record
    except ProfileError:
        return None


@lru_cache(maxsize=_KEPT)
def _table(profile_text: str) -> Mapping[str, Any]:
    """The text as TOML; empty where it is not TOML. Never changed by anybody."""
    try:
        return tomllib.loads(profile_text)
    except (ValueError, RecursionError):
        return {}
