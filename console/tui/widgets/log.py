"""The log: what all hosts print and what the console says, in the order in which it came."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar, overload

from textual.binding import Binding, BindingType

from console.state import LogLine, Run
from console.tui.ink import Ink, Line, clean, fit, right
from console.tui.moment import Moment
from console.tui.widgets.pane import Pane


class LogPane(Pane):
    """Follows the end until one scrolls up; `f` follows again. Holds its place by time while lines come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow", id="log.follow", tooltip="Show the newest lines as they come, or hold still"),
    ]

    def __init__(self, name: str, *, classes: str | None = None, node: int | None = None) -> None:
        """`node`: only this node's lines; None for all."""
        super().__init__(name, classes=classes)
        self.following = True
        self._held: float | None = None
        self._moving = False
        self._node = node

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """A row a line; only those in sight are ever drawn."""
        self.border_title = "4 Log" if self._node is None else f"Log of node {self._node}"
        self.border_subtitle = "" if self.following else "held · f follows"
        lines = lines_of(moment.run, self._node)
        if not lines:
            return (), [((" Nothing printed yet.", "dim"),)]
        return (), _Rows(lines, width, moment.run.nnodes, moment.run.started or 0.0)

    def after_draw(self) -> None:
        """Moves to the end, or to the line that was at the top when the operator stopped following."""
        lines = lines_of(self.moment.run, self._node)
        last = max(0, len(lines) - self.scrollable_content_region.height)
        at = last
        if not self.following:
            at = self.scroll_offset.y
            if self._held is not None and (at >= len(lines) or lines[at].received != self._held):
                at = bisect_left(lines, self._held, key=_received)
        if at != self.scroll_offset.y:
            self._moving = True
            self.scroll_to(y=at, animate=False, immediate=True, force=True)
            self._moving = False

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The operator's own scrolling holds the log still, or follows again at its end."""
        super().watch_scroll_y(old_value, new_value)
        if self._moving:
            return
        lines = lines_of(self.moment.run, self._node)
        place = round(new_value)
        self.following = new_value >= self.max_scroll_y
        self._held = None if self.following or place >= len(lines) else lines[place].received
        self.border_subtitle = "" if self.following else "held · f follows"

    def action_follow(self) -> None:
        """Turns following on or off."""
        self.following = not self.following
        lines = lines_of(self.moment.run, self._node)
        place = self.scroll_offset.y
        self._held = None if self.following or place >= len(lines) else lines[place].received
        self.redraw()


def lines_of(run: Run, node: int | None) -> Sequence[LogLine]:
    """The log of a node, or of all."""
    return run.log if node is None else [line for line in run.log if line.node == node]


def _received(line: LogLine) -> float:
    return line.received


class _Rows(Sequence[Line]):
    """The log's lines, drawn when asked for."""

    def __init__(self, lines: Sequence[LogLine], width: int, nnodes: int, started: float) -> None:
        self._lines, self._width, self._started = lines, width, started
        self._tag = len(str(max(0, nnodes - 1)))

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, place: int) -> Line: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Line]: ...
    def __getitem__(self, place: int | slice) -> Line | Sequence[Line]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        line = self._lines[place]
        since = int(max(0.0, line.received - self._started))
        who = "" if line.node is None else str(line.node) if line.rank is None else f"{line.node}.{line.rank}"
        tag_width = self._tag + 4
        tone = "accent" if line.stream == "console" else "warn" if line.stream == "stderr" else "plain"
        clock = f"{since // 3600}:{since // 60 % 60:02}:{since % 60:02}"
        inks: list[Ink] = [
            (f" {clock} ", "faint"),
            (right(who, tag_width) + " ", f"spark-{_colour(line.node)}" if who else "faint"),
        ]
        room = self._width - len(clock) - 2 - tag_width - 1
        return (*inks, (fit(clean(line.text), max(1, room)), tone))


def _colour(node: int | None) -> int:
    """Neighbours differ; the darkest steps of the ramp are left out."""
    return 0 if node is None else 4 + node * 3 % 6
