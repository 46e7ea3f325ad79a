"""How far the run is: bars, figures, race, time left and curves; before training, the launch's stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from console.compare.curves import AXES
from console.tui.draw import chart, figures, plots
from console.tui.draw.ink import Line, clean
from console.tui.draw.moment import Moment
from console.tui.draw.plots import OVERVIEW, Area, Look
from console.tui.widgets.pane import Pane

_SMALLEST = 20
"""At the highest zoom the plot shows one part in two to the power of this."""


class ProgressPane(Pane):
    """Bars, figures and curves; holds the view of the curves, not their data."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "view(1)", "curve", id="progress.view", tooltip="Next curve: loss, accuracy, img/s, lr, …"),
        Binding(
            "V,shift+v",
            "view(-1)",
            "previous curve",
            show=False,
            key_display="V",
            id="progress.view_back",
            tooltip="Previous curve",
        ),
        Binding("a", "axis", "axis", id="progress.axis", tooltip="X axis: time, steps or epochs"),
        Binding("y", "log", "log scale", show=False, id="progress.log", tooltip="Toggle log scale"),
        Binding("left", "cross(-1)", "left", show=False, id="progress.left", tooltip="Crosshair left"),
        Binding("right", "cross(1)", "right", show=False, id="progress.right", tooltip="Crosshair right"),
        Binding("up", "magnify(0.5)", "zoom in", show=False, id="progress.in", tooltip="Zoom in"),
        Binding("down", "magnify(2.0)", "zoom out", show=False, id="progress.out", tooltip="Zoom out"),
        Binding("shift+left", "pan(-0.25)", "pan", show=False, id="progress.pan_back", tooltip="Pan left"),
        Binding("shift+right", "pan(0.25)", "pan", show=False, id="progress.pan_on", tooltip="Pan right"),
        Binding("0", "whole", "whole", show=False, id="progress.whole", tooltip="Reset zoom and crosshair"),
        Binding("o", "compare", "compare", id="progress.compare", tooltip="Compare with past runs"),
        Binding(
            "G,shift+g",
            "ghost",
            "ghost",
            key_display="G",
            id="progress.ghost",
            tooltip="Next ghost: the record, a compared run, or none",
        ),
    ]

    class Comparing(Message):
        """The operator asked for the runs to compare with."""

    class Racing(Message):
        """The operator asked for the next ghost."""

    def __init__(self, name: str, *, classes: str | None = None) -> None:
        super().__init__(name, classes=classes)
        self.look = Look()
        self._areas: list[Area] = []

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The launch's stages until the first step, then figures above the curves."""
        run = moment.run
        self.border_title = "2 Progress"
        self.border_subtitle = clean(moment.compared.loading) or None
        inner = width - 2
        self._areas = []
        if run.training is None and not run.epochs and not len(run.points):
            lines = figures.launch(run, moment, inner)
        else:
            lines = figures.figures(moment, inner)
            alone = self.screen.has_class("single")
            drawn, areas = plots.draw(moment, self.look, inner, height - len(lines), alone=alone)
            self._areas = [replace(area, left=area.left + 1, top=area.top + len(lines)) for area in areas]
            lines = [*lines, *drawn]
        return (), [((" ", "plain"), *line) for line in lines]

    # --- the view -----------------------------------------------------------------------------------------

    def _axis(self) -> str:
        return plots.axis_of(self.moment, self.look)

    def _span(self) -> tuple[float, float]:
        return self.look.span or plots.whole_span(self.moment, self._axis())

    def _see(self, look: Look) -> None:
        if look != self.look:
            self.look = look
            self.redraw()

    def action_view(self, by: int) -> None:
        """Shows the next or the previous curve."""
        known = plots.views_of(self.moment)
        at = known.index(self.look.view) if self.look.view in known else 0
        self._see(replace(self.look, view=known[(at + by) % len(known)] if known else OVERVIEW))

    def action_axis(self) -> None:
        """Changes the axis; zoom and crosshair belong to the old one, and are reset."""
        at = AXES.index(self._axis())
        order = [*AXES[at + 1 :], *AXES[: at + 1]]
        axis = next(name for name in order if plots.axis_of(self.moment, Look(axis=name)) == name)
        self._see(replace(self.look, axis=axis, span=None, cross=None))

    def action_log(self) -> None:
        """Toggles the log scale of loss and learning rate."""
        self._see(replace(self.look, log=not self.look.log))

    def action_cross(self, by: int) -> None:
        """Moves the crosshair by cells; it appears at the newest point."""
        if not self._areas:
            return
        (low, high), columns = self._span(), self._areas[0].columns
        cross = self.look.cross
        if cross is None:
            cross = self._newest(low, high)
        else:
            cross = min(high, max(low, cross + by * (high - low) / max(1, columns)))
        self._see(replace(self.look, cross=cross))

    def _newest(self, low: float, high: float) -> float:
        extent = plots.own_extent(self.moment, self._axis())
        return high if extent is None else min(high, max(low, extent[1]))

    def action_magnify(self, factor: float) -> None:
        """Zooms around the crosshair, or around the newest point."""
        self._magnify(factor, self.look.cross)

    def _magnify(self, factor: float, about: float | None) -> None:
        if not self._areas:
            return
        low, high = self._span()
        whole = plots.whole_span(self.moment, self._axis())
        about = self._newest(low, high) if about is None else min(high, max(low, about))
        least = (whole[1] - whole[0]) / 2**_SMALLEST
        span = about - max(least, (about - low) * factor), about + max(least, (high - about) * factor)
        span = max(whole[0], span[0]), min(whole[1], span[1])
        self._see(replace(self.look, span=None if span == whole else span))

    def action_pan(self, by: float) -> None:
        """Pans by a share of the width."""
        if self.look.span is None:
            return
        (low, high), whole = self.look.span, plots.whole_span(self.moment, self._axis())
        far = min(max((high - low) * by, whole[0] - low), whole[1] - high)
        cross = self.look.cross
        self._see(replace(self.look, span=(low + far, high + far), cross=None if cross is None else cross + far))

    def action_whole(self) -> None:
        """Resets zoom and crosshair."""
        self._see(replace(self.look, span=None, cross=None))

    def action_compare(self) -> None:
        """Asks which runs to compare with."""
        self.post_message(self.Comparing())

    def action_ghost(self) -> None:
        """Asks for another ghost."""
        self.post_message(self.Racing())

    # --- the mouse -------------------------------------------------------------------------------------------------

    def _at(self, event: events.MouseEvent) -> float | None:
        """The x value under the mouse; None beside the plots."""
        offset = event.get_content_offset(self)
        if offset is None:
            return None
        for area in self._areas:
            column, row = offset.x - area.left, offset.y + self.scroll_offset.y - area.top
            if 0 <= column < area.columns and 0 <= row < area.rows:
                return chart.x_at(column, area.columns, self._span())
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Moves the crosshair with the mouse."""
        at = self._at(event)
        if at is not None:
            self._see(replace(self.look, cross=at))

    def on_leave(self, event: events.Leave) -> None:
        """Removes the crosshair."""
        if not self.has_focus:
            self._see(replace(self.look, cross=None))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zooms in around the mouse."""
        self._wheel(event, 0.8)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zooms out around the mouse."""
        self._wheel(event, 1.25)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        at = self._at(event)
        if at is not None:
            event.stop()
            event.prevent_default()
            self._magnify(factor, at)
