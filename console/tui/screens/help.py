"""All keys, by what they act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label

from console.tui import keys


class HelpScreen(ModalScreen[None]):
    """Closed by any of the keys that people try."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "close", id="help.close", tooltip="Close the help"),
    ]

    def __init__(self, bindings: Mapping[str, Sequence[tuple[str, Binding]]]) -> None:
        """`bindings`: for each context its keys, as they are called on a keyboard, with their bindings."""
        super().__init__()
        self._groups = bindings

    def compose(self) -> ComposeResult:
        """A list a context."""
        with VerticalScroll(classes="box wide", can_focus=True) as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            for group, bindings in self._groups.items():
                lines = [Content.styled(keys.CONTEXTS.get(group, group), "bold $accent")]
                for key, binding in bindings:
                    lines.append(Content.assemble((f"  {key:>9}  ", "bold"), binding.tooltip or binding.description))
                yield Label(Content("\n").join(lines), classes="keys")
