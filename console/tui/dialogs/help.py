"""All keys, grouped by context; those of the focused pane come first."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Label

from console.tui import keys
from console.tui.bindings import bound, declared, mapped

WIDTH: Final = 112
AROUND: Final = 8
"""Border, padding and scroll bar."""
INDENT: Final = 13
MIN_ROOM: Final = 20


class HelpScreen(ModalScreen[None]):
    """A list of keys; closed by Esc, ?, q or Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "close", id="help.close", tooltip="Close the help"),
    ]

    def __init__(
        self,
        over: Screen[object],
        keymap: Mapping[str, str],
        *,
        opens: Iterable[type[Screen[None]]] = (),
        without: Collection[str] = (),
    ) -> None:
        """`over`: the screen whose keys are listed; `opens`: screens that it leads to; `without`: contexts left out."""
        super().__init__()
        groups = _groups(over, keymap, opens)
        self._groups = {group: bindings for group, bindings in groups.items() if group not in without}

    def compose(self) -> ComposeResult:
        """A list for each context."""
        room = max(MIN_ROOM, min(WIDTH, self.app.size.width) - AROUND - INDENT)
        with VerticalScroll(classes="box", can_focus=True) as box:
            box.styles.width = WIDTH
            box.border_title = "Keys"
            box.border_subtitle = "Esc close"
            for group, bindings in self._groups.items():
                lines = [Content.styled(keys.CONTEXTS.get(group, group), "bold $accent")]
                for binding in bindings:
                    key = f"  {self.app.get_key_display(binding):>9}  "
                    first, *others = textwrap.wrap(binding.tooltip or binding.description, room)
                    lines.append(Content.assemble((key, "bold"), first))
                    lines += [Content(f"{'':{INDENT}}{line}") for line in others]
                yield Label(Content("\n").join(lines), classes="keys")


def _groups(
    over: Screen[object], keymap: Mapping[str, str], opens: Iterable[type[Screen[None]]]
) -> dict[str, list[Binding]]:
    groups: dict[str, list[Binding]] = {}
    found = list(bound(over, keymap))
    first = {keys.context(key.binding) for key in found if key.focused}
    for key in found:
        groups.setdefault(keys.context(key.binding), []).append(key.binding)
    own = {binding.id for binding in declared(type(over))}
    for screen in opens:
        for binding in declared(screen):
            # What it shares with this screen is listed already, or disabled now.
            if binding.id in own:
                continue
            groups.setdefault(keys.context(binding), []).append(mapped(binding, keymap))
    # The focused pane comes first, the app last.
    return dict(sorted(groups.items(), key=lambda group: (group[0] not in first, group[0] == "app")))
