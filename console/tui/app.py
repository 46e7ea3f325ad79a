"""The console's screen as a Textual app: paints first, then gets its source, then repaints from it twice a second."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.content import Content
from textual.screen import Screen

from console.config import Config, ConfigError, Remembered, recall, remember
from console.playback.source import Player, Source, present_run
from console.tui import keys, themes
from console.tui.dialogs.help import HelpScreen
from console.tui.draw.moment import Moment, moment_of, same
from console.tui.gc_pacing import Collector
from console.tui.keymap import check, whole_keymap
from console.tui.pager import page
from console.tui.palette import Actions
from console.tui.quitting import Leaving
from console.tui.screens.node import NodeScreen
from console.tui.screens.run import RunScreen
from console.tui.terminal import Shell, Terminal
from console.tui.toasts import Notices
from console.tui.widgets.alerts import AlertsPane
from console.tui.widgets.log import LogPane

Factory = Callable[[], Source | Awaitable[Source]]
"""Makes the source, at once or in its own time; called after the first paint, inside the event loop."""


class ConsoleApp(Leaving, Terminal):
    """Shows a run. `run()` returns the run's exit code where it ended, else None: it goes on, or never was."""

    CSS_PATH = "console.tcss"
    TITLE = "fastconsole"
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
        `compared`: logs of past runs to lay over this one.

        Raises:
            ConfigError: the configuration names a theme, a key or an id that does not exist.
        """
        super().__init__(read_only=read_only)
        self.config = config or Config()
        self.shell = None if read_only else shell
        self._given = source
        self._compared = tuple(compared)
        self._read_only = read_only
        self._moment = Moment(starting="starting …", read_only=read_only)
        self.notices = Notices()
        self._collector = Collector()
        self._collecting: asyncio.Task[None] | None = None
        self.keymap: dict[str, str] = {}
        """The keys that are not their bindings' own, by the bindings' ids."""
        self.set_keymap(check(self.config) if self.config.keys else {})
        for one in themes.ALL:
            self.register_theme(one)
        fitting = themes.fitting(self.console.color_system).name
        self._remembered = Remembered() if config is None else recall()
        theme = self.config.theme or self._remembered.theme or fitting
        if self.config.theme is not None and theme not in self.available_themes:
            raise ConfigError(
                f"{self.config.path}: theme is {theme!r}; accepted: {', '.join(sorted(self.available_themes))}"
            )
        self.theme = theme if theme in self.available_themes else fitting
        self._screen.arrange_as(self._remembered, self.config.layout)

    def get_default_screen(self) -> Screen[None]:
        """The run's screen is the first one and lies under all others."""
        return self._screen

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The colours that Textual's own themes do not have."""
        return (themes.DARK if self.current_theme.dark else themes.LIGHT).variables

    def on_mount(self) -> None:
        """Paints, and only then gets the source: what it imports must not hold up the first picture."""
        if hasattr(self._given, "work"):
            self._have(cast(Source, self._given))
        self.tick(force=True)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        if not self.is_headless:
            self._collecting = asyncio.create_task(self._collector.run(lambda: len(self.screen_stack) > 1))
        self.set_interval(self.config.tick_s, self.tick)
        self.theme_changed_signal.subscribe(self, lambda _: self.remember(theme=self.theme))
        self.heed_signals()
        self._work = self.run_worker(self._drive(), name="source", group="source", exit_on_error=False)

    def on_unmount(self) -> None:
        """The collector is the interpreter's, and outlives the app."""
        if self._collecting is not None:
            self._collecting.cancel()

    async def _drive(self) -> None:
        try:
            if self._source is None:
                made = cast(Factory, self._given)()
                self._have(await made if inspect.isawaitable(made) else made)
            assert self._source is not None
            await self._source.work()
        except Exception as error:
            # Whatever happens to the source, the screen with all that is known so far must stay.
            self.failure = error
        self.tick(force=True)

    def _have(self, source: Source) -> None:
        self._source = source
        self._screen.source = source
        self._collector.made()
        if self._compared:
            self._screen.run_worker(self._screen.compare_with(self._compared), group="compare", exit_on_error=False)
        self._screen.refresh_bindings()

    def tick(self, *, force: bool = False) -> None:
        """Repaints if the run is another or the clock's second has changed."""
        moment = self._look()
        if not self.is_running or (not force and same(moment, self._moment)):
            # Not running: the timer's last beat, or the source's end, after the panes are gone.
            return
        self.notices.tell(self, self._moment, moment)
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

    def remember(self, **changes: Any) -> None:
        """Keeps what was changed on the screen for the next time."""
        self._remembered = replace(self._remembered, **changes)
        if self.config.path != Path():
            try:
                remember(self._remembered)
            except OSError as error:
                self.notify(Content(f"This is not remembered: {error.strerror or error}").markup, severity="warning")

    def on_screen_resume(self) -> None:
        """A screen that was covered has missed moments."""
        self.tick(force=True)

    def on_log_pane_paged(self, event: LogPane.Paged) -> None:
        """Somebody wants to read the whole log."""
        self.run_worker(page(self, self._source, event), group="pager", exclusive=True, exit_on_error=False)

    def on_alerts_pane_muted(self, event: AlertsPane.Muted) -> None:
        """The bell off or on."""
        self.notices.muted = not self.notices.muted
        self.notify("Alerts ring no bell." if self.notices.muted else "Alerts ring the bell again.", timeout=3)

    # --- help and palette ------------------------------------------------------------------------------------------

    def set_keymap(self, keymap: Mapping[str, str]) -> None:
        """Gives bindings, by id, other keys than their own."""
        self.keymap = dict(keymap)
        super().set_keymap(whole_keymap(keymap))

    def action_help(self) -> None:
        """Lists the keys of the open screen as they are mapped, those of the focused pane first."""
        opens = [NodeScreen] if self.screen is self._screen else []
        log = isinstance(self._source, Player) and self._source.present is None
        # There they only say that nothing can be done to a log.
        self.push_screen(HelpScreen(self.screen, self.keymap, opens=opens, without=("run",) if log else ()))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Of Textual's own commands those that make sense here; quitting and keys are ours."""
        for command in super().get_system_commands(screen):
            if command.title == "Theme":
                yield command
