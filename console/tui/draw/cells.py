"""A metric's values as cells: numbers on the ramp, small columns, or words; and the legend."""

from __future__ import annotations

from typing import Final

from console.tui.draw.ink import Ink, Line, cells, eighth
from console.views.metrics import HEATS, THROTTLES, Metric, Scale, said

THROTTLE: Final = (("·", "·", "dim"), ("cap", "c", "accent"), ("hot", "h", "warn"), ("HW!", "!", "bad"))
"""For each of `THROTTLES` its word, its letter and its tone."""
UNKNOWN: Final = "·"


def number_width(metric: Metric, scale: Scale) -> int:
    """Columns of the metric's greatest number, with a blank on each side."""
    widest = 3 if metric.key == "throttle" else max(3, cells(said(metric, scale.high)))
    return widest + 1


def cell(metric: Metric, scale: Scale, value: float | None, width: int, *, stale: bool = False) -> Ink:
    """A value in `width` columns: from 4 on as a number, else as a bar; a `stale` one without colour."""
    if value is None:
        return UNKNOWN.center(width), "faint"
    if metric.key == "throttle":
        word, letter, tone = THROTTLE[max(0, min(3, int(value)))]
        return (word.center(width) if width > 3 else letter.ljust(width)), "stale" if stale else tone
    level = scale.level(value)
    if width > 3:
        text = said(metric, value).rjust(width - 1)[: width - 1] + " "
        return text, "stale" if stale else f"heat-{level or scale.step(value)}"
    # Two digits, so that neighbours stay apart: 99 stands for 100 too, which the node's own screen tells apart.
    if width == 3 and scale.high <= 100 and scale.low >= 0:
        return f"{min(99.0, value):2.0f} ", "stale" if stale else f"heat-{level or scale.step(value)}"
    glyph = eighth(scale.share(value))
    tone = level or f"spark-{scale.step(value)}"
    return (glyph * max(1, width - 1)).ljust(width), "stale" if stale else tone


def legend(metric: Metric, scale: Scale) -> Line:
    """The scale of colours and bars."""
    inks: list[Ink] = [(metric.title, "strong")]
    if metric.key == "throttle":
        for name, (word, _, tone) in zip(THROTTLES, THROTTLE, strict=True):
            inks.append((f"  {word} {name}", tone))
        return tuple(inks)
    if metric.unit not in ("", metric.title):
        inks.append((f" {metric.unit}", "dim"))
    inks.append((f"  {scale.low:,.0f} ", "dim"))
    inks += [(eighth((step + 0.5) / HEATS), f"spark-{step}") for step in range(HEATS)]
    inks.append((f" {scale.high:,.0f}", "dim"))
    if scale.warn is not None:
        inks.append((f"  ≥{scale.warn:,.0f}", "warn"))
    if scale.bad is not None:
        inks.append((f" ≥{scale.bad:,.0f}", "bad"))
    return tuple(inks)
