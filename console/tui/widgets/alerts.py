"""The first failure, the open alerts, and those that are over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from console.format import clock
from console.format import count as count_
from console.state.run import CRITICAL, INFO, WARNING, Alert, Run
from console.tui.draw.ink import Ink, Line, clean, fit, spread, width_of, wrap
from console.tui.draw.moment import Moment
from console.tui.widgets.list_pane import ListPane
from console.tui.widgets.pane import Pane
from console.views import alerts
from console.views.alerts import Group

RECENT_S = 60.0
"""How long an alert without an end stays in the strip."""
MARKS: Final = {CRITICAL: ("✗", "bad"), WARNING: ("!", "warn"), INFO: ("i", "accent")}
"""Mark and tone of a severity; they differ in shape too."""


class AlertsPane(ListPane):
    """A line a group of equal alerts; the one under the cursor in full. Enter goes to its node, `t` to its time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "cursor(-1)", "up", show=False, id="alerts.up", tooltip="Alert up"),
        Binding("down,j", "cursor(1)", "down", show=False, id="alerts.down", tooltip="Alert down"),
        Binding("enter", "open", "node", id="alerts.open", tooltip="Open the alert's node"),
        Binding("t", "moment", "time", id="alerts.moment", tooltip="Go to the time of the alert"),
        Binding("m", "mute", "mute", id="alerts.mute", tooltip="Toggle alert bell"),
    ]

    cursor: reactive[int] = reactive(0, repaint=False, init=False)

    class Chosen(Message):
        """The operator opened the alert's node, or the run at the alert's time."""

        def __init__(self, alert: Alert, *, moment: bool) -> None:
            super().__init__()
            self.alert, self.moment = alert, moment

    class Muted(Message):
        """The operator toggled the bell."""

    def __init__(self, name: str, *, classes: str | None = None) -> None:
        super().__init__(name, classes=classes)
        self._groups: Sequence[Group] = ()
        self._of_line: list[int] = []
        """For each scrolling line the index of its group."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The first failure in full, then the groups, open ones first."""
        run = moment.run
        self._groups = alerts.groups(run)
        still = alerts.open_count(run)
        self.border_title = "5 Alerts" + (
            f" · {still} open" if still else f" · {len(run.alerts)}" if run.alerts else ""
        )
        head: list[Line] = []
        if run.first_error is not None:
            who = "" if run.first_error.node is None else f"node {run.first_error.node}"
            head.append((("▌ first failure: ", "bad"), (who, "strong")))
            parts = wrap(clean(run.first_error.text), max(8, width - 3))
            head += [(("▌ ", "bad"), (part, "plain")) for part in parts[: max(1, height // 3)]]
        lines: list[Line] = []
        self._of_line = []
        for index, group in enumerate(self._groups):
            drawn = _drawn(group, moment, width, whole=self.has_focus and index == self.cursor)
            lines += drawn
            self._of_line += [index] * len(drawn)
        if not run.alerts:
            lines.append(((" No alerts.", "dim"),))
        return head, lines + _losses(run)

    def marked(self, index: int) -> bool:
        """True for the lines of the cursor's group while the pane has the focus."""
        return self.has_focus and index < len(self._of_line) and self._of_line[index] == self.cursor

    def row_at(self, x: int, line: int) -> int | None:
        """The index of the group on the line; None under the last one."""
        return self._of_line[line] if line < len(self._of_line) else None

    def has_cursor(self, row: int) -> bool:
        """True where the cursor is on the group."""
        return row == self.cursor

    def choose(self, row: int) -> None:
        """Moves the cursor to the group."""
        self.cursor = row

    def after_draw(self) -> None:
        """Keeps the cursor on an alert that is there."""
        if self.cursor >= len(self._groups):
            self.set_reactive(AlertsPane.cursor, max(0, len(self._groups) - 1))

    def action_cursor(self, by: int) -> None:
        """Moves the cursor."""
        self.cursor = max(0, min(len(self._groups) - 1, self.cursor + by))

    def watch_cursor(self) -> None:
        """Draws the cursor's group in full, and scrolls it into view."""
        self.redraw()
        own = [line for line, group in enumerate(self._of_line) if group == self.cursor]
        if own:
            self.scroll_into_view(own[0], own[-1])

    def action_open(self) -> None:
        """Opens the alert's node."""
        self._post(moment=False)

    def action_moment(self) -> None:
        """Goes to the alert's time."""
        self._post(moment=True)

    def _post(self, *, moment: bool) -> None:
        if self.cursor < len(self._groups):
            self.post_message(self.Chosen(self._groups[self.cursor].first, moment=moment))

    def action_mute(self) -> None:
        """Toggles the bell."""
        self.post_message(self.Muted())


class AlertStrip(Pane, can_focus=False):
    """One line under the header while there is an alert to show."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The failure that ended the run, else the worst open alert, else the newest while it is fresh."""
        alert = strip_alert(moment)
        if alert is None:
            return [()], ()
        run = moment.run
        first = alert is run.first_error
        text = f"{_who(alert)}: {clean(alert.text)}" if _who(alert) else clean(alert.text)
        mark, tone = MARKS.get(alert.severity, MARKS[WARNING])
        chip = " ✗ first failure  " if first else f" {mark} "
        start: Line = ((chip, f"chip-{'bad' if first else tone}"), (f" {text}", "strong"))
        still = alerts.open_count(run)
        more = f"{still} open (press 5) " if still > 1 else "press 5 "
        cut = fit(f" {text}", max(1, width - len(start[0][0]) - len(more) - 1)) if width > 60 else f" {text}"
        return [spread((start[0], (cut.rstrip(), "strong")), ((more, "dim"),), width)], ()


def strip_alert(moment: Moment) -> Alert | None:
    """The alert that the strip shows, if any."""
    run = moment.run
    if run.first_error is not None and (not run.live or _fresh(run.first_error, moment.now)):
        return run.first_error
    if not run.live:
        return None
    newest = run.alerts[-1] if run.alerts else None
    worst = next((group.first for group in alerts.groups(run) if group.open), None)
    if newest is not None and newest.cleared_t is None and _fresh(newest, moment.now):
        return worst if worst is not None and worst.severity == CRITICAL else newest
    return worst


def _fresh(alert: Alert, now: float) -> bool:
    return now - alert.received_t < RECENT_S


def _who(alert: Alert) -> str:
    return "" if alert.node is None else f"node {alert.node}"


def _drawn(group: Group, moment: Moment, width: int, *, whole: bool) -> list[Line]:
    alert, run = group.first, moment.run
    mark, tone = MARKS.get(alert.severity, MARKS[WARNING])
    at = clock(max(0.0, alert.received_t - (run.started_t or 0.0)))
    inks: list[Ink] = [(f" {mark} ", tone if group.open or not alert.id else "faint"), (f"{at} ", "faint")]
    if group.open:
        inks.append((f"for {clock(max(0.0, moment.now - alert.received_t))} ", tone))
    elif group.cleared_t is not None:
        inks.append((f"took {clock(group.cleared_t - alert.received_t)} ", "faint"))
    inks.append((f"{clean(alert.kind)} ", tone if group.open else "dim"))
    if group.about:
        inks.append((f"{group.about} ", "strong"))
    text = clean(alert.text)
    room = max(1, width - width_of(tuple(inks)))
    text_tone = "plain" if group.open or not alert.id else "dim"
    if not whole or len(text) <= room:
        return [(*inks, (fit(text, room), text_tone))]
    indent = min(4, max(0, width - 9))
    parts = wrap(text, max(8, width - indent))
    return [tuple(inks), *(((" " * indent, "plain"), (part, text_tone)) for part in parts)]


def _losses(run: Run) -> list[Line]:
    losses = [
        (run.damaged, "damaged lines skipped"),
        (run.unknown, "records of a newer version"),
        (run.dropped, "records lost on full disks"),
    ]
    return [((f" {count_(count)} {text}", "dim"),) for count, text in losses if count]
