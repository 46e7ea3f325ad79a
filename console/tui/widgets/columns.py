"""The panes in columns: their order, widths and heights, and borders that the mouse drags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from textual import events
from textual.containers import Container
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.widget import Widget

from console.tui.widgets.pane import Pane

TWO: Final = (("nodes", "log"), ("progress", "cost", "alerts"))
THREE: Final = (("nodes", "alerts"), ("progress", "cost"), ("log",))
WIDTHS: Final = {"two": (0.62, 0.38), "three": (0.38, 0.34, 0.28)}
"""Default shares of the columns."""
WIDE: Final = 180
"""Terminal width from which there are three columns of panes."""
AS_NEEDED: Final = {"nodes": (6, 0.7), "cost": (5, 1.0), "alerts": (3, 0.3)}
"""Panes as high as their content: at least so many lines, at most such a share of their column. Others fill up."""
LEAST_LINES: Final = 3
LEAST_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Plan:
    """The wanted widths and heights."""

    widths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Shares of the width, for ``two`` and for ``three`` columns."""
    heights: Mapping[str, float] = field(default_factory=dict)
    """Shares of the column's height, for panes whose height was set."""

    def shares(self, columns: int) -> tuple[float, ...]:
        """The columns' shares of the width; their sum is 1."""
        name = "three" if columns == 3 else "two"
        shares = self.widths.get(name, ())
        if len(shares) != len(WIDTHS[name]) or sum(shares) <= 0:
            shares = WIDTHS[name]
        return tuple(share / sum(shares) for share in shares)


class PaneColumns(Container):
    """Arranges the displayed panes in columns; a single pane has all the room."""

    class Moved(Message):
        """A border was dragged."""

    def __init__(self, *panes: Pane) -> None:
        super().__init__(*panes, id="body")
        self.plan = Plan()
        self._columns = _ColumnsLayout()
        self.columns: list[list[Widget]] = []
        """The latest arrangement."""
        self.regions: dict[Widget, Region] = {}
        self._dragged: tuple[str, int] | tuple[str, Widget] | None = None

    @property
    def layout(self) -> Layout:
        """Our own layout: a stylesheet can name Textual's alone."""
        return self._columns

    def arrange_panes(self, children: Sequence[Widget], size: Size) -> dict[Widget, Region]:
        """The region of each child."""
        scheme = THREE if size.width >= WIDE else TWO
        shares = self.plan.shares(len(scheme))
        there = {child.id: child for child in children}
        columns = [[there[name] for name in names if name in there] for names in scheme]
        kept = [(column, share) for column, share in zip(columns, shares, strict=True) if column]
        self.columns = [column for column, _ in kept]
        self.regions = {}
        whole = sum(share for _, share in kept)
        x, before = 0, 0.0
        for column, share in kept:
            before += share
            right = round(size.width * before / whole)
            y = 0
            for child, height in zip(column, self._heights(column, size.height), strict=True):
                self.regions[child] = Region(x, y, right - x, height)
                y += height
            x = right
        return self.regions

    def _heights(self, column: Sequence[Widget], height: int) -> list[int]:
        wanted: list[int | None] = []
        for child in column:
            name = child.id or ""
            share = self.plan.heights.get(name)
            if len(column) == 1:
                wanted.append(None)
            elif share is not None:
                wanted.append(max(LEAST_LINES, round(share * height)))
            elif name in AS_NEEDED:
                least, most = AS_NEEDED[name]
                needs = cast(Pane, child).length + child.gutter.height
                wanted.append(min(max(least, needs), max(LEAST_LINES, int(most * height))))
            else:
                wanted.append(None)
        if None not in wanted:
            wanted[-1] = None
        open_ = wanted.count(None)
        # The rest must be high enough for a pane to show anything: the highest pane gives way.
        while (left := height - sum(lines or 0 for lines in wanted)) < LEAST_LINES * 2 * open_:
            highest = max(range(len(wanted)), key=lambda index: wanted[index] or 0)
            if (wanted[highest] or 0) <= LEAST_LINES:
                break
            wanted[highest] = (wanted[highest] or 0) - 1
        heights = [max(0, left // open_) if lines is None else lines for lines in wanted]
        heights[max(index for index, lines in enumerate(wanted) if lines is None)] += max(0, height - sum(heights))
        return heights

    def room(self, child: Widget) -> int:
        """How high the child may become, in lines, if its content grows."""
        name = child.id or ""
        if name in self.plan.heights or name not in AS_NEEDED:
            return self.regions[child].height if child in self.regions else 0
        return int(AS_NEEDED[name][1] * self.size.height)

    def rearrange(self) -> None:
        """Arranges the panes after the plan has changed."""
        # Only a child's refresh invalidates its parent's cached arrangement; the parent's own does not.
        for child in self.children:
            child.refresh(layout=True)

    # --- moving the borders ------------------------------------------------------------------------------------------

    def widen(self, child: Widget, by: float) -> bool:
        """Gives the child's column more of the width, or less; False where there is only one column."""
        index = next((index for index, column in enumerate(self.columns) if child in column), None)
        if index is None or len(self.columns) < 2:
            return False
        last = index == len(self.columns) - 1
        self._move_border(index - 1 if last else index, -by if last else by)
        return True

    def heighten(self, child: Widget, by: float) -> bool:
        """Gives the child more of its column's height, or less; False where it is alone there."""
        column = next((column for column in self.columns if child in column), [])
        if len(column) < 2 or not self.size.height:
            return False
        share = self.regions[child].height / self.size.height + by
        self._set_height(child, share)
        return True

    def _set_height(self, child: Widget, share: float) -> None:
        heights = {**self.plan.heights, child.id or "": max(0.1, min(0.85, share))}
        self.plan = replace(self.plan, heights=heights)
        self.rearrange()

    def _move_border(self, border: int, by: float) -> None:
        scheme = THREE if self.size.width >= WIDE else TWO
        shown = [index for index, names in enumerate(scheme) if any(child.id in names for child in self.regions)]
        shares = list(self.plan.shares(len(scheme)))
        left, right = shown[border], shown[border + 1]
        both = shares[left] + shares[right]
        shares[left] = max(LEAST_SHARE, min(both - LEAST_SHARE, shares[left] + by))
        shares[right] = both - shares[left]
        name = "three" if len(scheme) == 3 else "two"
        self.plan = replace(self.plan, widths={**self.plan.widths, name: tuple(shares)})
        self.rearrange()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Starts dragging the border under the mouse."""
        x, y = event.screen_x - self.region.x, event.screen_y - self.region.y
        for index, column in enumerate(self.columns):
            region = self.regions[column[0]]
            if index < len(self.columns) - 1 and x in (region.right - 1, region.right):
                self._dragged = "column", index
            for child in column[:-1]:
                region = self.regions[child]
                if region.x < x < region.right - 1 and y in (region.bottom - 1, region.bottom):
                    self._dragged = "row", child
        if self._dragged is not None:
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drags the border."""
        x, y = event.screen_x - self.region.x, event.screen_y - self.region.y
        match self._dragged:
            case "column", int(border):
                right = self.regions[self.columns[border][0]].right
                self._move_border(border, (x + 1 - right) / max(1, self.size.width))
            case "row", Widget() as child:
                self._set_height(child, (y + 1 - self.regions[child].y) / max(1, self.size.height))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Ends the drag."""
        if self._dragged is not None:
            self._dragged = None
            self.release_mouse()
            self.post_message(self.Moved())


class _ColumnsLayout(Layout):
    """Places the children of a `PaneColumns`."""

    name = "columns"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        body = cast(PaneColumns, parent)
        return [
            WidgetPlacement(region, NULL_OFFSET, NULL_SPACING, child)
            for child, region in body.arrange_panes(children, size).items()
        ]
