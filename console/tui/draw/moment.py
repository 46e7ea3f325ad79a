"""What a screen draws at one tick: run and clock, read from the source once, so that all panes agree."""

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
"""A comparison with the record alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Playing:
    """The state of playback."""

    playing: bool
    speed: float
    start: float
    end: float
    behind_s: float | None = None
    """How far the shown past of a live run lies behind the present; None for a log."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The span of a timeline."""

    start: float
    end: float
    """For a live run, the present."""
    markers: Sequence[Marker]
    reading: int | None
    """Records read so far while the past is still being read; None once it is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The run, its clock, and the commands that it accepts."""

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
        """The ghost that the run races."""
        return self.compared.ghost(self.run)

    @property
    def race(self) -> Race | None:
        """The race against the ghost."""
        ghost = self.ghost
        return None if ghost is None else race(self.run, ghost, self.now)

    @property
    def eta(self) -> Eta | None:
        """The time left to the target."""
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


def same(first: Moment, second: Moment) -> bool:
    """True where both look the same on the screen."""
    return (
        first.run is second.run
        and first.compared is second.compared
        and int(first.now) == int(second.now)
        and (first.controls, first.starting, first.trouble) == (second.controls, second.starting, second.trouble)
        and _played(first) == _played(second)
    )


def _played(moment: Moment) -> tuple[object, ...]:
    play, track = moment.play, moment.track
    how = () if play is None else (play.playing, play.speed, int(play.behind_s or 0.0))
    return (how, () if track is None else (track.start, int(track.end), len(track.markers), track.reading))


def on_gpus(run: Run) -> bool:
    """True where the ranks are on GPUs: as the hosts report, before that as the profile expects."""
    for node in run.nodes:
        if node.sample is not None:
            return bool(node.sample.gpu_util_pct)
        if node.agent is not None:
            return bool(node.agent.gpu_names)
    return run.created is not None and run.created.accelerator.lower() != "cpu"


def address(node: Node) -> str:
    """The host's address, with the port unless it is 22; a dash while unknown."""
    if node.address is None:
        return "—"
    return node.address if node.port in (None, 22) else f"{node.address}:{node.port}"
