"""What the screen compares the run with: past runs laid over its curves, and the ghost that it races. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from console.compare import race
from console.compare.curves import Trace
from console.compare.race import Ghost
from console.state.run import Run

RECORD = 0
"""`Comparison.raced`: the record of the profile, or 2018's; where there is none, the first past run."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """A run that was."""

    path: str
    """Its log."""
    trace: Trace
    ghost: Ghost | None
    """None where it evaluated nothing."""

    @property
    def name(self) -> str:
        """What to call it on the screen."""
        return self.trace.name


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What was chosen, and what of it is there by now."""

    pasts: tuple[Past, ...] = ()
    raced: int | None = RECORD
    """`RECORD`, the number of one of `pasts`, from 1, or None: no ghost."""
    loading: str = ""
    """A sentence while logs are read."""

    def ghost(self, run: Run) -> Ghost | None:
        """What the run races."""
        if self.raced is None:
            return None
        if self.raced != RECORD:
            return self.pasts[self.raced - 1].ghost
        record = race.default(run)
        return record if record is not None else next((past.ghost for past in self.pasts if past.ghost), None)

    def next_ghost(self, run: Run) -> Comparison:
        """The same with the ghost after this one: the record, each past run, none, and again."""
        own: list[int | None] = [number for number, past in enumerate(self.pasts, start=1) if past.ghost is not None]
        # Without a record the first past run is what is raced by itself.
        order: list[int | None] = [*own[1:], None] if race.default(run) is None else [*own, None]
        if own or race.default(run) is not None:
            order.insert(0, RECORD)
        at = order.index(self.raced) if self.raced in order else -1
        return Comparison(self.pasts, order[(at + 1) % len(order)], self.loading)

    def with_pasts(self, pasts: tuple[Past, ...], loading: str = "") -> Comparison:
        """The same over other runs; the ghost stays if it is still there."""
        raced = self.raced
        if raced is not None and raced != RECORD:
            path = self.pasts[raced - 1].path
            raced = next((number for number, past in enumerate(pasts, start=1) if past.path == path), RECORD)
        return Comparison(pasts, raced, loading)
