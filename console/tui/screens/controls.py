"""Controls of a live run: commands, and the questions before those that cost or destroy."""

from __future__ import annotations

from console.billing.budget import dollars, least_usd
from console.playback.source import Player
from console.policy.controls import refusal
from console.tui.dialogs import questions
from console.tui.screens.source_screen import SourceScreen

ACTIONS = ("control", "stop", "terminate", "budget", "pause")
"""The actions that are here."""


class Controls(SourceScreen):
    """The part of a screen that commands the run."""

    def action_control(self, command: str) -> None:
        """Sends a command that needs no confirmation."""
        self.send(command)

    def action_pause(self) -> None:
        """Pauses a training run, resumes a paused one."""
        controls = self.source.controls if self.source is not None else frozenset[str]()
        paused = self.present().run.paused_since_t is not None or "pause" not in controls
        self.send("resume" if paused and "resume" in controls else "pause")

    def action_stop(self) -> None:
        """Asks, then stops."""
        self._asked("stop", lambda: questions.stop(self.present()))

    def action_terminate(self) -> None:
        """Asks for the typed word, then terminates."""
        self._asked("terminate", lambda: questions.terminate(self.present()))

    def action_budget(self) -> None:
        """Asks for the new budget, then sets it."""
        if not self._allowed("budget"):
            return
        present = self.present()
        if least_usd(present.run, present.now) is None:
            self.say("These hosts have no known price, so no budget can be enforced.")
            return
        self.app.push_screen(questions.budget(self.present), self._have_budget)

    def _have_budget(self, typed: str | None) -> None:
        usd = dollars(typed or "")
        if usd is not None:
            self.send("budget", usd=usd)

    def _asked(self, command: str, question: questions.Asking) -> None:
        if self._allowed(command):
            self.app.push_screen(question(), lambda answer: self.send(command) if answer == command else None)

    def _allowed(self, command: str) -> bool:
        if self.read_only or self.source is None:
            self.say("No run yet." if self.source is None else "This console is read-only.")
            return False
        if command in self.source.controls:
            return True
        run = self.present().run
        if isinstance(self.source, Player) and self.source.present is None:
            self.say(f"A log cannot take commands ({command}).")
        else:
            self.say(refusal(command, run.status) or "This run takes no commands from here.")
        return False

    def send(self, command: str, **arguments: float) -> None:
        """Sends a command to the source; its effect shows in the run."""
        if self._allowed(command):
            if self.moment.play is not None:
                self.say(f"{command}: applies to the live run, not to the moment shown.")
            self.run_worker(self._command(command, **arguments), group="commands", exit_on_error=False)

    async def _command(self, command: str, **arguments: float) -> None:
        assert self.source is not None
        try:
            await self.source.command(command, **arguments)
        except Exception as error:  # A command that fails must not take the console with it.
            self.say(f"{command}: {error or type(error).__name__}")
