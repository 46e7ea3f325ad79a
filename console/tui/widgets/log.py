"""The log: what all hosts print and what the console says, in the order in which it came."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from console.state.run import Run
from console.tui.dialogs.filter import FilterPrompt
from console.tui.draw.ink import Line, clean
from console.tui.draw.log_rows import LogRow, Rows, failure_head, log_rows, room_for, tag_width
from console.tui.draw.moment import Moment
from console.tui.widgets.list_pane import FilteredPane
from console.tui.widgets.log_search import Pattern
from console.views.log import FIELDS, Entry, Row, entries, failure_lines, rows, told_backwards


def _key(key: str, action: str, name: str, tooltip: str, *, show: bool = False, shown: str | None = None) -> Binding:
    return Binding(key, action, name, show=show, id=f"log.{name.replace(' ', '_')}", tooltip=tooltip, key_display=shown)


class LogPane(FilteredPane[Entry]):
    """Follows the end until the operator moves up; `f` follows again. Held still, it keeps its position by the lines'
    numbers, since lines are dropped at the beginning and folded in the middle."""

    EXAMPLE = "words · node=3 · rank<8 · stderr · text~loss · ! | ( )"
    BINDINGS: ClassVar[list[BindingType]] = [
        _key("f", "follow", "follow", "Follow the newest lines, or hold still", show=True),
        _key("slash", "filter", "filter", "Filter: words, node=3 rank<8 stderr", show=True, shown="/"),
        _key("ctrl+f", "search", "search", "Search by regular expression", show=True),
        _key("n", "match(1)", "next", "Next match"),
        _key("N,shift+n", "match(-1)", "previous", "Previous match", shown="N"),
        _key("enter", "open", "open", "Expand a folded or long line", show=True),
        _key("e", "failure", "error", "Go to the first failure"),
        _key("y", "copy", "copy", "Copy the line"),
        _key("o", "page", "pager", "Open the whole log in $PAGER", show=True),
        _key("up,k", "move(-1)", "up", "Line up"),
        _key("down,j", "move(1)", "down", "Line down"),
        _key("pageup", "move(-20)", "page_up", "20 lines up"),
        _key("pagedown", "move(20)", "page_down", "20 lines down"),
        _key("home", "oldest", "oldest", "First line kept"),
        _key("end", "newest", "newest", "Last line, and follow"),
        _key("escape", "clear", "clear", "Clear filter and search"),
    ]

    class Paged(Message):
        """The operator asked for the whole log, as far as it passes the filter."""

        def __init__(self, node: int | None, typed: str, test: Callable[[Entry], bool]) -> None:
            super().__init__()
            self.node, self.typed, self.test = node, typed, test

    def __init__(self, name: str, *, classes: str | None = None, node: int | None = None) -> None:
        """`node`: only this node's lines; None for all."""
        super().__init__(name, FIELDS, classes=classes)
        self.following = True
        self._node = node
        self._pattern: Pattern | None = None
        self._known: dict[str, bool] = {}
        self._opened: set[int] = set()
        # What was drawn last: the rows, and the keys of those at the cursor and at the top.
        self._log_rows: Sequence[LogRow] = ()
        self._at = (0, 0)
        self._top: tuple[int, int] | None = None
        self._moving = False

    # --- drawing -----------------------------------------------------------------------------------------------------

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The first failure on top, then a line a row; only rows in sight are ever drawn."""
        run = moment.run
        several = any(len(node.ranks) > 1 for node in run.nodes)
        tag = tag_width(run.nnodes, run.world_size or 0, several)
        found = rows(entries(run, self._node), self.test)
        self._log_rows = log_rows(found, self._opened, room_for(width, tag))
        self._set_titles(run, found)
        head = self._failure(run, width, height)
        if not self._log_rows:
            text = "No line matches the filter." if self.typed else "No output yet."
            return head, [((f" {text}", "dim"),)]
        return head, Rows(self._log_rows, width, run.started_t or 0.0, tag, self._spans, several)

    def _set_titles(self, run: Run, found: Sequence[Row]) -> None:
        title = "4 Log" if self._node is None else f"Log of node {self._node}"
        lost = run.log_lines - len(run.log)
        notes = []
        if self.typed:
            notes.append(f"/{self.typed}/ {len(found)} rows")
        if self._pattern is not None:
            notes.append(self._pattern.wrong or f"{self._pattern.typed}: {self._count(found)}")
        if not self.following:
            notes.append("paused, f to follow")
        self.border_title = f"{title} · last {len(run.log):,} of {run.log_lines:,} lines" if lost > 0 else title
        self.border_subtitle = Content(clean(" · ".join(notes))).markup

    def _count(self, found: Sequence[Row]) -> str:
        assert self._pattern is not None
        texts = [clean(row.first.line.text) for row in found]
        whole = self._pattern.found(texts, self._known)
        count = sum(self._known.get(text, False) for text in texts)
        if len(self._known) > 4 * len(texts) + 1000:
            self._known = {text: self._known[text] for text in texts if text in self._known}
        return f"{_matches(count)}" if whole else f"{_matches(count)} so far"

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
        """Scrolls to the end, or keeps the top line that was there when the operator stopped following."""
        last = max(0, len(self._log_rows) + len(self._head) - self.scrollable_content_region.height)
        at = last if self.following or self._top is None else min(last, self._index_of(self._top))
        if at != self.scroll_offset.y:
            self._moving = True
            self.scroll_to(y=at, animate=False, immediate=True, force=True)
            self._moving = False

    def marked(self, index: int) -> bool:
        """True for the cursor's line while the pane has the focus."""
        return self.has_focus and index == self._cursor

    @property
    def _cursor(self) -> int:
        return len(self._log_rows) - 1 if self.following else self._index_of(self._at)

    def _index_of(self, key: tuple[int, int]) -> int:
        """The index of the row with this key, or of the next one where that row is gone."""
        return min(bisect_left(self._log_rows, key, key=_key_of), max(0, len(self._log_rows) - 1))

    # --- moving ------------------------------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The operator's own scrolling stops following; scrolling to the end follows again."""
        super().watch_scroll_y(old_value, new_value)
        if self._moving or not self._log_rows:
            return
        top, room = round(new_value), self.scrollable_content_region.height - len(self._head)
        if new_value >= self.max_scroll_y:
            self.following, self._top = True, None
        else:
            cursor = max(top, min(top + max(1, room) - 1, self._cursor, len(self._log_rows) - 1))
            self.following = False
            self._top, self._at = self._log_rows[top].key, self._log_rows[cursor].key
        self.redraw()

    def action_move(self, by: int) -> None:
        """Moves the cursor, which stops following."""
        self.choose(self._cursor + by)

    def has_cursor(self, row: int) -> bool:
        """True for the cursor's row, except while following: the cursor is then at the end by itself."""
        return row == self._cursor and not self.following

    def choose(self, row: int, below: int = 0) -> None:
        """Moves the cursor to the row, and scrolls it into view with as many of the `below` rows as fit."""
        if not self._log_rows or (row >= len(self._log_rows) and self.following):
            return
        row = max(0, min(len(self._log_rows) - 1, row))
        top = self.top_for(row, row + below)
        self.following = False
        self._at, self._top = self._log_rows[row].key, self._log_rows[top].key
        self.redraw()

    def action_oldest(self) -> None:
        """To the oldest line."""
        self.choose(0)

    def action_newest(self) -> None:
        """To the newest line, and follows."""
        self.following, self._top = True, None
        self.redraw()

    def action_follow(self) -> None:
        """Turns following on or off."""
        if self.following:
            self.choose(self._cursor)
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
        for index, row in enumerate(self._log_rows):
            line = row.entry.line
            if row.entry.number == number or (number is None and line.text == first.text and line.node == first.node):
                self.choose(index)
                return

    def action_match(self, by: int) -> None:
        """To the next match; after the last one comes the first."""
        if self._pattern is None:
            self.notify("No search yet; press Ctrl-F.", timeout=3)
            return
        count, cursor = len(self._log_rows), self._cursor
        for step in range(1, count + 1):
            index = (cursor + by * step) % count
            row = self._log_rows[index]
            if self._known.get(clean(row.entry.line.text)) and not row.begin:
                self.choose(index)
                return

    # --- choosing ----------------------------------------------------------------------------------------------------

    def action_open(self) -> None:
        """Expands the row under the cursor, or folds it again."""
        if self._log_rows:
            number = self._log_rows[self._cursor].row.first.number
            self._opened ^= {number}
            self.following, self._at = False, (number, 0)
            self.redraw()
            # The expanded lines are in sight too, as far as there is room.
            self.choose(self._index_of((number, 0)), below=sum(row.key[0] == number for row in self._log_rows) - 1)

    def count_found(self) -> str:
        """How many rows pass the filter; nothing without one."""
        return f"{len({row.key[0] for row in self._log_rows})} rows" if self.typed else ""

    def action_search(self) -> None:
        """Asks for a pattern."""
        typed = self._pattern.typed if self._pattern is not None else ""
        example = "a regular expression; n next match, N previous"
        self.app.push_screen(FilterPrompt(typed, example, self._search, sign="?"))

    def _search(self, typed: str) -> tuple[str, bool]:
        try:
            self._pattern = Pattern(typed) if typed else None
        except ValueError as wrong:
            return str(wrong), False
        self._known = {}
        self.redraw()
        if self._pattern is None:
            return "", True
        return self._pattern.wrong or f"{sum(self._known.values())} distinct lines", not self._pattern.wrong

    def action_clear(self) -> None:
        """Clears filter and search; where there are none, the key is the screen's."""
        if not self.typed and self._pattern is None:
            raise SkipAction
        self._pattern = None
        self.apply_filter("")

    def action_copy(self) -> None:
        """Copies the line to the terminal's clipboard (OSC 52)."""
        if self._log_rows:
            self.app.copy_to_clipboard(clean(self._log_rows[self._cursor].entry.line.text))
            self.notify("Line copied, if the terminal supports OSC 52.", timeout=3)

    def action_page(self) -> None:
        """Asks for the whole log."""
        self.post_message(self.Paged(self._node, self.typed, self.test))


def _key_of(row: LogRow) -> tuple[int, int]:
    return row.key


def _matches(count: int) -> str:
    return "1 match" if count == 1 else f"{count} matches"
