"""The panes in columns: who stands where, how wide and how high, and a mouse that drags the borders between them."""

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
"""Shares of the columns before anybody has moved a border."""
WIDE: Final = 180
"""Columns of the terminal from which there are three columns of panes."""
AS_NEEDED: Final = {"nodes": (6, 0.7), "cost": (5, 1.0), "alerts": (3, 0.3)}
"""Panes as high as what they say: the fewest lines, and the most as a share of their column. Others fill up."""
LEAST_LINES: Final = 3
LEAST_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Plan:
    """How the panes are to stand."""

    widths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """For ``two`` and ``three`` columns their shares of the width."""
    heights: Mapping[str, float] = field(default_factory=dict)
    """For panes that were given one, their share of the column's height."""

    def shares(self, columns: int) -> tuple[float, ...]:
        """The columns' shares of the width, which are 1 together."""
        name = "three" if columns == 3 else "two"
        shares = self.widths.get(name, ())
        if len(shares) != len(WIDTHS[name]) or sum(shares) <= 0:
            shares = WIDTHS[name]
        return tuple(share / sum(shares) for share in shares)


class PaneColumns(Container):
    """Holds the panes; all that are displayed stand in columns, a single one has all the room."""

    class Moved(Message):
        """A border was dragged."""

    def __init__(self, *panes: Pane) -> None:
        super().__init__(*panes, id="body")
        self.plan = Plan()
        self._columns = _ColumnsLayout()
        self.columns: list[list[Widget]] = []
        """As they were arranged last."""
        self.regions: dict[Widget, Region] = {}
        self._dragged: tuple[str, int] | tuple[str, Widget] | None = None

    @property
    def layout(self) -> Layout:
        """Ours: the stylesheet knows only Textual's own."""
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
        # What is left must not be less than a pane can show anything in: the highest gives way.
        while (left := height - sum(one or 0 for one in wanted)) < LEAST_LINES * 2 * open_:
            highest = max(range(len(wanted)), key=lambda place: wanted[place] or 0)
            if (wanted[highest] or 0) <= LEAST_LINES:
                break
            wanted[highest] = (wanted[highest] or 0) - 1
        heights = [max(0, left // open_) if one is None else one for one in wanted]
        heights[max(place for place, one in enumerate(wanted) if one is None)] += max(0, height - sum(heights))
        return heights

    def room(self, child: Widget) -> int:
        """How high the child may become, in lines, if it says more than it does now."""
        name = child.id or ""
        if name in self.plan.heights or name not in AS_NEEDED:
            return self.regions[child].height if child in self.regions else 0
        return int(AS_NEEDED[name][1] * self.size.height)

    def rearrange(self) -> None:
        """The plan is another: everything is placed anew."""
        # A child's refresh makes its parent forget how it was arranged; the parent's own does not.
        for child in self.children:
            child.refresh(layout=True)

    # --- moving the borders ------------------------------------------------------------------------------------------

    def widen(self, child: Widget, by: float) -> bool:
        """Gives the child's column more of the width, or less; False where there is only one column."""
        place = next((place for place, column in enumerate(self.columns) if child in column), None)
        if place is None or len(self.columns) < 2:
            return False
        last = place == len(self.columns) - 1
        self._move_border(place - 1 if last else place, -by if last else by)
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
        shown = [place for place, names in enumerate(scheme) if any(child.id in names for child in self.regions)]
        shares = list(self.plan.shares(len(scheme)))
        left, right = shown[border], shown[border + 1]
        both = shares[left] + shares[right]
        shares[left] = max(LEAST_SHARE, min(both - LEAST_SHARE, shares[left] + by))
        shares[right] = both - shares[left]
        name = "three" if len(scheme) == 3 else "two"
        self.plan = replace(self.plan, widths={**self.plan.widths, name: tuple(shares)})
        self.rearrange()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Takes hold of the border that is under the mouse."""
        x, y = event.screen_x - self.region.x, event.screen_y - self.region.y
        for place, column in enumerate(self.columns):
            region = self.regions[column[0]]
            if place < len(self.columns) - 1 and x in (region.right - 1, region.right):
                self._dragged = "column", place
            for child in column[:-1]:
                region = self.regions[child]
                if region.x < x < region.right - 1 and y in (region.bottom - 1, region.bottom):
                    self._dragged = "row", child
        if self._dragged is not None:
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drags the border along."""
        x, y = event.screen_x - self.region.x, event.screen_y - self.region.y
        match self._dragged:
            case "column", int(border):
                right = self.regions[self.columns[border][0]].right
                self._move_border(border, (x + 1 - right) / max(1, self.size.width))
            case "row", Widget() as child:
                self._set_height(child, (y + 1 - self.regions[child].y) / max(1, self.size.height))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Lets go of it."""
        if self._dragged is not None:
            self._dragged = None
            self.release_mouse()
            self.post_message(self.Moved())


class _ColumnsLayout(Layout):
    """Places a `PaneColumns`'s children where it says."""

    name = "columns"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        body = cast(PaneColumns, parent)
        return [
            WidgetPlacement(region, NULL_OFFSET, NULL_SPACING, child)
            for child, region in body.arrange_panes(children, size).items()
        ]
