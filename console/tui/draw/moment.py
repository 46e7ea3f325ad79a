"""What a screen draws at one tick: the run and the clock, taken from the source once, so that all panes agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from console.compare.comparison import Comparison
from console.compare.eta import Eta, eta
from console.compare.race import Ghost, Race, race
from console.playback.markers import Marker
from console.playback.source import Player, Source
from console.state.run import Node, Run

NOTHING: Final = Comparison()
"""Compared with nothing but the record."""


@dataclass(frozen=True, slots=True, eq=False)
class Playing:
    """How a log plays."""

    playing: bool
    speed: float
    start: float
    end: float
    behind_s: float | None = None
    """How far a live run's past that is shown lies behind the present; None for a log."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What a timeline spans."""

    start: float
    end: float
    """Of a live run, the present."""
    markers: Sequence[Marker]
    reading: int | None
    """Records read so far while the past is still being read; None once it is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The run, its clock, and what may be done with it."""

    run: Run = field(default_factory=Run)
    now: float = 0.0
    title: str = ""
    controls: frozenset[str] = frozenset()
    play: Playing | None = None
    """None for the present of a live run."""
    track: Track | None = None
    """None where the past is not known."""
    read_only: bool = False
    starting: str = ""
    """A sentence while there is no source yet."""
    trouble: str = ""
    """A sentence where the source itself failed."""
    compared: Comparison = NOTHING

    @property
    def ghost(self) -> Ghost | None:
        """What the run races."""
        return self.compared.ghost(self.run)

    @property
    def race(self) -> Race | None:
        """How it stands."""
        ghost = self.ghost
        return None if ghost is None else race(self.run, ghost, self.now)

    @property
    def eta(self) -> Eta | None:
        """When it will reach its target."""
        return eta(self.run, self.now, self.ghost)


def moment_of(source: Source, *, read_only: bool, trouble: str = "", compared: Comparison = NOTHING) -> Moment:
    """The present moment of a source."""
    play = track = None
    if isinstance(source, Player):
        track = Track(source.start, source.end, tuple(source.markers), source.reading)
        behind_s = source.behind_s
        if source.present is None or behind_s is not None:
            play = Playing(source.playing, source.speed, source.start, source.end, behind_s)
    controls = frozenset[str]() if read_only else source.controls
    return Moment(source.run, source.now(), source.title, controls, play, track, read_only, "", trouble, compared)


def same(one: Moment, other: Moment) -> bool:
    """True where a screen drawn for one shows the other too."""
    return (
        one.run is other.run
        and one.compared is other.compared
        and int(one.now) == int(other.now)
        and (one.controls, one.starting, one.trouble) == (other.controls, other.starting, other.trouble)
        and _played(one) == _played(other)
    )


def _played(moment: Moment) -> tuple[object, ...]:
    play, track = moment.play, moment.track
    how = () if play is None else (play.playing, play.speed, int(play.behind_s or 0.0))
    return (how, () if track is None else (track.start, int(track.end), len(track.markers), track.reading))


def on_gpus(run: Run) -> bool:
    """True where the run's ranks are on GPUs, as the hosts say, or as the profile expects before they do."""
    for node in run.nodes:
        if node.sample is not None:
            return bool(node.sample.gpu_util_pct)
        if node.agent is not None:
            return bool(node.agent.gpu_names)
    return run.created is not None and run.created.accelerator.lower() != "cpu"


def address(node: Node) -> str:
    """The host's address as one would type it; a dash before it is known."""
    if node.address is None:
        return "—"
    return node.address if node.port in (None, 22) else f"{node.address}:{node.port}"
