"""Which past runs to compare with: a list to choose from, and a line for the path of any other log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Label, SelectionList
from textual.widgets.selection_list import Selection

from console.tui.dialogs.modal import Modal

if TYPE_CHECKING:
    from console.compare.past_runs import Found


class PastRunsDialog(Modal[tuple[str, ...]]):
    """Returns the paths of what was chosen; None for Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="prompt.runs_cancel", tooltip="Change nothing"),
        Binding(
            "enter", "take", "compare", priority=True, id="prompt.runs_take", tooltip="Compare with what is chosen"
        ),
    ]

    def __init__(self, found: Sequence[Found], chosen: Sequence[str]) -> None:
        """`found`: the past runs that are offered; `chosen`: paths of what is compared with now, of them or not."""
        super().__init__()
        self._found, self._chosen = found, chosen

    def compose(self) -> ComposeResult:
        """A box with the runs, and a line to type a path on."""
        with Vertical(classes="box wide") as box:
            box.border_title = "Compare with"
            offered = {one.path for one in self._found}
            choices = [
                *(Selection(Content(path), path, True) for path in self._chosen if path not in offered),
                *(Selection(_words(one), one.path, one.path in self._chosen) for one in self._found),
            ]
            if choices:
                yield Label("Space chooses a run, Enter lays all that are chosen over the curves.", classes="sentence")
                yield SelectionList[str](*choices, id="runs", compact=True)
            else:
                yield Label("No past run is on this laptop yet.", classes="sentence")
            yield Label("Any other log, by its path:", classes="sentence")
            yield Input(placeholder="a run.jsonl, a fast.ai debug.log, a DAWNBench .tsv", compact=True, id="path")
            yield Label("Enter to compare · Tab to the path · Esc to change nothing", id="wrong")

    def on_mount(self) -> None:
        """The list has the focus where there is one."""
        self.query("SelectionList, Input").first().focus()

    def action_take(self) -> None:
        """Returns the choice."""
        chosen = [path for runs in self.query(SelectionList) for path in runs.selected]
        typed = self.query_one("#path", Input).value.strip()
        self.dismiss(tuple(dict.fromkeys([*chosen, *([typed] if typed else [])])))

    def action_cancel(self) -> None:
        """Leaves everything as it is."""
        self.dismiss(None)


def _words(one: Found) -> Content:
    size = f"{one.size_bytes / 1e6:,.1f} MB"
    return Content.assemble(f"{one.name}  ", (f"{one.when}, {size}", "dim"))
