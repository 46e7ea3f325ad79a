"""A screen over another one, which shines through."""

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
    """What lies below, in other colours: each style is shaded once a painting, not once for every piece of text.

    A dialog that opens makes two paintings in a row, which took 50 ms of the event loop at 200 x 60 otherwise
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
                (one,) = super().process_segments([segment], color)
                shaded[style] = one.style
            yield Segment(text, shaded[style])


class Modal(ModalScreen[Result]):
    """Lets the screen below shine through."""

    def render(self) -> RenderableType:
        """What lies below; a plain colour where nothing does."""
        below = super().render()
        return Shade(below.screen, below.color) if isinstance(below, BackgroundScreen) else below
