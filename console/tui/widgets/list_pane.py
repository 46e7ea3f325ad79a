"""A pane with a cursor on one of its rows, and one that a filter narrows: what nodes, log and alerts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from textual import events

from console.tui.dialogs.filter import FilterPrompt
from console.tui.widgets.pane import Pane
from console.views import filter as filters

Item = TypeVar("Item")
"""What a filter is applied to."""


class ListPane(Pane):
    """Subclasses say which row is where, and which has the cursor; the cursor shows only with the focus."""

    def row_at(self, x: int, line: int) -> int | None:
        """The index of the row at a column of a scrolling line; None beside all rows."""
        return line

    def has_cursor(self, row: int) -> bool:
        """True where the cursor is on the row."""
        raise NotImplementedError

    def choose(self, row: int) -> None:
        """Moves the cursor to the row."""
        raise NotImplementedError

    def action_open(self) -> None:
        """Opens the row under the cursor."""
        raise NotImplementedError

    def top_for(self, first: int, last: int) -> int:
        """The scroll offset that shows lines `first` to `last`, no further from the present one than needed."""
        room = max(1, self.scrollable_content_region.height - len(self._head))
        top = min(self.scroll_offset.y, first)
        return max(0, top, min(first, last - room + 1))

    def scroll_into_view(self, first: int, last: int) -> None:
        """Scrolls no further than needed."""
        top = self.top_for(first, last)
        if top != self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)

    def on_click(self, event: events.Click) -> None:
        """The first click moves the cursor to a row, the second opens the row."""
        offset = event.get_content_offset(self)
        line = None if offset is None else self.on_line(offset.y)
        row = None if offset is None or line is None else self.row_at(offset.x, line)
        if row is None:
            return
        again = self.has_cursor(row)
        self.choose(row)
        if again and event.chain > 1:
            self.action_open()

    def on_focus(self) -> None:
        """Shows the cursor."""
        self.redraw()

    def on_blur(self) -> None:
        """Hides the cursor."""
        self.redraw()


class FilteredPane(ListPane, Generic[Item]):
    """A list that is filtered while the operator types."""

    EXAMPLE: ClassVar[str]
    """A filter to learn from: the prompt's placeholder."""

    def __init__(self, name: str, fields: filters.Fields[Item], *, classes: str | None = None) -> None:
        """`fields`: what a filter can ask of an item."""
        super().__init__(name, classes=classes)
        self._fields = fields
        self.typed = ""
        """The filter as it was typed; empty where there is none."""
        self.test: Callable[[Item], bool] = filters.parse("", fields)

    def count_found(self) -> str:
        """How much passes the filter, in words."""
        raise NotImplementedError

    def action_filter(self) -> None:
        """Asks for a filter."""
        self.app.push_screen(FilterPrompt(self.typed, self.EXAMPLE, self.apply_filter))

    def apply_filter(self, typed: str) -> tuple[str, bool]:
        """Shows what passes; returns how much that is, or what is wrong with the filter and False."""
        try:
            test = filters.parse(typed, self._fields)
        except filters.Wrong as wrong:
            return str(wrong), False
        self.typed, self.test = typed.strip(), test
        self.redraw()
        self.screen.refresh_bindings()
        return self.count_found(), True
