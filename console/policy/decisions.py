"""The decisions that the policy can come to, as values; `console.live` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from console.state.outcome import Exit


@dataclass(frozen=True, slots=True)
class StartGang:
    """Every node is ready: the trainers may start."""


@dataclass(frozen=True, slots=True)
class StopGang:
    """Save a checkpoint at the next step boundary and leave the loop."""

    reason: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Something that the operator should see; once for each text."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """The run is over: what still runs on the hosts is ended, results are fetched, the hosts are released."""

    status: str
    exit_code: Exit
    reason: str


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Save a checkpoint now: a host will be gone soon."""


@dataclass(frozen=True, slots=True)
class OrderReplacement:
    """Ask the provider for another host for the node."""

    node: int
    reason: str


@dataclass(frozen=True, slots=True)
class DrainGang:
    """Save a checkpoint at the next step boundary and leave the loop; the run continues."""


@dataclass(frozen=True, slots=True)
class KillGang:
    """End the trainers that wait for one that is gone; the run continues."""


@dataclass(frozen=True, slots=True)
class RestartGang:
    """The trainers are down; they may start again once every node has its host."""

    reason: str


@dataclass(frozen=True, slots=True)
class SwapNode:
    """Give the node to the replacement host that is ready for it."""

    node: int
    reason: str


@dataclass(frozen=True, slots=True)
class DropNode:
    """Continue without the node."""

    node: int
    reason: str


Decision = (
    StartGang
    | StopGang
    | Warn
    | EndRun
    | SaveCheckpoint
    | OrderReplacement
    | DrainGang
    | KillGang
    | RestartGang
    | SwapNode
    | DropNode
)
