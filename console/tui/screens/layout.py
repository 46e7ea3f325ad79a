"""The layout of the panes: all at once or one at a time, which are hidden, and how large each is."""

from __future__ import annotations

from typing import cast

from textual import events

from console.config import Remembered
from console.tui.base import AppBase
from console.tui.screens.source_screen import SourceScreen
from console.tui.widgets.columns import PaneColumns, Plan
from console.tui.widgets.keybar import KeyBar
from console.tui.widgets.pane import Pane
from console.tui.widgets.tabs import NAMES, Tabs

ROOMY = (100, 30)
"""Columns and lines from which all panes are shown at once."""
STEP = 0.04
"""The share of the screen by which a key moves a border."""


class Layout(SourceScreen):
    """The part of a screen that arranges its panes."""

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._current = 0
        self._zoomed = False
        self._hidden: set[str] = set()
        self._kind = "auto"
        self._plan = Plan()

    def arrange_as(self, remembered: Remembered, kind: str) -> None:
        """Restores what was remembered, before the screen is mounted; `kind` as in `console.config.LAYOUTS`."""
        ids = [name.lower() for name in NAMES]
        self._kind = kind
        self._plan = Plan(dict(remembered.columns), dict(remembered.heights))
        self._hidden = {name for name in remembered.hidden if name in ids}
        if len(self._hidden) == len(ids):
            self._hidden.clear()
        if remembered.zoomed in ids:
            self._current, self._zoomed = ids.index(str(remembered.zoomed)), True
            self._hidden.discard(str(remembered.zoomed))

    def on_resize(self, event: events.Resize) -> None:
        """Chooses the layout."""
        width, height = event.size
        small = width < ROOMY[0] or height < ROOMY[1]
        self._arrange(compact=self._kind == "one" or (self._kind == "auto" and small), tiny=height < 16)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Makes the focused pane the current one."""
        order = self.tiles()
        if event.widget in order and order.index(event.widget) != self._current:
            self._current = order.index(event.widget)
            self._arrange()
        if self.is_mounted:
            self.query_one(KeyBar).redraw()

    def tiles(self) -> list[Pane]:
        """The panes in the order of their keys."""
        return [self.query_one(f"#{name.lower()}", Pane) for name in NAMES]

    def _arrange(self, **classes: bool) -> None:
        body = self.query_one(PaneColumns)
        body.plan = self._plan
        single = classes.get("compact", self.has_class("compact")) or self._zoomed
        if single != self.has_class("single"):
            self.call_after_refresh(self._settle)
        # At once: each change styles every widget anew.
        self.update_classes({**classes, "single": single})
        for index, tile in enumerate(self.tiles()):
            tile.update_classes({"current": index == self._current, "away": tile.id in self._hidden})
        self.query_one(Tabs).current = self._current

    def _settle(self) -> None:
        """Redraws the panes once they are styled for their new places: how much they show depends on it."""
        for tile in self.tiles():
            tile.redraw()
        self.refresh(layout=True)

    def _remember(self) -> None:
        """Stores the layout for the next start."""
        plan = self._plan = self.query_one(PaneColumns).plan
        cast("AppBase[int]", self.app).remember(
            columns=plan.widths,
            heights=plan.heights,
            hidden=tuple(sorted(self._hidden)),
            zoomed=NAMES[self._current].lower() if self._zoomed else None,
        )

    def action_pane(self, number: int) -> None:
        """Shows a pane by its number, a hidden one too, and focuses it."""
        self._current = number - 1
        name = NAMES[self._current].lower()
        if name in self._hidden:
            self._hidden.discard(name)
            self._remember()
        self._arrange()
        tile = self.tiles()[self._current]
        tile.focus()
        self.call_after_refresh(tile.redraw)

    def action_next_pane(self, by: int) -> None:
        """Focuses the next pane that is not hidden, or the previous one."""
        index = self._current
        for _ in NAMES:
            index = (index + by) % len(NAMES)
            if NAMES[index].lower() not in self._hidden:
                break
        self.action_pane(index + 1)

    def action_zoom(self) -> None:
        """Maximises the current pane, or restores it."""
        self._zoomed = not self._zoomed
        self._arrange()
        self._remember()

    def action_hide(self) -> None:
        """Hides the current pane and focuses the next."""
        if len(self._hidden) == len(NAMES) - 1:
            self.say("The last pane cannot be hidden.")
            return
        self._hidden.add(NAMES[self._current].lower())
        self._zoomed = False
        self._remember()
        self.action_next_pane(1)

    def action_widen(self, by: int) -> None:
        """Moves the border beside the current pane's column."""
        self._resize(self.query_one(PaneColumns).widen(self.tiles()[self._current], by * STEP))

    def action_heighten(self, by: int) -> None:
        """Moves the border below the current pane."""
        self._resize(self.query_one(PaneColumns).heighten(self.tiles()[self._current], by * STEP))

    def _resize(self, done: bool) -> None:
        if done:
            self._remember()
        else:
            self.say("No border to move beside this pane.")

    def action_reset_layout(self) -> None:
        """Shows all panes in their default sizes."""
        self._hidden.clear()
        self._zoomed = False
        self._plan = Plan()
        self._arrange()
        self.query_one(PaneColumns).rearrange()
        self._remember()

    def on_pane_columns_moved(self, event: PaneColumns.Moved) -> None:
        """A border was dragged."""
        self._remember()

    def end_zoom(self) -> None:
        """Restores a maximised pane."""
        if self._zoomed:
            self.action_zoom()
