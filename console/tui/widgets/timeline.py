"""Where a log's clock stands, between its first and its last record."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from console import views
from console.tui.ink import Ink, Line, cells, width_of
from console.tui.moment import Moment, Playing
from console.tui.widgets.pane import Pane


class Timeline(Pane, can_focus=False):
    """One line; a click on it moves the clock."""

    class Sought(Message):
        """The operator clicked on this moment, epoch seconds."""

        def __init__(self, t: float) -> None:
            super().__init__()
            self.t = t

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """Playing or not, speed, position, and the way that is left."""
        play = moment.play
        if play is None:
            return [()], ()
        left, right_hand = _ends(moment, play)
        room = width - width_of(left) - width_of(right_hand)
        length = play.end - play.start
        share = 0.0 if length <= 0 else max(0.0, min(1.0, (moment.now - play.start) / length))
        at = round(share * (room - 1))
        if room < 4:
            return [left], ()
        track: list[Ink] = [("━" * at, "accent"), ("●", "strong"), ("─" * (room - at - 1), "faint")]
        return [(*left, *track, *right_hand)], ()

    def on_click(self, event: events.Click) -> None:
        """Moves the clock to where the track was clicked."""
        play = self.moment.play
        if play is None:
            return
        left, right_hand = _ends(self.moment, play)
        room = self.size.width - width_of(left) - width_of(right_hand)
        place = event.x - sum(cells(text) for text, _ in left)
        if room > 1 and 0 <= place < room:
            self.post_message(self.Sought(play.start + (play.end - play.start) * place / (room - 1)))


def _ends(moment: Moment, play: Playing) -> tuple[Line, Line]:
    mark = "▶" if play.playing else "‖"
    speed = f"{play.speed:g}×"
    left: Line = ((f" {mark} {speed:<5}", "accent"), (f" {views.clock(moment.now - play.start)} ", "strong"))
    return left, ((f" {views.clock(play.end - play.start)} ", "dim"),)
