"""What a screen draws at one tick: the run and the clock, taken from the source once, so that all panes agree."""

from __future__ import annotations

from dataclasses import dataclass, field

from console.source import Player, Source
from console.state import Node, Run


@dataclass(frozen=True, slots=True, eq=False)
class Playing:
    """How a log plays."""

    playing: bool
    speed: float
    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """The run, its clock, and what may be done with it."""

    run: Run = field(default_factory=Run)
    now: float = 0.0
    title: str = ""
    controls: frozenset[str] = frozenset()
    play: Playing | None = None
    """None for a live run."""
    read_only: bool = False
    starting: str = ""
    """A sentence while there is no source yet."""
    trouble: str = ""
    """A sentence where the source itself failed."""


def moment_of(source: Source, *, read_only: bool, trouble: str = "") -> Moment:
    """The present moment of a source."""
    play = Playing(source.playing, source.speed, source.start, source.end) if isinstance(source, Player) else None
    controls = frozenset[str]() if read_only else source.controls
    return Moment(source.run, source.now(), source.title, controls, play, read_only, "", trouble)


def same(one: Moment, other: Moment) -> bool:
    """True where a screen drawn for one shows the other too."""
    return (
        one.run is other.run
        and int(one.now) == int(other.now)
        and (one.controls, one.starting, one.trouble) == (other.controls, other.starting, other.trouble)
        and (one.play is None or other.play is None or _play(one.play) == _play(other.play))
    )


def _play(play: Playing) -> tuple[bool, float, float, float]:
    return play.playing, play.speed, play.start, play.end


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
