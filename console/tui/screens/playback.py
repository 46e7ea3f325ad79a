"""Playback by key and mouse, of a log or of a live run's past: play, pause, step, seek."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from console.playback.source import Player
from console.tui.dialogs import questions
from console.tui.draw.moment import Moment
from console.tui.screens.source_screen import SourceScreen
from console.tui.widgets.timeline import Timeline

SLOWEST, FASTEST = 0.25, 64.0
"""Bounds of the clock's speed, seconds of the run a second."""
ACTIONS = ("play", "step", "marker", "speed", "go_to", "seek_start", "seek_end", "loop")
"""The actions that are here."""

Move = Callable[[Player], None]


class Playback(SourceScreen):
    """The part of a screen that controls playback."""

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._wanted: list[Move] = []
        """Moves that wait for the present one, where moving is slow."""
        self._moving = False

    @property
    def _player(self) -> Player | None:
        return self.source if isinstance(self.source, Player) else None

    def may_play(self, action: str) -> bool:
        """True where the action applies: at the present of a live run the clock runs by itself."""
        player = self._player
        if player is None:
            return False
        if player.present is None:
            return True
        if action == "loop":
            return False
        return action in ("step", "marker", "go_to") or player.behind_s is not None

    def _loop(self, moment: Moment) -> None:
        """Starts over at the end while looping."""
        player = self._player
        if player is not None and player.loop and player.reading is None and moment.now >= player.end:
            player.seek(player.start)
            player.playing = True

    def show_clock(self, moment: Moment) -> None:
        """Shows the timeline, marks the past as such, and starts over at the end while looping."""
        self.query_one(Timeline).display = moment.track is not None
        self.set_class(moment.play is not None and moment.play.behind_s is not None, "past")
        self._loop(moment)

    def move(self, move: Move, *, on: bool = False) -> None:
        """Moves the clock and shows the new moment; in a thread where that is slow.

        `on`: the move is relative, so it follows the moves that wait; else it replaces them.
        """
        player = self._player
        if player is None:
            return
        if not player.slow:
            move(player)
            self.moved()
            return
        if not on:
            self._wanted.clear()
        self._wanted.append(move)
        if not self._moving:
            self._moving = True
            self.run_worker(self._move_on(player), group="seek", exit_on_error=False)

    async def _move_on(self, player: Player) -> None:
        try:
            while self._wanted:
                await asyncio.to_thread(self._wanted.pop(0), player)
                self.moved()
        finally:
            self._moving = False

    def action_play(self) -> None:
        """Plays, from the start if the clock is at the end, or pauses."""
        player = self._player
        if player is not None:
            if not player.playing and player.now() >= player.end and player.reading is None:
                player.seek(player.start)
            player.playing = not player.playing
            self.moved()

    def action_step(self, by: int) -> None:
        """Moves by one step, epoch or alert."""
        self.move(lambda player: player.step(by), on=True)

    def action_marker(self, by: int) -> None:
        """To the next or the previous marker."""
        player = self._player
        if player is None:
            return
        now, markers = player.now(), player.markers
        # A playing clock has just left its marker: pressed twice, the key goes to the marker before it.
        near = 0.0 if by > 0 or not player.playing else 1.0
        aims = [marker for marker in markers if (marker.t > now if by > 0 else marker.t < now - near)]
        if not aims:
            self.say("No later marker." if by > 0 else "No earlier marker.")
            if by > 0:
                self.action_seek_end()
            return
        aim = aims[0] if by > 0 else aims[-1]
        self.seek(aim.t, hold=True)
        self.say(f"{aim.text}")

    def action_speed(self, factor: float) -> None:
        """Faster or slower."""
        player = self._player
        if player is not None:
            player.speed = max(SLOWEST, min(FASTEST, player.speed * factor))
            self.moved()

    def action_seek_start(self) -> None:
        """To the first record."""
        self.move(lambda player: player.seek(player.start))

    def action_seek_end(self) -> None:
        """To the last record, or the present."""
        self.move(lambda player: player.seek(player.end))

    def action_loop(self) -> None:
        """Toggles looping."""
        player = self._player
        if player is not None:
            player.loop = not player.loop
            self.say("Loop on." if player.loop else "Loop off.")

    def action_go_to(self) -> None:
        """Asks for a moment."""
        self.app.push_screen(questions.go_to(self.moment), self._go)

    def _go(self, typed: str | None) -> None:
        player, position = self._player, questions.parse_position(typed or "")
        if player is None or position is None:
            return
        unit, value = position
        if unit == "e":
            ends = [epoch.received_t for epoch in player.whole.epochs]
            if value > len(ends):
                self.say(f"{'The log' if player.present is None else 'The run'} has {len(ends)} epochs.")
            self.seek(player.start if value < 1 or not ends else ends[min(int(value), len(ends)) - 1])
        elif unit == "-":
            self.seek(player.end - value)
        else:
            self.seek(player.start + (value if unit == "s" else value * (player.end - player.start)))

    def on_timeline_sought(self, event: Timeline.Sought) -> None:
        """A click on the timeline."""
        self.seek(event.t)

    def seek(self, t: float, *, hold: bool = False) -> None:
        """Moves the clock to `t`; `hold`: and pauses."""

        def move(player: Player) -> None:
            if hold:
                player.playing = False
            player.seek(max(player.start, min(player.end, t)))

        self.move(move)
