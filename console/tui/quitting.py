"""Leaving the console: by key, Ctrl-C, a signal, or a closed terminal; the source is always ended in order."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from typing import Final

from textual.content import Content
from textual.worker import Worker, WorkerError

from console.config import Config
from console.playback.source import Source, present_run
from console.tui.base import AppBase
from console.tui.dialogs import questions
from console.tui.dialogs.choice import ChoiceDialog
from console.tui.screens.run import RunScreen

CLOSE_S = 15.0
"""How long the source may take to end in order once the screen is left."""

LOOK_S: Final = 0.5
"""How often the terminal is polled: Textual's writer accepts 30 more pieces after the first that fails."""

SIGNALS: Final = {signal.SIGINT: "stop", signal.SIGTERM: "terminate"}
"""The command that a signal stands for, where the run accepts it; else the console leaves. ``fastconsole stop`` and
``terminate`` send these signals to a console that runs elsewhere on the machine."""


class Quitting(AppBase[int]):
    """The part of the app that ends it."""

    def __init__(self, config: Config | None, *, read_only: bool) -> None:
        super().__init__(config)
        self._source: Source | None = None
        self._screen = RunScreen(read_only=read_only)
        self._work: Worker[None] | None = None
        self._leave_at_end = False
        self._leaving = False
        self.failure: Exception | None = None
        """The error that ended the source; the screen shows it as a sentence."""

    def heed_signals(self) -> None:
        """Installs the signal handlers; called inside the loop."""
        loop = asyncio.get_running_loop()
        for number, answer in SIGNALS.items():
            loop.add_signal_handler(number, self._signalled, answer)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        if not self.is_headless and os.isatty(0):
            self.set_interval(LOOK_S, self._look_for_terminal)

    def _look_for_terminal(self) -> None:
        """Detects a closed terminal without SIGHUP: only the session's first program receives that signal."""
        poll = select.poll()
        poll.register(0, 0)
        if not self._leaving and poll.poll(0):
            self._hung_up()

    def action_leave(self) -> None:
        """Leaves; asks first while this console drives a running run."""
        moment = self._screen.present()
        if moment.run.live and moment.controls & {"detach", "stop", "terminate"}:
            self.push_screen(questions.leave(moment), self._answered)
        else:
            self.leave()

    def action_interrupt(self) -> None:
        """Ctrl-C: the question, and the second time its graceful answer."""
        if isinstance(self.screen, ChoiceDialog) and self.screen.interrupted is not None:
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
        if answer in self._screen.present().controls:
            self._answered(answer)
        else:
            self.leave()

    def _hung_up(self) -> None:
        """The terminal was closed: leaves, and the run continues."""
        # Nothing may be written to a closed terminal: the first failure would end Textual's writer, and the loop would
        # then wait for ever to hand it more.
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
