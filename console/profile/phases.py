"""`[[phase]]` of a profile: the schedule, checked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from console.profile import values
from console.profile.values import bounds, form, words
from remote.wire.schedule import SHAPES, Phase

_REQUIRED: Final = ("epochs", "image_size", "batch_size_per_gpu", "lr")
_LAST_EPOCH: Final = 100_000
_LR_END: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSection:
    """`[[phase]]`: a part of the schedule. Phases follow each other without a gap, from epoch 0 on."""

    epochs: tuple[int, int] = field(metadata=form("[first, last + 1], for example [0, 6]"))
    """The phase's epochs, counted from 0: the first one, and the first one after the phase."""
    image_size: int = field(metadata=bounds(8, 2048, unit="px"))
    """Side of the training images, in pixels."""
    batch_size_per_gpu: int = field(metadata=bounds(1, 65536))
    """Images per step on each rank. The global batch is this times the number of ranks."""
    lr: tuple[float, float] = field(metadata=form("a rate, or [first, last] for a change"))
    """Learning rate at the global batch: constant, or from the phase's beginning to its end."""
    shape: str = field(default="linear", metadata=words(*SHAPES))
    """How the learning rate changes over the phase: in a straight line, or along half a cosine."""
    momentum: tuple[float, float] | None = field(
        default=None, metadata=form("a number from 0 up to but not 1, or [first, last] for a linear change")
    )
    """Momentum during the phase. Default: `run.momentum`."""
    min_scale: float = field(default=0.08, metadata=bounds(above=0, high=1))
    """Smallest share of an image's area that a random crop takes."""
    rectangular: bool = False
    """Evaluate every image at its own aspect ratio instead of a square centre crop."""


def parse(table: object) -> tuple[Phase, ...]:
    """The phases in a profile's list of tables. Raises Mistake."""
    if not isinstance(table, list) or not table or not all(isinstance(phase, dict) for phase in table):
        raise values.Mistake("there are no phases; write one [[phase]] for each part of the schedule")
    phases = tuple(_phase(phase, f"phase {number}") for number, phase in enumerate(table, 1))
    _check_order(phases)
    return phases


def _phase(table: dict[str, Any], name: str) -> Phase:
    values.known(table, list(PhaseSection.__dataclass_fields__), name)
    for key in _REQUIRED:
        if key not in table:
            raise values.Mistake(f"{name} has no {key}")
    given = {
        "epochs": _epochs(table["epochs"], name),
        "lr": _rates(table["lr"], name),
        "momentum": _momentum(table.get("momentum"), name),
    }
    section = values.section(PhaseSection, table, name, given, joint=": ")
    start, end = section.momentum or (None, None)
    return Phase(
        start_epoch=section.epochs[0],
        end_epoch=section.epochs[1],
        image_size=section.image_size,
        batch_size_per_gpu=section.batch_size_per_gpu,
        lr_start=section.lr[0],
        lr_end=section.lr[1],
        min_scale=section.min_scale,
        rectangular=section.rectangular,
        shape=section.shape,
        momentum_start=start,
        momentum_end=end,
    )


def _epochs(value: object, name: str) -> tuple[int, int]:
    pair: list[Any] = value if isinstance(value, list) else []
    if len(pair) != 2 or not all(type(epoch) is int and 0 <= epoch <= _LAST_EPOCH for epoch in pair):
        raise _wrong("epochs", value, name)
    return pair[0], pair[1]


def _rates(value: object, name: str) -> tuple[float, float]:
    pair: list[Any] = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or not all(type(rate) in (int, float) and 0 <= rate < _LR_END for rate in pair):
        raise _wrong("lr", value, name)
    return float(pair[0]), float(pair[1])


def _momentum(value: object, name: str) -> tuple[float, float] | None:
    if value is None:
        return None
    pair: list[Any] = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or not all(type(momentum) in (int, float) and 0 <= momentum < 1 for momentum in pair):
        raise _wrong("momentum", value, name)
    return float(pair[0]), float(pair[1])


def _wrong(key: str, value: object, name: str) -> values.Mistake:
    accepted = values.accepted_by(PhaseSection, key)
    return values.Mistake(f"{name}: {key} is {values.shown(value)}; accepted is {accepted}")


def _check_order(phases: tuple[Phase, ...]) -> None:
    """Raises Mistake where a phase does not begin at the epoch at which the one before it ends."""
    expected = 0
    for number, phase in enumerate(phases, 1):
        name = f"phase {number}"
        span = f"epochs = [{phase.start_epoch}, {phase.end_epoch}]"
        if phase.end_epoch <= phase.start_epoch:
            raise values.Mistake(f"{name}: {span} holds no epoch; the second number is the first epoch after the phase")
        if phase.start_epoch < expected:
            raise values.Mistake(f"{name}: {span} overlaps the phase before it, which goes up to epoch {expected}")
        if phase.start_epoch > expected:
            raise values.Mistake(f"{name}: {span} leaves a gap: it has to begin at epoch {expected}")
        expected = phase.end_epoch
