"""A modal screen with the screen below visible through it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import RenderableType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Shade(BackgroundScreen):
    """The screen below, shaded: each style is shaded once per paint, not once for every segment.

    A dialog that opens causes two paints in a row, which took 50 ms of the event loop at 200 x 60 otherwise
    (``bench/screen.py``).
    """

    @classmethod
    def process_segments(cls, segments: Iterable[Segment], color: Color) -> Iterable[Segment]:
        """The segments with their styles shaded."""
        shaded: dict[Style | None, Style | None] = {}
        for segment in segments:
            text, style, control = segment
            if control:
                yield segment
                continue
            if style not in shaded:
                (result,) = super().process_segments([segment], color)
                shaded[style] = result.style
            yield Segment(text, shaded[style])


class Modal(ModalScreen[Result]):
    """Shows the screen below, shaded."""

    def render(self) -> RenderableType:
        """The shaded screen below; a plain colour where there is none."""
        below = super().render()
        return Shade(below.screen, below.color) if isinstance(below, BackgroundScreen) else below
