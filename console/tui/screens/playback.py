"""What is done to the clock by key and mouse: run it, hold it, step, seek; that of a log or of a live run's past."""

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
    """The part of a screen that moves the clock."""

    def __init__(self, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._wanted: list[Move] = []
        """The moves that are to be made next, where one takes its time."""
        self._moving = False

    @property
    def _player(self) -> Player | None:
        return self.source if isinstance(self.source, Player) else None

    def may_play(self, action: str) -> bool:
        """True where the action on the clock makes sense: at the present of a live run the clock runs by itself."""
        player = self._player
        if player is None:
            return False
        if player.present is None:
            return True
        if action == "loop":
            return False
        return action in ("step", "marker", "go_to") or player.behind_s is not None

    def _loop_round(self, moment: Moment) -> None:
        """Begins again where the clock has come to the end and that is wanted."""
        player = self._player
        if player is not None and player.loop and player.reading is None and moment.now >= player.end:
            player.seek(player.start)
            player.playing = True

    def show_clock(self, moment: Moment) -> None:
        """Shows where the clock is and marks the past as such; begins again where the log is at its end."""
        self.query_one(Timeline).display = moment.track is not None
        self.set_class(moment.play is not None and moment.play.behind_s is not None, "past")
        self._loop_round(moment)

    def move(self, move: Move, *, on: bool = False) -> None:
        """Moves the clock and shows it; in a thread where that takes its time.

        `on`: it moves on from where the clock will be; else whatever still waited to be done before it is left out.
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
        """Lets the clock run, from the start if it is at the end, or holds it."""
        player = self._player
        if player is not None:
            if not player.playing and player.now() >= player.end and player.reading is None:
                player.seek(player.start)
            player.playing = not player.playing
            self.moved()

    def action_step(self, by: int) -> None:
        """Moves by one change of the picture."""
        self.move(lambda player: player.step(by), on=True)

    def action_marker(self, by: int) -> None:
        """To the next marker, or the one before."""
        player = self._player
        if player is None:
            return
        now, markers = player.now(), player.markers
        # A clock that has just left a marker is still at it: who goes back twice wants the one before.
        near = 0.0 if by > 0 or not player.playing else 1.0
        aims = [one for one in markers if (one.t > now if by > 0 else one.t < now - near)]
        if not aims:
            self.say("There is no marker after this." if by > 0 else "There is no marker before this.")
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
        """Begins again at the end, or no more."""
        player = self._player
        if player is not None:
            player.loop = not player.loop
            self.say("The log begins again at its end." if player.loop else "The log stops at its end.")

    def action_go_to(self) -> None:
        """Asks where to."""
        self.app.push_screen(questions.go_to(self.moment), self._go)

    def _go(self, typed: str | None) -> None:
        player, place = self._player, questions.parse_place(typed or "")
        if player is None or place is None:
            return
        unit, value = place
        if unit == "e":
            ends = player.whole.epochs_received
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
        """Moves the clock to `t`; `hold`: and stops it there."""

        def move(player: Player) -> None:
            if hold:
                player.playing = False
            player.seek(max(player.start, min(player.end, t)))

        self.move(move)
