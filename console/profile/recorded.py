"""TODO docstring: console/profile/recorded.py."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from console.profile.alerts import AlertKeys, parse


@lru_cache(maxsize=4)
def of_profile(text: str) -> AlertKeys:
    """The section of a profile's text as a journal has it; the defaults where it has none that can be read."""
    try:
        return parse(tomllib.loads(text).get("alerts", {}), "(redacted)")
    except (ValueError, RecursionError, AttributeError, TypeError):
        return AlertKeys()


@dataclass(frozen=True, slots=True)
class Leg:
    """A stretch of epochs of one image size and batch, as the profile has it."""

    start: int
    end: int
    image_size: int | None
    batch: int | None

    @property
    def kind(self) -> tuple[int | None, int | None]:
        """What makes its epochs like those of another leg."""
        return self.image_size, self.batch


# --- the schedule ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def legs(profile_text: str) -> tuple[Leg, ...]:
    """The phases of a profile's text; none where they cannot be read."""
    try:
        phases = tomllib.loads(profile_text).get("phase")
        made = tuple(
            Leg(int(one["epochs"][0]), int(one["epochs"][1]), int(one["image_size"]), int(one["batch_size_per_gpu"]))
            for one in phases or ()
        )
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError):
        return ()
    joined = all(one.end == other.start for one, other in pairwise(made))
    sound = all(0 <= one.start < one.end <= 100_000 and (one.image_size or 0) > 0 for one in made)
    return made if joined and sound else ()


@lru_cache(maxsize=8)
def _phases(profile_text: str) -> int | None:
    try:
        phases = tomllib.loads(profile_text).get("phase")
    except (ValueError, RecursionError):
        return None
    return len(phases) if isinstance(phases, list) else None


@lru_cache(maxsize=8)
def environment(profile_text: str) -> tuple[tuple[str, str], ...]:
    """The variables that the profile gives to the training, as the journal has them: secrets are redacted there."""
    try:
        run = tomllib.loads(profile_text).get("run")
    except (ValueError, RecursionError):
        return ()
    env = run.get("env") if isinstance(run, dict) else None
    return tuple((name, str(value)) for name, value in env.items()) if isinstance(env, dict) else ()
