"""The log: what all hosts print and what the console says, in the order in which it came."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from console.state.run import Run
from console.tui.dialogs.filter import FilterPrompt
from console.tui.draw.ink import Line, clean
from console.tui.draw.log_rows import LogRow, Rows, failure_head, places, room_for, tag_width
from console.tui.draw.moment import Moment
from console.tui.widgets.log_search import Pattern
from console.tui.widgets.pane import Pane
from console.views import filter as filters
from console.views.log import FIELDS, Entry, Row, entries, failure_lines, rows, told_backwards


def _key(key: str, action: str, name: str, tooltip: str, *, show: bool = False, shown: str | None = None) -> Binding:
    return Binding(key, action, name, show=show, id=f"log.{name.replace(' ', '_')}", tooltip=tooltip, key_display=shown)


class LogPane(Pane):
    """Follows the end until one moves up; `f` follows again. Holds its place by the lines' numbers."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("f", "follow", "follow", "Show the newest lines as they come, or hold still", show=True),
        _key("slash", "filter", "filter", "Show some: words, node=3 rank<8 stderr", show=True, shown="/"),
        _key("ctrl+f", "search", "search", "Find a regular expression", show=True),
        _key("n", "match(1)", "next", "The next line that is found"),
        _key("N,shift+n", "match(-1)", "previous", "The line before that is found", shown="N"),
        _key("enter", "open", "open", "All ranks of a folded line, or all of a long one", show=True),
        _key("e", "failure", "error", "The line of the first failure"),
        _key("y", "copy", "copy", "Copy the line to the clipboard"),
        _key("o", "page", "pager", "The run's whole log in $PAGER", show=True),
        _key("up,k", "move(-1)", "up", "The line above"),
        _key("down,j", "move(1)", "down", "The line below"),
        _key("pageup", "move(-20)", "page_up", "Twenty lines up"),
        _key("pagedown", "move(20)", "page_down", "Twenty lines down"),
        _key("home", "oldest", "oldest", "The oldest line kept"),
        _key("end", "newest", "newest", "The newest line, and follow"),
        _key("escape", "clear", "clear", "No filter and no search"),
    ]

    class Paged(Message):
        """The operator wants to read the whole log, or what passes of it."""

        def __init__(self, node: int | None, typed: str, test: Callable[[Entry], bool]) -> None:
            super().__init__()
            self.node, self.typed, self.test = node, typed, test

    def __init__(self, name: str, *, classes: str | None = None, node: int | None = None) -> None:
        """`node`: only this node's lines; None for all."""
        super().__init__(name, classes=classes)
        self.following = True
        self._node = node
        self._typed, self._test = "", filters.parse("", FIELDS)
        self._pattern: Pattern | None = None
        self._known: dict[str, bool] = {}
        self._opened: set[int] = set()
        # What was drawn last: the places, and the keys of those at the cursor and at the top.
        self._places: Sequence[LogRow] = ()
        self._at = (0, 0)
        self._top: tuple[int, int] | None = None
        self._moving = False

    # --- drawing -----------------------------------------------------------------------------------------------------

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The first failure on top, then a line a row; only those in sight are ever drawn."""
        run = moment.run
        several = any(len(node.ranks) > 1 for node in run.nodes)
        tag = tag_width(run.nnodes, run.world_size or 0, several)
        found = rows(entries(run, self._node), self._test)
        self._places = places(found, self._opened, room_for(width, tag))
        self._titles(run, found)
        head = self._failure(run, width, height)
        if not self._places:
            text = "Nothing passes the filter." if self._typed else "Nothing printed yet."
            return head, [((f" {text}", "dim"),)]
        return head, Rows(self._places, width, run.started or 0.0, tag, self._spans, several)

    def _titles(self, run: Run, found: Sequence[Row]) -> None:
        title = "4 Log" if self._node is None else f"Log of node {self._node}"
        lost = run.log_lines - len(run.log)
        says = []
        if self._typed:
            says.append(f"/{self._typed}/ {len(found)} rows")
        if self._pattern is not None:
            says.append(self._pattern.wrong or f"{self._pattern.typed}: {self._count(found)}")
        if not self.following:
            says.append("held, f follows")
        self.border_title = f"{title} · last {len(run.log):,} of {run.log_lines:,} lines" if lost > 0 else title
        self.border_subtitle = Content(clean(" · ".join(says))).markup

    def _count(self, found: Sequence[Row]) -> str:
        assert self._pattern is not None
        texts = [clean(row.first.line.text) for row in found]
        whole = self._pattern.found(texts, self._known)
        count = sum(self._known.get(text, False) for text in texts)
        if len(self._known) > 4 * len(texts) + 1000:
            self._known = {text: self._known[text] for text in texts if text in self._known}
        return f"{count} found" if whole else f"{count} found so far"

    def _spans(self, text: str) -> list[tuple[int, int]]:
        return self._pattern.spans(text) if self._pattern is not None and self._known.get(text) else []

    def _failure(self, run: Run, width: int, height: int) -> list[Line]:
        first = run.first_error
        if first is None or (self._node is not None and first.node != self._node):
            return []
        own, room = failure_lines(run), max(1, height // 3)
        if told_backwards(own):
            own = own[: room - 1]
        title = first.text if first.node is None else f"node {first.node}: {first.text}"
        return failure_head(title, own, width, room)

    def after_draw(self) -> None:
        """Moves to the end, or keeps the line at the top that was there when the operator stopped following."""
        last = max(0, len(self._places) + len(self._head) - self.scrollable_content_region.height)
        at = last if self.following or self._top is None else min(last, self._place_of(self._top))
        if at != self.scroll_offset.y:
            self._moving = True
            self.scroll_to(y=at, animate=False, immediate=True, force=True)
            self._moving = False

    def marked(self, place: int) -> bool:
        """True for the cursor's line while the pane has the focus."""
        return self.has_focus and place == self._cursor

    @property
    def _cursor(self) -> int:
        return len(self._places) - 1 if self.following else self._place_of(self._at)

    def _place_of(self, key: tuple[int, int]) -> int:
        """Where the place with this key is now, or the next that is there."""
        return min(bisect_left(self._places, key, key=_key_of), max(0, len(self._places) - 1))

    # --- moving ------------------------------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The operator's own scrolling holds the log still, or follows again at its end."""
        super().watch_scroll_y(old_value, new_value)
        if self._moving or not self._places:
            return
        top, room = round(new_value), self.scrollable_content_region.height - len(self._head)
        if new_value >= self.max_scroll_y:
            self.following, self._top = True, None
        else:
            cursor = max(top, min(top + max(1, room) - 1, self._cursor, len(self._places) - 1))
            self.following = False
            self._top, self._at = self._places[top].key, self._places[cursor].key
        self.redraw()

    def action_move(self, by: int) -> None:
        """Moves the cursor, which holds the log; past the end it follows."""
        self._go(self._cursor + by)

    def _go(self, place: int, below: int = 0) -> None:
        if not self._places:
            return
        if place >= len(self._places) and self.following:
            return
        place = max(0, min(len(self._places) - 1, place))
        room = max(1, self.scrollable_content_region.height - len(self._head))
        top = max(0, min(self.scroll_offset.y, place))
        top = max(top, min(place, place + below - room + 1))
        self.following = False
        self._at, self._top = self._places[place].key, self._places[top].key
        self.redraw()

    def action_oldest(self) -> None:
        """To the oldest line."""
        self._go(0)

    def action_newest(self) -> None:
        """To the newest line, and follows."""
        self.following, self._top = True, None
        self.redraw()

    def action_follow(self) -> None:
        """Turns following on or off."""
        if self.following:
            self._go(self._cursor)
        else:
            self.action_newest()

    def action_failure(self) -> None:
        """To the first failure's own line."""
        first = self.moment.run.first_error
        lines = failure_lines(self.moment.run)
        if first is None:
            self.notify("Nothing has failed.", timeout=3)
            return
        number = lines[0].number if lines else None
        for place, one in enumerate(self._places):
            line = one.entry.line
            if one.entry.number == number or (number is None and line.text == first.text and line.node == first.node):
                self._go(place)
                return

    def action_match(self, by: int) -> None:
        """To the next line that is found, round the end."""
        if self._pattern is None:
            self.notify("Nothing is searched for: Ctrl-F begins.", timeout=3)
            return
        count, cursor = len(self._places), self._cursor
        for step in range(1, count + 1):
            place = (cursor + by * step) % count
            if self._known.get(clean(self._places[place].entry.line.text)) and not self._places[place].begin:
                self._go(place)
                return

    def on_click(self, event: events.Click) -> None:
        """The first click chooses a line, the second opens it."""
        offset = event.get_content_offset(self)
        place = None if offset is None else self.on_line(offset.y)
        if place is not None and self._places:
            again = place == self._cursor and not self.following
            self._go(place)
            if again and event.chain > 1:
                self.action_open()

    def on_focus(self) -> None:
        """The cursor's line shows only with the focus."""
        self.redraw()

    def on_blur(self) -> None:
        """See `on_focus`."""
        self.redraw()

    # --- choosing ----------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        """Unfolds the row under the cursor, or folds it again."""
        if self._places:
            number = self._places[self._cursor].row.first.number
            self._opened ^= {number}
            self.following, self._at = False, (number, 0)
            self.redraw()
            # The opened lines are in sight too, as far as there is room.
            self._go(self._place_of((number, 0)), below=sum(one.key[0] == number for one in self._places) - 1)

    def action_filter(self) -> None:
        """Asks which lines to show."""
        example = "words · node=3 · rank<8 · stderr · text~loss · ! | ( )"
        self.app.push_screen(FilterPrompt(self._typed, example, self._filtered))

    def _filtered(self, typed: str) -> tuple[str, bool]:
        try:
            test = filters.parse(typed, FIELDS)
        except filters.Wrong as wrong:
            return str(wrong), False
        self._typed, self._test = typed.strip(), test
        self.redraw()
        return f"{len({place.key[0] for place in self._places})} rows" if typed.strip() else "", True

    def action_search(self) -> None:
        """Asks what to find."""
        typed = self._pattern.typed if self._pattern is not None else ""
        self.app.push_screen(FilterPrompt(typed, "a regular expression; n and N go on", self._searched, sign="?"))

    def _searched(self, typed: str) -> tuple[str, bool]:
        try:
            self._pattern = Pattern(typed) if typed else None
        except ValueError as wrong:
            return str(wrong), False
        self._known = {}
        self.redraw()
        if self._pattern is None:
            return "", True
        return self._pattern.wrong or f"{sum(self._known.values())} different lines", not self._pattern.wrong

    def action_clear(self) -> None:
        """Takes filter and search away; where there are none, the screen goes back."""
        if not self._typed and self._pattern is None:
            raise SkipAction
        self._typed, self._test, self._pattern = "", filters.parse("", FIELDS), None
        self.redraw()

    def action_copy(self) -> None:
        """Puts the line into the terminal's clipboard (OSC 52)."""
        if self._places:
            self.app.copy_to_clipboard(clean(self._places[self._cursor].entry.line.text))
            self.notify("The line is in the clipboard, where the terminal allows it.", timeout=3)

    def action_page(self) -> None:
        """Asks for the whole log."""
        self.post_message(self.Paged(self._node, self._typed, self._test))


def _key_of(place: LogRow) -> tuple[int, int]:
    return place.key
