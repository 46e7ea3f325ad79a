"""A question with a few answers, each with a button and a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Label

from console.tui.dialogs.modal import Modal


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's button and key."""

    key: str
    label: str
    value: str
    """What the dialog returns."""
    danger: bool = False


class ChoiceDialog(Modal[str]):
    """Returns the chosen answer's value, None for Esc. The last answer has the focus and should be the harmless one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="dialog.cancel", tooltip="Cancel"),
        Binding("left", "app.focus_previous", "left", show=False, id="dialog.left", tooltip="Previous answer"),
        Binding("right", "app.focus_next", "right", show=False, id="dialog.right", tooltip="Next answer"),
    ]

    def __init__(
        self, title: str, sentences: Sequence[str], answers: Sequence[Answer], *, interrupted: str | None = None
    ) -> None:
        """`interrupted`: the answer that Ctrl-C gives; None: Ctrl-C asks whether to quit."""
        super().__init__()
        self.interrupted = interrupted
        self._title, self._sentences, self._answers = title, sentences, answers

    def compose(self) -> ComposeResult:
        """A box with the question and its answers."""
        with Vertical(classes="box") as box:
            box.border_title = Content(self._title).markup
            for sentence in self._sentences:
                yield Label(Content(sentence), classes="sentence")
            with Horizontal(classes="answers"):
                for answer in self._answers:
                    label = Content.assemble((answer.key, "bold"), f"  {answer.label}")
                    yield Button(
                        label,
                        variant="error" if answer.danger else "default",
                        id=f"answer-{answer.value}",
                        compact=True,
                    )

    def on_mount(self) -> None:
        """Focuses the harmless answer."""
        self.query(Button).last().focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Takes an answer by mouse or Enter."""
        self._give((event.button.id or "").removeprefix("answer-"))

    def on_key(self, event: events.Key) -> None:
        """Takes an answer by its letter."""
        for answer in self._answers:
            if event.character == answer.key:
                event.stop()
                self._give(answer.value)

    def action_cancel(self) -> None:
        """Cancels."""
        self.dismiss(None)

    def _give(self, value: str) -> None:
        self.dismiss(None if value == "cancel" else value)
