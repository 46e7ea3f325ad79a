"""A pane draws itself from the moment, line by line, and keeps nothing of the run but what it drew last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from console.tui.draw.ink import TONES, Line, cells
from console.tui.draw.moment import Moment


class _Title:
    """A border's title that is set at each tick: passed on only when it changes: Textual repaints the pane then."""

    def __init__(self, name: str) -> None:
        self._textual: Any = Widget.__dict__[name]
        self._given = f"_given_{name}"

    def __set__(self, pane: Pane, title: str | None) -> None:
        if pane.__dict__.get(self._given, "") != title:
            pane.__dict__[self._given] = title
            self._textual.__set__(pane, title)

    def __get__(self, pane: Pane | None, owner: type[Pane]) -> Any:
        return self if pane is None else self._textual.__get__(pane, owner)


class Toned(Screen[None]):
    """A screen that resolves the tones' styles for its panes.

    It does so once for all panes. As component classes of each pane, Textual resolved them at each change of focus or
    class, which took 50 ms of the event loop when a pane was maximised.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"tone--{tone}" for tone in TONES}


class Pane(ScrollView):
    """Subclasses implement `draw`. Only changed lines are repainted. Belongs on a `Toned` screen."""

    border_title = _Title("border_title")
    border_subtitle = _Title("border_subtitle")

    moment: reactive[Moment] = reactive(Moment, repaint=False, init=False)
    """The moment that is shown."""

    def __init__(self, name: str, *, classes: str | None = None) -> None:
        """`name` is its id in the stylesheet."""
        super().__init__(id=name, classes=classes)
        self._head: Sequence[Line] = ()
        self._rows: Sequence[Line] = ()
        self._shown: list[Line] = []
        # Textual resolves a style through all ancestors: 0.1 ms a line, most of a tick before it was cached here.
        self._styles_of_tones: dict[tuple[str, bool], Style] = {}

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The fixed lines at the top and the lines that scroll below them, each at most `width` columns."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draws the moment and repaints the changed lines."""
        if not self.is_attached or not self.display:
            return
        region = self.scrollable_content_region
        width, height = region.width, region.height
        if width <= 0 and not self.styles.is_auto_height:
            return
        self._head, self._rows = self.draw(self.moment, width, height)
        length = len(self._head) + len(self._rows)
        if length != self.virtual_size.height or width != self.virtual_size.width:
            self.virtual_size = Size(width, length)
            if self.styles.is_auto_height:
                self.refresh(layout=True)
        self.after_draw()
        shown = self._lines(height)
        if len(shown) != len(self._shown):
            self.refresh()
        else:
            changed = [y for y, line in enumerate(shown) if line != self._shown[y]]
            if changed:
                self.refresh(*(Region(0, y, width, 1) for y in changed))
        self._shown = shown

    @property
    def length(self) -> int:
        """The number of lines, fixed and scrolling."""
        return len(self._head) + len(self._rows)

    def lines(self) -> list[str]:
        """All lines, in sight or not, as plain text."""
        return ["".join(text for text, _ in line).rstrip() for line in (*self._head, *self._rows)]

    def after_draw(self) -> None:
        """Called when the lines are known and before they are compared: subclasses adjust the scroll offset here."""

    def on_line(self, y: int) -> int | None:
        """The index of the scrolling line that is shown on line `y` of the pane."""
        index = y - len(self._head) + self.scroll_offset.y
        return index if y >= len(self._head) and index < len(self._rows) else None

    def marked(self, index: int) -> bool:
        """True for the scrolling line that the cursor is on."""
        return False

    def _lines(self, height: int) -> list[Line]:
        """What each line of the pane shows."""
        head, rows, top = self._head, self._rows, self.scroll_offset.y
        shown: list[Line] = list(head[:height])
        for index in range(top, min(len(rows), top + height - len(shown))):
            line = rows[index]
            shown.append((("", "cursor"), *line) if self.marked(index) else line)
        return shown + [()] * (height - len(shown))

    def render_line(self, y: int) -> Strip:
        """One line as Textual paints it."""
        region = self.scrollable_content_region
        if len(self._shown) != region.height:
            self._shown = self._lines(region.height)
        width = max(0, region.width)
        line = self._shown[y] if y < len(self._shown) else ()
        marked = bool(line) and line[0] == ("", "cursor")
        segments: list[Segment] = []
        styles = self._styles_of_tones
        # Neighbours of one style become one segment: every later stage of a repaint costs by the segment.
        joined, last, length = "", None, 0
        for text, tone in line:
            if not text:
                continue
            style = styles.get((tone, marked)) or self._style(tone, marked)
            length += cells(text)
            if style is last:
                joined += text
                continue
            if last is not None:
                segments.append(Segment(joined, last))
            joined, last = text, style
        plain = self._style("plain", marked)
        if length < width:
            gap = " " * (width - length)
            if last is plain:
                joined += gap
            else:
                if last is not None:
                    segments.append(Segment(joined, last))
                joined, last = gap, plain
        if last is not None:
            segments.append(Segment(joined, last))
        # The length is known here; a strip without it would measure every segment again.
        return Strip(segments, max(length, width)).adjust_cell_length(width, plain)

    def _style(self, tone: str, marked: bool) -> Style:
        style = self._styles_of_tones.get((tone, marked))
        if style is None:
            style = self.rich_style
            if marked:
                style += self.screen.get_component_rich_style("tone--cursor", partial=True)
            style += self.screen.get_component_rich_style(f"tone--{tone}", partial=True)
            self._styles_of_tones[tone, marked] = style
        return style

    def watch_moment(self) -> None:
        """Draws the new moment."""
        self.redraw()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Forgets the shown lines, which have moved."""
        super().watch_scroll_y(old_value, new_value)
        self._shown = []

    def on_resize(self, event: events.Resize) -> None:
        """Draws for the new size."""
        self._shown = []
        self.redraw()

    def on_show(self) -> None:
        """Updates a pane that was hidden."""
        self._shown = []
        self.redraw()

    def notify_style_update(self) -> None:
        """Repaints everything in the new theme."""
        super().notify_style_update()
        self._styles_of_tones.clear()
        self._shown = []
        self.refresh()
