"""A line to type a filter on, at the foot of the screen: what it finds is seen above while it is typed."""

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
    """Returns what was typed; None for Esc, with which all is as it was before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="prompt.filter_cancel", tooltip="Filter as before"),
    ]

    def __init__(
        self, typed: str, placeholder: str, judge: Callable[[str], tuple[str, bool]], *, sign: str = "/"
    ) -> None:
        """`judge` applies what is typed so far, and returns what it finds, or what is wrong with it and False.

        `sign` stands before it: one letter.
        """
        super().__init__()
        self._sign = sign
        self._typed, self._placeholder, self._judge = typed, placeholder, judge

    def compose(self) -> ComposeResult:
        """One line, and what it finds."""
        with Horizontal(classes="filter"):
            yield Label(self._sign, classes="slash")
            yield Input(self._typed, placeholder=self._placeholder, compact=True, select_on_focus=False)
            yield Label("", id="found")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Says at each letter what is found."""
        self._say(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keeps the filter, unless it is none."""
        if self._say(event.value):
            self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """The filter that was there before."""
        self._judge(self._typed)
        self.dismiss(None)

    def _say(self, typed: str) -> bool:
        sentence, good = self._judge(typed)
        found = self.query_one("#found", Label)
        found.update(Content(sentence))
        found.set_class(not good, "wrong")
        return good
