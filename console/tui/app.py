"""The console's screen as a Textual app: paints first, then gets its source, then repaints from it twice a second."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar, cast

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.screen import Screen

from console.config import Config, ConfigError
from console.playback.source import Player, Source, present_run
from console.tui import keys
from console.tui.dialogs.help import HelpScreen
from console.tui.draw.moment import Moment, moment_of, same
from console.tui.gc_pacing import GcPacer
from console.tui.pager import page
from console.tui.palette import Actions
from console.tui.quitting import Quitting
from console.tui.screens.node import NodeScreen
from console.tui.screens.run import RunScreen
from console.tui.terminal import Shell, Terminal
from console.tui.toasts import Toasts
from console.tui.widgets.alerts import AlertsPane
from console.tui.widgets.log import LogPane

Factory = Callable[[], Source | Awaitable[Source]]
"""Makes the source, directly or as a coroutine; called after the first paint, inside the event loop."""


class ConsoleApp(Quitting, Terminal):
    """Shows a run. `run()` returns the run's exit code where it ended, None where it is still running or never was."""

    COMMANDS: ClassVar = App.COMMANDS | {Actions}
    BINDINGS: ClassVar[list[BindingType]] = [*keys.APP]

    def __init__(
        self,
        source: Source | Factory,
        *,
        read_only: bool = False,
        config: Config | None = None,
        shell: Shell | None = None,
        compared: Sequence[str] = (),
    ) -> None:
        """`config`: the operator's; without one nothing is remembered either. `shell`: the way to a node.
        `compared`: logs of past runs to compare with.

        Raises:
            ConfigError: the configuration names a theme, a key or an id that does not exist.
        """
        super().__init__(config, read_only=read_only)
        if self.config.theme is not None and self.config.theme not in self.available_themes:
            accepted = ", ".join(sorted(self.available_themes))
            raise ConfigError(f"{self.config.path}: theme is {self.config.theme!r}; accepted: {accepted}")
        self.shell = None if read_only else shell
        self._given = source
        self._compared = tuple(compared)
        self._read_only = read_only
        self._moment = Moment(starting="starting …", read_only=read_only)
        self.toasts = Toasts()
        self._gc_pacer = GcPacer()
        self._gc_pacing: asyncio.Task[None] | None = None
        self._screen.arrange_as(self.remembered, self.config.layout)

    def get_default_screen(self) -> Screen[None]:
        """The run's screen, below all others."""
        return self._screen

    def on_mount(self) -> None:
        """Paints first, then gets the source: its imports must not delay the first paint."""
        if hasattr(self._given, "work"):
            self._have(cast(Source, self._given))
        self.tick(force=True)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        if not self.is_headless:
            self._gc_pacing = asyncio.create_task(self._gc_pacer.run(lambda: len(self.screen_stack) > 1))
        self.set_interval(self.config.tick_s, self.tick)
        self.theme_changed_signal.subscribe(self, lambda _: self.remember(theme=self.theme))
        self.heed_signals()
        self._work = self.run_worker(self._drive(), name="source", group="source", exit_on_error=False)

    def on_unmount(self) -> None:
        """Gives the garbage collector back to the interpreter, which outlives the app."""
        if self._gc_pacing is not None:
            self._gc_pacing.cancel()

    async def _drive(self) -> None:
        try:
            if self._source is None:
                made = cast(Factory, self._given)()
                self._have(await made if inspect.isawaitable(made) else made)
            assert self._source is not None
            await self._source.work()
        except Exception as error:
            # Whatever happens to the source, the screen stays with what is known so far.
            self.failure = error
        self.tick(force=True)

    def _have(self, source: Source) -> None:
        self._source = source
        self._screen.source = source
        self._gc_pacer.made()
        if self._compared:
            self._screen.run_worker(self._screen.compare_with(self._compared), group="compare", exit_on_error=False)
        self._screen.refresh_bindings()

    def tick(self, *, force: bool = False) -> None:
        """Repaints if the run or the clock's second has changed."""
        moment = self._look()
        if not self.is_running or (not force and same(moment, self._moment)):
            # Not running: a last timer event, or the source's end, after the panes are gone.
            return
        self.toasts.show(self, self._moment, moment)
        self._moment = moment
        self.set_title(self._screen.present())
        with self.batch_update():
            for screen in reversed(self.screen_stack):
                if isinstance(screen, (RunScreen, NodeScreen)):
                    screen.show(moment)
                    break
        if self._leave_at_end and self._source is not None and not present_run(self._source).live:
            self.leave()

    def _look(self) -> Moment:
        trouble = "" if self.failure is None else f"{type(self.failure).__name__}: {self.failure}"
        if isinstance(self.failure, (ValueError, OSError)) and str(self.failure):
            trouble = str(self.failure)
        if self._source is None:
            return Moment(starting="" if trouble else "starting …", trouble=trouble, read_only=self._read_only)
        compared = self._screen.compared
        return moment_of(self._source, read_only=self._read_only, trouble=trouble, compared=compared)

    def on_screen_resume(self) -> None:
        """Updates a screen that was covered."""
        self.tick(force=True)

    def on_log_pane_paged(self, event: LogPane.Paged) -> None:
        """Opens the whole log in the pager."""
        self.run_worker(page(self, self._source, event), group="pager", exclusive=True, exit_on_error=False)

    def on_alerts_pane_muted(self, event: AlertsPane.Muted) -> None:
        """Toggles the bell."""
        self.toasts.muted = not self.toasts.muted
        self.notify(f"Alert bell {'off' if self.toasts.muted else 'on'}.", timeout=3)

    # --- help and palette ------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """Lists the keys of the open screen as they are mapped, those of the focused pane first."""
        opens = [NodeScreen] if self.screen is self._screen else []
        log = isinstance(self._source, Player) and self._source.present is None
        # A log takes no commands.
        self.push_screen(HelpScreen(self.screen, self.keymap, opens=opens, without=("run",) if log else ()))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Textual's theme command alone; the others have their own keys here."""
        for command in super().get_system_commands(screen):
            if command.title == "Theme":
                yield command
