"""What is done to a log's clock by key and mouse: run it, hold it, step, seek."""

from __future__ import annotations

from console.source import Player
from console.tui.moment import Moment
from console.tui.screens import questions
from console.tui.screens.source_screen import SourceScreen
from console.tui.widgets.timeline import Timeline

SLOWEST, FASTEST = 0.25, 64.0
"""Bounds of a log's speed, seconds of the run a second."""
ACTIONS = ("play", "step", "speed", "go_to", "seek_start", "seek_end", "loop")
"""The actions that are here."""


class Playback(SourceScreen):
    """The part of a screen that moves the clock."""

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._looping = False

    def loop_round(self, moment: Moment) -> None:
        """Begins again where the clock has come to the end and that is wanted."""
        source = self.source
        if self._looping and isinstance(source, Player) and moment.now >= source.end:
            source.seek(source.start)
            source.playing = True

    def action_play(self) -> None:
        """Lets the clock run, from the start if it is at the end, or holds it."""
        if isinstance(self.source, Player):
            if not self.source.playing and self.source.now() >= self.source.end:
                self.source.seek(self.source.start)
            self.source.playing = not self.source.playing
            self.moved()

    def action_step(self, by: int) -> None:
        """Moves by one change of the picture."""
        if isinstance(self.source, Player):
            self.source.step(by)
            self.moved()

    def action_speed(self, factor: float) -> None:
        """Faster or slower."""
        if isinstance(self.source, Player):
            self.source.speed = max(SLOWEST, min(FASTEST, self.source.speed * factor))
            self.moved()

    def action_seek_start(self) -> None:
        """To the first record."""
        if isinstance(self.source, Player):
            self._seek(self.source.start)

    def action_seek_end(self) -> None:
        """To the last record."""
        if isinstance(self.source, Player):
            self._seek(self.source.end)

    def action_loop(self) -> None:
        """Begins again at the end, or no more."""
        self._looping = not self._looping
        self.say("The log begins again at its end." if self._looping else "The log stops at its end.")

    def action_go_to(self) -> None:
        """Asks where to."""
        self.app.push_screen(questions.go_to(self.moment), self._go)

    def _go(self, typed: str | None) -> None:
        source, place = self.source, questions.parse_place(typed or "")
        if not isinstance(source, Player) or place is None:
            return
        unit, value = place
        if unit == "e":
            source.seek(source.end)
            ends = source.run.epochs_received
            if value > len(ends):
                self.say(f"The log has {len(ends)} epochs.")
            self._seek(source.start if value < 1 or not ends else ends[min(int(value), len(ends)) - 1])
        else:
            self._seek(source.start + (value if unit == "s" else value * (source.end - source.start)))

    def on_timeline_sought(self, event: Timeline.Sought) -> None:
        """A click on the timeline."""
        self._seek(event.t)

    def _seek(self, t: float) -> None:
        if isinstance(self.source, Player):
            self.source.seek(max(self.source.start, min(self.source.end, t)))
            self.moved()
