"""The console's screen as a Textual app: paints first, then gets its source, then repaints from it twice a second."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import ClassVar, Final, cast

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.content import Content
from textual.screen import Screen
from textual.worker import Worker, WorkerError

from console.source import Source, present_run
from console.tui import keys, themes
from console.tui.bindings import whole_keymap
from console.tui.moment import Moment, moment_of, same
from console.tui.notices import Notices
from console.tui.pager import page
from console.tui.palette import Actions
from console.tui.screens import questions
from console.tui.screens.dialog import Dialog
from console.tui.screens.help import HelpScreen
from console.tui.screens.node import NodeScreen
from console.tui.screens.run import RunScreen
from console.tui.widgets.alerts import AlertsPane
from console.tui.widgets.log import LogPane

Factory = Callable[[], Source | Awaitable[Source]]
"""Makes the source, at once or in its own time; called after the first paint, inside the event loop."""

TICK_S = 0.5
CLOSE_S = 15.0
"""How long the source may take to end in order once the screen is left."""


SIGNALS: Final = {signal.SIGINT: "stop", signal.SIGTERM: "terminate"}
"""What a signal from outside means, where the run takes the command; else the console leaves. They are how
``fastconsole stop`` and ``terminate`` speak to a console elsewhere."""


class ConsoleApp(App[int]):
    """Shows a run. `run()` returns the run's exit code where it ended, else None: it goes on, or never was."""

    CSS_PATH = "console.tcss"
    TITLE = "fastconsole"
    COMMANDS: ClassVar = App.COMMANDS | {Actions}
    BINDINGS: ClassVar[list[BindingType]] = [*keys.APP]

    def __init__(self, source: Source | Factory, *, read_only: bool = False) -> None:
        super().__init__()
        for theme in themes.ALL:
            self.register_theme(theme)
        self.theme = themes.fitting(self.console.color_system).name
        self._given = source
        self._read_only = read_only
        self._source: Source | None = None
        self._screen = RunScreen(read_only=read_only)
        self._moment = Moment(starting="starting …", read_only=read_only)
        self._work: Worker[None] | None = None
        self.notices = Notices()
        self._leave_at_end = False
        self._leaving = False
        self.keymap: dict[str, str] = {}
        """The keys that are not their bindings' own, by the bindings' ids."""
        self.failure: Exception | None = None
        """What ended the source, where it was no order of ours; the screen shows it as a sentence."""

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
            # What is there by now stays: for the collector to look through it took 50 ms of the loop each time.
            gc.freeze()
        self.set_interval(TICK_S, self.tick)
        loop = asyncio.get_running_loop()
        for number, answer in SIGNALS.items():
            loop.add_signal_handler(number, self._signalled, answer)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        self._work = self.run_worker(self._drive(), name="source", group="source", exit_on_error=False)

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
        self._screen.refresh_bindings()

    def tick(self, *, force: bool = False) -> None:
        """Repaints if the run is another or the clock's second has changed."""
        moment = self._look()
        if not self.is_running or (not force and same(moment, self._moment)):
            # Not running: the timer's last beat, or the source's end, after the panes are gone.
            return
        self.notices.tell(self, self._moment, moment)
        self._moment = moment
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
        """A screen that was covered has missed moments."""
        self.tick(force=True)

    # --- leaving ---------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Leaves; asks first while a run is going on that this console drives."""
        moment = self._screen.present()
        if moment.run.live and moment.controls & {"detach", "stop", "terminate"}:
            self.push_screen(questions.leave(moment), self._answered)
        else:
            self.leave()

    def action_interrupt(self) -> None:
        """Ctrl-C: the question, and the second time its graceful answer."""
        if isinstance(self.screen, Dialog) and self.screen.interrupted is not None:
            self.screen.dismiss(self.screen.interrupted)
        elif self._leave_at_end or self._leaving:
            self.leave()
        else:
            self.action_leave()

    async def action_quit(self) -> None:
        """Ctrl-Q asks too."""
        self.action_leave()

    def _answered(self, answer: str | None) -> None:
        if answer == "detach":
            self.run_worker(self._let_go(), exit_on_error=False)
        elif answer in ("stop", "terminate"):
            self._leave_at_end = True
            self._screen.send(answer)

    def _signalled(self, answer: str) -> None:
        if answer in self._look().controls:
            self._answered(answer)
        else:
            self.leave()

    def _hung_up(self) -> None:
        """The terminal was closed: leaves the run going."""
        # Nothing may be written to a terminal that is gone: the first failure would end Textual's writer, and the loop
        # would then wait for ever to hand it more.
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        self._leaving = True
        self.run_worker(self._abandon(), exit_on_error=False)

    async def _abandon(self) -> None:
        try:
            if self._source is not None and "detach" in self._source.controls:
                await self._source.command("detach")
            await self._end_work()
        finally:
            os._exit(0)

    async def _let_go(self) -> None:
        assert self._source is not None
        try:
            await self._source.command("detach")
        except Exception as error:  # Not detached: stay, and say why.
            self.notify(Content(f"detach: {error or type(error).__name__}").markup, severity="error")
            return
        self.leave()

    def leave(self) -> None:
        """Ends the source in order, then the app."""
        if not self._leaving:
            self._leaving = True
            self.run_worker(self._end_source(), name="close", exit_on_error=False)

    async def _end_source(self) -> None:
        await self._end_work()
        run = None if self._source is None else present_run(self._source)
        self.exit(run.exit_code if run is not None and not run.live else 1 if self.failure is not None else None)

    async def _end_work(self) -> None:
        if self._work is not None and not self._work.is_finished:
            self._work.cancel()
            try:
                await asyncio.wait_for(asyncio.shield(self._work.wait()), CLOSE_S)
            except (WorkerError, TimeoutError):
                pass

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
        self.push_screen(HelpScreen(self.screen, self.keymap, opens=opens))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Of Textual's own commands those that make sense here; quitting and keys are ours."""
        for command in super().get_system_commands(screen):
            if command.title in ("Theme", "Screenshot"):
                yield command
