"""The run's screen: header, panes and keys, over a `Source`."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import Screen

from console.budget import dollars, least_usd
from console.source import Player, Source
from console.tui import keys
from console.tui.moment import Moment, moment_of
from console.tui.screens import questions
from console.tui.screens.node import NodeScreen
from console.tui.widgets.alerts import AlertsPane, AlertStrip, strip_alert
from console.tui.widgets.closing import ClosingPanel
from console.tui.widgets.cost import CostPane
from console.tui.widgets.header import Header
from console.tui.widgets.keybar import KeyBar
from console.tui.widgets.log import LogPane
from console.tui.widgets.nodes import NodesPane
from console.tui.widgets.pane import Pane
from console.tui.widgets.progress import ProgressPane
from console.tui.widgets.tabs import NAMES, Tabs
from console.tui.widgets.timeline import Timeline

SLOWEST, FASTEST = 0.25, 64.0
"""Bounds of a log's speed, seconds of the run a second."""
ROOMY = (100, 30)
"""Columns and lines from which all panes are shown at once."""


class RunScreen(Screen[None]):
    """All panes at once where there is room for them, one at a time where not."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.RUN, *keys.PLAY, *keys.PANES]

    AUTO_FOCUS = "#nodes"

    def __init__(self, *, read_only: bool) -> None:
        super().__init__()
        self.source: Source | None = None
        """Set by the app once there is one."""
        self._read_only = read_only
        self._moment = Moment(read_only=read_only)
        self._current = 0
        self._zoomed = False
        self._looping = False
        self._composed = False
        self._put_away = False
        """The closing panel was put away."""

    def compose(self) -> ComposeResult:
        """Header, panes in two columns, keys."""
        yield Header("header")
        yield AlertStrip("strip")
        yield Timeline("timeline")
        yield ClosingPanel("closing")
        yield Tabs("tabs")
        with Horizontal(id="body"):
            with Vertical(id="left", classes="column"):
                yield NodesPane("nodes", classes="tile")
                yield LogPane("log", classes="tile")
            with Vertical(id="right", classes="column"):
                yield ProgressPane("progress", classes="tile")
                yield CostPane("cost", classes="tile")
                yield AlertsPane("alerts", classes="tile")
        yield KeyBar("keybar")

    def on_mount(self) -> None:
        """Draws what it was shown before it had anything to draw with."""
        self._composed = True
        self.show(self._moment)

    def show(self, moment: Moment) -> None:
        """Draws the moment. Called inside the app's `batch_update`."""
        before, self._moment = self._moment, moment
        if not self._composed:
            return
        run = moment.run
        if run.live:
            self._put_away = False
        closing = not run.live and not self._put_away
        self.query_one("#closing").display = closing
        # The closing panel tells the first failure itself.
        self.query_one("#strip").display = strip_alert(moment) is not None and not closing
        self.query_one("#timeline").display = moment.play is not None
        if (before.play is None) != (moment.play is None) or before.controls != moment.controls:
            self.refresh_bindings()
        for pane in self.query(Pane):
            pane.moment = moment
        self._loop_round(moment)

    def on_resize(self, event: events.Resize) -> None:
        """Chooses the layout."""
        width, height = event.size
        self.set_class(width < ROOMY[0] or height < ROOMY[1], "compact")
        self.set_class(height < 16, "tiny")
        self._arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the current one, however it came by it."""
        order = self._tiles()
        if event.widget in order:
            self._current = order.index(event.widget)
            self._arrange()
        if self.is_mounted:
            self.query_one(KeyBar).redraw()

    def _tiles(self) -> list[Pane]:
        return [self.query_one(f"#{name.lower()}", Pane) for name in NAMES]

    def _arrange(self) -> None:
        single = self.has_class("compact") or self._zoomed
        if single != self.has_class("single"):
            self.call_after_refresh(self._settle)
        self.set_class(single, "single")
        for place, tile in enumerate(self._tiles()):
            tile.set_class(place == self._current, "current")
        for column in self.query(".column"):
            column.set_class(self._tiles()[self._current] in column.children, "current")
        self.query_one(Tabs).current = self._current

    def _settle(self) -> None:
        """Draws the panes anew once they are styled for their new places: how much they say depends on it."""
        for tile in self._tiles():
            tile.redraw()
        self.refresh(layout=True)

    # --- keys ------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A log has no run keys beyond an explanation, a live run none of a log's, a read-only console none at all."""
        player = isinstance(self.source, Player)
        if action in ("control", "stop", "terminate", "budget"):
            return not self._read_only
        if action == "pause":
            return not self._read_only and not player
        if action in ("play", "step", "speed", "go_to", "seek_start", "seek_end", "loop"):
            return player
        return True

    def action_pane(self, place: int) -> None:
        """Shows a pane and gives it the focus."""
        self._current = place - 1
        self._arrange()
        tile = self._tiles()[place - 1]
        tile.focus()
        self.call_after_refresh(tile.redraw)

    def action_next_pane(self, by: int) -> None:
        """The next pane, or the one before."""
        self.action_pane((self._current + by) % len(NAMES) + 1)

    def action_zoom(self) -> None:
        """Gives the current pane all the room, or takes it back."""
        self._zoomed = not self._zoomed
        self._arrange()

    def action_back(self) -> None:
        """Puts away the closing panel, then the zoom."""
        closing = self.query_one("#closing")
        if closing.display:
            self._put_away = True
            closing.display = False
        elif self._zoomed:
            self.action_zoom()

    def on_nodes_pane_opened(self, event: NodesPane.Opened) -> None:
        """Drills into a node."""
        self.app.push_screen(NodeScreen(event.node, self._moment))

    def action_control(self, command: str) -> None:
        """Sends a command that needs no confirmation."""
        self.send(command)

    def action_pause(self) -> None:
        """Pauses a run that trains, resumes one that is paused."""
        controls = self.source.controls if self.source is not None else frozenset[str]()
        paused = self._moment.run.paused_since is not None or "pause" not in controls
        self.send("resume" if paused and "resume" in controls else "pause")

    def action_stop(self) -> None:
        """Asks, then stops."""
        self._asked("stop", lambda: questions.stop(self._moment))

    def action_terminate(self) -> None:
        """Asks for the word, then terminates."""
        self._asked("terminate", lambda: questions.terminate(self._moment))

    def action_budget(self) -> None:
        """Asks how much, then sets it."""
        if not self._allowed("budget"):
            return
        if least_usd(self._moment.run, self._moment.now) is None:
            self._say("No price is known for these hosts, so no budget can be held.")
            return
        self.app.push_screen(questions.budget(lambda: self._moment), self._have_budget)

    def _have_budget(self, typed: str | None) -> None:
        usd = dollars(typed or "")
        if usd is not None:
            self.send("budget", usd=usd)

    def _asked(self, command: str, question: questions.Asking) -> None:
        if self._allowed(command):
            self.app.push_screen(question(), lambda answer: self.send(command) if answer == command else None)

    def _allowed(self, command: str) -> bool:
        if self._read_only or self.source is None:
            self._say("There is no run yet." if self.source is None else "This console only looks on.")
            return False
        if command in self.source.controls:
            return True
        run = self._moment.run
        if isinstance(self.source, Player):
            self._say(f"This is a log: there is nothing to {command}.")
        else:
            verb = "set a budget" if command == "budget" else command
            self._say(f"Cannot {verb} now: the run is {run.status}.")
        return False

    def _say(self, sentence: str) -> None:
        self.notify(Content(sentence).markup, severity="warning", timeout=4)

    def send(self, command: str, **arguments: float) -> None:
        """Hands a command to the source; what came of it shows in the run."""
        if self._allowed(command):
            self.run_worker(self._command(command, **arguments), group="commands", exit_on_error=False)

    async def _command(self, command: str, **arguments: float) -> None:
        assert self.source is not None
        try:
            await self.source.command(command, **arguments)
        except Exception as error:  # A command that fails must not take the console with it.
            self._say(f"{command}: {error or type(error).__name__}")

    # --- a log's clock ---------------------------------------------------------------------------------------------

    def _moved(self) -> None:
        if self.source is not None:
            with self.app.batch_update():
                self.show(moment_of(self.source, read_only=self._read_only))

    def _loop_round(self, moment: Moment) -> None:
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
            self._moved()

    def action_step(self, by: int) -> None:
        """Moves by one change of the picture."""
        if isinstance(self.source, Player):
            self.source.step(by)
            self._moved()

    def action_speed(self, factor: float) -> None:
        """Faster or slower."""
        if isinstance(self.source, Player):
            self.source.speed = max(SLOWEST, min(FASTEST, self.source.speed * factor))
            self._moved()

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
        self._say("The log begins again at its end." if self._looping else "The log stops at its end.")

    def action_go_to(self) -> None:
        """Asks where to."""
        self.app.push_screen(questions.go_to(self._moment), self._go)

    def _go(self, typed: str | None) -> None:
        source, place = self.source, questions.parse_place(typed or "")
        if not isinstance(source, Player) or place is None:
            return
        unit, value = place
        if unit == "e":
            source.seek(source.end)
            ends = source.run.epochs_received
            if value > len(ends):
                self._say(f"The log has {len(ends)} epochs.")
            self._seek(source.start if value < 1 or not ends else ends[min(int(value), len(ends)) - 1])
        else:
            self._seek(source.start + (value if unit == "s" else value * (source.end - source.start)))

    def on_timeline_sought(self, event: Timeline.Sought) -> None:
        """A click on the timeline."""
        self._seek(event.t)

    def _seek(self, t: float) -> None:
        if isinstance(self.source, Player):
            self.source.seek(max(self.source.start, min(self.source.end, t)))
            self._moved()
