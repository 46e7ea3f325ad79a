"""An input line for a filter at the bottom of the screen; the list above is filtered while it is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Label

from console.tui.dialogs.modal import Modal


class FilterPrompt(Modal[str]):
    """Returns what was typed; None for Esc, which restores the previous filter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="prompt.filter_cancel", tooltip="Cancel"),
    ]

    def __init__(
        self, typed: str, placeholder: str, judge: Callable[[str], tuple[str, bool]], *, sign: str = "/"
    ) -> None:
        """`judge` applies what is typed so far, and returns what it finds, or what is wrong with it and False.

        `sign`: one character in front of the input.
        """
        super().__init__()
        self._sign = sign
        self._typed, self._placeholder, self._judge = typed, placeholder, judge

    def compose(self) -> ComposeResult:
        """The input line, and what it finds."""
        with Horizontal(classes="filter"):
            yield Label(self._sign, classes="slash")
            yield Input(self._typed, placeholder=self._placeholder, compact=True, select_on_focus=False)
            yield Label("", id="found")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Applies each change."""
        self._apply(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keeps the filter, unless it is invalid."""
        if self._apply(event.value):
            self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Restores the previous filter."""
        self._judge(self._typed)
        self.dismiss(None)

    def _apply(self, typed: str) -> bool:
        sentence, good = self._judge(typed)
        found = self.query_one("#found", Label)
        found.update(Content(sentence))
        found.set_class(not good, "wrong")
        return good
