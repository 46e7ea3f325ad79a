"""A question that is answered by typing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Label

from console.tui.dialogs.modal import Modal


class Prompt(Modal[str]):
    """Returns what was typed once `wrong` accepts it; None for Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="prompt.cancel", tooltip="Cancel")
    ]

    def __init__(
        self,
        title: str,
        sentences: Sequence[str],
        *,
        placeholder: str,
        wrong: Callable[[str], str],
        danger: bool = False,
    ) -> None:
        """`wrong` returns what is wrong with an answer as a sentence; empty where it is accepted."""
        super().__init__()
        self._title, self._sentences, self._placeholder, self._wrong = title, sentences, placeholder, wrong
        self._danger = danger

    def compose(self) -> ComposeResult:
        """A box with the question and an input line."""
        with Vertical(classes="box danger" if self._danger else "box") as box:
            box.border_title = Content(self._title).markup
            for sentence in self._sentences:
                yield Label(Content(sentence), classes="sentence")
            yield Input(placeholder=self._placeholder, compact=True)
            yield Label("Enter confirm · Esc cancel", id="wrong")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Takes the answer, or shows what is wrong with it."""
        typed = event.value.strip()
        sentence = self._wrong(typed)
        if sentence:
            self.query_one("#wrong", Label).update(Content(sentence))
        else:
            self.dismiss(typed)

    def action_cancel(self) -> None:
        """Cancels."""
        self.dismiss(None)
