"""`[[phase]]` of a profile: the schedule, checked. Pure."""

from __future__ import annotations

from typing import Any

from console.profile import values
from remote.wire.schedule import SHAPES, Phase

KEYS = (
    "epochs",
    "image_size",
    "batch_size_per_gpu",
    "lr",
    "shape",
    "momentum",
    "min_scale",
    "rectangular",
)


def parse(table: object) -> tuple[Phase, ...]:
    """The phases in a profile's list of tables. Raises keys.Mistake."""
    if not isinstance(table, list) or not table or not all(isinstance(one, dict) for one in table):
        raise values.Mistake("there are no phases; write one [[phase]] for each stretch of the schedule")
    phases = []
    for number, one in enumerate(table):
        name = f"phase {number + 1}"
        values.known(one, KEYS, name)
        for key in ("epochs", "image_size", "batch_size_per_gpu", "lr"):
            if key not in one:
                raise values.Mistake(f"{name} has no {key}")
        epochs = one["epochs"]
        pair = isinstance(epochs, list) and len(epochs) == 2
        if not (pair and all(type(epoch) is int and 0 <= epoch <= 100_000 for epoch in epochs)):
            raise values.Mistake(
                f"{name}: epochs is {values.shown(epochs)}; accepted is [first, last + 1], for example [0, 6]"
            )
        lr = one["lr"] if isinstance(one["lr"], list) else [one["lr"], one["lr"]]
        if len(lr) != 2 or not all(type(rate) in (int, float) and 0 <= rate < 1e6 for rate in lr):
            raise values.Mistake(
                f"{name}: lr is {values.shown(one['lr'])}; accepted is a rate, or [first, last] for a change"
            )
        momentum = _momentum(one.get("momentum"), name)
        phases.append(
            Phase(
                start_epoch=epochs[0],
                end_epoch=epochs[1],
                image_size=values.inside(
                    one["image_size"], int, lambda v: 8 <= v <= 2048, f"{name}: image_size", "8 to 2048 px"
                ),
                batch_size_per_gpu=values.inside(
                    one["batch_size_per_gpu"],
                    int,
                    lambda v: 1 <= v <= 65536,
                    f"{name}: batch_size_per_gpu",
                    "1 to 65536",
                ),
                lr_start=float(lr[0]),
                lr_end=float(lr[1]),
                min_scale=float(
                    values.inside(
                        one.get("min_scale", 0.08),
                        float,
                        lambda v: 0 < v <= 1,
                        f"{name}: min_scale",
                        "above 0, up to 1",
                    )
                ),
                rectangular=values.inside(
                    one.get("rectangular", False), bool, lambda v: True, f"{name}: rectangular", "true or false"
                ),
                shape=values.inside(
                    one.get("shape", "linear"), str, lambda v: v in SHAPES, f"{name}: shape", " or ".join(SHAPES)
                ),
                momentum_start=momentum and momentum[0],
                momentum_end=momentum and momentum[1],
            )
        )
    expected = 0
    for number, phase in enumerate(phases):
        name = f"phase {number + 1}"
        span = f"epochs = [{phase.start_epoch}, {phase.end_epoch}]"
        if phase.end_epoch <= phase.start_epoch:
            raise values.Mistake(f"{name}: {span} holds no epoch; the second number is the first epoch after the phase")
        if phase.start_epoch < expected:
            raise values.Mistake(f"{name}: {span} overlaps the phase before it, which goes up to epoch {expected}")
        if phase.start_epoch > expected:
            raise values.Mistake(f"{name}: {span} leaves a gap: it has to begin at epoch {expected}")
        expected = phase.end_epoch
    return tuple(phases)


def _momentum(value: object, name: str) -> tuple[float, float] | None:
    if value is None:
        return None
    pair: list[Any] = value if isinstance(value, list) else [value, value]
    if len(pair) != 2 or not all(type(one) in (int, float) and 0 <= one < 1 for one in pair):
        raise values.Mistake(
            f"{name}: momentum is {values.shown(value)}; accepted is a number from 0 up to but not 1, or [first, last] "
            "for a linear change"
        )
    return float(pair[0]), float(pair[1])
