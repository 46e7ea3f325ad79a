"""Where the panes are: all at once where there is room for them, one at a time where not."""

from __future__ import annotations

from textual import events

from console.tui.screens.source_screen import SourceScreen
from console.tui.widgets.keybar import KeyBar
from console.tui.widgets.pane import Pane
from console.tui.widgets.tabs import NAMES, Tabs

ROOMY = (100, 30)
"""Columns and lines from which all panes are shown at once."""


class Layout(SourceScreen):
    """The part of a screen that arranges its panes."""

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._current = 0
        self._zoomed = False

    def on_resize(self, event: events.Resize) -> None:
        """Chooses the layout."""
        width, height = event.size
        self.set_class(width < ROOMY[0] or height < ROOMY[1], "compact")
        self.set_class(height < 16, "tiny")
        self._arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the current one, however it came by it."""
        order = self.tiles()
        if event.widget in order:
            self._current = order.index(event.widget)
            self._arrange()
        if self.is_mounted:
            self.query_one(KeyBar).redraw()

    def tiles(self) -> list[Pane]:
        """The panes in the order of their keys."""
        return [self.query_one(f"#{name.lower()}", Pane) for name in NAMES]

    def _arrange(self) -> None:
        single = self.has_class("compact") or self._zoomed
        if single != self.has_class("single"):
            self.call_after_refresh(self._settle)
        self.set_class(single, "single")
        for place, tile in enumerate(self.tiles()):
            tile.set_class(place == self._current, "current")
        for column in self.query(".column"):
            column.set_class(self.tiles()[self._current] in column.children, "current")
        self.query_one(Tabs).current = self._current

    def _settle(self) -> None:
        """Draws the panes anew once they are styled for their new places: how much they say depends on it."""
        for tile in self.tiles():
            tile.redraw()
        self.refresh(layout=True)

    def action_pane(self, place: int) -> None:
        """Shows a pane and gives it the focus."""
        self._current = place - 1
        self._arrange()
        tile = self.tiles()[place - 1]
        tile.focus()
        self.call_after_refresh(tile.redraw)

    def action_next_pane(self, by: int) -> None:
        """The next pane, or the one before."""
        self.action_pane((self._current + by) % len(NAMES) + 1)

    def action_zoom(self) -> None:
        """Gives the current pane all the room, or takes it back."""
        self._zoomed = not self._zoomed
        self._arrange()

    def put_away(self) -> bool:
        """Ends the zoom; False where there is none."""
        zoomed = self._zoomed
        if zoomed:
            self.action_zoom()
        return zoomed
