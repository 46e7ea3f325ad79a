"""Where a screen gets its run from: a live one or a log, told apart nowhere but here and at the entry point.

`Source` is all that the panes know. `Player` adds what a log can do and a live run cannot: stop the clock, step, seek.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from console.state import Run


class Source(Protocol):
    """A run and its clock."""

    @property
    def run(self) -> Run:
        """The state now. A new object after every change, the same object while nothing changed."""
        ...

    @property
    def title(self) -> str:
        """What to call it: the profile's name, or the log's file name."""
        ...

    def now(self) -> float:
        """The run's clock, epoch seconds: the laptop's own when live, the position in the log in a replay."""
        ...

    @property
    def controls(self) -> frozenset[str]:
        """The commands that make sense at this moment.

        Of ``start pause resume checkpoint stop terminate restart budget detach``. Empty for a log and for a read-only
        console.
        """
        ...

    async def work(self) -> None:
        """Drives the source until there is nothing more to come; cancelled when the screen goes."""
        ...

    async def command(self, command: str, **arguments: Any) -> None:
        """Does one of `controls`. Returns when the command is on its way; what came of it is in the run.

        `arguments`: of ``budget``, the new total as ``usd``.

        Raises:
            ValueError: they make no sense at this moment, in one sentence.
        """
        ...


@runtime_checkable
class Player(Source, Protocol):
    """A log that plays."""

    playing: bool
    speed: float
    """Seconds of the run a second."""

    @property
    def start(self) -> float:
        """The clock at the first record, epoch seconds."""
        ...

    @property
    def end(self) -> float:
        """The clock at the last record."""
        ...

    def seek(self, t: float) -> None:
        """Moves the clock, within `start` and `end`; the state follows, backwards too."""
        ...

    def step(self, records: int) -> None:
        """Moves by so many records that change the picture (epochs, steps, alerts), backwards if negative; pauses."""
        ...
