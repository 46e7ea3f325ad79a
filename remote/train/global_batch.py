"""The global batch, kept where a gang has another size than its recipe is meant for. Pure, standard library only.

A learning rate belongs to a global batch (Goyal et al. 2017, section 2.1), so a run that continues with fewer or more
ranks gives each of them more or fewer pictures per step and keeps the rates. A rank that has more pictures than the
recipe says takes them in pieces of the recipe's size and sums their gradients: they fit in its memory, and batch norm
sees as many pictures as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from remote.wire.schedule import Phase


def fitted(
    phases: Sequence[Phase], meant_for: int, world_size: int, group: int = 1
) -> tuple[tuple[Phase, ...], str | None]:
    """The phases with each of `world_size` ranks' share as `batch_size_per_gpu`, and a sentence where that changed.

    `meant_for` is the number of ranks that the phases were written for. Where `world_size` ranks cannot have equal
    shares in whole groups of `group` pictures, the global batch becomes the nearest that allows it.
    """
    if meant_for == world_size:
        return tuple(phases), None
    fits: list[Phase] = []
    kept: list[str] = []
    changed: list[str] = []
    for phase in phases:
        old = phase.batch_size_per_gpu * meant_for
        each = group * max(1, round(old / (world_size * group)))
        fits.append(replace(phase, batch_size_per_gpu=each))
        new = each * world_size
        texts = kept if new == old else changed
        text = f"{new:,}" if new == old else f"{new:,} instead of {old:,}"
        if text not in texts:
            texts.append(text)
    who = f"{world_size} {'rank' if world_size == 1 else 'ranks'} instead of {meant_for}"
    if not changed:
        return tuple(fits), f"{who}: the global batch stays {', then '.join(kept)} images, and so do the learning rates"
    return tuple(fits), f"{who} cannot share the global batch evenly: {', '.join(changed)} images, at the same rates"


def pieces(images: int, at_most: int, group: int = 1) -> list[int]:
    """The fewest sizes that sum up to `images`, none over `at_most`, nearly equal, each in whole groups of `group`."""
    groups = images // group
    count = -(-groups // max(at_most // group, 1))
    return [((number + 1) * groups // count - number * groups // count) * group for number in range(count)]
