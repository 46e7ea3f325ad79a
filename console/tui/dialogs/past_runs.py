"""The choice of past runs to compare with: a list, and a line for the path of any other log."""

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
    """Returns the chosen paths; None for Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="prompt.runs_cancel", tooltip="Cancel"),
        Binding(
            "enter", "take", "compare", priority=True, id="prompt.runs_take", tooltip="Compare with the chosen runs"
        ),
    ]

    def __init__(self, found: Sequence[Found], chosen: Sequence[str]) -> None:
        """`found`: the past runs to offer; `chosen`: paths of the runs that are compared now, in `found` or not."""
        super().__init__()
        self._found, self._chosen = found, chosen

    def compose(self) -> ComposeResult:
        """A box with the runs and a line for a path."""
        with Vertical(classes="box wide") as box:
            box.border_title = "Compare with"
            offered = {run.path for run in self._found}
            choices = [
                *(Selection(Content(path), path, True) for path in self._chosen if path not in offered),
                *(Selection(_words(run), run.path, run.path in self._chosen) for run in self._found),
            ]
            if choices:
                yield Label("Space selects a run, Enter compares with all selected.", classes="sentence")
                yield SelectionList[str](*choices, id="runs", compact=True)
            else:
                yield Label("No past runs on this machine yet.", classes="sentence")
            yield Label("Another log, by path:", classes="sentence")
            yield Input(placeholder="a run.jsonl, a fast.ai debug.log, a DAWNBench .tsv", compact=True, id="path")
            yield Label("Enter compare · Tab path · Esc cancel", id="wrong")

    def on_mount(self) -> None:
        """Focuses the list where there is one."""
        self.query("SelectionList, Input").first().focus()

    def action_take(self) -> None:
        """Returns the choice."""
        chosen = [path for runs in self.query(SelectionList) for path in runs.selected]
        typed = self.query_one("#path", Input).value.strip()
        self.dismiss(tuple(dict.fromkeys([*chosen, *([typed] if typed else [])])))

    def action_cancel(self) -> None:
        """Cancels."""
        self.dismiss(None)


def _words(run: Found) -> Content:
    size = f"{run.size_bytes / 1e6:,.1f} MB"
    return Content.assemble(f"{run.name}  ", (f"{run.when}, {size}", "dim"))
