"""Where a screen gets its run from: a live one or a log, told apart nowhere but here and at the entry point.

`Source` is all that the panes know. `Player` adds a clock that can be held and moved: that of a log, or of a live run
with its past.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from console.playback.markers import Marker
from console.state.run import LogLine, Run


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
    """A source whose clock can be moved: a log, or a live run together with its past."""

    present: Source | None
    """The live run behind what is shown; None for a log."""
    behind_s: float | None
    """How far what is shown lies behind the present; None at the present, and for a log."""
    playing: bool
    """True while the clock runs."""
    speed: float
    """Seconds of the run a second."""
    loop: bool
    """Begin again at the end of a log."""

    @property
    def start(self) -> float:
        """The clock at the first record, epoch seconds."""
        ...

    @property
    def end(self) -> float:
        """The clock at the last record; of a live run, the present."""
        ...

    @property
    def whole(self) -> Run:
        """The state at the end, whatever is shown."""
        ...

    @property
    def markers(self) -> Sequence[Marker]:
        """The moments that one may want to go to, from start to end, in order."""
        ...

    @property
    def reading(self) -> int | None:
        """Records read so far while there are more to read; None once the past is known."""
        ...

    @property
    def slow(self) -> bool:
        """True where a seek or a step takes so long that the screen should not wait for it."""
        ...

    def seek(self, t: float) -> None:
        """Moves the clock, within `start` and `end`; the state follows, backwards too. A live run's end is the present.

        May be called in a thread.
        """
        ...

    def step(self, records: int) -> None:
        """Moves by so many records that change the picture (epochs, steps, alerts), backwards if negative; pauses.

        May be called in a thread.
        """
        ...


def present_run(source: Source) -> Run:
    """The run as it stands now, whatever moment of it the source shows; of a log, at the log's moment."""
    return source.present.run if isinstance(source, Player) and source.present is not None else source.run


@runtime_checkable
class Chronicle(Protocol):
    """A source that can tell its whole log."""

    def whole_log(self) -> Iterator[LogLine]:
        """Every line of the log, the oldest first; reads the journal, so not for the event loop."""
        ...
