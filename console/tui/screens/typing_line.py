"""A line at the bottom to type on, over a screen that shows at once what each letter does."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label


class TypingLine(ModalScreen[str]):
    """Returns what was typed; None for Esc, with everything as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "as before", id="line.give_up", tooltip="Leave it as it was")
    ]

    def __init__(self, name: str, before: str, placeholder: str, changed: Callable[[str], str]) -> None:
        """`changed(typed)` shows what it does and returns a sentence about it: how much it finds, or what is wrong."""
        super().__init__()
        self._name, self._before, self._placeholder, self._changed = name, before, placeholder, changed

    def compose(self) -> ComposeResult:
        """The name, the line, the sentence."""
        with Horizontal(id="typing"):
            yield Label(Content(f" {self._name} "), id="typing-name")
            yield Input(self._before, placeholder=self._placeholder, compact=True)
            yield Label("", id="typing-says")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Shows it."""
        self.query_one("#typing-says", Label).update(Content(self._changed(event.value)))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keeps it."""
        self.dismiss(event.value)

    def action_give_up(self) -> None:
        """Takes it back."""
        self._changed(self._before)
        self.dismiss(None)
