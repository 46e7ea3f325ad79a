"""The timeline: the clock between the first and the last record, with markers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message

from console.format import clock as clock_
from console.format import count
from console.playback import markers
from console.playback.markers import Marker
from console.tui.draw.ink import Ink, Line, clean, width_of
from console.tui.draw.moment import Moment, Playing, Track
from console.tui.widgets.pane import Pane

MARKS: Final = {
    markers.EPOCH: ("┷", "┴", "plain"),
    markers.PHASE: ("╋", "┼", "strong"),
    markers.KEY: ("◆", "◆", "accent"),
    markers.STATUS: ("◆", "◆", "strong"),
    markers.RESTART: ("↻", "↻", "warn"),
    markers.ALERT: ("!", "!", "warn"),
    markers.SPOT: ("!", "!", "bad"),
}
"""For each kind of marker its sign before and after the clock, and its tone. Where several share a column, the last of
these kinds is shown."""
RANK: Final = {kind: rank for rank, kind in enumerate(MARKS)}


class Timeline(Pane, can_focus=False):
    """One line; a click or a drag moves the clock, and a marker has a tooltip."""

    class Sought(Message):
        """The operator chose this time, in epoch seconds."""

        def __init__(self, t: float) -> None:
            super().__init__()
            self.t = t

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._begin, self._room = 0, 0
        """The track's first column, and how many it has."""
        self._dragging = False

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The clock, its speed, and the track with its markers."""
        track = moment.track
        if track is None:
            return [()], ()
        left, right_hand = _ends(moment, track, width)
        self._begin, self._room = width_of(left), width - width_of(left) - width_of(right_hand)
        if self._room < 4:
            self._room = 0
            return [left], ()
        return [(*left, *_way(moment.now, track, self._room), *right_hand)], ()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Moves the clock to the mouse."""
        if event.button == 1:
            self._dragging = True
            self.capture_mouse()
            self._point(event.x)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Ends a drag."""
        self._dragging = False
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drags the clock, or sets the tooltip."""
        if self._dragging:
            self._point(event.x)
            return
        track, column = self.moment.track, event.x - self._begin
        if track is None or not 0 <= column < self._room:
            self.tooltip = None
            return
        here = [marker for marker in track.markers if _column(marker.t, track, self._room) == column]
        lines = [f"{clock_(marker.t - track.start)}  {clean(marker.text)}" for marker in here[-8:]]
        self.tooltip = Content("\n".join(lines or [clock_(_time(column, track, self._room) - track.start)]))

    def _point(self, x: int) -> None:
        track, column = self.moment.track, x - self._begin
        if track is not None and self._room and (self._dragging or 0 <= column < self._room):
            self.post_message(self.Sought(_time(max(0, min(self._room - 1, column)), track, self._room)))


def _ends(moment: Moment, track: Track, width: int) -> tuple[Line, Line]:
    clock, length = clock_(moment.now - track.start), clock_(track.end - track.start)
    right_hand: Line = ((f" {length} ", "dim"),)
    if track.reading is not None:
        right_hand = ((f" reading … {count(track.reading)} records ", "accent"),)
    play = moment.play
    if play is None:
        return ((" ● LIVE ", "good"), (f" {clock} ", "strong")), () if track.reading is None else right_hand
    runs = f"{'▶' if play.playing else '‖'} {play.speed:g}×"
    if play.behind_s is not None:
        return _behind(clock, runs, play, width), right_hand
    return ((f" {runs:<7}", "accent"), (f" {clock} ", "strong")), right_hand


def _behind(clock: str, runs: str, play: Playing, width: int) -> Line:
    """A chip marks the past at any width."""
    behind = clock_(play.behind_s)
    words = f" at {clock} · {behind} behind live · End: back to live "
    if width < 76:
        words = f" {behind} behind live "
    return ((f" {runs} ", "accent"), (words, "chip-warn"), (" ", "plain"))


def _way(now: float, track: Track, room: int) -> Line:
    at = _column(now, track, room)
    signs: dict[int, Marker] = {}
    for marker in track.markers:
        column = _column(marker.t, track, room)
        if column not in signs or RANK[marker.kind] >= RANK[signs[column].kind]:
            signs[column] = marker
    inks: list[Ink] = []
    for column in range(room):
        past = column < at
        text, tone = ("━", "accent") if past else ("─", "faint")
        if column in signs:
            before, after, tone = MARKS[signs[column].kind]
            text = before if past else after
        if column == at:
            text, tone = "●", "strong"
        if inks and inks[-1][1] == tone:
            inks[-1] = (inks[-1][0] + text, tone)
        else:
            inks.append((text, tone))
    return tuple(inks)


def _column(t: float, track: Track, room: int) -> int:
    length = track.end - track.start
    share = 0.0 if length <= 0 else max(0.0, min(1.0, (t - track.start) / length))
    return round(share * (room - 1))


def _time(column: int, track: Track, room: int) -> float:
    return track.start + (track.end - track.start) * column / max(1, room - 1)
